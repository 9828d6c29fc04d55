//! Which DaemonSets a change touches.
//!
//! A change of a node touches those for which the node's eligibility changes, and those with a pod on it; a heartbeat
//! touches none. Upstream does not look at a node that goes, nor at a taint that turns a pod into a misscheduled one, and
//! so shows a stale status for minutes; here it is counted at once.
//! Source: specification §3.

use rota_api::{Meta, Object, resource};

use super::eligibility::{self, Eligibility, eligibility};
use super::seen::SeenDaemonSet;
use crate::{Key, World, WorldChange, ownership};

/// The DaemonSets to look at after `change`.
pub(super) fn touched(change: &WorldChange, world: &World) -> Vec<Key> {
    if change.resource() == resource::DAEMON_SETS {
        return vec![change.key()];
    }
    if change.resource() == resource::NODES {
        return by_node(change, world);
    }
    let mut keys = by_dependent(change, world);
    keys.sort();
    keys.dedup();
    keys
}

/// A pod or a revision: its owners before and after; where it has none, those that would adopt it.
fn by_dependent(change: &WorldChange, world: &World) -> Vec<Key> {
    let old = change.old.as_ref().map(|object| object.meta());
    let new = change.new.as_ref().map(|object| object.meta());
    // A new revision with an owner is the owner's own doing, or somebody's who shall not see it undone at once.
    let is_own_news = change.resource() == resource::CONTROLLER_REVISIONS && old.is_none();
    let owners = old
        .into_iter()
        .chain(new.filter(|_| !is_own_news))
        .filter_map(|meta| ownership::controller(meta, resource::DAEMON_SETS, world));
    let mut keys: Vec<Key> = owners.collect();
    if let Some(new) = new.filter(|new| new.controller().is_none())
        && old.is_none_or(|old| old.labels != new.labels || old.controller().is_some())
    {
        let takers = world.in_namespace(resource::DAEMON_SETS, &new.namespace);
        keys.extend(takers.filter(|set| selects(set, new)).map(|set| Key::of(set)));
    }
    keys
}

fn by_node(change: &WorldChange, world: &World) -> Vec<Key> {
    if !eligibility::may_change(change) {
        return Vec::new();
    }
    let (old, new) = (change.old.as_deref(), change.new.as_deref());
    let name = &change.latest().meta().name;
    let judge = |set: &SeenDaemonSet<'_>, node: Option<&Object>| {
        node.map_or_else(Eligibility::default, |node| eligibility(set, node))
    };
    let has_pod = |set: &Object| {
        let is_own = |pod: &&std::sync::Arc<Object>| pod.meta().owners.iter().any(|owner| owner.uid == set.meta().uid);
        world.on_node(name).any(|pod| is_own(&pod))
    };
    world
        .all(resource::DAEMON_SETS)
        .filter(|object| {
            let is_moved = |set: SeenDaemonSet<'_>| judge(&set, old) != judge(&set, new);
            SeenDaemonSet::of(object).is_some_and(is_moved) || has_pod(object)
        })
        .map(|set| Key::of(set))
        .collect()
}

fn selects(set: &std::sync::Arc<Object>, meta: &Meta) -> bool {
    SeenDaemonSet::of(set).is_some_and(|set| !set.selector.is_everything() && set.selector.matches(&meta.labels))
}
