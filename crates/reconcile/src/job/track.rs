//! Tracking: which ended pods enter the status now, and which finalizers may go after that.
//!
//! Source: `trackJobStatusAndRemoveFinalizers` in `pkg/controller/job/job_controller.go`, specification §4.8 T3.

use std::collections::{BTreeMap, BTreeSet};

use super::count::{Tally, Uncounted};
use super::judge::{Decision, Judgement, Outcome};
use super::limits::UNCOUNTED_MAX;
use super::metrics::action_word;
use super::pod_failure_policy::{self, FailureAction};
use super::seen::{Phase, SeenJob, SeenPod};

/// What is recorded and what is let go.
#[derive(Debug, Default)]
pub(super) struct Tracking {
    /// `status.uncountedTerminatedPods` as it shall be.
    pub(super) uncounted: Uncounted,
    /// Positions of the pods whose finalizer goes once the status is written.
    pub(super) release: Vec<usize>,
    /// How many of the pods recorded now were handled by each action of the pod failure policy.
    pub(super) handled: BTreeMap<&'static str, u32>,
}

/// Records the pods that have ended. `stopping`: positions of pods that are stopped for another reason than failure; they
/// are let go uncounted elsewhere.
pub(super) fn track(
    job: &SeenJob<'_>,
    pods: &[SeenPod<'_>],
    tally: &Tally,
    judgement: &Judgement,
    decision: Option<&Decision>,
    stopping: &[usize],
) -> Tracking {
    let mut tracking = Tracking {
        uncounted: tally.waiting.clone(),
        ..Tracking::default()
    };
    let mut recorded: BTreeSet<String> = tally
        .waiting
        .succeeded
        .iter()
        .chain(&tally.waiting.failed)
        .cloned()
        .collect();
    let mut new_indexes = BTreeSet::new();
    let stopping: BTreeSet<usize> = stopping.iter().copied().collect();
    for position in in_order(job, pods).into_iter().filter(|at| !stopping.contains(at)) {
        let pod = &pods[position];
        let is_retained = pod
            .index
            .is_some_and(|index| judgement.retained.get(&index) == Some(&position));
        let may_go =
            job.is_deleting || decision.is_some() || pod.phase == Phase::Succeeded || (pod.has_failed && !is_retained);
        if !may_go {
            continue;
        }
        tracking.release.push(position);
        match record(job, pod, decision, &recorded, &mut tracking.handled) {
            Some(Record::Success) if job.is_indexed => {
                // The index in completedIndexes is the record.
                new_indexes.extend(pod.index.filter(|index| !tally.stored_indexes.contains(*index)));
            }
            Some(Record::Success) => {
                recorded.insert(pod.uid().to_owned());
                tracking.uncounted.succeeded.push(pod.uid().to_owned());
            }
            Some(Record::Failure) => {
                recorded.insert(pod.uid().to_owned());
                tracking.uncounted.failed.push(pod.uid().to_owned());
            }
            None => {}
        }
        if new_indexes.len() + tracking.uncounted.count() >= UNCOUNTED_MAX {
            break;
        }
    }
    tracking
}

enum Record {
    Success,
    Failure,
}

/// As what a pod that may go is recorded. `None`: it is there already, or it counts for nothing.
fn record(
    job: &SeenJob<'_>,
    pod: &SeenPod<'_>,
    decision: Option<&Decision>,
    recorded: &BTreeSet<String>,
    handled: &mut BTreeMap<&'static str, u32>,
) -> Option<Record> {
    if recorded.contains(pod.uid()) || (job.is_indexed && pod.index_below(job.index_count()).is_none()) {
        return None;
    }
    if pod.phase == Phase::Succeeded {
        return Some(Record::Success);
    }
    // A Job that fails takes its running pods along: they count as failures.
    let fails = pod.has_failed || decision.is_some_and(|d| d.outcome == Outcome::Failure);
    if !fails {
        return None;
    }
    let action = pod_failure_policy::matched(job, pod);
    if let Some(action) = &action {
        *handled.entry(action_word(action)).or_default() += 1;
    }
    (action != Some(FailureAction::Ignore)).then_some(Record::Failure)
}

/// The tracked pods; those of an Indexed Job by index, so that the limit cuts the highest.
fn in_order(job: &SeenJob<'_>, pods: &[SeenPod<'_>]) -> Vec<usize> {
    let mut tracked: Vec<usize> = (0..pods.len()).filter(|at| pods[*at].is_tracked).collect();
    if job.is_indexed {
        tracked.sort_by_key(|at| pods[*at].index);
    }
    tracked
}
