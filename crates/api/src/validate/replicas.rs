//! The statuses of the kinds that keep pods running.
//!
//! Source: `spec/daemonset.md` §1; kubernetes `pkg/apis/apps/validation/validation.go`, `ValidateStatusReplicas` in
//! `pkg/apis/core/validation/validation.go`.

use super::cursor::{Cursor, Errors};
use super::meta;

/// What a kind counts in its status.
struct Counts {
    /// None of them is below zero.
    all: &'static [&'static str],
    /// None of them is above `replicas`.
    parts: &'static [&'static str],
    /// What is said of more available than ready pods.
    available: &'static str,
}

const DAEMON_SET: Counts = Counts {
    all: &[
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ],
    parts: &[],
    available: "",
};

const DEPLOYMENT: Counts = Counts {
    all: &[
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "terminatingReplicas",
        "collisionCount",
    ],
    parts: &["updatedReplicas", "readyReplicas", "availableReplicas"],
    available: "cannot be greater than readyReplicas",
};

const STATEFUL_SET: Counts = Counts {
    all: &[
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
        "observedGeneration",
        "collisionCount",
    ],
    parts: &[
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
    ],
    available: "cannot be greater than status.readyReplicas",
};

const REPLICA_SET: Counts = Counts {
    all: &[
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
        "terminatingReplicas",
    ],
    parts: &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"],
    available: "cannot be greater than readyReplicas",
};

/// A changed status of one of these kinds.
pub(super) fn update_status(new: &Cursor<'_>, old: &Cursor<'_>, kind: &str, errors: &mut Errors) {
    let counts = match kind {
        "DaemonSet" => &DAEMON_SET,
        "Deployment" => &DEPLOYMENT,
        "StatefulSet" => &STATEFUL_SET,
        _ => &REPLICA_SET,
    };
    meta::update(new, old, errors);
    let status = new.at("status");
    for field in counts.all {
        errors.check_not_negative(&status.at(field));
    }
    let number = |field: &str| status.at(field).integer().unwrap_or_default();
    for field in counts.parts {
        if number(field) > number("replicas") {
            errors.invalid_as(
                &status.at(field),
                number(field),
                "cannot be greater than status.replicas",
            );
        }
    }
    let available = number("availableReplicas");
    if !counts.parts.is_empty() && available > number("readyReplicas") {
        errors.invalid_as(&status.at("availableReplicas"), available, counts.available);
    }
    let (now, before) = (
        status.at("collisionCount"),
        old.value["status"]["collisionCount"].as_i64(),
    );
    if before.is_some_and(|before| now.integer().is_none_or(|now| now < before)) {
        errors.invalid_as(&now, now.integer().unwrap_or_default(), "cannot be decremented");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn complaints(kind: &str, new: Value, old: Value) -> Vec<String> {
        let object =
            |status| json!({"metadata": {"name": "x", "namespace": "d", "resourceVersion": "1"}, "status": status});
        let (new, old) = (object(new), object(old));
        let mut errors = Errors::default();
        update_status(&Cursor::root(&new), &Cursor::root(&old), kind, &mut errors);
        errors.into_list().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_stateful_set_counts_no_more_replicas_than_it_has() {
        let status = json!({"replicas": 1, "currentReplicas": -1, "updatedReplicas": 2, "availableReplicas": 1});
        assert_eq!(
            complaints("StatefulSet", status, json!({})),
            [
                "status.currentReplicas: Invalid value: -1: must be greater than or equal to 0",
                "status.updatedReplicas: Invalid value: 2: cannot be greater than status.replicas",
                "status.availableReplicas: Invalid value: 1: cannot be greater than status.readyReplicas",
            ]
        );
    }

    #[test]
    fn what_a_kind_does_not_count_is_not_complained_about() {
        for (kind, fields) in [
            ("StatefulSet", &STATEFUL_SET),
            ("Deployment", &DEPLOYMENT),
            ("ReplicaSet", &REPLICA_SET),
            ("DaemonSet", &DAEMON_SET),
        ] {
            let said = complaints(kind, json!({"replicas": -1}), json!({}));
            let about = said
                .iter()
                .map(|said| said.strip_prefix("status.").unwrap().split(':').next().unwrap());
            assert!(
                about.into_iter().all(|field| fields.all.contains(&field)),
                "{kind}: {said:?}"
            );
        }
    }

    #[test]
    fn collisions_that_are_left_out_are_none() {
        for kind in ["StatefulSet", "Deployment", "DaemonSet"] {
            assert_eq!(
                complaints(kind, json!({}), json!({"collisionCount": 5})),
                ["status.collisionCount: Invalid value: 0: cannot be decremented"]
            );
        }
    }
}
