//! The status: how many nodes have what they should have.
//!
//! Counted from what is seen, so that a status never claims what a refused creation did not bring about.
//! Source: specification §18.

use rota_api::k8s::api::apps::v1::DaemonSetStatus;
use rota_api::{Timestamp, Write, resource};
use serde_json::{Value, json};

use super::placed::Placed;
use super::seen::SeenDaemonSet;

/// The status to write, and when it will be another.
pub(super) struct Report {
    pub(super) write: Option<Write>,
    pub(super) wake: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    desired: i32,
    current: i32,
    misscheduled: i32,
    ready: i32,
    available: i32,
    updated: i32,
}

/// Counts, and compares with what the status says.
pub(super) fn report(set: &SeenDaemonSet<'_>, placed: &Placed<'_>, now: Timestamp) -> Report {
    let mut counts = Counts::default();
    let mut wake: Option<Timestamp> = None;
    for node in placed.nodes.values().filter(|node| node.exists()) {
        let first = node.pods.first();
        if !node.should_run() {
            counts.misscheduled += i32::from(first.is_some());
            continue;
        }
        counts.desired += 1;
        let Some(pod) = first else { continue };
        counts.current += 1;
        counts.updated += i32::from(pod.is_updated);
        counts.ready += i32::from(pod.is_ready());
        if pod.is_available(set.min_ready(), now) {
            counts.available += 1;
        }
    }
    // Any pod that will become available may let a rollout go on, not only the one that is counted.
    for pod in placed.nodes.values().flat_map(|node| node.remaining()) {
        let later = pod.available_at(set.min_ready()).filter(|at| *at > now);
        wake = wake.into_iter().chain(later).min();
    }
    Report {
        write: (!is_reported(set, counts)).then(|| write(set, counts)),
        wake,
    }
}

fn is_reported(set: &SeenDaemonSet<'_>, counts: Counts) -> bool {
    let status = set.status().cloned().unwrap_or_default();
    counts == reported(&status)
        && status.number_unavailable.unwrap_or_default() == counts.desired - counts.available
        && set.observed_generation() >= set.object.meta().generation
}

fn reported(status: &DaemonSetStatus) -> Counts {
    Counts {
        desired: status.desired_number_scheduled,
        current: status.current_number_scheduled,
        misscheduled: status.number_misscheduled,
        ready: status.number_ready,
        available: status.number_available.unwrap_or_default(),
        updated: status.updated_number_scheduled.unwrap_or_default(),
    }
}

fn write(set: &SeenDaemonSet<'_>, counts: Counts) -> Write {
    // A count that is absent when it is zero is taken away by a null.
    let or_absent = |count: i32| if count == 0 { Value::Null } else { count.into() };
    let meta = set.object.meta();
    let status = json!({
        "currentNumberScheduled": counts.current,
        "numberMisscheduled": counts.misscheduled,
        "desiredNumberScheduled": counts.desired,
        "numberReady": counts.ready,
        "observedGeneration": meta.generation,
        "updatedNumberScheduled": or_absent(counts.updated),
        "numberAvailable": or_absent(counts.available),
        "numberUnavailable": or_absent(counts.desired - counts.available),
    });
    Write::merge_status(
        resource::DAEMON_SETS,
        &meta.namespace,
        &meta.name,
        json!({"status": status}),
    )
    .if_uid(&meta.uid)
}
