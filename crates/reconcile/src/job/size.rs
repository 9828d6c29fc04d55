//! Sizing: how many pods a Job that goes on should have, and which are missing or too many.
//!
//! Source: `manageJob` in `pkg/controller/job/job_controller.go`, specification §4.7.

use std::collections::BTreeMap;

use rota_api::Timestamp;

use super::backoff::Record;
use super::count::Tally;
use super::indexes::Indexes;
use super::judge::Judgement;
use super::limits::PODS_PER_PLAN_MAX;
use super::per_index::{self, Failures};
use super::seen::{SeenJob, SeenPod};
use super::victims::victims;

/// What brings a Job to its size. At most one of both lists holds something.
#[derive(Debug, Default)]
pub(super) struct Sizing {
    /// Positions of pods to stop; they do not count as failures.
    pub(super) stop: Vec<usize>,
    /// Pods to create.
    pub(super) create: Vec<NewPod>,
    /// When creations that wait for a backoff are due.
    pub(super) due: Option<Timestamp>,
}

/// A pod to create.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NewPod {
    /// Its index, for an Indexed Job.
    pub(super) index: Option<u32>,
    /// Failures of its index so far, for a Job that limits them.
    pub(super) failures: Option<Failures>,
}

/// Sizes a Job that has not come to an end and is not being deleted.
pub(super) fn size(
    job: &SeenJob<'_>,
    pods: &[SeenPod<'_>],
    tally: &Tally,
    judgement: &Judgement,
    backoff: &Record,
    now: Timestamp,
) -> Sizing {
    let active = count(pods, SeenPod::is_active);
    if job.is_suspended {
        return Sizing {
            stop: victims(job, pods, active as usize),
            ..Sizing::default()
        };
    }
    let want = wanted(job, tally, active);
    let mut stop = victims(job, pods, active.saturating_sub(want) as usize);
    if !stop.is_empty() {
        stop.truncate(PODS_PER_PLAN_MAX as usize);
        return Sizing {
            stop,
            ..Sizing::default()
        };
    }
    let occupied = active
        + if job.replaces_only_failed {
            count(pods, SeenPod::is_terminating)
        } else {
            0
        };
    let missing = want.saturating_sub(occupied).min(PODS_PER_PLAN_MAX);
    if missing == 0 {
        return Sizing::default();
    }
    if job.backoff_limit_per_index.is_none()
        && let Some(due) = backoff.until().filter(|until| *until > now)
    {
        return Sizing {
            due: Some(due),
            ..Sizing::default()
        };
    }
    if !job.is_indexed {
        return Sizing {
            create: vec![NewPod::default(); missing as usize],
            ..Sizing::default()
        };
    }
    let indexes = free_indexes(job, pods, tally, judgement.failed_indexes.as_ref(), missing);
    create_indexes(job, pods, &indexes, &judgement.retained, now)
}

/// How many active pods there should be.
fn wanted(job: &SeenJob<'_>, tally: &Tally, active: u32) -> u32 {
    match job.completions {
        // A work queue gets no new workers once one of them has found it empty.
        None if tally.succeeded > 0 => active,
        None => job.parallelism,
        Some(completions) => completions.saturating_sub(tally.succeeded).min(job.parallelism),
    }
}

/// The lowest indexes that are neither done nor taken.
fn free_indexes(
    job: &SeenJob<'_>,
    pods: &[SeenPod<'_>],
    tally: &Tally,
    failed: Option<&Indexes>,
    missing: u32,
) -> Vec<u32> {
    let takes_index = |pod: &&SeenPod<'_>| pod.is_active() || (job.replaces_only_failed && pod.is_terminating());
    let taken: Indexes = pods.iter().filter(takes_index).filter_map(|pod| pod.index).collect();
    let mut taken = taken.union(&tally.succeeded_indexes);
    if let Some(failed) = failed {
        taken = taken.union(failed);
    }
    taken.missing_below(job.index_count()).take(missing as usize).collect()
}

/// Indexes whose backoff is over get their pod. An index that waits keeps its slot: no higher index runs in its place.
fn create_indexes(
    job: &SeenJob<'_>,
    pods: &[SeenPod<'_>],
    indexes: &[u32],
    retained: &BTreeMap<u32, usize>,
    now: Timestamp,
) -> Sizing {
    let mut sizing = Sizing::default();
    for index in indexes {
        let replaced = retained.get(index).map(|position| &pods[*position]);
        let ready_at = replaced.map(per_index::ready_at).filter(|at| *at > now);
        if let Some(at) = ready_at {
            sizing.due = Some(sizing.due.map_or(at, |due| due.min(at)));
            continue;
        }
        let failures = replaced.map_or_else(Failures::default, |pod| Failures::with(pod, job));
        sizing.create.push(NewPod {
            index: Some(*index),
            failures: job.backoff_limit_per_index.map(|_| failures),
        });
    }
    sizing
}

/// How many pods are so.
pub(super) fn count<'w>(pods: &[SeenPod<'w>], is_so: impl Fn(&SeenPod<'w>) -> bool) -> u32 {
    u32::try_from(pods.iter().filter(|pod| is_so(pod)).count()).unwrap_or(u32::MAX)
}
