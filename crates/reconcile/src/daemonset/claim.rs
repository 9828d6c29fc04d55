//! Which pods and revisions are the DaemonSet's: its own, orphans that match its selector (adopted), less those that match
//! no longer (released).
//!
//! Source: specification §5, §13.1.

use std::sync::Arc;

use rota_api::{Object, PatchKind, Resource, Write, resource};
use serde_json::{Value, json};

use super::seen::SeenDaemonSet;
use crate::{Index, Plan, World};

/// Pods that nobody controls, by namespace.
pub(super) const ORPHAN_PODS: Index = Index {
    name: "daemonset-orphans",
    resource: resource::PODS,
    keys: orphan_entry,
};

/// Revisions that nobody controls, by namespace.
pub(super) const ORPHAN_REVISIONS: Index = Index {
    name: "daemonset-orphans",
    resource: resource::CONTROLLER_REVISIONS,
    keys: orphan_entry,
};

fn orphan_entry(object: &Object) -> Vec<String> {
    let meta = object.meta();
    if meta.controller().is_some() {
        Vec::new()
    } else {
        vec![meta.namespace.clone()]
    }
}

/// The objects of one kind that a DaemonSet has, gains and loses.
pub(super) struct Claimed<'w> {
    /// Its own, those about to be adopted included.
    pub(super) claimed: Vec<&'w Arc<Object>>,
    adopted: Vec<&'w Arc<Object>>,
    released: Vec<&'w Arc<Object>>,
}

/// Sorts out whose the pods are.
pub(super) fn pods<'w>(set: &SeenDaemonSet<'_>, world: &'w World) -> Claimed<'w> {
    claim(set, world, resource::PODS, ORPHAN_PODS)
}

/// Sorts out whose the revisions are.
pub(super) fn revisions<'w>(set: &SeenDaemonSet<'_>, world: &'w World) -> Claimed<'w> {
    claim(set, world, resource::CONTROLLER_REVISIONS, ORPHAN_REVISIONS)
}

fn claim<'w>(set: &SeenDaemonSet<'_>, world: &'w World, kind: &'static Resource, orphans: Index) -> Claimed<'w> {
    let meta = set.object.meta();
    let is_own = |object: &&Arc<Object>| object.meta().controller().is_some_and(|owner| owner.uid == meta.uid);
    let (mut claimed, released): (Vec<_>, Vec<_>) = world
        .owned_by(kind, &meta.uid)
        .filter(is_own)
        .partition(|object| set.selector.matches(&object.meta().labels));
    let adopted: Vec<_> = world
        .find(kind, orphans.name, &meta.namespace)
        .filter(|object| object.meta().deleting.is_none() && set.selector.matches(&object.meta().labels))
        .collect();
    claimed.extend(&adopted);
    Claimed {
        claimed,
        adopted,
        released,
    }
}

impl Claimed<'_> {
    /// Adopts and releases.
    pub(super) fn carry_out(&self, set: &SeenDaemonSet<'_>, plan: &mut Plan) {
        for object in &self.adopted {
            let patch = json!({"ownerReferences": [owner_reference(set)]});
            plan.act(
                owner_patch(object, &patch),
                "the selector matches and nobody controls it",
            );
        }
        for object in &self.released {
            let patch = json!({"ownerReferences": [{"$patch": "delete", "uid": set.object.meta().uid}]});
            plan.act(owner_patch(object, &patch), "the selector matches no longer");
        }
    }
}

/// The reference by which a DaemonSet controls an object.
pub(super) fn owner_reference(set: &SeenDaemonSet<'_>) -> Value {
    let meta = set.object.meta();
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "name": meta.name,
        "uid": meta.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

fn owner_patch(object: &Object, metadata: &Value) -> Write {
    let meta = object.meta();
    Write::patch(
        object.resource(),
        &meta.namespace,
        &meta.name,
        PatchKind::Strategic,
        json!({"metadata": metadata}),
        None,
    )
    .if_uid(&meta.uid)
}
