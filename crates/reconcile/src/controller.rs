//! What every controller is, seen from whoever drives it.

use std::fmt;

use jiff::SignedDuration;
use rota_api::{Object, Resource, Timestamp};

use crate::metric::Measurement;
use crate::plan::Plan;
use crate::world::{World, WorldChange};

/// The object a controller works for: what its queue holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// The key of that name.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of `object`.
    pub fn of(object: &Object) -> Self {
        Self::new(&object.meta().namespace, &object.meta().name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// A way to find objects of one kind by something other than their name.
///
/// The world always offers: by namespace and name, by owner uid, by node (pods). An index adds to these.
#[derive(Clone, Copy)]
pub struct Index {
    /// The name under which it is asked, unique per kind, such as `job-unsettled`.
    pub name: &'static str,
    /// The kind of objects it holds.
    pub resource: &'static Resource,
    /// The entries under which an object is found; none leaves it out. Reads only its argument.
    pub keys: fn(&Object) -> Vec<String>,
}

/// How soon the objects that a change touches are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// At once.
    Now,
    /// After this time at the latest.
    Within(SignedDuration),
    /// Not before this time has passed, unless something happens that is looked at [`Settle::Now`]: what else of this kind
    /// happens meanwhile must be seen together with it.
    Not(SignedDuration),
}

/// A controller: which kinds it watches, which of its objects a change touches, and what one of them needs now.
///
/// `reconcile` takes `&mut self` for memory that is only a shortcut: a controller that forgets everything between two
/// calls must still be right.
pub trait Controller: Send {
    /// The name, as in `--controllers`: `job`, `cronjob`, `daemonset`, `ttl` …
    fn name(&self) -> &'static str;

    /// The name of its queue, as metrics show it.
    fn queue_name(&self) -> &'static str {
        self.name()
    }

    /// The component that its events name as their source, such as `job-controller`.
    fn event_source(&self) -> &'static str;

    /// The kinds it needs to see.
    fn watches(&self) -> &'static [&'static Resource];

    /// Indexes it needs beyond those that the world always offers.
    fn indexes(&self) -> Vec<Index> {
        Vec::new()
    }

    /// The objects of this controller that a change touches. Called after the change was applied to `world`.
    fn touched(&mut self, change: &WorldChange, world: &World) -> Vec<Key>;

    /// How long the objects that a change touches may wait for further changes, so that what happens in one moment is
    /// looked at once. Not at all, by default.
    fn settle(&self, change: &WorldChange, world: &World) -> Settle {
        let _ = (change, world);
        Settle::Now
    }

    /// The pause before a plan is made anew that was refused, by a quota or a policy; it doubles each time.
    fn pause_after_refusal(&self) -> SignedDuration {
        SignedDuration::from_millis(5)
    }

    /// What a change counts for by itself, whatever is done about it. None by default.
    fn measured(&self, change: &WorldChange) -> Vec<Measurement> {
        let _ = change;
        Vec::new()
    }

    /// True when [`Controller::ahead`] has answers: its objects have times at which it is known beforehand what they need.
    fn looks_ahead(&self) -> bool {
        false
    }

    /// What [`Controller::reconcile`] will answer at `at`, which is to come, if nothing changes about the object until then;
    /// for answers that it need not remember. `None`: ask when the time has come.
    fn ahead(&self, key: &Key, world: &World, at: Timestamp) -> Option<Plan> {
        let _ = (key, world, at);
        None
    }

    /// What the object `key` needs now. An object that no longer exists yields an empty plan.
    fn reconcile(&mut self, key: &Key, world: &World, now: Timestamp) -> Plan;
}
