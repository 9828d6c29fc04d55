//! The status: how many nodes have what they should have.
//!
//! Counted from what is seen, so that a status never claims what a refused creation did not bring about.
//! Source: specification §18.

use rota_api::k8s::api::apps::v1::DaemonSetStatus;
use rota_api::{Write, resource};
use serde_json::{Value, json};

use super::seen::SeenDaemonSet;
use super::standing::Counts;

/// The status to write; `None` when it says all this already.
pub(super) fn report(set: &SeenDaemonSet<'_>, counts: Counts) -> Option<Write> {
    (!is_reported(set, counts)).then(|| write(set, counts))
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
