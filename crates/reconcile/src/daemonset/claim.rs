//! Which pods and revisions are the DaemonSet's: its own, orphans that match its selector (adopted), less those that match
//! no longer (released).
//!
//! Source: specification §5, §13.1.

use std::sync::Arc;

use rota_api::{Object, PatchKind, Resource, Write, resource};
use serde_json::{Value, json};

use super::seen::SeenDaemonSet;
use crate::{Index, Plan, World};

/// The name of both indexes.
const ORPHANS: &str = "daemonset-orphans";

/// Pods that nobody controls, by namespace.
pub(super) const ORPHAN_PODS: Index = Index {
    name: ORPHANS,
    resource: resource::PODS,
    keys: orphan_entry,
};

/// Revisions that nobody controls, by namespace.
pub(super) const ORPHAN_REVISIONS: Index = Index {
    name: ORPHANS,
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

/// What an object is to a DaemonSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// Controlled by it, and matched by its selector.
    Own,
    /// Nobody's, and matched: it becomes its own.
    Adopted,
    /// Controlled by it, and matched no longer: it is let go.
    Released,
}

/// What this object is to the DaemonSet; `None`: not its business.
pub(super) fn claim(set: &SeenDaemonSet<'_>, object: &Object) -> Option<Claim> {
    let meta = object.meta();
    let is_match = || set.selector.matches(&meta.labels);
    match meta.controller() {
        Some(owner) if owner.uid != set.object.meta().uid => None,
        Some(_) if is_match() => Some(Claim::Own),
        Some(_) => Some(Claim::Released),
        None => (meta.deleting.is_none() && is_match()).then_some(Claim::Adopted),
    }
}

/// All objects of a kind that may be the DaemonSet's.
pub(super) fn candidates<'w>(
    set: &SeenDaemonSet<'_>,
    world: &'w World,
    kind: &'static Resource,
) -> impl Iterator<Item = &'w Arc<Object>> {
    let meta = set.object.meta();
    let orphans: Vec<_> = world.find(kind, ORPHANS, &meta.namespace).collect();
    let owned: Vec<_> = world.owned_by(kind, &meta.uid).collect();
    owned.into_iter().chain(orphans)
}

/// Adopts and releases these objects.
///
/// Nothing is adopted unless the DaemonSet is still what was seen of it: one that is being deleted would take what it
/// adopts along.
pub(super) fn carry_out<'a>(
    set: &SeenDaemonSet<'_>,
    adopted: impl Iterator<Item = &'a Arc<Object>>,
    released: impl Iterator<Item = &'a Arc<Object>>,
    plan: &mut Plan,
) {
    let mut adopted = adopted.peekable();
    if adopted.peek().is_some() {
        plan.act(unchanged(set), "it may only adopt while it is not being deleted");
        let patch = json!({"ownerReferences": [owner_reference(set)]});
        for (position, object) in adopted.enumerate() {
            let (write, why) = (
                owner_patch(object, &patch),
                "the selector matches and nobody controls it",
            );
            if position == 0 {
                plan.then(write, why);
            } else {
                plan.act(write, why);
            }
        }
    }
    let patch = json!({"ownerReferences": [{"$patch": "delete", "uid": set.object.meta().uid}]});
    for object in released {
        plan.act(owner_patch(object, &patch), "the selector matches no longer");
    }
}

/// A write that changes nothing, and is refused when the DaemonSet has changed.
fn unchanged(set: &SeenDaemonSet<'_>) -> Write {
    let meta = set.object.meta();
    let nothing = json!({"metadata": {"uid": meta.uid}});
    Write::merge_status(resource::DAEMON_SETS, &meta.namespace, &meta.name, nothing)
        .if_uid(&meta.uid)
        .if_revision(set.object.revision())
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
