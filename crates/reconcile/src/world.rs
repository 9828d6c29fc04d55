//! An indexed picture of the cluster, as seen by watching it.
//!
//! A plain struct: objects go in by [`World::apply`], [`World::delete`] and [`World::reset`], answers come out by name,
//! owner, node or an index that a controller asked for. It never asks a server, and no question scans a whole kind
//! except [`World::all`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rota_api::{Object, Resource, resource};

use crate::controller::{Index, Key};

/// The picture. Holds only kinds that were named to [`World::watch`].
#[derive(Default)]
pub struct World {
    kinds: HashMap<&'static Resource, Kind>,
}

/// What became of one object in the picture.
#[derive(Clone, Debug)]
pub struct WorldChange {
    /// The object before, if it was known.
    pub old: Option<Arc<Object>>,
    /// The object now, if it still exists.
    pub new: Option<Arc<Object>>,
}

impl WorldChange {
    /// The object's kind.
    pub fn resource(&self) -> &'static Resource {
        self.latest().resource()
    }

    /// The object as it is, or as it last was.
    pub fn latest(&self) -> &Arc<Object> {
        self.new
            .as_ref()
            .or(self.old.as_ref())
            .expect("a change has a before or an after")
    }

    /// The object's key.
    pub fn key(&self) -> Key {
        Key::of(self.latest())
    }

    /// True when the object is gone.
    pub fn is_deleted(&self) -> bool {
        self.new.is_none()
    }
}

#[derive(Default)]
struct Kind {
    objects: BTreeMap<Key, Arc<Object>>,
    by_uid: HashMap<String, Key>,
    by_owner: HashMap<String, BTreeSet<Key>>,
    by_node: HashMap<String, BTreeSet<Key>>,
    indexes: Vec<Index>,
    entries: HashMap<&'static str, HashMap<String, BTreeSet<Key>>>,
    synced: bool,
    changes: u64,
}

impl World {
    /// An empty picture of no kinds.
    pub fn new() -> Self {
        Self::default()
    }

    /// A picture of these kinds with these indexes, empty and not yet synced.
    pub fn watching(kinds: &[&'static Resource], indexes: &[Index]) -> Self {
        let mut world = Self::new();
        for kind in kinds {
            world.watch(kind);
        }
        for index in indexes {
            world.index(*index);
        }
        world
    }

    /// Adds a kind to the picture.
    pub fn watch(&mut self, resource: &'static Resource) {
        self.kinds.entry(resource).or_default();
    }

    /// Adds an index; objects already there are entered.
    pub fn index(&mut self, index: Index) {
        let kind = self.kinds.entry(index.resource).or_default();
        if kind.indexes.iter().any(|i| i.name == index.name) {
            return;
        }
        for (key, object) in &kind.objects {
            for entry in (index.keys)(object) {
                kind.entries
                    .entry(index.name)
                    .or_default()
                    .entry(entry)
                    .or_default()
                    .insert(key.clone());
            }
        }
        kind.indexes.push(index);
    }

    /// True when each of these kinds has been listed once: an empty answer then means "none", not "not seen yet".
    pub fn is_synced(&self, kinds: &[&'static Resource]) -> bool {
        kinds.iter().all(|k| self.kinds.get(k).is_some_and(|k| k.synced))
    }

    /// Enters an object as it is now. `None` when the picture already holds this revision or a later one, or when the
    /// kind is not watched.
    pub fn apply(&mut self, object: Arc<Object>) -> Option<WorldChange> {
        let kind = self.kinds.get_mut(object.resource())?;
        let key = Key::of(&object);
        let old = match kind.objects.get_mut(&key) {
            Some(old) if old.meta().uid == object.meta().uid && old.revision() >= object.revision() => return None,
            Some(place) => Some(std::mem::replace(place, Arc::clone(&object))),
            None => {
                kind.objects.insert(key.clone(), Arc::clone(&object));
                None
            }
        };
        kind.changes += 1;
        match &old {
            Some(old) if kind.is_linked_alike(old, &object) => {}
            Some(old) => {
                kind.unlink(&key, old);
                kind.link(&key, &object);
            }
            None => kind.link(&key, &object),
        }
        Some(WorldChange { old, new: Some(object) })
    }

    /// Removes an object. `None` when the picture does not hold it, or holds a successor of the same name.
    pub fn delete(&mut self, object: &Object) -> Option<WorldChange> {
        let kind = self.kinds.get_mut(object.resource())?;
        let key = Key::of(object);
        if kind.objects.get(&key)?.meta().uid != object.meta().uid {
            return None;
        }
        let old = kind.objects.remove(&key)?;
        kind.changes += 1;
        kind.unlink(&key, &old);
        Some(WorldChange {
            old: Some(old),
            new: None,
        })
    }

    /// Replaces all objects of a kind by a fresh listing; returns what changed by it.
    pub fn reset(&mut self, resource: &'static Resource, objects: Vec<Arc<Object>>) -> Vec<WorldChange> {
        let mut changes = Vec::new();
        let kind = self.kinds.entry(resource).or_default();
        kind.synced = true;
        let listed: BTreeSet<(Key, String)> = objects.iter().map(|o| (Key::of(o), o.meta().uid.clone())).collect();
        let gone: Vec<Arc<Object>> = kind
            .objects
            .iter()
            .filter(|(key, object)| !listed.contains(&((*key).clone(), object.meta().uid.clone())))
            .map(|(_, object)| Arc::clone(object))
            .collect();
        for object in gone {
            changes.extend(self.delete(&object));
        }
        for object in objects {
            changes.extend(self.apply(object));
        }
        changes
    }

    /// The object of that name.
    pub fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        self.kinds.get(resource)?.objects.get(&Key::new(namespace, name))
    }

    /// The object of that uid.
    pub fn get_uid(&self, resource: &'static Resource, uid: &str) -> Option<&Arc<Object>> {
        let kind = self.kinds.get(resource)?;
        kind.objects.get(kind.by_uid.get(uid)?)
    }

    /// The objects of a kind that name this uid as one of their owners, in order of namespace and name.
    pub fn owned_by(&self, resource: &'static Resource, uid: &str) -> impl Iterator<Item = &Arc<Object>> {
        self.kinds
            .get(resource)
            .into_iter()
            .flat_map(move |kind| kind.listed(kind.by_owner.get(uid)))
    }

    /// The pods bound to a node, in order of namespace and name.
    pub fn on_node(&self, node: &str) -> impl Iterator<Item = &Arc<Object>> {
        self.kinds
            .get(resource::PODS)
            .into_iter()
            .flat_map(move |kind| kind.listed(kind.by_node.get(node)))
    }

    /// The objects that an index holds under `entry`, in order of namespace and name.
    pub fn find(&self, resource: &'static Resource, index: &str, entry: &str) -> impl Iterator<Item = &Arc<Object>> {
        self.kinds
            .get(resource)
            .into_iter()
            .flat_map(move |kind| kind.listed(kind.entries.get(index).and_then(|entries| entries.get(entry))))
    }

    /// How many objects an index holds under `entry`; costs the same for any number.
    pub fn count_of(&self, resource: &'static Resource, index: &str, entry: &str) -> usize {
        let entries = self.kinds.get(resource).and_then(|kind| kind.entries.get(index));
        entries.and_then(|entries| entries.get(entry)).map_or(0, BTreeSet::len)
    }

    /// All objects of a kind in a namespace, in order of name.
    pub fn in_namespace(&self, resource: &'static Resource, namespace: &str) -> impl Iterator<Item = &Arc<Object>> {
        let from = Key::new(namespace, "");
        let namespace = namespace.to_owned();
        self.kinds
            .get(resource)
            .into_iter()
            .flat_map(move |kind| kind.objects.range(from.clone()..))
            .take_while(move |(key, _)| key.namespace == namespace)
            .map(|(_, object)| object)
    }

    /// All objects of a kind, in order of namespace and name.
    pub fn all(&self, resource: &'static Resource) -> impl Iterator<Item = &Arc<Object>> {
        self.kinds
            .get(resource)
            .into_iter()
            .flat_map(|kind| kind.objects.values())
    }

    /// How many changes of a kind were entered so far. Who was told of each of them has missed none.
    pub fn changes(&self, resource: &'static Resource) -> u64 {
        self.kinds.get(resource).map_or(0, |kind| kind.changes)
    }

    /// How many objects of a kind there are.
    pub fn count(&self, resource: &'static Resource) -> usize {
        self.kinds.get(resource).map_or(0, |kind| kind.objects.len())
    }
}

impl Kind {
    /// True when both are found under the same entries, as most changes leave it.
    fn is_linked_alike(&self, old: &Object, new: &Object) -> bool {
        let (before, now) = (old.meta(), new.meta());
        before.uid == now.uid
            && before.node == now.node
            && before.owners == now.owners
            && self.indexes.iter().all(|index| (index.keys)(old) == (index.keys)(new))
    }

    fn link(&mut self, key: &Key, object: &Object) {
        let meta = object.meta();
        self.by_uid.insert(meta.uid.clone(), key.clone());
        for owner in &meta.owners {
            self.by_owner.entry(owner.uid.clone()).or_default().insert(key.clone());
        }
        if !meta.node.is_empty() {
            self.by_node.entry(meta.node.clone()).or_default().insert(key.clone());
        }
        for index in &self.indexes {
            for entry in (index.keys)(object) {
                self.entries
                    .entry(index.name)
                    .or_default()
                    .entry(entry)
                    .or_default()
                    .insert(key.clone());
            }
        }
    }

    fn unlink(&mut self, key: &Key, object: &Object) {
        let meta = object.meta();
        self.by_uid.remove(&meta.uid);
        for owner in &meta.owners {
            remove_entry(&mut self.by_owner, &owner.uid, key);
        }
        remove_entry(&mut self.by_node, &meta.node, key);
        for index in &self.indexes {
            if let Some(entries) = self.entries.get_mut(index.name) {
                for entry in (index.keys)(object) {
                    remove_entry(entries, &entry, key);
                }
            }
        }
    }

    fn listed<'a>(&'a self, keys: Option<&'a BTreeSet<Key>>) -> impl Iterator<Item = &'a Arc<Object>> {
        keys.into_iter().flatten().filter_map(|key| self.objects.get(key))
    }
}

fn remove_entry(entries: &mut HashMap<String, BTreeSet<Key>>, entry: &str, key: &Key) {
    if let Some(keys) = entries.get_mut(entry) {
        keys.remove(key);
        if keys.is_empty() {
            entries.remove(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, owner: &str, node: &str, revision: u64) -> Arc<Object> {
        Arc::new(Object::from_value(
            resource::PODS,
            json!({"metadata": {"namespace": "d", "name": name, "uid": name, "resourceVersion": revision.to_string(),
                   "ownerReferences": [{"uid": owner}]}, "spec": {"nodeName": node}}),
        ))
    }

    #[test]
    fn pods_are_found_by_owner_and_node_and_leave_the_indexes_when_they_change() {
        let mut world = World::watching(&[resource::PODS], &[]);
        world.apply(pod("a", "job", "", 1));
        world.apply(pod("a", "job", "n1", 2));
        world.apply(pod("b", "other", "n1", 3));
        assert_eq!(world.owned_by(resource::PODS, "job").count(), 1);
        assert_eq!(world.on_node("n1").count(), 2);
        world.delete(&pod("a", "job", "n1", 4));
        assert_eq!(world.owned_by(resource::PODS, "job").count(), 0);
        assert_eq!(world.on_node("n1").count(), 1);
    }

    #[test]
    fn a_late_event_does_not_undo_a_newer_state() {
        let mut world = World::watching(&[resource::PODS], &[]);
        assert!(world.apply(pod("a", "job", "n2", 5)).is_some());
        assert!(world.apply(pod("a", "job", "", 4)).is_none());
        assert_eq!(world.get(resource::PODS, "d", "a").unwrap().meta().node, "n2");
    }

    #[test]
    fn a_fresh_listing_tells_what_went_away_in_between() {
        let mut world = World::watching(&[resource::PODS], &[]);
        world.apply(pod("a", "job", "", 1));
        world.apply(pod("b", "job", "", 2));
        assert!(!world.is_synced(&[resource::PODS]));
        let changes = world.reset(resource::PODS, vec![pod("b", "job", "", 2)]);
        assert_eq!(changes.len(), 1);
        assert!(changes[0].is_deleted());
        assert!(world.is_synced(&[resource::PODS]));
    }

    #[test]
    fn an_index_holds_what_its_function_says() {
        let index = Index {
            name: "bound",
            resource: resource::PODS,
            keys: |o| {
                if o.meta().node.is_empty() {
                    vec![]
                } else {
                    vec!["yes".to_owned()]
                }
            },
        };
        let mut world = World::watching(&[resource::PODS], &[index]);
        world.apply(pod("a", "job", "", 1));
        world.apply(pod("b", "job", "n", 2));
        let names: Vec<_> = world
            .find(resource::PODS, "bound", "yes")
            .map(|o| o.meta().name.clone())
            .collect();
        assert_eq!(names, ["b"]);
    }
}
