//! Who asked for a certificate, and since when it is approved.
//!
//! The requester is whoever makes the object, whatever the object says. Source: kubernetes
//! `pkg/registry/certificates/certificates/strategy.go`.

use serde_json::{Value, json};

use crate::env::whole_seconds;
use crate::fields;
use crate::session::Session;

/// Writes into a new request who makes it.
pub(super) fn admit(session: &Session<'_>, request: &mut Value) {
    let caller = session.caller;
    let spec = fields::object(request, "spec");
    for field in ["username", "uid", "groups", "extra"] {
        spec.remove(field);
    }
    spec.insert("username".to_owned(), caller.user.as_str().into());
    spec.insert("groups".to_owned(), json!(caller.groups));
    if !caller.uid.is_empty() {
        spec.insert("uid".to_owned(), caller.uid.as_str().into());
    }
    if !caller.extra.is_empty() {
        spec.insert("extra".to_owned(), json!(caller.extra));
    }
}

/// Gives conditions that do not say it the times of their last change.
pub(super) fn admit_change(session: &Session<'_>, request: &mut Value, old: &Value) {
    let now = whole_seconds(session.now);
    let before = old["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let Some(conditions) = request["status"]["conditions"].as_array_mut() else {
        return;
    };
    for condition in conditions {
        if condition["lastUpdateTime"].is_null() {
            condition["lastUpdateTime"] = now.as_str().into();
        }
        if condition["lastTransitionTime"].is_null() {
            let same = |other: &&Value| other["type"] == condition["type"] && other["status"] == condition["status"];
            let since = before
                .iter()
                .find(same)
                .map(|other| other["lastTransitionTime"].clone());
            let since = since.filter(|since| !since.is_null());
            condition["lastTransitionTime"] = since.unwrap_or_else(|| now.as_str().into());
        }
    }
}
