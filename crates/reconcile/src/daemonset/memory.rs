//! What is kept between two looks at a DaemonSet, so that a look costs what has changed and not how many nodes there are.
//!
//! Nothing in it is knowledge: it is what a look at the whole world would give, kept up to date by the changes the
//! controller is told of. It counts these changes; where the world counts others, or the DaemonSet is another, everything
//! is looked at anew.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rota_api::k8s::api::apps::v1::DaemonSet;
use rota_api::{Meta, Timestamp, resource};

use super::history::{self, History};
use super::placed::Placed;
use super::seen::SeenDaemonSet;
use super::{KINDS, WATCHED, eligibility, labels};
use crate::{Key, World, WorldChange};

/// What is kept of all DaemonSets.
#[derive(Default)]
pub(super) struct Memories {
    sets: HashMap<Key, Memory>,
    /// How many changes of each watched kind were told.
    heard: [u64; KINDS],
}

/// What is kept of one DaemonSet.
#[derive(Default)]
pub(super) struct Memory {
    of: Option<Arc<DaemonSet>>,
    history: Option<History>,
    placed: Option<Placed>,
    changed: Changed,
}

/// What has changed since the last look.
#[derive(Default)]
struct Changed {
    nodes: BTreeSet<String>,
    pods: BTreeSet<String>,
    revisions: bool,
}

impl Memories {
    /// Takes note of a change.
    pub(super) fn hear(&mut self, change: &WorldChange) {
        let kind = change.resource();
        if let Some(at) = WATCHED.iter().position(|watched| *watched == kind) {
            self.heard[at] += 1;
        }
        if kind == resource::NODES {
            self.hear_node(change);
        } else if kind != resource::DAEMON_SETS {
            self.hear_dependent(change);
        } else if change.is_deleted() {
            self.sets.remove(&change.key());
        }
    }

    fn hear_node(&mut self, change: &WorldChange) {
        if !self.sets.is_empty() && eligibility::may_change(change) {
            let name = &change.latest().meta().name;
            for memory in self.sets.values_mut() {
                memory.changed.nodes.insert(name.clone());
            }
        }
    }

    /// A pod or a revision: it concerns its owner before and after, and where it had none whoever may have meant to adopt
    /// it.
    fn hear_dependent(&mut self, change: &WorldChange) {
        let seen = [&change.old, &change.new];
        let metas: Vec<&Meta> = seen.into_iter().flatten().map(|object| object.meta()).collect();
        let name = &change.latest().meta().name;
        let is_pod = change.resource() == resource::PODS;
        if metas.iter().any(|meta| meta.controller().is_none()) {
            let namespace = &change.latest().meta().namespace;
            let near = self.sets.iter_mut().filter(|(key, _)| key.namespace == *namespace);
            near.for_each(|(_, memory)| memory.changed.hear(name, is_pod));
            return;
        }
        let mut owner_before = None;
        for meta in metas {
            let Some(owner) = meta.controller().filter(|owner| owner.kind == "DaemonSet") else {
                continue;
            };
            if owner_before.replace(&owner.name) == Some(&owner.name) {
                continue;
            }
            if let Some(memory) = self.sets.get_mut(&Key::new(&meta.namespace, &owner.name)) {
                memory.changed.hear(name, is_pod);
            }
        }
    }

    /// Forgets a DaemonSet.
    pub(super) fn forget(&mut self, key: &Key) {
        self.sets.remove(key);
    }

    /// The revisions and nodes of a DaemonSet as they are now.
    pub(super) fn recall(
        &mut self,
        key: &Key,
        set: &SeenDaemonSet<'_>,
        world: &World,
        now: Timestamp,
    ) -> (&History, &mut Placed) {
        let entered = WATCHED.map(|kind| world.changes(kind));
        if self.heard != entered {
            self.heard = entered;
            self.sets.clear();
        }
        if !self.sets.contains_key(key) {
            self.sets.insert(key.clone(), Memory::default());
        }
        let memory = self.sets.get_mut(key).expect("entered above");
        memory.refresh(set, world, now);
        let (history, placed) = (&memory.history, &mut memory.placed);
        (
            history.as_ref().expect("made by the refresh"),
            placed.as_mut().expect("made by the refresh"),
        )
    }
}

impl Changed {
    fn hear(&mut self, name: &str, is_pod: bool) {
        if is_pod {
            self.pods.insert(name.to_owned());
        } else {
            self.revisions = true;
        }
    }
}

impl Memory {
    fn refresh(&mut self, set: &SeenDaemonSet<'_>, world: &World, now: Timestamp) {
        let changed = std::mem::take(&mut self.changed);
        if !self.of.as_ref().is_some_and(|before| is_alike(before, set.view())) {
            *self = Self::default();
        }
        self.of = Some(Arc::clone(set.view()));
        let history = match self.history.take() {
            Some(history) if history.is_settled() && !changed.revisions => history,
            _ => history::remember(set, world),
        };
        match &mut self.placed {
            Some(placed) if placed.hash() == history.hash => {
                placed.update(set, world, &changed.nodes, &changed.pods, now);
            }
            _ => self.placed = Some(Placed::of(set, &history.hash, world, now)),
        }
        self.history = Some(history);
    }
}

/// True when nothing that nodes, pods or revisions are judged by differs: the status and most of the metadata do not count.
fn is_alike(a: &DaemonSet, b: &DaemonSet) -> bool {
    let generation = |set: &DaemonSet| {
        let annotations = set.metadata.annotations.as_ref();
        annotations.and_then(|all| all.get(labels::TEMPLATE_GENERATION).cloned())
    };
    a.metadata.uid == b.metadata.uid && generation(a) == generation(b) && a.spec == b.spec
}
