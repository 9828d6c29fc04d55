//! From identities (PEM) to what rustls needs: whom a server lets in, and whom a client believes.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};

use super::Identity;
use crate::server::BindError;

type Cause = Box<dyn std::error::Error + Send + Sync>;

fn broken(error: impl Into<Cause>) -> BindError {
    BindError::Tls(error.into())
}

/// Whom a server lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clients {
    /// Everybody; those with a certificate must have it from the authority.
    All,
    /// Only those with a certificate from the authority.
    Known,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>, BindError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(broken)
}

fn roots(ca_pem: &str) -> Result<RootCertStore, BindError> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(ca_pem)?).map_err(broken)?;
    Ok(roots)
}

fn key(identity: &Identity) -> Result<PrivateKeyDer<'static>, BindError> {
    PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).map_err(broken)
}

/// A server with that identity. It shows the authority's certificate as well, by which those who know only its fingerprint
/// can tell that they are right.
///
/// Errors: a certificate or key cannot be read.
pub(crate) fn server(identity: &Identity, ca_pem: &str, clients: Clients) -> Result<ServerConfig, BindError> {
    let provider = provider();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca_pem)?), Arc::clone(&provider));
    let verifier = match clients {
        Clients::All => verifier.allow_unauthenticated(),
        Clients::Known => verifier,
    };
    let chain = vec![certificate(&identity.certificate_pem)?, certificate(ca_pem)?];
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(broken)?
        .with_client_cert_verifier(verifier.build().map_err(broken)?)
        .with_single_cert(chain, key(identity)?)
        .map_err(broken)
}

/// A client with that identity, which believes servers of the authority.
///
/// Errors: a certificate or key cannot be read.
pub(crate) fn client(ca_pem: &str, identity: &Identity) -> Result<Arc<ClientConfig>, BindError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(broken)?
        .with_root_certificates(roots(ca_pem)?)
        .with_client_auth_cert(vec![certificate(&identity.certificate_pem)?], key(identity)?)
        .map_err(broken)?;
    Ok(Arc::new(config))
}

/// The certificate of an identity which servers of the authority let in at that time, in seconds since 1970; `None` for one that
/// they do not.
pub(super) fn let_in(ca_pem: &str, identity: &Identity, at_secs: u64) -> Option<CertificateDer<'static>> {
    let roots = Arc::new(roots(ca_pem).ok()?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .build()
        .ok()?;
    let certificate = certificate(&identity.certificate_pem).ok()?;
    let at = UnixTime::since_unix_epoch(Duration::from_secs(at_secs));
    verifier.verify_client_cert(&certificate, &[], at).ok()?;
    // Refused when the key is not that of the certificate.
    client(ca_pem, identity).ok()?;
    Some(certificate)
}

/// The beginning of a client that believes every server.
fn believing_anybody() -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, BindError> {
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(broken)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Believing {
            provider: provider(),
            who: Who::Anybody,
        })))
}

/// A client with that identity, which believes every server.
///
/// Errors: a certificate or key cannot be read.
pub(crate) fn client_of_anybody(identity: &Identity) -> Result<Arc<ClientConfig>, BindError> {
    let config = believing_anybody()?
        .with_client_auth_cert(vec![certificate(&identity.certificate_pem)?], key(identity)?)
        .map_err(broken)?;
    Ok(Arc::new(config))
}

/// A client without identity, which believes every server.
///
/// Errors: TLS cannot be set up.
pub(crate) fn client_without_identity() -> Result<Arc<ClientConfig>, BindError> {
    let config = believing_anybody()?.with_no_client_auth();
    Ok(Arc::new(config))
}

/// A client without identity, which believes servers of the one authority whose certificate has that SHA-256 fingerprint.
///
/// Errors: TLS cannot be set up.
pub(crate) fn client_by_fingerprint(fingerprint: [u8; 32]) -> Result<Arc<ClientConfig>, BindError> {
    let verifier = Believing {
        provider: provider(),
        who: Who::Authority(fingerprint),
    };
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(broken)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The fingerprint of a certificate (DER).
pub(crate) fn fingerprint(der: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(::ring::digest::digest(&::ring::digest::SHA256, der).as_ref());
    bytes
}

#[derive(Debug)]
enum Who {
    Anybody,
    Authority([u8; 32]),
}

#[derive(Debug)]
struct Believing {
    provider: Arc<CryptoProvider>,
    who: Who,
}

impl ServerCertVerifier for Believing {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Who::Authority(wanted) = &self.who else {
            return Ok(ServerCertVerified::assertion());
        };
        let authority = intermediates
            .iter()
            .find(|certificate| fingerprint(certificate) == *wanted);
        let Some(authority) = authority else {
            return Err(rustls::CertificateError::UnknownIssuer.into());
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier =
            rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
