//! Who watches a kind, and how a change reaches only those it concerns.
//!
//! Watchers stand in the narrowest index their selection allows (one object, one node, one namespace, the kind), so that the
//! cost of a change is that of the watchers it may concern. Each has a bounded buffer; one that does not keep up is cut off
//! and comes back from the revision it saw last.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use rota_api::{Object, Revision};
use tokio::sync::mpsc;

use crate::select::{Interest, Selection};

/// How many events may wait for a watcher before it is cut off. Memory is taken only for what waits.
const BUFFER_EVENTS_MAX: usize = 16_384;
/// How much may wait for it: each event keeps a state of an object alive that nobody else may want any more. One event may always
/// wait. Unit: bytes of encoded objects.
const BUFFER_BYTES_MAX: usize = 64 << 20;

/// What happened to a selected object.
#[derive(Clone, Debug)]
pub enum Event {
    /// It came to be, or into the selection.
    Added(Arc<Object>),
    /// It changed.
    Modified(Arc<Object>),
    /// It went away, or out of the selection: its last content at the revision of that change.
    Deleted(Arc<Object>),
    /// Nothing: everything up to this revision was seen.
    Bookmark {
        /// The revision.
        revision: Revision,
        /// True for the one bookmark behind the initial state.
        initial_events_end: bool,
    },
}

impl Event {
    /// The size of the object, in bytes as it is encoded.
    fn size(&self) -> usize {
        match self {
            Self::Added(object) | Self::Modified(object) | Self::Deleted(object) => object.encoded().json.len(),
            Self::Bookmark { .. } => 0,
        }
    }
}

/// A change of one object, before selection.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// The key inside the kind.
    pub(crate) key: Bytes,
    /// The object before.
    pub(crate) old: Option<Arc<Object>>,
    /// The object after; `None`: it was removed.
    pub(crate) new: Option<Arc<Object>>,
    /// What a removed object had become, at the revision of its removal.
    pub(crate) last: Option<Arc<Object>>,
    /// The revision of the change.
    pub(crate) revision: Revision,
}

impl Change {
    /// The change as history keeps it: decoded views, much larger than the objects, stay with those who still read them.
    pub(crate) fn for_keeping(self) -> Self {
        let bare = |object: Option<Arc<Object>>| object.map(|object| Arc::new(object.without_view()));
        Self {
            old: bare(self.old),
            new: bare(self.new),
            last: bare(self.last),
            ..self
        }
    }
}

impl Change {
    /// What the change is in the eyes of a selection; `None`: nothing.
    pub(crate) fn seen_by(&self, selection: &Selection) -> Option<Event> {
        let before = self.old.as_ref().filter(|old| selection.matches(old));
        let after = self.new.as_ref().filter(|new| selection.matches(new));
        match (before, after) {
            (None, None) => None,
            (None, Some(new)) => Some(Event::Added(Arc::clone(new))),
            (Some(_), Some(new)) => Some(Event::Modified(Arc::clone(new))),
            (Some(old), None) => Some(Event::Deleted(match &self.last {
                Some(last) => Arc::clone(last),
                None => Arc::new(Object::new(Arc::clone(old.encoded()), self.revision)),
            })),
        }
    }
}

struct Watcher {
    selection: Selection,
    interest: Interest,
    /// Nothing up to this revision is sent: the watcher asked for what comes after it.
    from: Revision,
    events: mpsc::Sender<Event>,
    /// How many bytes wait.
    waiting: Arc<AtomicUsize>,
}

impl Watcher {
    /// Hands an event over; false when too much waits already.
    fn send(&self, event: Event) -> bool {
        let size = event.size();
        let before = self.waiting.fetch_add(size, Ordering::Relaxed);
        (before == 0 || before + size <= BUFFER_BYTES_MAX) && self.events.try_send(event).is_ok()
    }
}

/// Where the events of a watcher arrive.
pub(crate) struct Arriving {
    events: mpsc::Receiver<Event>,
    waiting: Arc<AtomicUsize>,
}

impl Arriving {
    /// The next event; `None` once the watcher was cut off and everything before that was taken.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.events.poll_recv(context).map(|event| self.taken(event))
    }

    /// The next event if there is one already.
    pub(crate) fn try_next(&mut self) -> Option<Event> {
        let event = self.events.try_recv().ok();
        self.taken(event)
    }

    /// True when nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    fn taken(&self, event: Option<Event>) -> Option<Event> {
        let size = event.as_ref().map_or(0, Event::size);
        self.waiting.fetch_sub(size, Ordering::Relaxed);
        event
    }
}

/// The watchers of one kind.
#[derive(Default)]
pub(crate) struct Hub {
    watchers: HashMap<u64, Watcher>,
    by_object: HashMap<Bytes, Vec<u64>>,
    by_node: HashMap<String, Vec<u64>>,
    by_namespace: HashMap<String, Vec<u64>>,
    of_kind: Vec<u64>,
    next: u64,
}

impl Hub {
    /// Adds a watcher; returns its number and where its events arrive.
    pub(crate) fn add(&mut self, selection: Selection, interest: Interest, from: Revision) -> (u64, Arriving) {
        let (events, arriving) = mpsc::channel(BUFFER_EVENTS_MAX);
        let waiting = Arc::new(AtomicUsize::new(0));
        let arriving = Arriving {
            events: arriving,
            waiting: Arc::clone(&waiting),
        };
        let id = self.next;
        self.next += 1;
        self.places(&interest).push(id);
        self.watchers.insert(
            id,
            Watcher {
                selection,
                interest,
                from,
                events,
                waiting,
            },
        );
        (id, arriving)
    }

    /// Removes a watcher; nothing happens if it is gone already.
    pub(crate) fn remove(&mut self, id: u64) {
        let Some(watcher) = self.watchers.remove(&id) else {
            return;
        };
        let places = self.places(&watcher.interest);
        places.retain(|other| *other != id);
        if places.is_empty() {
            match &watcher.interest {
                Interest::Object(key) => drop(self.by_object.remove(key.as_bytes())),
                Interest::Node(node) => drop(self.by_node.remove(node)),
                Interest::Namespace(namespace) => drop(self.by_namespace.remove(namespace)),
                Interest::Kind => {}
            }
        }
    }

    /// Hands a change to those it concerns.
    pub(crate) fn send(&mut self, change: &Change) {
        if self.watchers.is_empty() {
            return;
        }
        let mut slow = Vec::new();
        let old = change.old.as_ref().map(|o| o.meta());
        let new = change.new.as_ref().map(|o| o.meta());
        let nodes = [old, new].map(|meta| meta.map_or("", |m| m.node.as_str()));
        let second_node = (nodes[0] != nodes[1]).then_some(nodes[1]);
        let namespace = new.or(old).map_or("", |m| m.namespace.as_str());
        let concerned = self
            .of_kind
            .iter()
            .chain(self.by_object.get(&change.key).into_iter().flatten())
            .chain(self.by_node.get(nodes[0]).into_iter().flatten())
            .chain(
                second_node
                    .and_then(|node| self.by_node.get(node))
                    .into_iter()
                    .flatten(),
            )
            .chain(self.by_namespace.get(namespace).into_iter().flatten());
        for id in concerned {
            let Some(watcher) = self.watchers.get(id) else { continue };
            if change.revision <= watcher.from {
                continue;
            }
            if let Some(event) = change.seen_by(&watcher.selection)
                && !watcher.send(event)
            {
                slow.push(*id);
            }
        }
        for id in slow {
            tracing::debug!(watcher = id, "a watch that does not keep up is cut off");
            self.remove(id);
        }
    }

    /// How many watches there are.
    pub(crate) fn len(&self) -> usize {
        self.watchers.len()
    }

    fn places(&mut self, interest: &Interest) -> &mut Vec<u64> {
        match interest {
            Interest::Object(key) => self
                .by_object
                .entry(Bytes::copy_from_slice(key.as_bytes()))
                .or_default(),
            Interest::Node(node) => self.by_node.entry(node.clone()).or_default(),
            Interest::Namespace(namespace) => self.by_namespace.entry(namespace.clone()).or_default(),
            Interest::Kind => &mut self.of_kind,
        }
    }
}
