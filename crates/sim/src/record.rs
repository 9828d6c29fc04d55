//! What a watch of everything in a namespace has shown: the objects as they are, and what is worth remembering of what they
//! were.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use rota_api::{Object, Resource, resource};
use rota_reconcile::{Key, WorldChange};
use serde_json::Value;

/// Who tells events too and is no controller of upstream's: the scheduler, and what is said here beyond upstream's events.
const OTHERS: [&str; 2] = ["default-scheduler", "rota"];

/// An event as people see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// `Kind/name` of the object it is about.
    pub object: String,
    /// The machine-readable word.
    pub reason: String,
    /// The sentence.
    pub message: String,
    /// `Normal` or `Warning`.
    pub kind: String,
}

/// The record.
#[derive(Default)]
pub struct Record {
    objects: BTreeMap<(&'static str, Key), Arc<Object>>,
    /// Every object that ever was: `Kind/name` by uid.
    pub names: BTreeMap<String, String>,
    /// How many pods or Jobs each owner has ever had, by `Kind/name`.
    pub created: BTreeMap<String, u64>,
    /// The most pods that each owner had alive at one moment, by `Kind/name`.
    pub alive_max: BTreeMap<String, usize>,
    /// Every status that a Job ever had, by name.
    pub job_history: BTreeMap<String, Vec<Value>>,
    /// Events that were told otherwise than by an Event object, and how often each happened.
    pub events: BTreeMap<Event, u64>,
    /// When the first CronJob was created.
    pub first_cron_job: Option<Timestamp>,
    /// The name of the first ControllerRevision.
    pub first_revision: Option<String>,
}

impl Record {
    /// The object of that name.
    pub fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        self.objects.get(&(resource.plural, Key::new(namespace, name)))
    }

    /// All objects of a kind, in order of namespace and name.
    pub fn all(&self, resource: &'static Resource) -> impl Iterator<Item = &Arc<Object>> {
        let kind = self.objects.range((resource.plural, Key::new("", ""))..);
        kind.take_while(|((plural, _), _)| *plural == resource.plural)
            .map(|(_, object)| object)
    }

    /// Enters a change that was seen at `now`.
    pub fn observe(&mut self, change: &WorldChange, now: Timestamp) {
        let key = (change.resource().plural, change.key());
        let Some(new) = &change.new else {
            self.objects.remove(&key);
            return;
        };
        let is_created = self.objects.insert(key, Arc::clone(new)).is_none();
        if is_created {
            self.observe_created(new, now);
        }
        if new.resource() == resource::JOBS {
            let history = self.job_history.entry(new.meta().name.clone()).or_default();
            let status = new.to_value()["status"].take();
            if history.last() != Some(&status) {
                history.push(status);
            }
        }
    }

    fn observe_created(&mut self, object: &Arc<Object>, now: Timestamp) {
        let (resource, meta) = (object.resource(), object.meta());
        let name = format!("{}/{}", resource.kind, meta.name);
        if self.names.insert(meta.uid.clone(), name).is_some() {
            // A watch that began anew.
            return;
        }
        if resource == resource::CRON_JOBS {
            self.first_cron_job.get_or_insert(meta.created.unwrap_or(now));
        } else if resource == resource::CONTROLLER_REVISIONS {
            self.first_revision.get_or_insert_with(|| meta.name.clone());
        } else if resource == resource::PODS || resource == resource::JOBS {
            for owner in meta.owners.iter().filter(|owner| owner.controller) {
                *self
                    .created
                    .entry(format!("{}/{}", owner.kind, owner.name))
                    .or_default() += 1;
            }
        }
        if resource == resource::PODS {
            self.count_alive(object);
        }
    }

    fn count_alive(&mut self, of: &Object) {
        let Some(owner) = of.meta().controller() else { return };
        let is_alive = |pod: &&Arc<Object>| {
            let meta = pod.meta();
            let has_ended = matches!(meta.phase.as_str(), "Succeeded" | "Failed");
            meta.controller() == Some(owner) && meta.deleting.is_none() && !has_ended
        };
        let alive = self.all(resource::PODS).filter(is_alive).count();
        let owner = format!("{}/{}", owner.kind, owner.name);
        let most = self.alive_max.entry(owner).or_default();
        *most = alive.max(*most);
    }

    /// All events of controllers and how often each happened, those told by Event objects included.
    pub fn all_events(&self) -> BTreeMap<Event, u64> {
        let mut events = self.events.clone();
        for object in self.all(resource::EVENTS) {
            let value = object.to_value();
            let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            if OTHERS.contains(&text("/source/component")) {
                continue;
            }
            let event = Event {
                object: format!("{}/{}", text("/involvedObject/kind"), text("/involvedObject/name")),
                reason: text("/reason").to_owned(),
                message: text("/message").to_owned(),
                kind: text("/type").to_owned(),
            };
            *events.entry(event).or_default() += value["count"].as_u64().unwrap_or(1);
        }
        events
    }
}
