//! What is counted and timed about CronJobs.
//!
//! The skew is upstream's; upstream counts nothing else. Runs that did not start as planned are counted under names of our
//! own, so that an alert can be raised without reading events.
//! Source: `pkg/controller/cronjob/metrics`, specification §5, §9 H10.

use rota_api::Timestamp;

use super::due::{Dropped, Why};
use crate::Plan;
use crate::metric::{Family, FamilyKind, Measurement, When};

/// How late Jobs were created.
pub static CREATION_SKEW: Family = Family {
    name: "cronjob_controller_job_creation_skew_duration_seconds",
    help: "The time between the instant of a run and the creation of its Job.",
    kind: FamilyKind::Histogram {
        first: 1.0,
        factor: 2.0,
        buckets: 10,
    },
    labels: &[],
};

/// Runs for which no Job was started.
pub static MISSED: Family = Family {
    name: "rota_cronjob_missed_runs_total",
    help: "The number of runs for which no Job was started, by reason.",
    kind: FamilyKind::Counter,
    labels: &["reason"],
};

/// Runs that had to wait for a running Job.
pub static FORBIDDEN: Family = Family {
    name: "rota_cronjob_forbidden_runs_total",
    help: "The number of runs that did not start at their instant because a Job was running.",
    kind: FamilyKind::Counter,
    labels: &[],
};

/// Jobs that were deleted to make room for a later run.
pub static REPLACED: Family = Family {
    name: "rota_cronjob_replaced_jobs_total",
    help: "The number of Jobs that were deleted because a later run replaced them.",
    kind: FamilyKind::Counter,
    labels: &[],
};

const NO_LABELS: [&str; 0] = [];

/// A Job was created by the action `created` for `at`, now.
pub(super) fn started(plan: &mut Plan, at: Timestamp, now: Timestamp, created: usize) {
    // As upstream measures it: between whole seconds, the server's creation timestamp being one.
    let late_secs = now.as_second() - at.as_second();
    #[expect(clippy::cast_precision_loss, reason = "a delay of 2^52 seconds has never been")]
    let measurement = Measurement::exactly(late_secs as f64, &CREATION_SKEW, NO_LABELS);
    plan.measure(measurement.when(When::Done(created)));
}

/// So many runs did not start.
pub(super) fn missed(plan: &mut Plan, dropped: &Dropped) {
    let reason = match dropped.why {
        Why::OnlyLatest | Why::CatchUpLimit(_) => "superseded",
        Why::TooLate => "deadline",
        Why::NoCatchUp => "catch-up",
        Why::StillRunning => "forbid",
    };
    #[expect(clippy::cast_precision_loss, reason = "2^52 runs have never been missed")]
    plan.measure(Measurement::exactly(dropped.count as f64, &MISSED, [reason]));
}

/// A run waits for a running Job.
pub(super) fn forbidden(plan: &mut Plan) {
    plan.measure(Measurement::one(&FORBIDDEN, NO_LABELS));
}

/// The action `deleted` makes room.
pub(super) fn replaced(plan: &mut Plan, deleted: usize) {
    plan.measure(Measurement::one(&REPLACED, NO_LABELS).when(When::Done(deleted)));
}
