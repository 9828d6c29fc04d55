//! `spec.backoffLimitPerIndex`: which indexes have failed, and which failed pod each waiting index keeps.
//!
//! The number of failures of an index is handed on from pod to pod in annotations, so the latest failed pod of an index
//! keeps its finalizer until its replacement runs: if somebody deletes it, the count is not lost.
//! Source: `pkg/controller/job/{backoff_utils,indexed_job_utils}.go`, specification §4.13.

use std::collections::{BTreeMap, BTreeSet};

use rota_api::Timestamp;

use super::backoff;
use super::indexes::Indexes;
use super::labels::{INDEX_FAILURE_COUNT, INDEX_IGNORED_FAILURE_COUNT};
use super::pod_failure_policy::{self, FailureAction};
use super::seen::{SeenJob, SeenPod};

/// Failures of one index before a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Failures {
    /// Those that count against the limit.
    pub(super) counted: u32,
    /// Those that the pod failure policy ignored.
    pub(super) ignored: u32,
}

impl Failures {
    /// What the pod's annotations say; nonsense reads as 0.
    pub(super) fn before(pod: &SeenPod<'_>) -> Self {
        let read = |name| {
            let count = pod.annotation(name).and_then(|text| text.parse::<i32>().ok());
            count.and_then(|count| u32::try_from(count).ok()).unwrap_or_default()
        };
        Self {
            counted: read(INDEX_FAILURE_COUNT),
            ignored: read(INDEX_IGNORED_FAILURE_COUNT),
        }
    }

    /// With the failure of the pod itself: what its replacement starts from.
    pub(super) fn with(pod: &SeenPod<'_>, job: &SeenJob<'_>) -> Self {
        let before = Self::before(pod);
        if pod_failure_policy::action(job, pod) == FailureAction::Ignore {
            Self {
                ignored: before.ignored + 1,
                ..before
            }
        } else {
            Self {
                counted: before.counted + 1,
                ..before
            }
        }
    }

    fn total(self) -> u32 {
        self.counted + self.ignored
    }
}

/// The indexes that have failed for good: those of the status and those of pods not yet counted.
pub(super) fn failed_indexes(job: &SeenJob<'_>, pods: &[SeenPod<'_>]) -> Option<Indexes> {
    let limit = job.backoff_limit_per_index?;
    let new = pods
        .iter()
        .filter(|pod| pod.is_tracked && pod.has_failed && fails_index(job, pod, limit))
        .filter_map(|pod| pod.index_below(job.index_count()));
    Some(stored(job).union(&new.collect()))
}

/// The indexes that the status says have failed.
pub(super) fn stored(job: &SeenJob<'_>) -> Indexes {
    let text = job.status().and_then(|s| s.failed_indexes.as_deref());
    Indexes::parse(text.unwrap_or_default(), job.index_count())
}

fn fails_index(job: &SeenJob<'_>, pod: &SeenPod<'_>, limit: u32) -> bool {
    match pod_failure_policy::action(job, pod) {
        FailureAction::FailIndex => true,
        FailureAction::Ignore => false,
        FailureAction::Count | FailureAction::FailJob(_) => Failures::before(pod).counted >= limit,
    }
}

/// For each index that waits for a replacement: the position of the failed pod that it keeps. `settled` holds the indexes
/// that have succeeded or failed.
pub(super) fn retained(job: &SeenJob<'_>, pods: &[SeenPod<'_>], settled: &Indexes) -> BTreeMap<u32, usize> {
    let mut retained: BTreeMap<u32, usize> = BTreeMap::new();
    if job.backoff_limit_per_index.is_none() {
        return retained;
    }
    let active: BTreeSet<u32> = pods.iter().filter(|p| p.is_active()).filter_map(|p| p.index).collect();
    for (position, pod) in pods
        .iter()
        .enumerate()
        .filter(|(_, pod)| pod.is_tracked && pod.has_failed)
    {
        let Some(index) = pod.index_below(job.index_count()) else {
            continue;
        };
        if settled.contains(index) || active.contains(&index) {
            continue;
        }
        let is_later = retained.get(&index).is_none_or(|held| {
            let held = &pods[*held];
            Failures::before(pod).total() >= Failures::before(held).total()
                && backoff::finish_time(pod) >= backoff::finish_time(held)
        });
        if is_later {
            retained.insert(index, position);
        }
    }
    retained
}

/// When the index that keeps this failed pod may run again.
pub(super) fn ready_at(pod: &SeenPod<'_>) -> Timestamp {
    let failures = Failures::before(pod).total() + 1;
    backoff::after(backoff::finish_time(pod), failures as usize)
}
