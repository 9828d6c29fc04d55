//! Every object of every kind as it is now, with the recent past: what reads and watches are answered from.
//!
//! The cache observes the store, so it is never behind an acknowledged write, and a commit of many objects becomes visible
//! at once. One lock guards it all; it is held for moments.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use jiff::SignedDuration;
use rota_api::object::Encoded;
use rota_api::{ApiError, Object, Resource, Revision, Timestamp, resource};
use rota_store::{Commit, KeyValue, Observer};

use crate::hub::{Arriving, Change, Event, Hub};
use crate::key;
use crate::select::{Interest, Selection};

/// How often the age of the past is marked, and so how much of it is forgotten at once.
const MARK_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

/// How much of the past is kept, for watches that come back and for lists read page by page.
#[derive(Clone, Copy, Debug)]
pub struct HistoryLimits {
    /// At most so many changes.
    pub changes: usize,
    /// At most so many bytes of encoded objects.
    pub bytes: usize,
    /// About so long: what is older is forgotten as the next changes are made.
    pub age: SignedDuration,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self {
            changes: 100_000,
            bytes: 64 << 20,
            // As upstream: `DefaultCompactInterval` in kubernetes `apiserver/pkg/storage/storagebackend/config.go`.
            age: SignedDuration::from_mins(5),
        }
    }
}

pub(crate) struct Cache {
    state: RwLock<State>,
    revision: tokio::sync::watch::Sender<Revision>,
    limits: HistoryLimits,
}

pub(crate) struct State {
    kinds: HashMap<&'static Resource, Kind>,
    by_prefix: HashMap<Vec<u8>, &'static Resource>,
    revision: Revision,
    /// Changes up to this revision are no longer known.
    oldest: Revision,
    /// The number and size of the changes of each kept commit, to know when to forget and what.
    commits: VecDeque<(Revision, usize)>,
    /// Which revision was the latest at some instants, from the oldest to the latest.
    marks: VecDeque<(Timestamp, Revision)>,
    changes: usize,
    bytes: usize,
}

/// The objects of one kind.
#[derive(Default)]
pub(crate) struct Kind {
    objects: BTreeMap<Bytes, Arc<Object>>,
    by_node: HashMap<String, BTreeSet<Bytes>>,
    past: VecDeque<Change>,
    hub: Hub,
}

impl Cache {
    /// The cache of what a store holds at `revision`.
    ///
    /// Errors: 500 for an object that cannot be read.
    pub(crate) fn load(revision: Revision, items: Vec<KeyValue>, limits: HistoryLimits) -> Result<Self, ApiError> {
        let stored = || {
            resource::ALL
                .iter()
                .copied()
                .filter(|r| r.is_stored() && r.stored() == *r)
        };
        let mut state = State {
            kinds: stored().map(|r| (r, Kind::default())).collect(),
            by_prefix: stored().map(|r| (key::prefix(r).into_bytes(), r)).collect(),
            revision,
            oldest: revision,
            commits: VecDeque::new(),
            marks: VecDeque::new(),
            changes: 0,
            bytes: 0,
        };
        for item in items {
            let Some((kind, tail)) = state.locate(&item.key) else {
                tracing::warn!(key = ?item.key, "an object of an unknown kind is left alone");
                continue;
            };
            let encoded = Encoded::decode(kind, &item.value)
                .map_err(|error| ApiError::internal(format!("{:?} cannot be read: {error}", item.key)))?;
            let object = Arc::new(Object::new(Arc::new(encoded), Revision(item.modified)));
            if let Some(kind) = state.kinds.get_mut(kind) {
                kind.set(tail, object);
            }
        }
        Ok(Self {
            state: RwLock::new(state),
            revision: tokio::sync::watch::Sender::new(revision),
            limits,
        })
    }

    /// The state to read from. A panic elsewhere cannot leave it half changed in a way that matters more than going on.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The object as it is now.
    pub(crate) fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.read().get(resource, namespace, name).cloned()
    }

    /// Tells of new revisions.
    pub(crate) fn revisions(&self) -> tokio::sync::watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    /// Starts a watch: what happened after `from`, then what is to come. With `from` unset: the present state first.
    pub(crate) fn watch(
        &self,
        resource: &'static Resource,
        selection: Selection,
        from: Option<Revision>,
    ) -> Result<Started, ApiError> {
        let mut state = self.write();
        let revision = state.revision;
        let oldest = state.oldest;
        let kind = state
            .kinds
            .get_mut(resource)
            .ok_or_else(|| ApiError::method_not_supported(resource, "watch"))?;
        let interest = selection.interest(resource);
        let backlog = match from {
            None => kind
                .select(&selection, &interest)
                .map(|object| Event::Added(Arc::clone(object)))
                .collect(),
            Some(from) if from < oldest => {
                return Err(ApiError::expired(format!(
                    "too old resource version: {from} ({oldest})"
                )));
            }
            Some(from) => kind
                .changes_after(from)
                .filter_map(|change| change.seen_by(&selection))
                .collect(),
        };
        let (id, live) = kind.hub.add(selection, interest, from.unwrap_or_default());
        Ok(Started {
            id,
            backlog,
            live,
            revision,
        })
    }

    /// Ends a watch.
    pub(crate) fn unwatch(&self, resource: &'static Resource, id: u64) {
        if let Some(kind) = self.write().kinds.get_mut(resource) {
            kind.hub.remove(id);
        }
    }

    /// How many watches a kind has.
    pub(crate) fn watchers(&self, resource: &'static Resource) -> usize {
        self.read().kinds.get(resource).map_or(0, |kind| kind.hub.len())
    }

    /// Forgets the oldest part of the past if there is too much of it, or if it is too old; returns up to where, for the
    /// store to do the same. Forgets a quarter or a minute at a time, so that the cost per commit stays small.
    pub(crate) fn trim(&self, now: Timestamp) -> Option<Revision> {
        let over = |state: &State| state.changes > self.limits.changes || state.bytes > self.limits.bytes;
        let is_due = |state: &State| over(state) || state.is_mark_due(now);
        if !is_due(&self.read()) {
            return None;
        }
        let mut state = self.write();
        let before = state.oldest;
        if state.is_mark_due(now) {
            state.mark(now);
            state.forget_aged(now, self.limits.age);
        }
        if over(&state) {
            state.forget(self.limits.changes / 4 * 3, self.limits.bytes / 4 * 3);
        }
        (state.oldest > before).then_some(state.oldest)
    }

    /// Forgets everything before `revision`.
    pub(crate) fn compact(&self, revision: Revision) {
        self.write().forget_before(revision);
    }
}

/// A watch that has begun.
pub(crate) struct Started {
    pub(crate) id: u64,
    pub(crate) backlog: VecDeque<Event>,
    pub(crate) live: Arriving,
    /// The latest revision that `backlog` accounts for.
    pub(crate) revision: Revision,
}

impl Observer for Cache {
    fn committed(&self, commit: &Commit) {
        let mut state = self.write();
        let mut bytes = 0;
        for change in &commit.changes {
            let revision = Revision(change.revision);
            let Some((resource, tail)) = state.locate(&change.key) else {
                continue;
            };
            let attached = change.attachment.clone().and_then(|a| a.downcast::<Encoded>().ok());
            let encoded = match (attached, &change.value) {
                (Some(encoded), _) => Some(encoded),
                (None, None) => None,
                (None, Some(value)) => match Encoded::decode(resource, value) {
                    Ok(encoded) => Some(Arc::new(encoded)),
                    Err(error) => {
                        tracing::error!(key = ?change.key, %error, "a committed object cannot be read");
                        continue;
                    }
                },
            };
            let object = encoded.map(|encoded| Arc::new(Object::new(encoded, revision)));
            let Some(kind) = state.kinds.get_mut(resource) else {
                continue;
            };
            let (old, new, last) = match (object, &change.value) {
                (Some(new), Some(_)) => (kind.set(tail.clone(), Arc::clone(&new)), Some(new), None),
                (last, _) => (kind.remove(&tail), None, last),
            };
            let change = Change {
                key: tail,
                old,
                new,
                last,
                revision,
            };
            bytes += change.old.as_ref().map_or(0, |old| old.encoded().json.len());
            kind.hub.send(&change);
            kind.past.push_back(change.for_keeping());
            state.changes += 1;
        }
        let revision = Revision(commit.revision);
        state.revision = revision;
        state.commits.push_back((revision, bytes));
        state.bytes += bytes;
        drop(state);
        self.revision.send_replace(revision);
    }
}

impl State {
    /// The latest revision.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// Changes after this revision are known.
    pub(crate) fn oldest(&self) -> Revision {
        self.oldest
    }

    /// The revision of the last change of a kind, or a later one: where that is forgotten, up to where the past is.
    pub(crate) fn last_change(&self, resource: &'static Resource) -> Revision {
        let last = self.kinds.get(resource).and_then(|kind| kind.past.back());
        last.map_or(self.oldest, |change| change.revision)
    }

    /// The object as it is now.
    pub(crate) fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        self.kinds
            .get(resource)?
            .objects
            .get(key::tail(namespace, name).as_bytes())
    }

    /// The objects of a kind.
    pub(crate) fn kind(&self, resource: &'static Resource) -> Option<&Kind> {
        self.kinds.get(resource)
    }

    fn locate(&self, key: &Bytes) -> Option<(&'static Resource, Bytes)> {
        let (prefix, tail) = key::split(key)?;
        Some((self.by_prefix.get(prefix).copied()?, tail))
    }

    fn forget(&mut self, changes: usize, bytes: usize) {
        let mut left_bytes = self.bytes;
        let mut up_to = self.oldest;
        for (commits_left, (revision, size)) in (0..self.commits.len()).rev().zip(&self.commits) {
            // A commit has at least one change, so this never keeps more than asked.
            if commits_left < changes && left_bytes <= bytes {
                break;
            }
            left_bytes -= size;
            up_to = *revision;
        }
        self.forget_before(up_to);
    }

    /// A mark that lies in the future says that the clock was set back: it counts for nothing.
    fn is_mark_due(&self, now: Timestamp) -> bool {
        let since_last = self.marks.back().map(|(at, _)| now.duration_since(*at));
        since_last.is_none_or(|since| since >= MARK_INTERVAL || since < SignedDuration::ZERO)
    }

    fn mark(&mut self, now: Timestamp) {
        while self.marks.back().is_some_and(|(at, _)| *at > now) {
            self.marks.pop_back();
        }
        self.marks.push_back((now, self.revision));
    }

    fn forget_aged(&mut self, now: Timestamp, age: SignedDuration) {
        while let Some((at, revision)) = self.marks.front().copied()
            && now.duration_since(at) >= age
        {
            self.marks.pop_front();
            self.forget_before(revision);
        }
    }

    fn forget_before(&mut self, revision: Revision) {
        let revision = revision.min(self.revision);
        while let Some((at, bytes)) = self.commits.front().copied()
            && at <= revision
        {
            self.bytes -= bytes;
            self.commits.pop_front();
        }
        let mut kept = 0;
        for kind in self.kinds.values_mut() {
            let gone = kind.past.partition_point(|change| change.revision <= revision);
            kind.past.drain(..gone);
            kept += kind.past.len();
        }
        self.changes = kept;
        self.oldest = self.oldest.max(revision);
    }
}

impl Kind {
    /// The selected objects in order of key.
    pub(crate) fn select<'a>(
        &'a self,
        selection: &'a Selection,
        interest: &'a Interest,
    ) -> Box<dyn Iterator<Item = &'a Arc<Object>> + 'a> {
        let candidates: Box<dyn Iterator<Item = &'a Arc<Object>> + 'a> = match interest {
            Interest::Object(key) => Box::new(self.objects.get(key.as_bytes()).into_iter()),
            Interest::Node(node) => Box::new(
                self.by_node
                    .get(node)
                    .into_iter()
                    .flatten()
                    .filter_map(|key| self.objects.get(key)),
            ),
            Interest::Namespace(namespace) => Box::new(self.with_prefix(format!("{namespace}/").as_bytes())),
            Interest::Kind => Box::new(self.objects.values()),
        };
        Box::new(candidates.filter(move |object| selection.matches(object)))
    }

    /// The known changes after a revision, in order.
    pub(crate) fn changes_after(&self, revision: Revision) -> impl DoubleEndedIterator<Item = &Change> {
        let first = self.past.partition_point(|change| change.revision <= revision);
        self.past.range(first..)
    }

    /// The objects in a range of keys, in order.
    pub(crate) fn range(&self, range: (Bound<Bytes>, Bound<Bytes>)) -> impl Iterator<Item = (&Bytes, &Arc<Object>)> {
        self.objects.range(range)
    }

    /// The objects whose key begins with `prefix`.
    pub(crate) fn with_prefix<'k>(&'k self, prefix: &[u8]) -> impl Iterator<Item = &'k Arc<Object>> + use<'k> {
        let range = if prefix.is_empty() {
            (Bound::Unbounded, Bound::Unbounded)
        } else {
            (
                Bound::Included(Bytes::copy_from_slice(prefix)),
                Bound::Excluded(key::behind(prefix)),
            )
        };
        self.objects.range(range).map(|(_, object)| object)
    }

    fn set(&mut self, key: Bytes, object: Arc<Object>) -> Option<Arc<Object>> {
        let node = object.meta().node.clone();
        let old = self.objects.insert(key.clone(), object);
        let old_node = old.as_ref().map_or("", |old| old.meta().node.as_str());
        if old_node != node {
            self.unplace(old_node, &key);
            if !node.is_empty() {
                self.by_node.entry(node).or_default().insert(key);
            }
        }
        old
    }

    fn remove(&mut self, key: &Bytes) -> Option<Arc<Object>> {
        let old = self.objects.remove(key)?;
        self.unplace(&old.meta().node, key);
        Some(old)
    }

    fn unplace(&mut self, node: &str, key: &Bytes) {
        if let Some(keys) = self.by_node.get_mut(node) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_node.remove(node);
            }
        }
    }
}
