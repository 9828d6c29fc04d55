//! CertificateSigningRequests. Whether the request itself can be read is the server's to see: it takes cryptography.
//!
//! Source: kubernetes `pkg/apis/certificates/validation/validation.go`.

use std::collections::BTreeSet;

use super::cursor::{Cursor, Errors};
use crate::names;

/// What a certificate may be used for.
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// A name that is no longer a signer.
const LEGACY_UNKNOWN: &str = "kubernetes.io/legacy-unknown";

/// The shortest time that a certificate may be asked for. Unit: seconds.
const LIFETIME_SECS_MIN: i64 = 600;

/// Conditions that stay once they are there.
const LASTING: [&str; 3] = ["Approved", "Denied", "Failed"];

/// A CertificateSigningRequest.
pub(super) fn request(object: &Cursor<'_>, errors: &mut Errors) {
    let spec = object.at("spec");
    let usages = spec.at("usages");
    if usages.is_empty() {
        errors.required(&usages, "");
    }
    let mut seen = BTreeSet::new();
    for usage in usages.items() {
        if !USAGES.contains(&usage.text()) {
            errors.unsupported(&usage, &USAGES);
        }
        if !seen.insert(usage.text().to_owned()) {
            errors.duplicate(&usage);
        }
    }
    let signer = spec.at("signerName");
    if signer.text() == LEGACY_UNKNOWN {
        errors.invalid(&signer, "the legacy signerName is not allowed via this API version");
    } else {
        signer_name(&signer, errors);
    }
    let lifetime = spec.at("expirationSeconds");
    if lifetime.integer().is_some_and(|seconds| seconds < LIFETIME_SECS_MIN) {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.invalid(&lifetime, detail);
    }
    conditions(&object.at("status").at("conditions"), errors);
}

/// A domain, then a path of one part.
fn signer_name(at: &Cursor<'_>, errors: &mut Errors) {
    const DOMAIN_SIZE_MAX: usize = 253;
    const SIZE_MAX: usize = DOMAIN_SIZE_MAX + 1 + 253 + 1 + 63;
    let name = at.text();
    if name.is_empty() {
        errors.required(at, "");
        return;
    }
    let parts: Vec<&str> = name.split('/').collect();
    let [domain, path] = parts.as_slice() else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.invalid(at, detail);
        return;
    };
    if domain.len() > DOMAIN_SIZE_MAX {
        errors.too_long(at, DOMAIN_SIZE_MAX);
    }
    labels(at, domain, names::dns_label, errors);
    if !domain.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        errors.invalid_as(at, *domain, detail);
    }
    labels(at, path, names::dns_subdomain, errors);
    if name.len() > SIZE_MAX {
        errors.too_long(at, SIZE_MAX);
    }
}

/// The first label that breaks the rule is told; the others would be told in the same words.
fn labels(at: &Cursor<'_>, text: &str, rule: fn(&str) -> Vec<String>, errors: &mut Errors) {
    for label in text.split('.') {
        let complaints = rule(label);
        if complaints.is_empty() {
            continue;
        }
        for complaint in complaints {
            errors.invalid_as(at, text, format!("validating label {label:?}: {complaint}"));
        }
        return;
    }
}

fn conditions(list: &Cursor<'_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    let mut given: Option<String> = None;
    for condition in list.items() {
        let (kind, status) = (condition.at("type"), condition.at("status"));
        if kind.is_empty() {
            errors.required(&kind, "");
        }
        if status.is_empty() {
            errors.required(&status, "");
        } else if LASTING.contains(&kind.text()) {
            errors.check_one_of(&status, &["True"]);
        } else {
            errors.check_one_of(&status, &["False", "True", "Unknown"]);
        }
        if !seen.insert(kind.text().to_owned()) {
            errors.duplicate(&kind);
        }
        if matches!(kind.text(), "Approved" | "Denied") {
            if given.as_deref().is_some_and(|other| other != kind.text()) {
                errors.invalid(&kind, "Approved and Denied conditions are mutually exclusive");
            }
            given = Some(kind.text().to_owned());
        }
    }
}

/// A changed request: the conditions that decide stay, and so does a certificate.
pub(super) fn change(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    let (status, before) = (new.at("status"), old.at("status"));
    let (certificate, had) = (status.at("certificate"), before.at("certificate"));
    if !had.is_empty() && certificate.text() != had.text() {
        errors.forbidden(&certificate, "updates may not modify existing certificate content");
    }
    let conditions = status.at("conditions");
    let has = |list: &Cursor<'_>, kind: &str| list.items().any(|condition| condition.at("type").text() == kind);
    for kind in LASTING {
        if has(&before.at("conditions"), kind) && !has(&conditions, kind) {
            errors.forbidden(
                &conditions,
                format!("updates may not remove a condition of type {kind:?}"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(object: &Value) -> Vec<String> {
        let mut errors = Errors::default();
        request(&Cursor::root(object), &mut errors);
        errors.into_list().iter().map(ToString::to_string).collect()
    }

    fn asking(spec: &Value) -> Value {
        let mut whole = json!({"signerName": "example.com/it", "usages": ["client auth"]});
        for (field, value) in spec.as_object().unwrap() {
            whole[field] = value.clone();
        }
        json!({"spec": whole})
    }

    #[test]
    fn a_request_names_its_signer_and_usages() {
        assert_eq!(told(&asking(&json!({}))), [""; 0]);
        for (spec, expected) in [
            (json!({"usages": []}), "spec.usages: Required value"),
            (
                json!({"usages": ["client auth", "client auth"]}),
                "spec.usages[1]: Duplicate value: \"client auth\"",
            ),
            (json!({"signerName": ""}), "spec.signerName: Required value"),
            (
                json!({"signerName": "it"}),
                "spec.signerName: Invalid value: \"it\": must be a fully qualified domain and path of the form \
                 'example.com/signer-name'",
            ),
            (
                json!({"signerName": "com/it"}),
                "spec.signerName: Invalid value: \"com\": should be a domain with at least two segments separated by dots",
            ),
            (
                json!({"expirationSeconds": 5}),
                "spec.expirationSeconds: Invalid value: 5: may not specify a duration less than 600 seconds (10 minutes)",
            ),
        ] {
            assert_eq!(told(&asking(&spec)), [expected]);
        }
    }

    #[test]
    fn nobody_is_approved_and_denied() {
        let mut object = asking(&json!({}));
        let condition = |kind: &str| json!({"type": kind, "status": "True"});
        object["status"] = json!({"conditions": [condition("Approved"), condition("Denied")]});
        let expected = "status.conditions[1].type: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive";
        assert_eq!(told(&object), [expected]);
    }

    #[test]
    fn a_decision_and_a_certificate_stay() {
        let mut errors = Errors::default();
        let old = json!({"status": {"certificate": "YQ==", "conditions": [{"type": "Approved", "status": "True"}]}});
        let new = json!({"status": {"certificate": "Yg=="}});
        change(&Cursor::root(&new), &Cursor::root(&old), &mut errors);
        let told: Vec<String> = errors.into_list().iter().map(|error| error.path.clone()).collect();
        assert_eq!(told, ["status.certificate", "status.conditions"]);
    }
}
