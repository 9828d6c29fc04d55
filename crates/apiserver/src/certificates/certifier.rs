//! Approves the certificate requests of nodes that may have them, and signs what is approved.
//!
//! A loop over what changes; each step looks at one stored object and makes at most one write, so that a crash between two
//! steps only delays. Approval asks whether the requester may `create certificatesigningrequests/selfnodeclient` (a node for
//! itself) or `…/nodeclient` (for any node). Serving certificates are approved by people.
//!
//! Source: kubernetes `pkg/controller/certificates/{approver,signer}`.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rota_api::{ApiError, Object, Write, resource};
use rota_registry::{Caller, Event, WatchOptions};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::request::CertificateRequest;
use super::signer::{self, KUBELET_CLIENT};
use crate::authentication::user::User;
use crate::authorization::rbac::Decision;
use crate::authorization::{Attributes, ResourceAttributes};
use crate::front::Front;

/// Works until `ending` is cancelled.
pub(crate) async fn run(front: Arc<Front>, ending: CancellationToken) {
    let kind = resource::CERTIFICATE_SIGNING_REQUESTS;
    while !ending.is_cancelled() {
        let mut watch = match front.registry.watch(kind, &WatchOptions::default()).await {
            Ok(watch) => watch,
            Err(error) => {
                tracing::error!(%error, "certificate requests cannot be watched: none will be signed");
                return;
            }
        };
        loop {
            let event = tokio::select! {
                () = ending.cancelled() => return,
                event = watch.next() => event,
            };
            match event {
                Some(Event::Added(object) | Event::Modified(object)) => step(&front, &object).await,
                Some(Event::Deleted(_) | Event::Bookmark { .. }) => {}
                // Cut off: begin again with what is there.
                None => break,
            }
        }
    }
}

async fn step(front: &Front, object: &Object) {
    let value = object.to_value();
    let verdict = match wanted(&value) {
        Wanted::Nothing => None,
        Wanted::Approval => approval(front, &value).await,
        Wanted::Certificate => certificate(front, &value),
    };
    let Some(verdict) = verdict else { return };
    if let Err(error) = store(front, value, verdict).await {
        let name = &object.meta().name;
        tracing::warn!(name, %error, "a certificate request could not be answered: another writer will have been faster");
    }
}

/// What becomes of a request.
enum Verdict {
    /// It is approved, for this reason.
    Approved(&'static str),
    /// This is the certificate (PEM).
    Issued(String),
    /// There will be none, for this reason.
    Failed(String),
}

/// What a stored object waits for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Nothing,
    Approval,
    Certificate,
}

fn wanted(object: &Value) -> Wanted {
    let has = |kind: &str| {
        let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        conditions.any(|c| c["type"] == kind && c["status"] != "False")
    };
    let is_issued = object["status"]["certificate"]
        .as_str()
        .is_some_and(|pem| !pem.is_empty());
    match (is_issued || has("Denied") || has("Failed"), has("Approved")) {
        (true, _) => Wanted::Nothing,
        (false, true) => Wanted::Certificate,
        (false, false) => Wanted::Approval,
    }
}

/// The approval of a request of a node; `None` for all others, which people approve.
async fn approval(front: &Front, object: &Value) -> Option<Verdict> {
    let spec = &object["spec"];
    if spec["signerName"] != KUBELET_CLIENT {
        return None;
    }
    let request = CertificateRequest::decode(text(spec, "request")).ok()?;
    signer::check(KUBELET_CLIENT, &request, &words(spec, "usages"))?.ok()?;
    let is_self = text(spec, "username") == request.common_name();
    let user = User {
        name: text(spec, "username").to_owned(),
        uid: text(spec, "uid").to_owned(),
        groups: words(spec, "groups").into_iter().map(str::to_owned).collect(),
        ..User::default()
    };
    let ways = [
        (
            "selfnodeclient",
            "Auto approving self kubelet client certificate after SubjectAccessReview.",
        ),
        (
            "nodeclient",
            "Auto approving kubelet client certificate after SubjectAccessReview.",
        ),
    ];
    for (subresource, message) in ways.into_iter().skip(usize::from(!is_self)) {
        let wish = Attributes {
            verb: "create",
            path: "",
            resource: Some(ResourceAttributes {
                group: "certificates.k8s.io",
                resource: "certificatesigningrequests",
                subresource,
                ..ResourceAttributes::default()
            }),
        };
        if front.authorizer.decide(&user, &wish).await == Decision::Allow {
            return Some(Verdict::Approved(message));
        }
    }
    None
}

/// The certificate for an approved request, or why there will be none; `None` for the signers of others.
fn certificate(front: &Front, object: &Value) -> Option<Verdict> {
    let spec = &object["spec"];
    let usages = words(spec, "usages");
    let request = match CertificateRequest::decode(text(spec, "request")) {
        Ok(request) => request,
        Err(why) => return Some(Verdict::Failed(why)),
    };
    if let Err(why) = signer::check(text(spec, "signerName"), &request, &usages)? {
        return Some(Verdict::Failed(why));
    }
    let mut params = request.parsed.params;
    signer::set_usages(&mut params, &usages);
    let lifetime = signer::lifetime(spec["expirationSeconds"].as_i64());
    let now = front.registry.env().now();
    Some(
        match front.pki.certify(params, &request.parsed.public_key, lifetime, now) {
            Ok(pem) => Verdict::Issued(pem),
            Err(error) => Verdict::Failed(error.to_string()),
        },
    )
}

/// Stores the verdict in the object as it was seen.
async fn store(front: &Front, mut object: Value, verdict: Verdict) -> Result<(), ApiError> {
    if !object["status"].is_object() {
        object["status"] = json!({});
    }
    let status = &mut object["status"];
    let subresource = match &verdict {
        Verdict::Approved(_) => "approval",
        Verdict::Issued(_) | Verdict::Failed(_) => "status",
    };
    let condition = match verdict {
        Verdict::Issued(pem) => {
            status["certificate"] = STANDARD.encode(pem).into();
            None
        }
        Verdict::Approved(message) => Some(("Approved", "AutoApproved", message.to_owned())),
        Verdict::Failed(why) => Some(("Failed", "SignerValidationFailure", why)),
    };
    if let Some((kind, reason, message)) = condition {
        let condition = json!({"type": kind, "status": "True", "reason": reason, "message": message});
        match status["conditions"].as_array_mut() {
            Some(conditions) => conditions.push(condition),
            None => status["conditions"] = json!([condition]),
        }
    }
    let caller = Caller::system("system:kube-controller-manager");
    let write = Write::update(resource::CERTIFICATE_SIGNING_REQUESTS, object, Some(subresource));
    front.registry.write(&caller, write).await.map(drop)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn words<'a>(value: &'a Value, field: &str) -> Vec<&'a str> {
    let words = value[field].as_array().into_iter().flatten();
    words.filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_waits_for_its_approval_then_for_its_certificate() {
        let with = |conditions: Value, certificate: &str| {
            wanted(&json!({"status": {"conditions": conditions, "certificate": certificate}}))
        };
        let one = |kind: &str| json!([{"type": kind, "status": "True"}]);
        assert_eq!(with(json!([]), ""), Wanted::Approval);
        assert_eq!(with(one("Approved"), ""), Wanted::Certificate);
        assert_eq!(with(one("Approved"), "YQ=="), Wanted::Nothing);
        assert_eq!(with(one("Denied"), ""), Wanted::Nothing);
        assert_eq!(with(one("Failed"), ""), Wanted::Nothing);
    }
}
