//! Which pods go when a Job has too many: those with least to lose.
//!
//! Source: `ActivePodsWithRanks` in `pkg/controller/controller_utils.go`, `pkg/controller/job/indexed_job_utils.go`,
//! specification §4.9.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

use rota_api::Timestamp;
use rota_api::k8s::api::core::v1::ContainerStatus;

use super::seen::{SeenJob, SeenPod};
use crate::conditions::READY;

/// The positions of the pods to delete so that `surplus` fewer are left. Active pods of an Indexed Job that no index
/// needs go in any case.
pub(super) fn victims(job: &SeenJob<'_>, pods: &[SeenPod<'_>], surplus: usize) -> Vec<usize> {
    let mut active: Vec<usize> = (0..pods.len()).filter(|at| pods[*at].is_active()).collect();
    let mut victims = if job.is_indexed {
        needless(job, pods, &active)
    } else {
        Vec::new()
    };
    if victims.len() < surplus {
        let chosen: BTreeSet<usize> = victims.iter().copied().collect();
        active.retain(|at| !chosen.contains(at));
        active.sort_by(|a, b| rank(&pods[*a], &pods[*b]));
        active.truncate(surplus - victims.len());
        victims.extend(active);
    }
    victims
}

/// Pods without index, all but the best of each index, pods of indexes beyond completions; in this order.
fn needless(job: &SeenJob<'_>, pods: &[SeenPod<'_>], active: &[usize]) -> Vec<usize> {
    let mut by_index: BTreeMap<Option<u32>, Vec<usize>> = BTreeMap::new();
    for at in active {
        by_index.entry(pods[*at].index).or_default().push(*at);
    }
    let mut needless = Vec::new();
    for (index, mut same) in by_index {
        if index.is_some_and(|index| index < job.index_count()) {
            same.sort_by(|a, b| rank(&pods[*a], &pods[*b]));
            same.pop();
        }
        needless.extend(same);
    }
    needless
}

/// The pod that goes first is less.
fn rank(a: &SeenPod<'_>, b: &SeenPod<'_>) -> Ordering {
    let is_scheduled = |pod: &SeenPod<'_>| !pod.object.meta().node.is_empty();
    is_scheduled(a)
        .cmp(&is_scheduled(b))
        .then_with(|| a.phase.cmp(&b.phase))
        .then_with(|| a.is_ready().cmp(&b.is_ready()))
        .then_with(|| later_first(ready_since(a), ready_since(b)))
        .then_with(|| Reverse(restarts(a)).cmp(&Reverse(restarts(b))))
        .then_with(|| later_first(a.object.meta().created, b.object.meta().created))
        .then_with(|| a.object.meta().name.cmp(&b.object.meta().name))
}

/// A missing time is the latest.
fn later_first(a: Option<Timestamp>, b: Option<Timestamp>) -> Ordering {
    let latest_if_missing = |time: Option<Timestamp>| Reverse(time.unwrap_or(Timestamp::MAX));
    latest_if_missing(a).cmp(&latest_if_missing(b))
}

fn ready_since(pod: &SeenPod<'_>) -> Option<Timestamp> {
    let ready = pod.condition(READY).filter(|c| c.status == "True")?;
    ready.last_transition_time.as_ref().map(|t| t.0)
}

/// The most restarts of a regular container, then of a sidecar.
fn restarts(pod: &SeenPod<'_>) -> (i32, i32) {
    fn most<'a>(containers: impl Iterator<Item = &'a ContainerStatus>) -> i32 {
        containers.map(|c| c.restart_count).max().unwrap_or_default()
    }
    let Some(status) = pod.status() else { return (0, 0) };
    let sidecars = status
        .init_container_statuses
        .iter()
        .flatten()
        .filter(|c| pod.is_sidecar(&c.name));
    (most(status.container_statuses.iter().flatten()), most(sidecars))
}
