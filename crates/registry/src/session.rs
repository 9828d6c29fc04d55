//! Changes that are not committed yet, on top of the present state.
//!
//! A session evaluates the writes of one transaction: each sees what those before it did. It notes for every object it relied
//! on the revision it saw, so that the commit is refused if somebody else was faster, and is then evaluated afresh.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, RwLockReadGuard};

use bytes::Bytes;
use rota_api::object::Encoded;
use rota_api::{Object, Resource, Revision, Timestamp};
use rota_store::{Compare, Op, Txn};
use serde_json::Value;

use crate::cache::State;
use crate::caller::Caller;
use crate::key;
use crate::registry::Registry;

/// One transaction while it is evaluated.
pub(crate) struct Session<'a> {
    /// Where the present state is.
    pub(crate) registry: &'a Registry,
    /// For whom.
    pub(crate) caller: &'a Caller,
    /// When; the same instant for all writes of the transaction.
    pub(crate) now: Timestamp,
    objects: Objects,
    places: HashMap<Bytes, Place>,
    /// The kinds that rules have looked at without relying on a certain object.
    looked: RefCell<BTreeSet<&'static Resource>>,
}

/// The objects of a session, and what it did to them.
#[derive(Default)]
pub(crate) struct Objects {
    slots: Vec<Slot>,
    /// How many operations the transaction has.
    ops: usize,
}

/// The place of an object in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(usize);

/// An object in a session.
struct Slot {
    key: Bytes,
    resource: &'static Resource,
    before: Option<Arc<Object>>,
    change: Option<Change>,
    encoded: Option<Arc<Encoded>>,
    /// Which operation of the transaction is this object's.
    op: Option<usize>,
}

/// What a session did to an object. Values have no resource version.
enum Change {
    /// It is now this.
    Set(Value),
    /// Its metadata is now this, the rest is as it was.
    SetMetadata(Value),
    /// It is gone; if it was changed on the way, this is its last state.
    Removed(Option<Value>),
}

impl<'a> Session<'a> {
    /// A session without changes.
    pub(crate) fn new(registry: &'a Registry, caller: &'a Caller) -> Self {
        Self::at(registry, caller, registry.env().now())
    }

    /// The same, of a transaction that is made at `now`.
    pub(crate) fn at(registry: &'a Registry, caller: &'a Caller, now: Timestamp) -> Self {
        Self {
            registry,
            caller,
            now,
            objects: Objects::default(),
            places: HashMap::new(),
            looked: RefCell::default(),
        }
    }

    /// The place of an object, existing or not. The commit will be refused if someone else changes the object meanwhile.
    pub(crate) fn place(&mut self, resource: &'static Resource, namespace: &str, name: &str) -> Place {
        let key = key::of(resource, namespace, name);
        if let Some(place) = self.places.get(&key) {
            return *place;
        }
        let place = Place(self.objects.slots.len());
        let resource = resource.stored();
        self.objects.slots.push(Slot {
            before: self.registry.cache().get(resource, namespace, name),
            key: key.clone(),
            resource,
            change: None,
            encoded: None,
            op: None,
        });
        self.places.insert(key, place);
        place
    }

    /// True when there is an object.
    pub(crate) fn exists(&self, place: Place) -> bool {
        let slot = &self.objects.slots[place.0];
        match &slot.change {
            None => slot.before.is_some(),
            Some(Change::Set(_) | Change::SetMetadata(_)) => true,
            Some(Change::Removed(_)) => false,
        }
    }

    /// The object, with its resource version as long as it is unchanged.
    pub(crate) fn value(&self, place: Place) -> Option<Value> {
        let slot = &self.objects.slots[place.0];
        let mut value = slot.state()?.into_owned();
        crate::fields::set_resource_version(&mut value, slot.revision());
        Some(value)
    }

    /// One field of the object, by its JSON pointer; the resource version does not count as one.
    pub(crate) fn field(&self, place: Place, pointer: &str) -> Option<Value> {
        self.objects.slots[place.0].state()?.pointer(pointer).cloned()
    }

    /// The object if the session has not changed it.
    pub(crate) fn unchanged(&self, place: Place) -> Option<&Arc<Object>> {
        let slot = &self.objects.slots[place.0];
        slot.before.as_ref().filter(|_| slot.change.is_none())
    }

    /// The revision of the object before the session; 0 if there was none.
    pub(crate) fn revision(&self, place: Place) -> Revision {
        self.objects.slots[place.0].revision()
    }

    /// Creates or changes the object.
    pub(crate) fn set(&mut self, place: Place, value: Value) {
        self.objects.slots[place.0].change = Some(Change::Set(value));
    }

    /// Changes the metadata of an object that the session has not changed.
    pub(crate) fn set_metadata(&mut self, place: Place, metadata: Value) {
        self.objects.slots[place.0].change = Some(Change::SetMetadata(metadata));
    }

    /// Removes the object. `last` is what it became just before, where that differs from the stored state.
    pub(crate) fn remove(&mut self, place: Place, last: Option<Value>) {
        self.objects.slots[place.0].change = Some(Change::Removed(last));
    }

    /// An object as this session sees it, for rules that only look. The commit does not depend on it.
    pub(crate) fn look(&self, resource: &'static Resource, namespace: &str, name: &str) -> Option<Cow<'_, Value>> {
        let key = key::of(resource, namespace, name);
        if let Some(place) = self.places.get(&key) {
            return self.objects.slots[place.0].state();
        }
        let object = self.read(resource).get(resource.stored(), namespace, name).cloned()?;
        Some(Cow::Owned(object.to_value()))
    }

    /// The present state, for rules that look at objects of this kind. The commit does not depend on what they see.
    pub(crate) fn read(&self, resource: &'static Resource) -> RwLockReadGuard<'_, State> {
        self.looked.borrow_mut().insert(resource.stored());
        self.registry.cache().read()
    }

    /// The kinds that rules have looked at.
    pub(crate) fn looked(&self) -> BTreeSet<&'static Resource> {
        self.looked.borrow().clone()
    }

    /// The objects, when all is evaluated.
    pub(crate) fn into_objects(self) -> Objects {
        self.objects
    }

    /// Encodes what was changed and makes it a transaction. Empty when nothing was changed.
    pub(crate) fn encode_txn(&mut self) -> Txn {
        let mut txn = Txn::default();
        for slot in &mut self.objects.slots {
            let op = match slot.change.take() {
                None => None,
                Some(Change::Set(value)) => Some(slot.put(Encoded::new(slot.resource, value))),
                Some(Change::SetMetadata(metadata)) => {
                    let changed = slot
                        .before
                        .as_ref()
                        .map(|before| before.encoded().with_metadata(&metadata));
                    changed.map(|encoded| slot.put(encoded))
                }
                Some(Change::Removed(last)) => {
                    slot.encoded = match last {
                        Some(last) => Some(Arc::new(Encoded::new(slot.resource, last))),
                        None => slot.before.as_ref().map(|object| Arc::clone(object.encoded())),
                    };
                    slot.before.is_some().then(|| Op::Delete {
                        key: slot.key.clone(),
                        attachment: slot.encoded.clone().map(|encoded| encoded as _),
                    })
                }
            };
            txn.compares.push(Compare {
                key: slot.key.clone(),
                modified: slot.revision().0,
            });
            if let Some(op) = op {
                slot.op = Some(txn.ops.len());
                txn.ops.push(op);
            }
        }
        self.objects.ops = txn.ops.len();
        if txn.ops.is_empty() {
            txn.compares.clear();
        }
        txn
    }
}

impl Objects {
    /// The object as the transaction made it, after [`Session::encode_txn`], or as it was if it was not changed. `committed`
    /// is the revision of the transaction's last change; `None`: it was not committed.
    pub(crate) fn result(&self, place: Place, committed: Option<Revision>) -> Option<Arc<Object>> {
        let slot = &self.slots[place.0];
        let Some(encoded) = &slot.encoded else {
            return slot.before.clone();
        };
        let revision = match (committed, slot.op) {
            // Each operation of a session changes something, so their revisions stand in a row.
            (Some(Revision(last)), Some(op)) => Revision(last - (self.ops - 1 - op) as u64),
            (Some(last), None) => last,
            (None, _) => slot.revision(),
        };
        Some(Arc::new(Object::new(Arc::clone(encoded), revision)))
    }
}

impl Slot {
    /// The object as the session has it; whether it shows a resource version is open.
    fn state(&self) -> Option<Cow<'_, Value>> {
        match &self.change {
            None => self.before.as_ref().map(|object| Cow::Owned(object.to_value())),
            Some(Change::Set(value)) => Some(Cow::Borrowed(value)),
            Some(Change::SetMetadata(metadata)) => {
                let mut value = self.before.as_ref()?.to_value();
                value["metadata"] = metadata.clone();
                Some(Cow::Owned(value))
            }
            Some(Change::Removed(_)) => None,
        }
    }

    fn put(&mut self, encoded: Encoded) -> Op {
        let encoded = Arc::new(encoded);
        self.encoded = Some(Arc::clone(&encoded));
        Op::Put {
            key: self.key.clone(),
            value: encoded.json.clone(),
            attachment: Some(encoded),
        }
    }

    fn revision(&self) -> Revision {
        self.before.as_ref().map_or(Revision(0), |object| object.revision())
    }
}
