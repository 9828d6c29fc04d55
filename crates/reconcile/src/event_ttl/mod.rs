//! Expiry of Events: one that has not recurred for an hour is deleted.
//!
//! Where upstream leaves this to leases of its store, here a queue does it: the key is the minute in which Events of a
//! namespace expire, and an index holds the Events of each such minute, so that neither a new Event nor an expiry looks
//! at the others. An Event that recurs moves to a later minute.
//! Source: `--event-ttl` of the API server, specification of nodes and pods §28.

use jiff::SignedDuration;
use rota_api::{DeleteOptions, Object, Resource, Timestamp, Write, resource};
use serde::Deserialize;

use crate::{Controller, Index, Key, Plan, World, WorldChange};

/// Seconds that an Event is kept.
const TTL_SECS: i64 = 3600;

/// Deletions in one plan; the rest follows at once.
const DELETIONS_PER_PLAN_MAX: usize = 500;

static WATCHED: [&Resource; 1] = [resource::EVENTS];

/// Events by namespace and minute of expiry.
const EXPIRING: Index = Index {
    name: "event-expiring",
    resource: resource::EVENTS,
    keys: |event| batch(event).iter().map(entry).collect(),
};

/// Deletes old Events.
#[derive(Default)]
pub struct EventExpiry;

impl Controller for EventExpiry {
    fn name(&self) -> &'static str {
        "event-ttl"
    }

    fn event_source(&self) -> &'static str {
        "event-ttl-controller"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &WATCHED
    }

    fn indexes(&self) -> Vec<Index> {
        vec![EXPIRING]
    }

    fn touched(&mut self, change: &WorldChange, _world: &World) -> Vec<Key> {
        change.new.iter().filter_map(|event| batch(event)).collect()
    }

    fn reconcile(&mut self, key: &Key, world: &World, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        let Some(due) = due(key) else { return plan };
        let entry = entry(key);
        let count = world.count_of(resource::EVENTS, EXPIRING.name, &entry);
        if count == 0 {
            return plan;
        }
        if now < due {
            plan.wake_at(due);
            return plan;
        }
        let expired = world.find(resource::EVENTS, EXPIRING.name, &entry);
        for event in expired.take(DELETIONS_PER_PLAN_MAX) {
            let meta = event.meta();
            let delete = Write::delete(resource::EVENTS, &meta.namespace, &meta.name, DeleteOptions::default());
            // The revision lets one that has recurred since live on.
            let guarded = delete.if_uid(&meta.uid).if_revision(event.revision());
            plan.act(guarded, "it has not recurred for an hour");
        }
        if count > DELETIONS_PER_PLAN_MAX {
            plan.wake_at(now);
        }
        plan
    }
}

/// The namespace of the Event and the minute, counted from 1970 and rounded up, at which it has expired. `None`: it is
/// being deleted, or says nothing about its time.
fn batch(event: &Object) -> Option<Key> {
    let meta = event.meta();
    if meta.deleting.is_some() {
        return None;
    }
    let expiry = last_seen(event)?.as_second().checked_add(TTL_SECS)?;
    let minute = expiry.div_euclid(60) + i64::from(expiry.rem_euclid(60) > 0);
    Some(Key::new(&meta.namespace, minute.to_string()))
}

/// When the Events of a batch are to go.
fn due(batch: &Key) -> Option<Timestamp> {
    let minute: i64 = batch.name.parse().ok()?;
    Timestamp::from_second(0)
        .ok()?
        .checked_add(SignedDuration::from_secs(minute.checked_mul(60)?))
        .ok()
}

fn entry(batch: &Key) -> String {
    batch.to_string()
}

/// The latest of the times that an Event names.
fn last_seen(event: &Object) -> Option<Timestamp> {
    let times = event.view::<Times>().ok();
    let times = times.as_deref();
    let series = times.and_then(|times| times.series.as_ref());
    [
        event.meta().created,
        times.and_then(|times| times.last_timestamp),
        times.and_then(|times| times.event_time),
        series.and_then(|series| series.last_observed_time),
    ]
    .into_iter()
    .flatten()
    .max()
}

/// What of an Event says when it happened.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Times {
    last_timestamp: Option<Timestamp>,
    event_time: Option<Timestamp>,
    series: Option<Series>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Series {
    last_observed_time: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn event(name: &str, mut times: Value, revision: u64) -> Arc<Object> {
        times["metadata"] = json!({"namespace": "d", "name": name, "uid": name, "resourceVersion": revision.to_string(),
            "creationTimestamp": "2026-01-01T00:00:30Z"});
        Arc::new(Object::from_value(resource::EVENTS, times))
    }

    /// What is planned for an Event at a time of that day.
    #[track_caller]
    fn check(times: Value, now: &str, expected: &[&str]) {
        let mut world = World::watching(&WATCHED, &[EXPIRING]);
        let change = world.apply(event("e", times, 1)).expect("news");
        let keys = EventExpiry.touched(&change, &world);
        let now = format!("2026-01-01T{now}Z").parse().expect("a time");
        let plans = keys.iter().map(|key| EventExpiry.reconcile(key, &world, now).explain());
        let plans: String = plans.collect();
        assert_eq!(plans.lines().collect::<Vec<_>>(), expected);
    }

    const DELETED: &str = "0 delete Event d/e (it has not recurred for an hour)";

    #[test]
    fn an_event_goes_when_it_has_not_recurred_for_an_hour() {
        check(json!({}), "01:00:59", &["wake 2026-01-01T01:01:00Z"]);
        check(json!({}), "01:01:00", &[DELETED]);
        check(
            json!({"lastTimestamp": "2026-01-01T00:10:00Z"}),
            "01:09:59",
            &["wake 2026-01-01T01:10:00Z"],
        );
        check(json!({"lastTimestamp": "2026-01-01T00:10:00Z"}), "01:10:00", &[DELETED]);
        check(
            json!({"eventTime": "2026-01-01T00:20:00.5Z", "series": {"lastObservedTime": "2026-01-01T00:30:00.000001Z"}}),
            "01:29:59",
            &["wake 2026-01-01T01:30:00Z"],
        );
    }

    #[test]
    fn an_event_that_recurs_leaves_its_batch() {
        let mut world = World::watching(&WATCHED, &[EXPIRING]);
        let first = world.apply(event("e", json!({}), 1)).expect("news");
        let keys = EventExpiry.touched(&first, &world);
        world.apply(event("e", json!({"lastTimestamp": "2026-01-01T00:50:00Z"}), 2));
        let now = "2026-01-01T01:01:00Z".parse().expect("a time");
        assert_eq!(EventExpiry.reconcile(&keys[0], &world, now), Plan::default());
    }

    #[test]
    fn a_large_batch_goes_in_parts() {
        let mut world = World::watching(&WATCHED, &[EXPIRING]);
        for number in 0..=DELETIONS_PER_PLAN_MAX {
            world.apply(event(&format!("e{number}"), json!({}), 1));
        }
        let key = batch(&event("e0", json!({}), 1)).expect("it expires");
        let now = "2026-01-01T01:01:00Z".parse().expect("a time");
        let plan = EventExpiry.reconcile(&key, &world, now);
        assert_eq!(plan.actions.len(), DELETIONS_PER_PLAN_MAX);
        assert_eq!(plan.wake, crate::Wake::At(now));
    }
}
