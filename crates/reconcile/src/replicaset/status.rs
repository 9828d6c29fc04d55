//! What the status says: how many pods there are, how many of them are fit.
//!
//! Source: `calculateStatus` in `pkg/controller/replicaset/replica_set_utils.go`, specification §25.

use rota_api::{Timestamp, Write, resource};
use serde_json::{Map, Value, json};

use super::claim::Claimed;
use super::seen::{SeenPod, SeenReplicaSet};
use crate::json::time;

/// The write that makes the status true; `None` when it is.
/// `is_short`: pods are missing; the condition that says why some could not be created stays until none is.
pub(super) fn write(set: &SeenReplicaSet<'_>, claimed: &Claimed<'_>, is_short: bool, now: Timestamp) -> Option<Write> {
    let old = set
        .status()
        .and_then(|status| serde_json::to_value(status).ok())
        .unwrap_or_else(|| json!({}));
    let mut patch = Map::new();
    for (field, value) in counts(set, claimed, now) {
        if old[field] != value {
            patch.insert(field.to_owned(), value);
        }
    }
    let others = other_conditions(set);
    if !is_short && others.len() < conditions(set).len() {
        let left = if others.is_empty() { Value::Null } else { others.into() };
        patch.insert("conditions".to_owned(), left);
    }
    (!patch.is_empty()).then(|| merge(set, patch.into()))
}

/// The condition that says that pods could not be created.
const REPLICA_FAILURE: &str = "ReplicaFailure";

/// The write that says that a pod could not be created, and where in it the reason goes; `None` when that is said already.
pub(super) fn failure(set: &SeenReplicaSet<'_>, now: Timestamp) -> Option<(Write, &'static str)> {
    let is_said = |condition: &Value| condition["type"] == REPLICA_FAILURE && condition["status"] == "True";
    if conditions(set).iter().any(is_said) {
        return None;
    }
    let mut conditions = vec![json!({
        "type": REPLICA_FAILURE,
        "status": "True",
        "reason": "FailedCreate",
        "message": "",
        "lastTransitionTime": time(now),
    })];
    conditions.extend(other_conditions(set));
    let write = merge(set, json!({"conditions": conditions}));
    Some((write, "/status/conditions/0/message"))
}

fn conditions(set: &SeenReplicaSet<'_>) -> Vec<Value> {
    let conditions = set.status().and_then(|status| status.conditions.as_ref());
    let json = conditions.and_then(|conditions| serde_json::to_value(conditions).ok());
    json.and_then(|json| json.as_array().cloned()).unwrap_or_default()
}

/// The conditions of others.
fn other_conditions(set: &SeenReplicaSet<'_>) -> Vec<Value> {
    let mut others = conditions(set);
    others.retain(|condition| condition["type"] != REPLICA_FAILURE);
    others
}

fn merge(set: &SeenReplicaSet<'_>, status: Value) -> Write {
    let meta = set.object.meta();
    let body = Map::from_iter([("status".to_owned(), status)]).into();
    Write::merge_status(resource::REPLICA_SETS, &meta.namespace, &meta.name, body).if_uid(&meta.uid)
}

fn counts(set: &SeenReplicaSet<'_>, claimed: &Claimed<'_>, now: Timestamp) -> [(&'static str, Value); 6] {
    let template = set.spec().template.as_ref().and_then(|t| t.metadata.as_ref());
    let labels = template.and_then(|metadata| metadata.labels.as_ref());
    let is_fully_labelled = |pod: &SeenPod<'_>| {
        let mut wanted = labels.into_iter().flatten();
        wanted.all(|(key, value)| pod.object.meta().labels.get(key) == Some(value))
    };
    let is_available = |pod: &SeenPod<'_>| pod.available_at(set.min_ready).is_some_and(|at| at <= now);
    let count = |is_one: &dyn Fn(&SeenPod<'_>) -> bool| claimed.active.iter().filter(|pod| is_one(pod)).count();
    // The API leaves out a zero, except in the fields that say how many pods there are.
    let or_absent = |count: usize| if count == 0 { Value::Null } else { count.into() };
    [
        ("replicas", claimed.active.len().into()),
        ("terminatingReplicas", claimed.terminating.into()),
        ("fullyLabeledReplicas", or_absent(count(&is_fully_labelled))),
        ("readyReplicas", or_absent(count(&|pod| pod.ready.is_some()))),
        ("availableReplicas", or_absent(count(&is_available))),
        ("observedGeneration", set.object.meta().generation.into()),
    ]
}

/// When the next ready pod becomes available.
pub(super) fn next_available(set: &SeenReplicaSet<'_>, claimed: &Claimed<'_>, now: Timestamp) -> Option<Timestamp> {
    let pods = claimed.active.iter();
    pods.filter_map(|pod| pod.available_at(set.min_ready))
        .filter(|at| *at > now)
        .min()
}
