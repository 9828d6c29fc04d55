//! Which pods are the ReplicaSet's: its own, orphans that match its selector (adopted), less those that match no longer
//! (released).
//!
//! Pods that have ended are nobody's concern. Source: `pkg/controller/controller_ref_manager.go`, specification §25.

use std::sync::Arc;

use rota_api::{Object, resource};

use super::seen::{SeenPod, SeenReplicaSet, is_active, is_terminal};
use crate::{Index, Plan, World, ownership};

/// Pods that nobody controls, by namespace.
pub(super) const ORPHANS: Index = Index {
    name: "replicaset-orphans",
    resource: resource::PODS,
    keys: |pod| {
        let meta = pod.meta();
        if meta.controller().is_some() || !is_active(pod) {
            return Vec::new();
        }
        vec![meta.namespace.clone()]
    },
};

/// The pods of a ReplicaSet.
pub(super) struct Claimed<'w> {
    /// Those that fill a place, those about to be adopted included.
    pub(super) active: Vec<SeenPod<'w>>,
    /// How many are on their way out.
    pub(super) terminating: usize,
    adopted: Vec<&'w Arc<Object>>,
    released: Vec<&'w Arc<Object>>,
}

/// Sorts out whose the pods are.
pub(super) fn claim<'w>(set: &SeenReplicaSet<'_>, world: &'w World) -> Claimed<'w> {
    let meta = set.object.meta();
    let is_own = |pod: &&Arc<Object>| pod.meta().controller().is_some_and(|owner| owner.uid == meta.uid);
    let own = world.owned_by(resource::PODS, &meta.uid).filter(is_own);
    let (own, released): (Vec<_>, Vec<_>) = own
        .filter(|pod| !is_terminal(pod))
        .partition(|pod| set.selector.matches(&pod.meta().labels));
    let mut adopted = Vec::new();
    if !set.is_deleting {
        let orphans = world.find(resource::PODS, ORPHANS.name, &meta.namespace);
        adopted.extend(orphans.filter(|pod| set.selector.matches(&pod.meta().labels)));
    }
    let (active, terminating): (Vec<_>, Vec<_>) = own.iter().copied().partition(|pod| is_active(pod));
    let active = active.iter().chain(&adopted).map(|pod| SeenPod::of(pod)).collect();
    Claimed {
        active,
        terminating: terminating.len(),
        adopted,
        released: released.into_iter().filter(|pod| is_active(pod)).collect(),
    }
}

impl Claimed<'_> {
    /// Adopts and releases.
    pub(super) fn carry_out(&self, set: &SeenReplicaSet<'_>, plan: &mut Plan) {
        let (adopted, released) = (self.adopted.iter().copied(), self.released.iter().copied());
        ownership::carry_out(set.object, adopted, released, plan);
    }
}
