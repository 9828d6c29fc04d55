//! What the owners of an object are to it, and what follows for the object.
//!
//! An owner is looked up by the kind, namespace and name that the reference gives; only the same uid is the same owner.
//! Source: `classifyReferences`, `isDangling` and `attemptToDeleteItem` in
//! `pkg/controller/garbagecollector/garbagecollector.go`, specification of nodes and pods §6.1, §6.2, §6.4.

use std::sync::Arc;

use rota_api::resource::{self, Scope};
use rota_api::{Absent, Object, OwnerReference, Resource};

use super::{FOREGROUND, WATCHED, dependents, is_ending_with};
use crate::World;

/// What an owner is to one of its dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is there, and keeps the dependent.
    Solid,
    /// It is being deleted, and waits for its dependents to go first.
    Waiting,
    /// It is gone.
    Dangling,
    /// It lives in another namespace, where it can own nothing of this one.
    OutOfReach,
    /// It is of a kind that cannot be seen here.
    Unknown,
}

/// What becomes of an object that has owners.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict<'o> {
    /// It stays as it is.
    Keep,
    /// It stays, and loses the references to these uids.
    DropReferences(Vec<&'o str>),
    /// It is deleted after its own dependents.
    DeleteInForeground,
    /// It is deleted in its own way.
    Delete,
}

/// What `owner` is to `dependent`.
pub(super) fn standing(dependent: &Object, owner: &OwnerReference, world: &World) -> Standing {
    let Some(kind) = watched_kind(owner) else {
        return Standing::Unknown;
    };
    match find_owner(dependent, owner, world) {
        Some(object) if is_ending_with(object.meta(), FOREGROUND) => Standing::Waiting,
        Some(_) => Standing::Solid,
        None if is_elsewhere(dependent, owner, kind, world) => Standing::OutOfReach,
        None => Standing::Dangling,
    }
}

/// The owners of `dependent` that are not seen, each where its reference says it is.
pub(super) fn missing(dependent: &Object, world: &World) -> Vec<Absent> {
    let owners = dependent.meta().owners.iter();
    let dangling = owners.filter(|owner| standing(dependent, owner, world) == Standing::Dangling);
    let absent = dangling.filter_map(|owner| {
        let kind = watched_kind(owner)?;
        Some(Absent {
            resource: kind,
            namespace: namespace_of(kind, dependent).to_owned(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
        })
    });
    absent.collect()
}

/// Where an owner of that kind has to be.
fn namespace_of<'o>(kind: &Resource, dependent: &'o Object) -> &'o str {
    match kind.scope {
        Scope::Namespaced => dependent.meta().namespace.as_str(),
        Scope::Cluster => "",
    }
}

/// The owner itself, where the reference says it is.
pub(super) fn find_owner<'w>(dependent: &Object, owner: &OwnerReference, world: &'w World) -> Option<&'w Arc<Object>> {
    let kind = watched_kind(owner)?;
    let object = world.get(kind, namespace_of(kind, dependent), &owner.name)?;
    (object.meta().uid == owner.uid).then_some(object)
}

/// What becomes of `dependent`. An owner that cannot be seen decides nothing and lets nothing be decided; so does a
/// namespaced owner of an object beside all namespaces.
pub(super) fn judge<'o>(dependent: &'o Object, world: &World) -> Verdict<'o> {
    let meta = dependent.meta();
    let (mut solid, mut waiting, mut lost) = (0, 0, Vec::new());
    for owner in &meta.owners {
        match standing(dependent, owner, world) {
            Standing::Unknown => return Verdict::Keep,
            Standing::OutOfReach if meta.namespace.is_empty() => return Verdict::Keep,
            Standing::Solid => solid += 1,
            Standing::Waiting => {
                waiting += 1;
                lost.push(owner.uid.as_str());
            }
            Standing::Dangling | Standing::OutOfReach => lost.push(owner.uid.as_str()),
        }
    }
    match (solid, waiting) {
        _ if lost.is_empty() => Verdict::Keep,
        (0, 0) => Verdict::Delete,
        (0, _) if dependents(&meta.uid, world).next().is_some() => Verdict::DeleteInForeground,
        (0, _) => Verdict::Delete,
        _ => Verdict::DropReferences(lost),
    }
}

/// The stored form of the owner's kind, if it is one that is watched.
fn watched_kind(owner: &OwnerReference) -> Option<&'static Resource> {
    let kind = resource::find_kind(&owner.api_version, &owner.kind)?.stored();
    WATCHED.contains(&kind).then_some(kind)
}

fn is_elsewhere(dependent: &Object, owner: &OwnerReference, kind: &'static Resource, world: &World) -> bool {
    let namespace = &dependent.meta().namespace;
    if !kind.is_namespaced() {
        return false;
    }
    // Whether the owner exists does not matter to an object beside all namespaces: it can have no such owner.
    namespace.is_empty()
        || world
            .get_uid(kind, &owner.uid)
            .is_some_and(|object| object.meta().namespace != *namespace)
}
