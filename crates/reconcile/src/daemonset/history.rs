//! The revisions of a DaemonSet: which one is the current template, and what is written to keep them in order.
//!
//! The hash in force is the label of the revision that holds the template, never a recomputed one: pods of an old cluster,
//! and those that a rollback returns to, are recognised by it. A new hash is made only for a template never seen before.
//!
//! Differs from upstream: when two revisions hold the same template, only pods of these two get the label of the one that
//! is kept; upstream relabels every pod, whatever template it is of.
//! Source: specification §13, §14, §23.2.

use std::collections::BTreeSet;
use std::sync::Arc;

use rota_api::{DeleteOptions, Object, Write, resource};
use serde_json::{Value, json};

use super::claim::{self, Claimed};
use super::labels::REVISION_HASH;
use super::limits::HISTORY_DEFAULT;
use super::seen::SeenDaemonSet;
use super::{hash, revision_data};
use crate::{Plan, World};

/// What is known of a DaemonSet's revisions, and what is to be written about them.
pub(super) struct History<'w> {
    /// The hash of the current template.
    pub(super) hash: String,
    revisions: Claimed<'w>,
    unlabelled: Vec<&'w Arc<Object>>,
    renumbered: Option<(&'w Arc<Object>, i64)>,
    duplicates: Vec<&'w Arc<Object>>,
    relabelled: Vec<&'w Arc<Object>>,
    created: Option<Value>,
    collisions: Option<i32>,
    surplus: Vec<&'w Arc<Object>>,
}

/// A revision, read.
struct Revision<'w> {
    object: &'w Arc<Object>,
    number: i64,
    data: Value,
}

impl Revision<'_> {
    /// Its hash: the label, or its name where it has none.
    fn hash(&self) -> &str {
        let meta = self.object.meta();
        meta.labels.get(REVISION_HASH).unwrap_or(&meta.name)
    }
}

/// Finds the revision of the current template, or makes it.
pub(super) fn remember<'w>(set: &SeenDaemonSet<'_>, world: &'w World, pods: &[&'w Arc<Object>]) -> History<'w> {
    let template = set.to_template();
    let patch = revision_data::patch(&template);
    let revisions = claim::revisions(set, world);
    let (mut current, mut old): (Vec<_>, Vec<_>) = revisions
        .claimed
        .iter()
        .map(|object| read(object))
        .partition(|revision| revision_data::holds(&revision.data, &patch));
    let by_number = |a: &Revision<'_>, b: &Revision<'_>| a.number.cmp(&b.number);
    current.sort_by(by_number);
    old.sort_by(by_number);
    let next = old.last().map_or(0, |revision| revision.number) + 1;

    let mut history = History {
        hash: String::new(),
        unlabelled: unlabelled(&revisions),
        revisions,
        renumbered: None,
        duplicates: Vec::new(),
        relabelled: Vec::new(),
        created: None,
        collisions: None,
        surplus: surplus(set, &old, pods),
    };
    match current.split_last() {
        Some((kept, duplicates)) => {
            history.hash = kept.hash().to_owned();
            history.renumbered = (kept.number < next).then_some((kept.object, next));
            history.duplicates = duplicates.iter().map(|revision| revision.object).collect();
            let replaced: BTreeSet<&str> = duplicates
                .iter()
                .map(Revision::hash)
                .filter(|h| *h != kept.hash())
                .collect();
            let is_replaced = |pod: &&&Arc<Object>| {
                pod.meta()
                    .labels
                    .get(REVISION_HASH)
                    .is_some_and(|hash| replaced.contains(hash.as_str()))
            };
            history.relabelled = pods.iter().filter(is_replaced).copied().collect();
        }
        None => history.snapshot(set, &template, &patch, next, world),
    }
    history
}

fn read<'w>(object: &&'w Arc<Object>) -> Revision<'w> {
    let mut value = object.to_value();
    Revision {
        object,
        number: value["revision"].as_i64().unwrap_or_default(),
        data: value["data"].take(),
    }
}

fn unlabelled<'w>(revisions: &Claimed<'w>) -> Vec<&'w Arc<Object>> {
    let is_unlabelled = |object: &&&Arc<Object>| !object.meta().labels.contains_key(REVISION_HASH);
    revisions.claimed.iter().filter(is_unlabelled).copied().collect()
}

/// The old revisions beyond the limit, oldest first. One that a pod still carries stays, however many there are.
fn surplus<'w>(set: &SeenDaemonSet<'_>, old: &[Revision<'w>], pods: &[&Arc<Object>]) -> Vec<&'w Arc<Object>> {
    let limit = set.spec().revision_history_limit.unwrap_or(HISTORY_DEFAULT);
    let excess = old.len().saturating_sub(usize::try_from(limit).unwrap_or_default());
    let live: BTreeSet<&String> = pods
        .iter()
        .filter_map(|pod| pod.meta().labels.get(REVISION_HASH))
        .collect();
    let is_dead = |revision: &&Revision<'_>| !live.iter().any(|hash| *hash == revision.hash());
    old.iter()
        .filter(is_dead)
        .take(excess)
        .map(|revision| revision.object)
        .collect()
}

impl<'w> History<'w> {
    /// Makes a revision of the current template under the first name that is free. One of that name with the same content
    /// is taken for it, whoever owns it.
    fn snapshot(&mut self, set: &SeenDaemonSet<'_>, template: &Value, patch: &Value, number: i64, world: &World) {
        let meta = set.object.meta();
        let mut collisions = set.status().and_then(|status| status.collision_count);
        loop {
            self.hash = hash::template(template, collisions);
            let name = format!("{}-{}", meta.name, self.hash);
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
            "ownerReferences": [claim::owner_reference(set)],
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

    /// Brings the current revision about. A crash behind any of these writes leaves a history that the next look reads the
    /// same way: a collision that was counted changes the name that is tried, pods are relabelled before their revision
    /// goes.
    pub(super) fn carry_out(&self, set: &SeenDaemonSet<'_>, plan: &mut Plan) {
        let meta = set.object.meta();
        self.revisions.carry_out(set, plan);
        if let Some(count) = self.collisions {
            let patch = json!({"status": {"collisionCount": count}});
            let write = Write::merge_status(resource::DAEMON_SETS, &meta.namespace, &meta.name, patch);
            plan.act(
                write.if_uid(&meta.uid).if_revision(set.object.revision()),
                "the name of the new revision is taken",
            );
        }
        for revision in &self.unlabelled {
            plan.act(relabel(revision, &revision.meta().name), "the revision has no hash");
        }
        for pod in &self.relabelled {
            plan.act(relabel(pod, &self.hash), "two revisions hold its template");
        }
        if let Some((revision, number)) = &self.renumbered {
            let patch = json!({"revision": number});
            let write = merge(revision, patch);
            plan.act(write, "an old template is the current one again");
        }
        if let Some(revision) = &self.created {
            plan.then(
                Write::create(resource::CONTROLLER_REVISIONS, revision.clone()),
                "the template is new",
            );
        }
    }

    /// Deletes revisions that are too many.
    pub(super) fn clean_up(&self, plan: &mut Plan) {
        let duplicates = self
            .duplicates
            .iter()
            .map(|r| (r, "another revision holds the same template"));
        let surplus = self.surplus.iter().map(|r| (r, "it is beyond the history limit"));
        for (position, (revision, why)) in duplicates.chain(surplus).enumerate() {
            let meta = revision.meta();
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

fn relabel(object: &Object, hash: &str) -> Write {
    merge(object, json!({"metadata": {"labels": {REVISION_HASH: hash}}}))
}

fn merge(object: &Object, patch: Value) -> Write {
    let meta = object.meta();
    Write::merge(object.resource(), &meta.namespace, &meta.name, patch).if_uid(&meta.uid)
}
