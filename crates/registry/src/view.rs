//! Two ways to show one stored object: Events of the core group and of events.k8s.io, CronJobs of batch/v1 and batch/v1beta1.
//!
//! Source: `spec/api.md` §2.9 (events); kubernetes `pkg/apis/events/v1/conversion.go`.

use std::sync::Arc;

use rota_api::object::Encoded;
use rota_api::{Object, Resource, resource};
use serde_json::{Map, Value};

/// Fields of an Event: the name in the core group, the name in events.k8s.io.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// A stored object in the form of `resource`.
pub fn show(resource: &'static Resource, object: &Arc<Object>) -> Arc<Object> {
    if object.resource() == resource {
        return Arc::clone(object);
    }
    let mut value = object.to_value();
    from_stored(resource, &mut value);
    Arc::new(Object::new(Arc::new(Encoded::new(resource, value)), object.revision()))
}

/// Turns the stored form into that of `resource`.
pub(crate) fn from_stored(resource: &'static Resource, value: &mut Value) {
    if resource == resource.stored() {
        return;
    }
    set_type(resource, value);
    if resource == resource::EVENTS_V1 {
        rename(value, |(core, events)| (*core, *events));
        set_reporter(value, "reportingController", false);
    }
}

/// Turns the form of `resource` into the stored one.
pub(crate) fn to_stored(resource: &'static Resource, value: &mut Value) {
    set_type(resource.stored(), value);
    if resource == resource::EVENTS_V1 {
        rename(value, |(core, events)| (*events, *core));
        set_reporter(value, "reportingComponent", true);
    }
}

fn set_type(resource: &'static Resource, value: &mut Value) {
    let api_version = resource.api_version();
    if value["apiVersion"] == api_version.as_str() && value["kind"] == resource.kind {
        return;
    }
    if let Some(object) = value.as_object_mut() {
        object.insert("apiVersion".to_owned(), api_version.into());
        object.insert("kind".to_owned(), resource.kind.into());
    }
}

fn rename(value: &mut Value, direction: impl Fn(&(&'static str, &'static str)) -> (&'static str, &'static str)) {
    let Some(object) = value.as_object_mut() else { return };
    let mut renamed = Map::new();
    for (old, new) in EVENT_FIELDS.iter().map(direction) {
        if let Some(field) = object.remove(old) {
            renamed.insert(new.to_owned(), field);
        }
    }
    object.append(&mut renamed);
}

/// The core group always shows who reported, the other one only if somebody did.
fn set_reporter(value: &mut Value, component: &str, is_always_shown: bool) {
    let Some(object) = value.as_object_mut() else { return };
    for field in [component, "reportingInstance"] {
        if is_always_shown {
            object.entry(field).or_insert_with(|| "".into());
        } else if object.get(field).is_some_and(|text| text == "") {
            object.remove(field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_reads_the_same_after_a_round_trip_through_the_other_group() {
        let core = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "involvedObject": {"name": "p"},
            "message": "m", "count": 3, "reason": "R", "reportingComponent": "c", "reportingInstance": ""});
        let mut shown = core.clone();
        from_stored(resource::EVENTS_V1, &mut shown);
        assert_eq!(shown["regarding"]["name"], "p");
        assert_eq!(shown["note"], "m");
        assert_eq!(shown["apiVersion"], "events.k8s.io/v1");
        to_stored(resource::EVENTS_V1, &mut shown);
        assert_eq!(shown, core);
    }

    #[test]
    fn a_cronjob_differs_between_versions_in_nothing_but_its_version() {
        let mut value = json!({"apiVersion": "batch/v1", "kind": "CronJob", "spec": {"schedule": "* * * * *"}});
        from_stored(resource::CRON_JOBS_V1BETA1, &mut value);
        assert_eq!(value["apiVersion"], "batch/v1beta1");
        assert_eq!(value["spec"]["schedule"], "* * * * *");
    }
}
