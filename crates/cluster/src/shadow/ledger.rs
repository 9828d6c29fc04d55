//! Decisions on one side, what happens on the other, and which belong together.
//!
//! Times differ by the moment at which each side looked, names by chance: neither is compared. One pod that appears stands
//! for one decision to create one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rota_api::{Change, Object, PatchKind, Resource, Write};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::port::EventKind;

/// How many happenings are remembered for decisions that come late.
const RECENT_MAX: usize = 16 * 1024;

/// What became of a decision.
#[derive(Clone, Debug)]
pub enum Fate {
    /// Somebody did it.
    Done(EventKind, Arc<Object>),
    /// The object changed in another way.
    Overtaken,
}

/// The book.
#[derive(Debug)]
pub struct Ledger {
    open: Vec<(Write, oneshot::Sender<Fate>)>,
    recent: VecDeque<(Instant, EventKind, Arc<Object>)>,
    /// The objects of the kinds that were listed, by uid: a second list shows what happened while nobody watched.
    known: HashMap<&'static Resource, HashMap<String, Arc<Object>>>,
    keep: Duration,
}

impl Ledger {
    /// An empty book, in which what happened is kept for `keep`.
    pub fn new(keep: Duration) -> Self {
        Self {
            open: Vec::new(),
            recent: VecDeque::new(),
            known: HashMap::new(),
            keep,
        }
    }

    /// Enters a decision; what becomes of it comes out of the receiver. Dropping that strikes the decision.
    pub fn decide(&mut self, write: Write) -> oneshot::Receiver<Fate> {
        let (sender, receiver) = oneshot::channel();
        self.open.retain(|(_, waiting)| !waiting.is_closed());
        let happened = self.recent.iter().enumerate().find_map(|(at, (_, kind, object))| {
            Some((at, is_done(&write, *kind, object).then(|| object.clone())?, *kind))
        });
        match happened {
            Some((at, object, kind)) => {
                if matches!(write.change, Change::Create(_)) {
                    self.recent.remove(at);
                }
                let _ = sender.send(Fate::Done(kind, object));
            }
            // The watch has gone further than the picture on which this was decided.
            None if self.recent.iter().any(|(_, _, object)| is_overtaken(&write, object)) => {
                let _ = sender.send(Fate::Overtaken);
            }
            None => self.open.push((write, sender)),
        }
        receiver
    }

    /// Enters all objects of a kind. What differs from what was known of it happened meanwhile.
    pub fn listed(&mut self, resource: &'static Resource, objects: &[Arc<Object>]) {
        let by_uid = |object: &Arc<Object>| (object.meta().uid.clone(), Arc::clone(object));
        let now: HashMap<String, Arc<Object>> = objects.iter().map(by_uid).collect();
        let Some(before) = self.known.insert(resource, now) else {
            return;
        };
        let mut changed: Vec<(EventKind, Arc<Object>)> = Vec::new();
        for object in objects {
            match before.get(&object.meta().uid) {
                None => changed.push((EventKind::Added, Arc::clone(object))),
                Some(old) if old.revision() < object.revision() => {
                    changed.push((EventKind::Modified, Arc::clone(object)));
                }
                Some(_) => {}
            }
        }
        changed.sort_by_key(|(_, object)| object.revision());
        let known = &self.known[resource];
        let gone = before.into_iter().filter(|(uid, _)| !known.contains_key(uid));
        changed.extend(gone.map(|(_, object)| (EventKind::Deleted, object)));
        for (kind, object) in changed {
            self.saw(kind, &object);
        }
    }

    /// Enters something that happened.
    pub fn saw(&mut self, kind: EventKind, object: &Arc<Object>) {
        if let Some(known) = self.known.get_mut(object.resource()) {
            match kind {
                EventKind::Deleted => drop(known.remove(&object.meta().uid)),
                EventKind::Added | EventKind::Modified => {
                    drop(known.insert(object.meta().uid.clone(), Arc::clone(object)));
                }
            }
        }
        let now = Instant::now();
        while self.recent.len() >= RECENT_MAX
            || self
                .recent
                .front()
                .is_some_and(|(at, _, _)| now.duration_since(*at) > self.keep)
        {
            self.recent.pop_front();
        }
        self.open.retain(|(_, waiting)| !waiting.is_closed());
        let mut is_used_up = false;
        let mut at = 0;
        while at < self.open.len() {
            let write = &self.open[at].0;
            let is_create = matches!(write.change, Change::Create(_));
            let fate = if is_create && is_used_up {
                None
            } else if is_done(write, kind, object) {
                is_used_up |= is_create;
                Some(Fate::Done(kind, Arc::clone(object)))
            } else {
                (is_overtaken(write, object) || is_rewritten(write, object)).then_some(Fate::Overtaken)
            };
            match fate {
                Some(fate) => {
                    let (_, waiting) = self.open.remove(at);
                    let _ = waiting.send(fate);
                }
                None => at += 1,
            }
        }
        if !is_used_up {
            self.recent.push_back((now, kind, Arc::clone(object)));
        }
    }
}

/// True when `object`, to which `kind` just happened, shows what the write asks for.
fn is_done(write: &Write, kind: EventKind, object: &Arc<Object>) -> bool {
    if write.resource != object.resource() || write.namespace != object.meta().namespace {
        return false;
    }
    // What the decision was made on does not answer it.
    if write
        .precondition
        .revision
        .is_some_and(|seen| object.revision() <= seen)
    {
        return false;
    }
    match &write.change {
        Change::Create(wanted) => kind == EventKind::Added && is_same_creation(write, wanted, object),
        Change::Delete(_) => {
            is_target(write, object) && (kind == EventKind::Deleted || object.meta().deleting.is_some())
        }
        Change::Patch { kind: form, patch, .. } => {
            is_target(write, object)
                && (kind == EventKind::Deleted && is_finalizer_removal(patch).is_some()
                    || kind != EventKind::Deleted && is_patched(*form, patch, object))
        }
        Change::Update { object: wanted, .. } => {
            is_target(write, object) && kind != EventKind::Deleted && says(&object.to_value(), wanted)
        }
        Change::Post { .. } => false,
    }
}

/// True when the object of a change is another than the one that was decided on.
fn is_overtaken(write: &Write, object: &Object) -> bool {
    let is_change = matches!(
        write.change,
        Change::Patch { .. } | Change::Update { .. } | Change::Delete(_)
    );
    let is_newer = write
        .precondition
        .revision
        .is_some_and(|decided_on| object.revision() > decided_on);
    is_change && write.resource == object.resource() && is_target(write, object) && is_newer
}

/// True when a status that was decided on without naming a revision is to be written to an object that has changed since.
fn is_rewritten(write: &Write, object: &Object) -> bool {
    let is_status = matches!(
        &write.change,
        Change::Patch {
            subresource: Some("status"),
            ..
        }
    );
    is_status
        && write.precondition.revision.is_none()
        && write.resource == object.resource()
        && is_target(write, object)
}

fn is_target(write: &Write, object: &Object) -> bool {
    let meta = object.meta();
    write.name == meta.name
        && write.namespace == meta.namespace
        && write.precondition.uid.as_ref().is_none_or(|uid| *uid == meta.uid)
}

fn is_same_creation(write: &Write, wanted: &Value, object: &Object) -> bool {
    if !write.name.is_empty() {
        return write.name == object.meta().name;
    }
    let made = object.to_value();
    let index = |pod: &Value| pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"].clone();
    let owner = |object: &Value| -> Option<String> {
        let owners = object["metadata"]["ownerReferences"].as_array()?;
        let managing = owners.iter().find(|owner| owner["controller"] == true)?;
        Some(managing["uid"].as_str()?.to_owned())
    };
    owner(wanted) == owner(&made) && index(wanted) == index(&made) && pin_of(wanted) == pin_of(&made)
}

/// The node that a daemon's pod is meant for.
fn pin_of(pod: &Value) -> Option<String> {
    let required = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let field = &required["nodeSelectorTerms"][0]["matchFields"][0];
    (field["key"] == "metadata.name").then(|| field["values"][0].as_str().unwrap_or_default().to_owned())
}

fn is_finalizer_removal(patch: &Value) -> Option<&Vec<Value>> {
    patch["metadata"]["$deleteFromPrimitiveList/finalizers"].as_array()
}

fn is_patched(form: PatchKind, patch: &Value, object: &Object) -> bool {
    if let Some(removed) = is_finalizer_removal(patch) {
        let left = &object.meta().finalizers;
        return removed
            .iter()
            .all(|finalizer| left.iter().all(|left| finalizer != left.as_str()));
    }
    form == PatchKind::Merge && says(&object.to_value(), patch)
}

/// What a write asks for, without the times in it: the same decision made again has the same words.
pub(super) fn words(write: &Write) -> String {
    let asked = match &write.change {
        Change::Patch { patch, .. } => timeless(patch).to_string(),
        Change::Update { object, .. } => timeless(object).to_string(),
        Change::Create(_) | Change::Delete(_) | Change::Post { .. } => String::new(),
    };
    format!("{write} {:?} {asked}", write.precondition.uid)
}

fn timeless(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(name, _)| !is_time(name));
            fields.map(|(name, field)| (name.clone(), timeless(field))).collect()
        }
        Value::Array(items) => items.iter().map(timeless).collect(),
        other => other.clone(),
    }
}

/// True when the merge patch would change nothing about `object` but times.
fn says(object: &Value, patch: &Value) -> bool {
    match patch {
        Value::Object(fields) => fields
            .iter()
            .all(|(name, field)| is_time(name) || says(object.get(name).unwrap_or(&Value::Null), field)),
        Value::Array(items) => {
            let there = object.as_array().map(Vec::as_slice).unwrap_or_default();
            there.len() == items.len() && there.iter().zip(items).all(|(there, item)| says(there, item))
        }
        // A server leaves out what is empty or zero.
        Value::Null => object.is_null() || *object == 0 || object.as_array().is_some_and(Vec::is_empty),
        other => object == other,
    }
}

fn is_time(field: &str) -> bool {
    field.ends_with("Time") || field == "resourceVersion" || field == "managedFields"
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_api::{DeleteOptions, Revision, resource};
    use serde_json::json;

    fn pod(name: &str, owner: &str, finalizers: &[&str], revision: u64) -> Arc<Object> {
        Arc::new(Object::from_value(
            resource::PODS,
            json!({"metadata": {"namespace": "d", "name": name, "uid": name, "resourceVersion": revision.to_string(),
                   "finalizers": finalizers, "ownerReferences": [{"uid": owner, "controller": true}]}}),
        ))
    }

    fn create(owner: &str) -> Write {
        let pod = json!({"metadata": {"namespace": "d", "generateName": "p-",
                         "ownerReferences": [{"uid": owner, "controller": true}]}});
        Write::create(resource::PODS, pod)
    }

    fn ledger() -> Ledger {
        Ledger::new(Duration::from_secs(60))
    }

    fn is_done(fate: &mut oneshot::Receiver<Fate>) -> bool {
        matches!(fate.try_recv(), Ok(Fate::Done(..)))
    }

    #[test]
    fn one_pod_that_appears_answers_one_decision() {
        let mut ledger = ledger();
        let mut first = ledger.decide(create("job"));
        let mut second = ledger.decide(create("job"));
        ledger.saw(EventKind::Added, &pod("other", "another job", &[], 1));
        ledger.saw(EventKind::Added, &pod("a", "job", &[], 2));
        assert_eq!((is_done(&mut first), is_done(&mut second)), (true, false));
        ledger.saw(EventKind::Added, &pod("b", "job", &[], 3));
        assert!(is_done(&mut second));
    }

    #[test]
    fn a_running_controller_that_was_faster_is_noticed() {
        let mut ledger = ledger();
        ledger.saw(EventKind::Added, &pod("a", "job", &[], 1));
        assert!(is_done(&mut ledger.decide(create("job"))));
        assert!(!is_done(&mut ledger.decide(create("job"))), "one pod is not two");
    }

    #[test]
    fn a_finalizer_that_goes_and_a_pod_that_is_told_to_stop_are_what_was_decided() {
        let mut ledger = ledger();
        let removal = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["f"]}});
        let removal = Write::patch(resource::PODS, "d", "a", PatchKind::Strategic, removal, None);
        let mut removed = ledger.decide(removal);
        let mut deleted = ledger.decide(Write::delete(resource::PODS, "d", "b", DeleteOptions::default()));
        ledger.saw(EventKind::Modified, &pod("a", "job", &["f"], 1));
        assert!(!is_done(&mut removed));
        ledger.saw(EventKind::Modified, &pod("a", "job", &[], 2));
        ledger.saw(EventKind::Deleted, &pod("b", "job", &[], 3));
        assert_eq!((is_done(&mut removed), is_done(&mut deleted)), (true, true));
    }

    #[test]
    fn a_status_is_the_same_whatever_the_times_in_it() {
        let job = |status: Value, revision: u64| {
            let job = json!({"metadata": {"namespace": "d", "name": "j", "resourceVersion": revision.to_string()}, "status": status});
            Arc::new(Object::from_value(resource::JOBS, job))
        };
        let patch = json!({"status": {"active": 2, "startTime": "2026-01-01T00:00:00Z"}});
        let write = Write::merge_status(resource::JOBS, "d", "j", patch).if_revision(Revision(5));
        let mut ledger = ledger();
        let mut same = ledger.decide(write.clone());
        ledger.saw(
            EventKind::Modified,
            &job(json!({"active": 2, "startTime": "2026-01-01T00:00:01Z"}), 6),
        );
        assert!(is_done(&mut same));
        let mut again = ledger.decide(write.if_revision(Revision(6)));
        assert!(!is_done(&mut again), "what was decided on does not answer the decision");
        let patch = json!({"status": {"active": 3}});
        let mut overtaken =
            ledger.decide(Write::merge_status(resource::JOBS, "d", "j", patch).if_revision(Revision(6)));
        ledger.saw(EventKind::Modified, &job(json!({"active": 4}), 8));
        assert!(matches!(overtaken.try_recv(), Ok(Fate::Overtaken)));
    }

    #[test]
    fn a_status_is_the_same_decision_again_only_if_it_says_the_same_but_for_times() {
        let decision = |ready: u32, at: &str| {
            let status = json!({"status": {"ready": ready, "startTime": at}});
            words(&Write::merge_status(resource::JOBS, "d", "j", status))
        };
        assert_eq!(decision(1, "2026-01-01T00:00:00Z"), decision(1, "2026-01-01T00:00:05Z"));
        assert_ne!(decision(1, "2026-01-01T00:00:00Z"), decision(2, "2026-01-01T00:00:00Z"));
    }

    #[test]
    fn a_decision_on_a_picture_that_the_watch_has_overtaken_is_no_difference() {
        let job = json!({"metadata": {"namespace": "d", "name": "j", "resourceVersion": "6"}, "status": {"active": 2}});
        let mut ledger = ledger();
        ledger.saw(EventKind::Modified, &Arc::new(Object::from_value(resource::JOBS, job)));
        let late = Write::merge_status(resource::JOBS, "d", "j", json!({"status": {"active": 1}}));
        let mut late = ledger.decide(late.if_revision(Revision(5)));
        assert!(matches!(late.try_recv(), Ok(Fate::Overtaken)));
    }

    #[test]
    fn a_status_that_names_no_revision_is_overtaken_by_what_happens_after_the_decision() {
        let set = |ready: u32, revision: u64| {
            let set = json!({"metadata": {"namespace": "d", "name": "s", "resourceVersion": revision.to_string()},
                             "status": {"numberReady": ready}});
            Arc::new(Object::from_value(resource::DAEMON_SETS, set))
        };
        let decide = |ledger: &mut Ledger| {
            ledger.decide(Write::merge_status(
                resource::DAEMON_SETS,
                "d",
                "s",
                json!({"status": {"numberReady": 3}}),
            ))
        };
        let mut ledger = ledger();
        ledger.saw(EventKind::Modified, &set(1, 5));
        let mut waits = decide(&mut ledger);
        assert!(
            waits.try_recv().is_err(),
            "what happened before may be what was decided on"
        );
        ledger.saw(EventKind::Modified, &set(2, 6));
        assert!(matches!(waits.try_recv(), Ok(Fate::Overtaken)));
        let mut waits = decide(&mut ledger);
        ledger.saw(EventKind::Modified, &set(3, 7));
        assert!(is_done(&mut waits));
    }

    #[test]
    fn what_happened_while_nobody_watched_shows_in_the_next_list() {
        let mut ledger = ledger();
        ledger.listed(resource::PODS, &[pod("a", "job", &["f"], 1), pod("b", "job", &[], 2)]);
        let mut created = ledger.decide(create("job"));
        let mut deleted = ledger.decide(Write::delete(resource::PODS, "d", "b", DeleteOptions::default()));
        assert!(!is_done(&mut created), "what was there before is nobody's answer");
        ledger.listed(resource::PODS, &[pod("a", "job", &["f"], 1), pod("c", "job", &[], 5)]);
        assert_eq!((is_done(&mut created), is_done(&mut deleted)), (true, true));
    }
}
