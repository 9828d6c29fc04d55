//! The taints that a node should have by its conditions.
//!
//! | condition | key below `node.kubernetes.io/` |
//! | --- | --- |
//! | Ready False, Unknown | `not-ready`, `unreachable` |
//! | MemoryPressure, DiskPressure, PIDPressure True | `memory-pressure`, `disk-pressure`, `pid-pressure` |
//! | NetworkUnavailable True | `network-unavailable` |
//! | `spec.unschedulable` | `unschedulable` |
//!
//! All of them as `NoSchedule`, the first two as `NoExecute` too. Taints under other keys belong to others.
//! Source: specification of nodes and pods §3.2 and §3.3.

use rota_api::Timestamp;
use rota_api::k8s::api::core::v1::Taint;
use rota_api::k8s::apimachinery::pkg::apis::meta::v1::Time;
use rota_api::taints::{
    DISK_PRESSURE, MEMORY_PRESSURE, NETWORK_UNAVAILABLE, NO_EXECUTE, NO_SCHEDULE, NOT_READY, PID_PRESSURE, UNREACHABLE,
    UNSCHEDULABLE,
};
use serde_json::{Value, json};

use super::node::NodeView;
use crate::conditions::READY;

/// Condition, status, key.
const BY_CONDITION: [(&str, &str, &str); 6] = [
    (READY, "False", NOT_READY),
    (READY, "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", MEMORY_PRESSURE),
    ("DiskPressure", "True", DISK_PRESSURE),
    ("PIDPressure", "True", PID_PRESSURE),
    ("NetworkUnavailable", "True", NETWORK_UNAVAILABLE),
];

/// The keys that should be there as `NoSchedule`; `unknown` holds conditions that the node will have instead of its own.
pub(super) fn no_schedule(node: &NodeView<'_>, unknown: &[Value]) -> Vec<&'static str> {
    let has = |type_: &str, status: &str| match unknown.iter().find(|condition| condition["type"] == type_) {
        Some(condition) => condition["status"] == status,
        None => node.status_of(type_) == Some(status),
    };
    let by_condition = BY_CONDITION
        .into_iter()
        .filter(|(type_, status, _)| has(type_, status))
        .map(|(.., key)| key);
    by_condition
        .chain(node.is_unschedulable().then_some(UNSCHEDULABLE))
        .collect()
}

/// The key that should be there as `NoExecute` by what the node's Ready condition says.
pub(super) fn no_execute(node: &NodeView<'_>) -> Option<&'static str> {
    match node.status_of(READY)? {
        "False" => Some(NOT_READY),
        "Unknown" => Some(UNREACHABLE),
        _ => None,
    }
}

/// True when the node has one of the `NoExecute` taints already, so that changing it into the other makes nothing worse.
pub(super) fn has_no_execute(node: &NodeView<'_>) -> bool {
    node.taints().iter().any(is_no_execute)
}

/// The taints of ours that a node should have, by key.
pub(super) struct Wanted {
    pub(super) no_schedule: Vec<&'static str>,
    pub(super) no_execute: Option<&'static str>,
}

impl Wanted {
    /// The whole list that is to replace that of the node, null where nothing is left; `None`: it is as it should be.
    pub(super) fn replacing(&self, node: &NodeView<'_>, now: Timestamp) -> Option<Value> {
        let present = node.taints();
        let wanted: Vec<(&str, &str)> = self
            .no_schedule
            .iter()
            .map(|key| (*key, NO_SCHEDULE))
            .chain(self.no_execute.map(|key| (key, NO_EXECUTE)))
            .collect();
        let added: Vec<Taint> = wanted
            .iter()
            .filter(|(key, effect)| !present.iter().any(|t| t.key == *key && t.effect == *effect))
            .map(|(key, effect)| taint(key, effect, now))
            .collect();
        let is_kept = |taint: &&Taint| {
            let is_ours = is_no_schedule(taint) || is_no_execute(taint);
            !is_ours || wanted.contains(&(&taint.key, &taint.effect))
        };
        let kept: Vec<&Taint> = present.iter().filter(is_kept).collect();
        if added.is_empty() && kept.len() == present.len() {
            return None;
        }
        let taints: Vec<&Taint> = kept.into_iter().chain(&added).collect();
        Some(match taints.is_empty() {
            true => Value::Null,
            false => json!(taints),
        })
    }
}

fn is_no_schedule(taint: &Taint) -> bool {
    let mut keys = BY_CONDITION.iter().map(|(.., key)| *key).chain([UNSCHEDULABLE]);
    taint.effect == NO_SCHEDULE && keys.any(|key| taint.key == key)
}

fn is_no_execute(taint: &Taint) -> bool {
    taint.effect == NO_EXECUTE && [NOT_READY, UNREACHABLE].contains(&taint.key.as_str())
}

fn taint(key: &str, effect: &str, now: Timestamp) -> Taint {
    Taint {
        effect: effect.to_owned(),
        key: key.to_owned(),
        time_added: Some(Time(now)),
        value: None,
    }
}
