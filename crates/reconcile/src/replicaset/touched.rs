//! Which ReplicaSets a change touches.
//!
//! Source: the event handlers of `pkg/controller/replicaset/replica_set.go`.

use rota_api::resource;

use super::seen::SeenReplicaSet;
use crate::{Key, World, WorldChange, ownership};

/// The ReplicaSets to look at after `change`.
pub(super) fn touched(change: &WorldChange, world: &World) -> Vec<Key> {
    if change.resource() == resource::REPLICA_SETS {
        return vec![change.key()];
    }
    let old = change.old.as_ref().map(|pod| pod.meta());
    let new = change.new.as_ref().map(|pod| pod.meta());
    let mut keys: Vec<Key> = old
        .into_iter()
        .chain(new)
        .filter_map(|pod| ownership::controller(pod, resource::REPLICA_SETS, world))
        .collect();
    if let Some(new) = new.filter(|new| new.controller().is_none())
        && old.is_none_or(|old| old.labels != new.labels || old.controller().is_some())
    {
        let takers = world.in_namespace(resource::REPLICA_SETS, &new.namespace);
        let selects = |set: &SeenReplicaSet<'_>| set.selector.matches(&new.labels);
        keys.extend(
            takers
                .filter(|set| SeenReplicaSet::of(set).is_some_and(|set| selects(&set)))
                .map(|set| Key::of(set)),
        );
    }
    keys.sort();
    keys.dedup();
    keys
}
