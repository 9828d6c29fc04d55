//! Which pods go when there are too many: those with least to lose.
//!
//! Ages are compared by their magnitude (powers of two), so that of pods of about the same age any may go; the uid decides.
//! Source: `ActivePodsWithRanks` in `pkg/controller/controller_utils.go`, specification §25.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

use rota_api::{Object, Timestamp, resource};

use super::seen::{SeenPod, SeenReplicaSet, is_active};
use crate::World;

/// The pods to delete so that `surplus` fewer are left, in the order in which they go.
pub(super) fn victims<'p, 'w>(
    set: &SeenReplicaSet<'_>,
    pods: &'p [SeenPod<'w>],
    surplus: usize,
    world: &World,
    now: Timestamp,
) -> impl Iterator<Item = &'p SeenPod<'w>> {
    let mut ranked: Vec<_> = pods.iter().collect();
    // Where all go or none, their order means nothing.
    if surplus > 0 && surplus < pods.len() {
        let crowd = crowd(set, pods, world);
        ranked.sort_by(|a, b| rank(a, b, &crowd, now));
    }
    ranked.into_iter().take(surplus)
}

/// How many active pods of the ReplicaSet, and of others of the same Deployment, are on each node.
fn crowd<'w>(set: &SeenReplicaSet<'_>, pods: &[SeenPod<'w>], world: &'w World) -> BTreeMap<&'w str, usize> {
    let meta = set.object.meta();
    let related = meta.controller().into_iter().flat_map(|owner| {
        let siblings = world.owned_by(resource::REPLICA_SETS, &owner.uid);
        siblings.filter(|sibling| sibling.meta().uid != meta.uid)
    });
    let theirs = related
        .flat_map(|sibling| world.owned_by(resource::PODS, &sibling.meta().uid))
        .filter(|pod| is_active(pod));
    let mut crowd = BTreeMap::new();
    for pod in pods.iter().map(|pod| pod.object).chain(theirs) {
        *crowd.entry(pod.meta().node.as_str()).or_default() += 1;
    }
    crowd
}

/// The pod that goes first is less.
fn rank(a: &SeenPod<'_>, b: &SeenPod<'_>, crowd: &BTreeMap<&str, usize>, now: Timestamp) -> Ordering {
    let is_bound = |pod: &SeenPod<'_>| !pod.object.meta().node.is_empty();
    let company = |pod: &SeenPod<'_>| crowd.get(pod.object.meta().node.as_str()).copied();
    is_bound(a)
        .cmp(&is_bound(b))
        .then_with(|| a.phase.cmp(&b.phase))
        .then_with(|| a.ready.is_some().cmp(&b.ready.is_some()))
        .then_with(|| a.deletion_cost.cmp(&b.deletion_cost))
        .then_with(|| Reverse(company(a)).cmp(&Reverse(company(b))))
        .then_with(|| younger_first(a.ready.flatten(), b.ready.flatten(), now))
        .then_with(|| Reverse(a.restarts).cmp(&Reverse(b.restarts)))
        .then_with(|| younger_first(a.object.meta().created, b.object.meta().created, now))
        .then_with(|| uid(a.object).cmp(uid(b.object)))
}

fn uid(pod: &Object) -> &str {
    &pod.meta().uid
}

fn younger_first(a: Option<Timestamp>, b: Option<Timestamp>, now: Timestamp) -> Ordering {
    magnitude(a, now).cmp(&magnitude(b, now))
}

/// The power of two of an age in nanoseconds; an unknown time is now.
fn magnitude(since: Option<Timestamp>, now: Timestamp) -> Option<u32> {
    let age = now.duration_since(since?).as_nanos();
    u128::try_from(age).ok()?.checked_ilog2()
}
