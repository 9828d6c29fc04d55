//! What a certificate signing request (PKCS #10) asks for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateSigningRequestParams, SanType};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

/// A request whose signature proves that its sender has the key.
pub(super) struct CertificateRequest {
    /// The common names of its subject, one in most cases: a user name.
    pub(super) common_names: Vec<String>,
    /// The organizations of its subject: groups.
    pub(super) organizations: Vec<String>,
    /// The request as the authority reads it.
    pub(super) parsed: CertificateSigningRequestParams,
}

impl CertificateRequest {
    /// Reads `spec.request`: PEM, in base64.
    ///
    /// Errors: why it cannot be read, in upstream's words where it has any.
    pub(super) fn decode(base64: &str) -> Result<Self, String> {
        let pem = STANDARD.decode(base64).map_err(|error| error.to_string())?;
        let der = CertificateSigningRequestDer::from_pem_slice(&pem)
            .map_err(|_| "PEM block type must be CERTIFICATE REQUEST".to_owned())?;
        let parsed = CertificateSigningRequestParams::from_der(&der).map_err(|error| error.to_string())?;
        let (_, request) = X509CertificationRequest::from_der(&der).map_err(|error| error.to_string())?;
        let subject = &request.certification_request_info.subject;
        let texts = |attributes: Vec<&x509_parser::x509::AttributeTypeAndValue<'_>>| -> Vec<String> {
            let texts = attributes.into_iter().filter_map(|attribute| attribute.as_str().ok());
            texts.map(str::to_owned).collect()
        };
        Ok(Self {
            common_names: texts(subject.iter_common_name().collect()),
            organizations: texts(subject.iter_organization().collect()),
            parsed,
        })
    }

    /// The user name that the request asks for.
    pub(super) fn common_name(&self) -> &str {
        self.common_names.last().map_or("", String::as_str)
    }

    /// True when the certificate is to be good for such a name.
    pub(super) fn has_name(&self, is_one: fn(&SanType) -> bool) -> bool {
        self.parsed.params.subject_alt_names.iter().any(is_one)
    }
}
