//! What is counted and timed about Jobs.
//!
//! Source: `pkg/controller/job/metrics/metrics.go` and `pkg/controller/ttlafterfinished/metrics`, specification §7. Names,
//! labels and buckets are upstream's. Left out is `stale_sync_skips_total`: a sync on a stale picture does not begin here, so
//! that there is none to skip.

use std::ops::Range;

use super::judge::{Decision, Outcome};
use super::manager::Manager;
use super::pod_failure_policy::FailureAction;
use super::report::Population;
use super::seen::{SeenJob, is_tracked};
use super::size::Sizing;
use super::track::Tracking;
use crate::metric::{Amount, Family, FamilyKind, Measurement, When};
use crate::{Plan, WorldChange};
use rota_api::{Object, resource};

/// How long it took to look at a Job and to carry out what was decided.
pub static SYNC_SECONDS: Family = Family {
    name: "job_controller_job_sync_duration_seconds",
    help: "The time it took to sync a Job.",
    kind: FamilyKind::Histogram {
        first: 0.004,
        factor: 2.0,
        buckets: 15,
    },
    labels: &["completion_mode", "result", "action"],
};

/// How often a Job was looked at.
pub static SYNCS: Family = Family {
    name: "job_controller_job_syncs_total",
    help: "The number of Job syncs.",
    kind: FamilyKind::Counter,
    labels: &["completion_mode", "result", "action"],
};

/// Jobs that came to an end.
pub static JOBS_FINISHED: Family = Family {
    name: "job_controller_jobs_finished_total",
    help: "The number of finished Jobs.",
    kind: FamilyKind::Counter,
    labels: &["completion_mode", "result", "reason"],
};

/// Pods that were counted.
pub static PODS_FINISHED: Family = Family {
    name: "job_controller_job_pods_finished_total",
    help: "The number of finished pods that were counted.",
    kind: FamilyKind::Counter,
    labels: &["completion_mode", "result"],
};

/// Failed pods by the action of the rule that matched them.
pub static FAILURES_HANDLED: Family = Family {
    name: "job_controller_pod_failures_handled_by_failure_policy_total",
    help: "The number of failed pods that a rule of a pod failure policy matched, by the rule's action.",
    kind: FamilyKind::Counter,
    labels: &["action"],
};

/// Pods that had ended and carried the finalizer, and those that no longer do.
pub static TERMINATED_PODS_TRACKED: Family = Family {
    name: "job_controller_terminated_pods_tracking_finalizer_total",
    help: "The number of terminated pods that began (add) or ceased (delete) to carry the tracking finalizer.",
    kind: FamilyKind::Counter,
    labels: &["event"],
};

/// Indexes that came to an end.
pub static INDEXES_FINISHED: Family = Family {
    name: "job_controller_job_finished_indexes_total",
    help: "The number of finished indexes.",
    kind: FamilyKind::Counter,
    labels: &["status", "backoffLimit"],
};

/// Pods that were created, or not allowed to be.
pub static PODS_CREATED: Family = Family {
    name: "job_controller_job_pods_creation_total",
    help: "The number of pods created, by the reason and by whether it worked.",
    kind: FamilyKind::Counter,
    labels: &["reason", "status"],
};

/// Jobs that another controller looks after.
pub static EXTERNAL_JOBS: Family = Family {
    name: "job_controller_jobs_by_external_controller_total",
    help: "The number of Jobs that another controller manages.",
    kind: FamilyKind::Counter,
    labels: &["controller_name"],
};

/// What the counters of a status have gained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gains {
    pub(super) succeeded: u32,
    pub(super) failed: u32,
    pub(super) failed_indexes: u32,
}

/// What a change counts for by itself.
pub(super) fn of_change(change: &WorldChange, manager: &Manager) -> Vec<Measurement> {
    if change.resource() == resource::JOBS {
        let created = change.new.as_ref().filter(|_| change.old.is_none());
        let job = created.and_then(SeenJob::of).filter(|job| !manager.looks_after(job));
        let external = job.map(|job| Measurement::one(&EXTERNAL_JOBS, [job.manager().to_owned()]));
        return external.into_iter().collect();
    }
    let is_held = |pod: &Object| is_tracked(pod) && matches!(pod.meta().phase.as_str(), "Succeeded" | "Failed");
    let was = change.old.as_ref().is_some_and(|pod| is_held(pod));
    let is = change.new.as_ref().is_some_and(|pod| is_held(pod));
    let event = match (was, is) {
        (false, true) => "add",
        (true, false) => "delete",
        _ => return Vec::new(),
    };
    vec![Measurement::one(&TERMINATED_PODS_TRACKED, [event])]
}

/// Counts and times the look itself. `sizing`: `None` where the Job was not sized.
pub(super) fn of_sync(plan: &mut Plan, job: &SeenJob<'_>, sizing: Option<&Sizing>) {
    let action = match sizing {
        None => "reconciling",
        Some(sizing) if job.is_suspended || !sizing.stop.is_empty() => "pods_deleted",
        Some(sizing) if !sizing.create.is_empty() || sizing.due.is_some() => "pods_created",
        Some(_) => "tracking",
    };
    for (result, when) in [("success", When::Complete), ("error", When::Refused)] {
        let labels = [mode(job), result, action];
        plan.measure(Measurement::one(&SYNCS, labels).when(when));
        plan.measure(Measurement::one(&SYNC_SECONDS, labels).amount(Amount::Took).when(when));
    }
}

/// Counts what the write of the status at index `status` makes true.
pub(super) fn of_status(
    plan: &mut Plan,
    status: usize,
    job: &SeenJob<'_>,
    gains: Gains,
    tracking: &Tracking,
    finished: Option<&Decision>,
) {
    let mut count = |amount: u32, family, labels: &[&'static str]| {
        if amount > 0 {
            let measurement = Measurement::exactly(amount.into(), family, labels.iter().copied());
            plan.measure(measurement.when(When::Done(status)));
        }
    };
    count(gains.succeeded, &PODS_FINISHED, &[mode(job), "succeeded"]);
    count(gains.failed, &PODS_FINISHED, &[mode(job), "failed"]);
    if job.is_indexed {
        let limit = if job.backoff_limit_per_index.is_some() {
            "perIndex"
        } else {
            "global"
        };
        count(gains.succeeded, &INDEXES_FINISHED, &["succeeded", limit]);
        count(gains.failed_indexes, &INDEXES_FINISHED, &["failed", limit]);
    }
    for (action, pods) in &tracking.handled {
        count(*pods, &FAILURES_HANDLED, &[*action]);
    }
    if let Some(decision) = finished {
        let result = match decision.outcome {
            Outcome::Success => "succeeded",
            Outcome::Failure => "failed",
        };
        let labels = [mode(job).to_owned(), result.to_owned(), decision.reason.clone()];
        plan.measure(Measurement::one(&JOBS_FINISHED, labels).when(When::Done(status)));
    }
}

/// Counts the creations at these indexes of the plan.
pub(super) fn of_creations(
    plan: &mut Plan,
    created: Range<usize>,
    job: &SeenJob<'_>,
    seen: Population,
    has_failed: bool,
) {
    if created.is_empty() {
        return;
    }
    let reason = if job.spec().pod_replacement_policy.as_deref() == Some("Failed") && has_failed {
        "recreate_failed"
    } else if has_failed || seen.terminating > 0 {
        "recreate_terminating_or_failed"
    } else {
        "new"
    };
    let one = |status| Measurement::one(&PODS_CREATED, [reason, status]);
    plan.measure(one("succeeded").amount(Amount::Done(created.clone())));
    plan.measure(one("failed").amount(Amount::Refused(created)));
}

/// The word for a rule's action.
pub(super) fn action_word(action: &FailureAction) -> &'static str {
    match action {
        FailureAction::FailJob(_) => "FailJob",
        FailureAction::FailIndex => "FailIndex",
        FailureAction::Ignore => "Ignore",
        FailureAction::Count => "Count",
    }
}

fn mode(job: &SeenJob<'_>) -> &'static str {
    if job.is_indexed { "Indexed" } else { "NonIndexed" }
}
