//! What the status of a namespace says about its deletion.
//!
//! Source: `pkg/controller/namespace/deletion/status_condition_utils.go`, specification of the API §8.

use std::collections::BTreeMap;
use std::sync::Arc;

use rota_api::{Object, Timestamp};
use serde_json::{Value, json};

use crate::json::time;

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
            value["lastTransitionTime"] = time(now).into();
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
    let kinds = counted(left.iter().map(|object| {
        let kind = object.resource();
        format!("{}.{}", kind.plural, kind.group)
    }));
    let finalizers = counted(left.iter().flat_map(|object| object.meta().finalizers.iter().cloned()));
    vec![
        fine(
            "NamespaceDeletionDiscoveryFailure",
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        fine(
            "NamespaceDeletionGroupVersionParsingFailure",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        fine(
            "NamespaceDeletionContentFailure",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        match kinds.is_empty() {
            true => fine(
                "NamespaceContentRemaining",
                "ContentRemoved",
                "All content successfully removed",
            ),
            false => Condition {
                type_: "NamespaceContentRemaining",
                status: "True",
                reason: "SomeResourcesRemain",
                message: format!("Some resources are remaining: {}", join(&kinds, "has")),
            },
        },
        match finalizers.is_empty() {
            true => fine(
                "NamespaceFinalizersRemaining",
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished",
            ),
            false => Condition {
                type_: "NamespaceFinalizersRemaining",
                status: "True",
                reason: "SomeFinalizersRemain",
                message: format!(
                    "Some content in the namespace has finalizers remaining: {}",
                    join(&finalizers, "in")
                ),
            },
        },
    ]
}

/// How often each word occurs.
fn counted(words: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for word in words {
        *counts.entry(word).or_default() += 1;
    }
    counts
}

fn join(counts: &BTreeMap<String, usize>, verb: &str) -> String {
    let told: Vec<String> = counts
        .iter()
        .map(|(word, count)| format!("{word} {verb} {count} resource instances"))
        .collect();
    told.join(", ")
}
