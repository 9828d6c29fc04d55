//! What the status of a namespace says about its deletion.
//!
//! Source: `pkg/controller/namespace/deletion/status_condition_utils.go`, specification of the API §8.

use std::collections::BTreeSet;
use std::sync::Arc;

use rota_api::{Object, Timestamp};
use serde_json::{Value, json};

/// The conditions that differ from those that `namespace` has, as entries of a strategic merge patch; `None`: all are as
/// they should be. `left` is what still is in the namespace.
pub(super) fn changed(namespace: &Value, left: &[&Arc<Object>], now: Timestamp) -> Option<Value> {
    let present = namespace["status"]["conditions"].as_array();
    let differing: Vec<Value> = wanted(left)
        .into_iter()
        .filter_map(|condition| {
            let same_type = |other: &&Value| other["type"] == condition.type_;
            let old = present.into_iter().flatten().find(same_type);
            condition.unless(old, now)
        })
        .collect();
    (!differing.is_empty()).then(|| differing.into())
}

struct Condition {
    type_: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl Condition {
    /// The condition as JSON, unless `old` says the same.
    fn unless(&self, old: Option<&Value>, now: Timestamp) -> Option<Value> {
        let is_same = old.is_some_and(|old| {
            old["status"] == self.status && old["reason"] == self.reason && old["message"] == self.message
        });
        if is_same {
            return None;
        }
        let mut value = json!({
            "type": self.type_,
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
        });
        if old.is_none_or(|old| old["status"] != self.status) {
            value["lastTransitionTime"] = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
        }
        Some(value)
    }
}

/// All conditions. Kinds are known and deletions are requested, so the first three never turn true; a refused deletion is
/// tried again and logged.
fn wanted(left: &[&Arc<Object>]) -> Vec<Condition> {
    let fine = |type_, reason, message: &str| Condition {
        type_,
        status: "False",
        reason,
        message: message.to_owned(),
    };
    let kinds: BTreeSet<String> = left.iter().map(|object| object.resource().qualified()).collect();
    let finalizers: BTreeSet<&str> = left
        .iter()
        .flat_map(|object| &object.meta().finalizers)
        .map(String::as_str)
        .collect();
    vec![
        fine(
            "NamespaceDeletionDiscoveryFailure",
            "ResourcesDiscovered",
            "all kinds of objects are known",
        ),
        fine(
            "NamespaceDeletionGroupVersionParsingFailure",
            "ParsedGroupVersions",
            "all groups and versions are known",
        ),
        fine(
            "NamespaceDeletionContentFailure",
            "ContentDeleted",
            "the deletion of all objects has been requested",
        ),
        match kinds.is_empty() {
            true => fine("NamespaceContentRemaining", "ContentRemoved", "no object is left"),
            false => Condition {
                type_: "NamespaceContentRemaining",
                status: "True",
                reason: "SomeResourcesRemain",
                message: format!("objects of these kinds are left: {}", join(&kinds)),
            },
        },
        match finalizers.is_empty() {
            true => fine(
                "NamespaceFinalizersRemaining",
                "ContentHasNoFinalizers",
                "no finalizer keeps an object",
            ),
            false => Condition {
                type_: "NamespaceFinalizersRemaining",
                status: "True",
                reason: "SomeFinalizersRemain",
                message: format!("these finalizers keep objects: {}", join(&finalizers)),
            },
        },
    ]
}

fn join<T: AsRef<str>>(words: &BTreeSet<T>) -> String {
    words.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}
