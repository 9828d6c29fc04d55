//! CertificateSigningRequests.
//!
//! Source: kubernetes `pkg/registry/certificates/certificates/strategy.go`.

use serde_json::Value;

use crate::value::{copy, ensure_object, list, set};

/// The conditions that only an approval may give.
const GIVEN: [&str; 2] = ["Approved", "Denied"];

/// A write of the approval: the conditions, and nothing else that is not metadata.
pub(super) fn only_conditions(new: &mut Value, old: &Value) {
    let conditions = new["status"]["conditions"].take();
    copy(old, new, "spec");
    copy(old, new, "status");
    if !conditions.is_null() {
        set(ensure_object(new, "status"), "conditions", conditions);
    } else {
        crate::value::remove(ensure_object(new, "status"), "conditions");
    }
}

/// A write of the status: the approval stays what it was.
pub(super) fn keep_approval(new: &mut Value, old: &Value) {
    let is_given = |condition: &&Value| GIVEN.iter().any(|kind| condition["type"] == *kind);
    let before = list(&old["status"], "conditions").iter().filter(is_given);
    let others = list(&new["status"], "conditions").iter().filter(|c| !is_given(c));
    let conditions: Vec<Value> = before.chain(others).cloned().collect();
    let status = ensure_object(new, "status");
    if conditions.is_empty() {
        crate::value::remove(status, "conditions");
    } else {
        set(status, "conditions", conditions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(conditions: &Value, certificate: &str) -> Value {
        json!({"spec": {"username": "u"}, "status": {"conditions": conditions, "certificate": certificate}})
    }

    #[test]
    fn an_approval_changes_the_conditions_only() {
        let mut new = with(&json!([{"type": "Approved"}]), "forged");
        new["spec"]["username"] = "other".into();
        only_conditions(&mut new, &with(&json!([]), "old"));
        assert_eq!(new, with(&json!([{"type": "Approved"}]), "old"));
    }

    #[test]
    fn a_signer_cannot_approve() {
        let mut new = with(
            &json!([{"type": "Approved", "reason": "mine"}, {"type": "Failed"}]),
            "pem",
        );
        keep_approval(&mut new, &with(&json!([{"type": "Denied"}]), ""));
        assert_eq!(new, with(&json!([{"type": "Denied"}, {"type": "Failed"}]), "pem"));
    }
}
