//! Counting: which pods have ended since the status was written, and what the totals are with them.
//!
//! Each pod is counted exactly once. It first enters the status (its uid in `uncountedTerminatedPods`, or its index in
//! `completedIndexes`), then loses its finalizer, then its uid moves into a counter. A crash between any two of these
//! steps is repaired by the next look: a uid without finalizer has only the last step before it, a pod with a finalizer
//! has at least the second.
//! Source: `pkg/controller/job/tracking_utils.go`, specification §2.2 and §4.6 S12.

use std::collections::BTreeSet;

use rota_api::k8s::api::batch::v1::JobStatus;

use super::indexes::Indexes;
use super::pod_failure_policy::{self, FailureAction};
use super::seen::{Phase, SeenJob, SeenPod};

/// The uids of `status.uncountedTerminatedPods`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Uncounted {
    pub(super) succeeded: Vec<String>,
    pub(super) failed: Vec<String>,
}

impl Uncounted {
    /// How many uids there are.
    pub(super) fn count(&self) -> usize {
        self.succeeded.len() + self.failed.len()
    }
}

/// What is counted, by the status and by the pods that have ended since.
pub(super) struct Tally {
    /// Uids of the status whose pods still carry the finalizer.
    pub(super) waiting: Uncounted,
    /// `status.succeeded` with the uids whose finalizer is gone moved into it. Not used for Indexed Jobs.
    pub(super) settled_succeeded: u32,
    /// `status.failed` likewise.
    pub(super) settled_failed: u32,
    /// Positions of pods that have succeeded and still carry the finalizer, in the status or not.
    pub(super) tracked_succeeded: Vec<usize>,
    /// Positions of pods that have failed likewise.
    pub(super) tracked_failed: Vec<usize>,
    /// All successes, for decisions: pods, or indexes of an Indexed Job.
    pub(super) succeeded: u32,
    /// All failures that count, for decisions.
    pub(super) failed: u32,
    /// Indexed: the indexes that the status says have succeeded.
    pub(super) stored_indexes: Indexes,
    /// Indexed: these and the new ones.
    pub(super) succeeded_indexes: Indexes,
}

/// Counts the pods of a Job.
pub(super) fn count(job: &SeenJob<'_>, pods: &[SeenPod<'_>]) -> Tally {
    let stored = stored_uncounted(job);
    let known: BTreeSet<&str> = stored
        .succeeded
        .iter()
        .chain(&stored.failed)
        .map(String::as_str)
        .collect();
    let is_ours =
        |pod: &SeenPod<'_>| pod.is_tracked && (!job.is_indexed || pod.index_below(job.index_count()).is_some());
    let positions = |ended: fn(&SeenPod<'_>) -> bool| -> Vec<usize> {
        let tracked = pods.iter().enumerate().filter(|(_, pod)| ended(pod) && is_ours(pod));
        tracked.map(|(position, _)| position).collect()
    };
    let is_new = |position: &&usize| !known.contains(pods[**position].uid());
    let tracked_succeeded = positions(|pod| pod.phase == Phase::Succeeded);
    let tracked_failed = positions(|pod| pod.has_failed);
    let new_succeeded = tracked_succeeded.iter().filter(is_new).count();
    let counted = tracked_failed
        .iter()
        .filter(is_new)
        .filter(|p| pod_failure_policy::action(job, &pods[**p]) != FailureAction::Ignore);
    let failed = counter(job, |s| s.failed) + to_count(counted.count() + stored.failed.len());

    let stored_indexes = stored_indexes(job);
    let succeeded_indexes = stored_indexes.union(&newly_succeeded_indexes(job, pods));
    let succeeded = if job.is_indexed {
        succeeded_indexes.count()
    } else {
        counter(job, |s| s.succeeded) + to_count(new_succeeded + stored.succeeded.len())
    };

    let tracked: BTreeSet<&str> = pods.iter().filter(|p| p.is_tracked).map(SeenPod::uid).collect();
    let split = |uids: &[String]| -> (Vec<String>, u32) {
        let waiting: Vec<String> = uids
            .iter()
            .filter(|uid| tracked.contains(uid.as_str()))
            .cloned()
            .collect();
        let settled = uids.len() - waiting.len();
        (waiting, to_count(settled))
    };
    let (waiting_succeeded, moved_succeeded) = split(&stored.succeeded);
    let (waiting_failed, moved_failed) = split(&stored.failed);
    Tally {
        waiting: Uncounted {
            succeeded: waiting_succeeded,
            failed: waiting_failed,
        },
        settled_succeeded: counter(job, |s| s.succeeded) + moved_succeeded,
        settled_failed: counter(job, |s| s.failed) + moved_failed,
        tracked_succeeded,
        tracked_failed,
        succeeded,
        failed,
        stored_indexes,
        succeeded_indexes,
    }
}

fn stored_uncounted(job: &SeenJob<'_>) -> Uncounted {
    let lists = job.status().and_then(|s| s.uncounted_terminated_pods.as_ref());
    Uncounted {
        succeeded: lists.and_then(|l| l.succeeded.clone()).unwrap_or_default(),
        failed: lists.and_then(|l| l.failed.clone()).unwrap_or_default(),
    }
}

fn stored_indexes(job: &SeenJob<'_>) -> Indexes {
    let text = job
        .status()
        .and_then(|s| s.completed_indexes.as_deref())
        .unwrap_or_default();
    Indexes::parse(text, job.index_count())
}

fn newly_succeeded_indexes(job: &SeenJob<'_>, pods: &[SeenPod<'_>]) -> Indexes {
    let succeeded = pods
        .iter()
        .filter(|pod| pod.is_tracked && pod.phase == Phase::Succeeded);
    succeeded.filter_map(|pod| pod.index_below(job.index_count())).collect()
}

fn counter(job: &SeenJob<'_>, field: impl Fn(&JobStatus) -> Option<i32>) -> u32 {
    job.status().and_then(field).unwrap_or_default().max(0).unsigned_abs()
}

/// Numbers of pods fit: the API's own counters are 32 bits wide.
fn to_count(pods: usize) -> u32 {
    u32::try_from(pods).unwrap_or(u32::MAX)
}
