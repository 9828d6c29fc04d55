//! Which pods are the ReplicaSet's: its own, orphans that match its selector (adopted), less those that match no longer
//! (released).
//!
//! Pods that have ended are nobody's concern. Source: `pkg/controller/controller_ref_manager.go`, specification §25.

use std::sync::Arc;

use rota_api::{Object, PatchKind, Write, resource};
use serde_json::{Value, json};

use super::seen::{SeenPod, SeenReplicaSet, is_active, is_terminal};
use crate::{Index, Plan, World};

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
    ///
    /// Nothing is adopted unless the ReplicaSet is still what was seen of it: one that is being deleted would take what it
    /// adopts along.
    pub(super) fn carry_out(&self, set: &SeenReplicaSet<'_>, plan: &mut Plan) {
        if !self.adopted.is_empty() {
            plan.act(unchanged(set), "it may only adopt while it is not being deleted");
        }
        for (position, pod) in self.adopted.iter().enumerate() {
            let owners = json!([owner_reference(set)]);
            let (write, why) = (owner_patch(pod, &owners), "the selector matches and nobody controls it");
            if position == 0 {
                plan.then(write, why);
            } else {
                plan.act(write, why);
            }
        }
        for pod in &self.released {
            let owners = json!([{"$patch": "delete", "uid": set.object.meta().uid}]);
            plan.act(owner_patch(pod, &owners), "the selector matches no longer");
        }
    }
}

/// A write that changes nothing, and is refused when the ReplicaSet has changed.
fn unchanged(set: &SeenReplicaSet<'_>) -> Write {
    let meta = set.object.meta();
    let nothing = json!({"metadata": {"uid": meta.uid}});
    Write::merge_status(resource::REPLICA_SETS, &meta.namespace, &meta.name, nothing)
        .if_uid(&meta.uid)
        .if_revision(set.object.revision())
}

/// The reference by which a ReplicaSet controls a pod.
pub(super) fn owner_reference(set: &SeenReplicaSet<'_>) -> Value {
    let meta = set.object.meta();
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": meta.name,
        "uid": meta.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

fn owner_patch(pod: &Object, owners: &Value) -> Write {
    let meta = pod.meta();
    let patch = json!({"metadata": {"ownerReferences": owners}});
    let kind = PatchKind::Strategic;
    Write::patch(resource::PODS, &meta.namespace, &meta.name, kind, patch, None).if_uid(&meta.uid)
}
