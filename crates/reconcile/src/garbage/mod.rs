//! The owner garbage collector: objects go when their last owner is gone, or together with it.
//!
//! The collector works owner by owner: a key is the *uid* of an owner, and one plan does everything that this owner's fate
//! means for its dependents. Deleting a Job with 500 pods is so one plan, whatever the order of events.
//!
//! | the owner | its dependents |
//! | --- | --- |
//! | is gone | are deleted, unless another owner keeps them: then they lose the reference |
//! | waits in a foreground deletion | the same; when none is left that blocks it, it is let go |
//! | is being deleted and leaves orphans | lose the reference; then it is let go |
//!
//! What an owner is to a dependent is told by [`standing`]; the writes are made in [`writes`]. Owners of kinds that are not
//! watched are never taken for gone. Others are watched side by side, so that a new dependent may be seen before its equally new
//! owner: what is done because an owner is missing is done only if it does not exist. Not known here: what the deletion of a
//! dependent means for the dependent; a pod takes its grace, a finalizer holds.
//! Source: `pkg/controller/garbagecollector`, specification of nodes and pods §6.

mod standing;
#[cfg(test)]
mod tests;
mod writes;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use rota_api::{Absent, Meta, Object, OwnerReference, Propagation, Resource, Timestamp, resource};

use crate::{Controller, Key, NoteKind, Plan, World, WorldChange};
use standing::{Standing, Verdict, find_owner, judge, missing, standing};

/// Dependents written by one plan; the next one follows at once.
const WRITES_PER_PLAN_MAX: usize = 1000;

/// The finalizer of an owner that waits for its dependents to go.
const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an owner whose dependents are to stay.
const ORPHAN: &str = "orphan";

/// Every kind that is stored and can be deleted. Events come and go too fast, and own nothing.
static WATCHED: LazyLock<Vec<&'static Resource>> = LazyLock::new(|| {
    let can_own = |kind: &&Resource| kind.supports("delete") && kind.supports("watch") && *kind != resource::EVENTS;
    let stored = resource::ALL.iter().copied().filter(|kind| kind.stored() == *kind);
    stored.filter(can_own).collect()
});

/// Deletes what nobody owns any more.
#[derive(Default)]
pub struct GarbageCollector {
    /// Dependents whose deletion was planned, with their owners at that time. One that is still there was changed in
    /// between: if its owners are the same, it is deleted whatever else has changed.
    tried: BTreeMap<String, Vec<OwnerReference>>,
}

impl Controller for GarbageCollector {
    fn name(&self) -> &'static str {
        "garbage-collector"
    }

    fn event_source(&self) -> &'static str {
        "garbage-collector-controller"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &WATCHED
    }

    fn touched(&mut self, change: &WorldChange, world: &World) -> Vec<Key> {
        let meta = change.latest().meta();
        if change.is_deleted() || meta.deleting.is_some() {
            self.tried.remove(&meta.uid);
        }
        let mut uids = owners_touched(change, world);
        if is_news_as_owner(change, world) {
            uids.push(&meta.uid);
        }
        uids.sort_unstable();
        uids.dedup();
        uids.into_iter().map(|uid| Key::new("", uid)).collect()
    }

    fn reconcile(&mut self, key: &Key, world: &World, now: Timestamp) -> Plan {
        let uid = &key.name;
        let mut plan = Plan::default();
        let owner = WATCHED.iter().find_map(|kind| world.get_uid(kind, uid));
        let waits_for = |finalizer| owner.filter(|owner| is_ending_with(owner.meta(), finalizer));
        if let Some(owner) = waits_for(ORPHAN) {
            orphan(&mut plan, owner, world);
        } else {
            self.collect(&mut plan, uid, world);
            if let Some(owner) = waits_for(FOREGROUND).filter(|_| !is_blocked(uid, world)) {
                plan.then(
                    writes::drop_finalizer(owner, FOREGROUND),
                    "no dependent that blocks its deletion is left",
                );
            }
        }
        if plan.actions.len() >= WRITES_PER_PLAN_MAX {
            plan.wake_at(now);
        }
        plan
    }
}

impl GarbageCollector {
    /// Deals with the dependents of the owner of that uid, one by one, each by all its owners.
    fn collect(&mut self, plan: &mut Plan, uid: &str, world: &World) {
        for dependent in dependents(uid, world) {
            if plan.actions.len() >= WRITES_PER_PLAN_MAX {
                return;
            }
            if dependent.meta().deleting.is_some() {
                continue;
            }
            for owner in &dependent.meta().owners {
                if standing(dependent, owner, world) == Standing::OutOfReach {
                    warn_out_of_reach(plan, dependent, owner);
                }
            }
            self.carry_out(plan, dependent, &judge(dependent, world), world);
        }
    }

    fn carry_out(&mut self, plan: &mut Plan, dependent: &Object, verdict: &Verdict<'_>, world: &World) {
        let gone = || missing(dependent, world);
        match verdict {
            Verdict::Keep => {}
            Verdict::DropReferences(owners) => {
                let why = "these owners are gone or going, another one keeps it";
                plan.act(writes::if_gone(writes::drop_references(dependent, owners), gone()), why);
            }
            Verdict::DeleteInForeground => {
                let is_ending = |next: &Arc<Object>| is_ending_with(next.meta(), FOREGROUND);
                if dependents(&dependent.meta().uid, world).any(is_ending) {
                    let why = "its owners and its dependents may wait for each other";
                    plan.act(writes::if_gone(writes::unblock_owners(dependent), gone()), why);
                    // The deletion must not be refused for this very change.
                    self.remember(dependent);
                }
                self.delete(plan, dependent, Propagation::Foreground, gone());
            }
            Verdict::Delete => self.delete(plan, dependent, own_propagation(dependent.meta()), gone()),
        }
    }

    fn delete(&mut self, plan: &mut Plan, dependent: &Object, propagation: Propagation, gone: Vec<Absent>) {
        let was_tried = self.remember(dependent);
        let mut deletion = writes::if_gone(writes::delete(dependent, propagation), gone);
        if !was_tried {
            deletion = deletion.if_revision(dependent.revision());
        }
        plan.act(deletion, "no owner is left that keeps it");
    }

    /// True when it was tried before and the owners are still the same.
    fn remember(&mut self, dependent: &Object) -> bool {
        let meta = dependent.meta();
        let before = self.tried.insert(meta.uid.clone(), meta.owners.clone());
        before.is_some_and(|owners| owners == meta.owners)
    }
}

/// Takes the reference from all dependents, then lets the owner go.
fn orphan(plan: &mut Plan, owner: &Object, world: &World) {
    let uid = &owner.meta().uid;
    for dependent in dependents(uid, world) {
        if plan.actions.len() >= WRITES_PER_PLAN_MAX {
            return;
        }
        let write = writes::drop_references(dependent, &[uid]);
        plan.act(write, "its owner is being deleted and leaves it behind");
    }
    plan.then(writes::drop_finalizer(owner, ORPHAN), "no dependent names it any more");
}

/// The owners of the changed object for which the change can mean something.
fn owners_touched<'c>(change: &'c WorldChange, world: &World) -> Vec<&'c str> {
    let mut uids = Vec::new();
    if let Some(new) = change.new.as_ref().filter(|new| new.meta().deleting.is_none()) {
        let is_lost = |owner: &&OwnerReference| match standing(new, owner, world) {
            Standing::Solid => find_owner(new, owner, world).is_some_and(|o| is_ending_with(o.meta(), ORPHAN)),
            Standing::Unknown => false,
            Standing::Waiting | Standing::Dangling | Standing::OutOfReach => true,
        };
        uids.extend(new.meta().owners.iter().filter(is_lost).map(|owner| owner.uid.as_str()));
    }
    if let Some(old) = &change.old {
        let blocks = |object: &Object, uid: &str| blocks(object.meta(), uid);
        let is_freed = |owner: &&OwnerReference| {
            blocks(old, &owner.uid)
                && !change.new.as_ref().is_some_and(|new| blocks(new, &owner.uid))
                && standing(old, owner, world) == Standing::Waiting
                && !is_blocked(&owner.uid, world)
        };
        uids.extend(
            old.meta()
                .owners
                .iter()
                .filter(is_freed)
                .map(|owner| owner.uid.as_str()),
        );
    }
    uids
}

/// True when the changed object itself, as an owner, has gone or begun to go.
fn is_news_as_owner(change: &WorldChange, world: &World) -> bool {
    let is_ending = |object: &Arc<Object>| [FOREGROUND, ORPHAN].iter().any(|f| is_ending_with(object.meta(), f));
    match &change.new {
        None => dependents(&change.latest().meta().uid, world).next().is_some(),
        Some(new) => is_ending(new) && !change.old.as_ref().is_some_and(is_ending),
    }
}

/// The objects that name this uid as an owner.
fn dependents<'w>(uid: &'w str, world: &'w World) -> impl Iterator<Item = &'w Arc<Object>> {
    WATCHED.iter().flat_map(move |kind| world.owned_by(kind, uid))
}

/// True while a foreground deletion of this uid has to wait.
fn is_blocked(uid: &str, world: &World) -> bool {
    dependents(uid, world).any(|dependent| blocks(dependent.meta(), uid))
}

fn blocks(dependent: &Meta, uid: &str) -> bool {
    let mut owners = dependent.owners.iter();
    owners.any(|owner| owner.uid == uid && owner.block_owner_deletion)
}

fn is_ending_with(meta: &Meta, finalizer: &str) -> bool {
    meta.deleting.is_some() && meta.finalizers.iter().any(|f| f == finalizer)
}

/// How an object's own dependents are dealt with, as its finalizers say.
fn own_propagation(meta: &Meta) -> Propagation {
    let has = |finalizer: &str| meta.finalizers.iter().any(|f| f == finalizer);
    if has(ORPHAN) {
        Propagation::Orphan
    } else if has(FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    }
}

fn warn_out_of_reach(plan: &mut Plan, dependent: &Object, owner: &OwnerReference) {
    let namespace = &dependent.meta().namespace;
    let OwnerReference {
        api_version,
        kind,
        name,
        uid,
        ..
    } = owner;
    let message = format!(
        "ownerRef [{api_version}/{kind}, namespace: {namespace}, name: {name}, uid: {uid}] does not exist in namespace \"{namespace}\""
    );
    plan.note(NoteKind::Warning, dependent, "OwnerRefInvalidNamespace", message);
}
