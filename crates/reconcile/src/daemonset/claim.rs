//! Which pods and revisions are the DaemonSet's: its own, orphans that match its selector (adopted), less those that match
//! no longer (released).
//!
//! Source: specification §5, §13.1.

use std::sync::Arc;

use rota_api::{Object, Resource, resource};

use super::seen::SeenDaemonSet;
use crate::{Index, World};

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
