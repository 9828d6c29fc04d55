//! The read-your-own-writes gate: a key whose plan was carried out is looked at again only when the picture of the world
//! shows what the plan did. Without it a controller would decide on a picture in which its own pods are missing, and
//! make them twice.
//!
//! A plain struct; the driver tells it what was written and what has been seen.
//!
//! Source: kubernetes `pkg/controller/util/consistency` (KEP-5647), generalised to deletes.

use std::collections::{BTreeMap, HashMap, HashSet};

use rota_api::{Object, Resource, Revision};
use rota_reconcile::Key;

/// What must be seen before work on something may go on.
#[derive(Debug, Default)]
pub struct Expectation {
    /// For each kind the revision up to which it must be known. Every change has a revision of its own (ADR 7; upstream's
    /// servers change one object a revision), so what has a lower one was seen before.
    pub revisions: Vec<(&'static Resource, Revision)>,
    /// Uids of objects that must be gone.
    pub gone: Vec<String>,
    /// Objects of which something must be heard, whatever it is.
    pub heard_of: Vec<Target>,
}

/// An object by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Its kind.
    pub resource: &'static Resource,
    /// Its namespace and name.
    pub key: Key,
}

/// Things (`T`: what waits) that wait until the world shows what they wrote.
#[derive(Debug)]
pub struct Gate<T> {
    /// For each kind the revision up to which it was seen.
    observed: HashMap<&'static Resource, Revision>,
    waiting: HashMap<u64, (usize, T)>,
    by_revision: HashMap<&'static Resource, BTreeMap<Revision, Vec<u64>>>,
    by_uid: HashMap<String, Vec<u64>>,
    by_target: HashMap<Target, Vec<u64>>,
    next: u64,
}

impl<T> Default for Gate<T> {
    fn default() -> Self {
        Self {
            observed: HashMap::new(),
            waiting: HashMap::new(),
            by_revision: HashMap::new(),
            by_uid: HashMap::new(),
            by_target: HashMap::new(),
            next: 0,
        }
    }
}

impl<T> Gate<T> {
    /// Lets `thing` wait for `expected`. Returns it at once when all of that has been seen already; `is_gone` tells
    /// whether an object of that uid is absent from the picture.
    pub fn wait(&mut self, thing: T, expected: Expectation, is_gone: impl Fn(&str) -> bool) -> Option<T> {
        let id = self.next;
        self.next += 1;
        let mut remaining = 0;
        for (resource, revision) in expected.revisions {
            if self.observed.get(resource).is_some_and(|seen| *seen >= revision) {
                continue;
            }
            self.by_revision
                .entry(resource)
                .or_default()
                .entry(revision)
                .or_default()
                .push(id);
            remaining += 1;
        }
        let uids: HashSet<String> = expected.gone.into_iter().filter(|uid| !is_gone(uid)).collect();
        for uid in uids {
            self.by_uid.entry(uid).or_default().push(id);
            remaining += 1;
        }
        let targets: HashSet<Target> = expected.heard_of.into_iter().collect();
        for target in targets {
            self.by_target.entry(target).or_default().push(id);
            remaining += 1;
        }
        if remaining == 0 {
            return Some(thing);
        }
        self.waiting.insert(id, (remaining, thing));
        None
    }

    /// The picture of a kind has reached `revision`; returns what need not wait any longer.
    pub fn observe(&mut self, resource: &'static Resource, revision: Revision) -> Vec<T> {
        let seen = self.observed.entry(resource).or_default();
        *seen = revision.max(*seen);
        let seen = *seen;
        let mut met = Vec::new();
        if let Some(waiting) = self.by_revision.get_mut(resource) {
            while let Some(entry) = waiting.first_entry() {
                if *entry.key() > seen {
                    break;
                }
                met.extend(entry.remove());
            }
        }
        self.meet(met)
    }

    /// The object of that uid has left the picture; returns what need not wait any longer.
    pub fn observe_gone(&mut self, uid: &str) -> Vec<T> {
        let met = self.by_uid.remove(uid).unwrap_or_default();
        self.meet(met)
    }

    /// Something was heard of an object; returns what need not wait any longer.
    pub fn observe_change(&mut self, resource: &'static Resource, object: &Object) -> Vec<T> {
        if self.by_target.is_empty() {
            return Vec::new();
        }
        let target = Target {
            resource,
            key: Key::of(object),
        };
        let met = self.by_target.remove(&target).unwrap_or_default();
        self.meet(met)
    }

    /// Up to which revision a kind was seen.
    pub fn observed(&self, resource: &'static Resource) -> Revision {
        self.observed.get(resource).copied().unwrap_or_default()
    }

    fn meet(&mut self, met: Vec<u64>) -> Vec<T> {
        let mut free = Vec::new();
        for id in met {
            if let Some((remaining, _)) = self.waiting.get_mut(&id) {
                *remaining -= 1;
                if *remaining == 0
                    && let Some((_, thing)) = self.waiting.remove(&id)
                {
                    free.push(thing);
                }
            }
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_api::resource::{JOBS, PODS};

    #[test]
    fn work_goes_on_when_every_kind_has_caught_up_and_the_deleted_are_gone() {
        let mut gate = Gate::default();
        let expected = Expectation {
            revisions: vec![(PODS, Revision(5)), (JOBS, Revision(5))],
            gone: vec!["u".to_owned()],
            ..Expectation::default()
        };
        assert_eq!(gate.wait("job", expected, |_| false), None);
        assert!(gate.observe(PODS, Revision(9)).is_empty());
        assert!(gate.observe(JOBS, Revision(4)).is_empty());
        assert!(gate.observe(JOBS, Revision(5)).is_empty());
        assert_eq!(gate.observe_gone("u"), ["job"]);
    }

    #[test]
    fn work_that_lacks_news_of_two_objects_waits_for_both() {
        let pod = |name: &str| {
            Object::from_value(
                PODS,
                serde_json::json!({"metadata": {"namespace": "d", "name": name, "uid": name}}),
            )
        };
        let target = |name: &str| Target {
            resource: PODS,
            key: Key::new("d", name),
        };
        let expected = Expectation {
            heard_of: vec![target("a"), target("b"), target("a")],
            ..Expectation::default()
        };
        let mut gate = Gate::default();
        assert_eq!(gate.wait("job", expected, |_| true), None);
        assert!(gate.observe_change(PODS, &pod("c")).is_empty());
        assert!(gate.observe_change(PODS, &pod("b")).is_empty());
        assert_eq!(gate.observe_change(PODS, &pod("a")), ["job"]);
        assert!(gate.observe_change(PODS, &pod("a")).is_empty());
    }

    #[test]
    fn what_has_been_seen_already_is_not_waited_for() {
        let mut gate = Gate::default();
        gate.observe(PODS, Revision(7));
        let expected = Expectation {
            revisions: vec![(PODS, Revision(7))],
            gone: vec!["u".to_owned()],
            ..Expectation::default()
        };
        assert_eq!(gate.wait("job", expected, |_| true), Some("job"));
    }
}
