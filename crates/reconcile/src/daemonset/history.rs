//! The revisions of a DaemonSet: which one is the current template, and what is written to keep them in order.
//!
//! The hash in force is the label of the revision that holds the template, never a recomputed one: pods of an old cluster,
//! and those that a rollback returns to, are recognised by it. A new hash is made only for a template never seen before.
//!
//! Differs from upstream: when two revisions hold the same template, only pods of these two get the label of the one that
//! is kept; upstream relabels every pod, whatever template it is of.
//! Source: specification §13, §14, §23.2; the order of revisions: `pkg/controller/history` (`historiesByRevision`).

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use rota_api::{DeleteOptions, Object, Write, resource};
use serde_json::{Value, json};

use super::claim::{self, Claim};
use super::labels::REVISION_HASH;
use super::limits::{HISTORY_DEFAULT, NAME_BYTES_MAX};
use super::seen::SeenDaemonSet;
use super::{hash, revision_data};
use crate::{Plan, World, ownership};

/// What is known of a DaemonSet's revisions, and what is to be written about them.
#[derive(Default)]
pub(super) struct History {
    /// The hash of the current template.
    pub(super) hash: String,
    /// Revisions of other templates, oldest first.
    old: Vec<Revision>,
    adopted: Vec<Arc<Object>>,
    released: Vec<Arc<Object>>,
    unlabelled: Vec<Arc<Object>>,
    renumbered: Option<(Arc<Object>, i64)>,
    duplicates: Vec<Revision>,
    /// The hashes of duplicates, which pods may carry.
    replaced: BTreeSet<String>,
    created: Option<Value>,
    collisions: Option<i32>,
}

/// A revision, read.
struct Revision {
    object: Arc<Object>,
    number: i64,
    data: Value,
}

impl Revision {
    fn of(object: &Arc<Object>) -> Self {
        let mut value = object.to_value();
        Self {
            object: Arc::clone(object),
            number: value["revision"].as_i64().unwrap_or_default(),
            data: value["data"].take(),
        }
    }

    /// The order of revisions: by number, then by age, then by name.
    fn seniority(&self, other: &Self) -> Ordering {
        let (a, b) = (self.object.meta(), other.object.meta());
        (self.number, a.created, &a.name).cmp(&(other.number, b.created, &b.name))
    }

    /// Its hash: the label, or its name where it has none.
    fn hash(&self) -> &str {
        let meta = self.object.meta();
        meta.labels.get(REVISION_HASH).unwrap_or(&meta.name)
    }
}

/// Finds the revision of the current template, or makes it.
pub(super) fn remember(set: &SeenDaemonSet<'_>, world: &World) -> History {
    let template = set.to_template();
    let patch = revision_data::patch(&template);
    let mut history = History::default();
    let mut current = Vec::new();
    for object in claim::candidates(set, world, resource::CONTROLLER_REVISIONS) {
        match claim::claim(set, object) {
            None => continue,
            Some(Claim::Own) => {}
            Some(Claim::Adopted) => history.adopted.push(Arc::clone(object)),
            Some(Claim::Released) => {
                history.released.push(Arc::clone(object));
                continue;
            }
        }
        if !object.meta().labels.contains_key(REVISION_HASH) {
            history.unlabelled.push(Arc::clone(object));
        }
        let revision = Revision::of(object);
        let is_current = revision_data::holds(&revision.data, &patch);
        let list = if is_current { &mut current } else { &mut history.old };
        list.push(revision);
    }
    current.sort_by(Revision::seniority);
    history.old.sort_by(Revision::seniority);
    let next = history.old.last().map_or(0, |revision| revision.number) + 1;
    match current.pop() {
        Some(kept) => {
            history.hash = kept.hash().to_owned();
            let hashes = current.iter().map(|revision| revision.hash().to_owned());
            history.replaced = hashes.filter(|hash| *hash != history.hash).collect();
            history.duplicates = current;
            history.renumbered = (kept.number < next).then_some((kept.object, next));
        }
        None => history.snapshot(set, &template, &patch, next, world),
    }
    history
}

impl History {
    /// Makes a revision of the current template under the first name that is free. One of that name with the same content
    /// is taken for it, whoever owns it.
    fn snapshot(&mut self, set: &SeenDaemonSet<'_>, template: &Value, patch: &Value, number: i64, world: &World) {
        let meta = set.object.meta();
        let mut collisions = set.status().and_then(|status| status.collision_count);
        loop {
            self.hash = hash::template(template, collisions);
            let name = revision_name(&meta.name, &self.hash);
            let Some(taken) = world.get(resource::CONTROLLER_REVISIONS, &meta.namespace, &name) else {
                self.created = Some(self.revision(set, &name, template, patch, number));
                return;
            };
            if revision_data::holds(&taken.to_value()["data"], patch) {
                return;
            }
            collisions = Some(collisions.unwrap_or_default().saturating_add(1));
            self.collisions = collisions;
        }
    }

    fn revision(&self, set: &SeenDaemonSet<'_>, name: &str, template: &Value, patch: &Value, number: i64) -> Value {
        let mut labels = template["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        labels.insert(REVISION_HASH.to_owned(), self.hash.clone().into());
        let mut metadata = json!({
            "namespace": set.object.meta().namespace,
            "name": name,
            "labels": labels,
            "ownerReferences": [ownership::reference(set.object)],
        });
        let annotations = set.annotations();
        if annotations.as_object().is_some_and(|a| !a.is_empty()) {
            metadata["annotations"] = annotations;
        }
        json!({
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": metadata,
            "data": revision_data::sorted(patch),
            "revision": number,
        })
    }

    /// True when there is nothing to write but what is too old: it will be the same until a revision or the template changes.
    pub(super) fn is_settled(&self) -> bool {
        let moves = self.adopted.len() + self.released.len() + self.unlabelled.len() + self.duplicates.len();
        moves == 0 && self.renumbered.is_none() && self.created.is_none() && self.collisions.is_none()
    }

    /// Hashes that stand for the current template beside the one in force.
    pub(super) fn replaced(&self) -> &BTreeSet<String> {
        &self.replaced
    }

    /// Brings the current revision about. `relabelled` are the pods that carry a replaced hash. A crash behind any of these
    /// writes leaves a history that the next look reads the same way: a collision that was counted changes the name that
    /// is tried, pods are relabelled before their revision goes.
    pub(super) fn carry_out(&self, set: &SeenDaemonSet<'_>, relabelled: &[&Arc<Object>], plan: &mut Plan) {
        let meta = set.object.meta();
        ownership::carry_out(set.object, self.adopted.iter(), self.released.iter(), plan);
        let mut writes: Vec<(Write, &'static str)> = Vec::new();
        if let Some(count) = self.collisions {
            let patch = json!({"status": {"collisionCount": count}});
            let write = Write::merge_status(resource::DAEMON_SETS, &meta.namespace, &meta.name, patch);
            writes.push((
                write.if_uid(&meta.uid).if_revision(set.object.revision()),
                "the name of the new revision is taken",
            ));
        }
        let unlabelled = self.unlabelled.iter();
        writes
            .extend(unlabelled.map(|revision| (relabel(revision, &revision.meta().name), "the revision has no hash")));
        let relabelled = relabelled.iter();
        writes.extend(relabelled.map(|pod| (relabel(pod, &self.hash), "two revisions hold its template")));
        if let Some((revision, number)) = &self.renumbered {
            let write = merge(revision, json!({"revision": number}));
            writes.push((write, "an old template is the current one again"));
        }
        for (position, (write, why)) in writes.into_iter().enumerate() {
            // What could not be adopted is somebody else's: it is not written to.
            if position == 0 && !self.adopted.is_empty() {
                plan.then(write, why);
            } else {
                plan.act(write, why);
            }
        }
        if let Some(revision) = &self.created {
            plan.then(
                Write::create(resource::CONTROLLER_REVISIONS, revision.clone()),
                "the template is new",
            );
        }
    }

    /// Deletes revisions that are too many: duplicates, and old ones beyond the limit, oldest first. An old one that a pod
    /// still carries stays, however many there are.
    pub(super) fn clean_up(&self, set: &SeenDaemonSet<'_>, is_carried: impl Fn(&str) -> bool, plan: &mut Plan) {
        let limit = set.spec().revision_history_limit.unwrap_or(HISTORY_DEFAULT);
        let excess = self
            .old
            .len()
            .saturating_sub(usize::try_from(limit).unwrap_or_default());
        let surplus = self
            .old
            .iter()
            .filter(|revision| !is_carried(revision.hash()))
            .take(excess);
        let surplus = surplus.map(|revision| (revision, "it is beyond the history limit"));
        let duplicates = self.duplicates.iter();
        let duplicates = duplicates.map(|revision| (revision, "another revision holds the same template"));
        for (position, (revision, why)) in duplicates.chain(surplus).enumerate() {
            let meta = revision.object.meta();
            let write = Write::delete(
                resource::CONTROLLER_REVISIONS,
                &meta.namespace,
                &meta.name,
                DeleteOptions::default(),
            )
            .if_uid(&meta.uid);
            if position == 0 {
                plan.then(write, why);
            } else {
                plan.act(write, why);
            }
        }
    }
}

/// The name of a revision: that of the DaemonSet, cut where the whole would be too long for a name, and the hash. Upstream
/// does not cut, so that such a DaemonSet never gets a revision, nor a pod.
fn revision_name(set: &str, hash: &str) -> String {
    let room = NAME_BYTES_MAX.saturating_sub(hash.len() + 1);
    let base = set.get(..room.min(set.len())).unwrap_or(set);
    format!("{}-{hash}", base.trim_end_matches(['.', '-']))
}

fn relabel(object: &Object, hash: &str) -> Write {
    merge(object, json!({"metadata": {"labels": {REVISION_HASH: hash}}}))
}

fn merge(object: &Object, patch: Value) -> Write {
    let meta = object.meta();
    Write::merge(object.resource(), &meta.namespace, &meta.name, patch).if_uid(&meta.uid)
}
