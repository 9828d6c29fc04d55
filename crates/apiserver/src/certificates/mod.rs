//! Certificates on request: who may ask for which, who may approve and sign, and the signing itself.
//!
//! A CertificateSigningRequest waits for an approval, then for a certificate. [`check_new`] and [`check_change`] are what
//! writers must keep; [`certifier`] approves the requests of nodes that may have them and signs what is approved, with the
//! cluster's own authority. What a request asks for is read by [`request`]; which requests a signer takes is in [`signer`].
//!
//! Source: kubernetes `plugin/pkg/admission/certificates`, `pkg/controller/certificates`.

pub(crate) mod certifier;
mod request;
mod signer;

use rota_api::{ApiError, FieldError, FieldErrorKind, resource};
use rota_registry::caller::NODE_PREFIX;
use serde_json::Value;

use crate::authentication::user::{MASTERS, User};
use crate::authorization::rbac::Decision;
use crate::authorization::{Attributes, ResourceAttributes, node};
use crate::front::{Front, Request};
use request::CertificateRequest;
use signer::{API_SERVER_CLIENT, KUBELET_CLIENT, KUBELET_SERVING};

/// Refuses a new object of `user` whose request cannot be read, that would make somebody an administrator, or by which a node
/// would become another.
///
/// Errors: 422 and 403.
///
/// Source: also kubernetes `plugin/pkg/admission/noderestriction/admission.go` (`admitCSR`).
pub(crate) fn check_new(user: &User, object: &Value) -> Result<(), ApiError> {
    let spec = &object["spec"];
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let encoded = spec["request"].as_str().unwrap_or_default();
    let asked = CertificateRequest::decode(encoded).map_err(|why| {
        let error = FieldError::new(FieldErrorKind::Invalid, "spec.request", Some(&spec["request"]), why);
        ApiError::invalid("certificates.k8s.io", "CertificateSigningRequest", name, &[error])
    })?;
    let signer = spec["signerName"].as_str().unwrap_or_default();
    if signer == API_SERVER_CLIENT && asked.organizations.iter().any(|group| group == MASTERS) {
        let why = format!("use of {signer} signer with {MASTERS} group is not allowed");
        return Err(ApiError::forbidden(resource::CERTIFICATE_SIGNING_REQUESTS, name, why));
    }
    if let Some(node) = node::identity(user)
        && matches!(signer, KUBELET_CLIENT | KUBELET_SERVING)
        && asked.common_name().strip_prefix(NODE_PREFIX) != Some(node)
    {
        let why = format!("can only create a node CSR with CN={NODE_PREFIX}{node}");
        return Err(ApiError::forbidden(resource::CERTIFICATE_SIGNING_REQUESTS, name, why));
    }
    Ok(())
}

/// Refuses a change of the part `subresource` to those who may not approve or sign for the signer of the stored object.
///
/// Errors: 403 and 404.
pub(crate) async fn check_change(front: &Front, request: &Request, subresource: &str) -> Result<(), ApiError> {
    let verb = match subresource {
        "approval" => "approve",
        "status" => "sign",
        _ => return Ok(()),
    };
    let kind = resource::CERTIFICATE_SIGNING_REQUESTS;
    let stored = front.registry.get(kind, "", &request.info.name)?;
    let signer = stored.to_value()["spec"]["signerName"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let of_domain = signer.split_once('/').map(|(domain, _)| format!("{domain}/*"));
    for name in [Some(signer.clone()), of_domain].into_iter().flatten() {
        let wish = Attributes {
            verb,
            path: "",
            resource: Some(ResourceAttributes {
                group: kind.group,
                resource: "signers",
                name: &name,
                ..ResourceAttributes::default()
            }),
        };
        if front.authorizer.decide(&request.user, &wish).await == Decision::Allow {
            return Ok(());
        }
    }
    let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
    Err(ApiError::forbidden(kind, &request.info.name, why))
}
