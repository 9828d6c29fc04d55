//! Judging: whether the Job has come to an end, and which.
//!
//! The first rule that holds decides. A decision is written down (SuccessCriteriaMet, FailureTarget) before the Job is
//! finished, and is final from then on: no later pod overturns it.
//! Source: `syncJob` in `pkg/controller/job/job_controller.go`, specification §4.6 S15.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rota_api::k8s::api::batch::v1::JobCondition;
use rota_api::resource;

use super::claim::FAILED;
use super::count::Tally;
use super::indexes::Indexes;
use super::limits::DEADLINE_SECS_MAX;
use super::per_index;
use super::pod_failure_policy::{self, FailureAction};
use super::seen::{Phase, SeenJob, SeenPod, condition};
use super::success_policy;
use crate::World;

/// How a Job ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    Failure,
}

impl Outcome {
    /// The condition that announces it.
    pub(super) fn interim(self) -> &'static str {
        match self {
            Self::Success => condition::SUCCESS_CRITERIA_MET,
            Self::Failure => condition::FAILURE_TARGET,
        }
    }

    /// The condition that seals it.
    pub(super) fn terminal(self) -> &'static str {
        match self {
            Self::Success => condition::COMPLETE,
            Self::Failure => condition::FAILED,
        }
    }
}

/// The decision that a Job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) outcome: Outcome,
    pub(super) reason: String,
    pub(super) message: String,
    /// The status says so already.
    pub(super) is_stored: bool,
}

impl Decision {
    /// The end of a Job whose completions are reached.
    pub(super) fn completions_reached() -> Self {
        Self::new(
            Outcome::Success,
            "CompletionsReached",
            "Reached expected number of succeeded pods",
        )
    }

    fn failure(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Outcome::Failure, reason, message)
    }

    fn new(outcome: Outcome, reason: &str, message: impl Into<String>) -> Self {
        Self {
            outcome,
            reason: reason.to_owned(),
            message: message.into(),
            is_stored: false,
        }
    }

    fn stored(outcome: Outcome, condition: &JobCondition) -> Self {
        Self {
            outcome,
            reason: condition.reason.clone().unwrap_or_default(),
            message: condition.message.clone().unwrap_or_default(),
            is_stored: true,
        }
    }
}

/// What was found out about a Job before its size is looked at.
pub(super) struct Judgement {
    /// The end, if there is one.
    pub(super) decision: Option<Decision>,
    /// Indexes that have failed for good; `None` without `backoffLimitPerIndex`.
    pub(super) failed_indexes: Option<Indexes>,
    /// Positions of the failed pods that indexes keep until their replacement runs.
    pub(super) retained: BTreeMap<u32, usize>,
    /// When the deadline passes.
    pub(super) deadline: Option<Timestamp>,
}

/// Judges a Job that started at `start`.
pub(super) fn judge(
    job: &SeenJob<'_>,
    pods: &[SeenPod<'_>],
    tally: &Tally,
    start: Option<Timestamp>,
    world: &World,
    now: Timestamp,
) -> Judgement {
    let deadline = deadline(job, start);
    let failed_indexes = per_index::failed_indexes(job, pods);
    let settled = tally
        .succeeded_indexes
        .union(failed_indexes.as_ref().unwrap_or(&Indexes::default()));
    let decision = stored(job)
        .or_else(|| failed_by_policy(job, pods, world))
        .or_else(|| over_backoff_limit(job, pods, tally))
        .or_else(|| {
            let has_passed = deadline.is_some_and(|at| now >= at);
            has_passed.then(|| Decision::failure("DeadlineExceeded", "Job was active longer than specified deadline"))
        })
        .or_else(|| failed_by_indexes(job, failed_indexes.as_ref()?, tally))
        .or_else(|| {
            let rule = success_policy::met(job, &tally.succeeded_indexes)?;
            Some(Decision::new(
                Outcome::Success,
                "SuccessPolicy",
                format!("Matched rules at index {rule}"),
            ))
        });
    Judgement {
        decision,
        retained: per_index::retained(job, pods, &settled),
        failed_indexes,
        deadline,
    }
}

fn stored(job: &SeenJob<'_>) -> Option<Decision> {
    [Outcome::Success, Outcome::Failure]
        .into_iter()
        .find_map(|outcome| Some(Decision::stored(outcome, job.condition(outcome.interim())?)))
}

/// Pods that were counted before are looked at as well: the rule must hold even if somebody took a finalizer off.
fn failed_by_policy(job: &SeenJob<'_>, pods: &[SeenPod<'_>], world: &World) -> Option<Decision> {
    if !pod_failure_policy::can_fail_job(job) {
        return None;
    }
    let message = |pod: &SeenPod<'_>| match pod_failure_policy::action(job, pod) {
        FailureAction::FailJob(message) => Some(message),
        FailureAction::FailIndex | FailureAction::Ignore | FailureAction::Count => None,
    };
    let uid = &job.object.meta().uid;
    let mut counted = world
        .find(resource::PODS, FAILED.name, uid)
        .map(|pod| SeenPod::of(pod, job, false));
    let found = pods
        .iter()
        .filter(|pod| pod.has_failed)
        .find_map(message)
        .or_else(|| counted.find_map(|pod| message(&pod)));
    found.map(|message| Decision::failure("PodFailurePolicy", message))
}

fn over_backoff_limit(job: &SeenJob<'_>, pods: &[SeenPod<'_>], tally: &Tally) -> Option<Decision> {
    let is_over = tally.failed > job.backoff_limit || restarts_reach_limit(job, pods);
    is_over.then(|| Decision::failure("BackoffLimitExceeded", "Job has reached the specified backoff limit"))
}

/// With `restartPolicy: OnFailure` the restarts of containers count as failures of pods do.
fn restarts_reach_limit(job: &SeenJob<'_>, pods: &[SeenPod<'_>]) -> bool {
    let policy = job
        .spec()
        .template
        .spec
        .as_ref()
        .and_then(|spec| spec.restart_policy.as_deref());
    if policy != Some("OnFailure") {
        return false;
    }
    let alive = pods
        .iter()
        .filter(|pod| matches!(pod.phase, Phase::Pending | Phase::Running));
    let restarts: i64 = alive
        .filter_map(SeenPod::status)
        .flat_map(|s| {
            s.init_container_statuses
                .iter()
                .flatten()
                .chain(s.container_statuses.iter().flatten())
        })
        .map(|container| i64::from(container.restart_count))
        .sum();
    restarts > 0 && restarts >= i64::from(job.backoff_limit)
}

fn deadline(job: &SeenJob<'_>, start: Option<Timestamp>) -> Option<Timestamp> {
    let secs = job.spec().active_deadline_seconds.filter(|_| !job.is_suspended)?;
    if secs > DEADLINE_SECS_MAX {
        return None;
    }
    start?.checked_add(SignedDuration::from_secs(secs)).ok()
}

fn failed_by_indexes(job: &SeenJob<'_>, failed: &Indexes, tally: &Tally) -> Option<Decision> {
    let count = failed.count();
    let max = job.spec().max_failed_indexes.map(|max| max.max(0).unsigned_abs());
    if max.is_some_and(|max| count > max) {
        return Some(Decision::failure(
            "MaxFailedIndexesExceeded",
            "Job has exceeded the specified maximal number of failed indexes",
        ));
    }
    let all_done = count > 0 && count.saturating_add(tally.succeeded) >= job.index_count();
    all_done.then(|| Decision::failure("FailedIndexes", "Job has failed indexes"))
}
