//! Events, in both groups.
//!
//! Upstream checks one internal form of both, so that a field is named as the core group names it, and the reporter as the
//! newer group does.
//!
//! Source: `spec/api.md` §2.9; kubernetes `pkg/apis/core/validation/events.go`.

use super::cursor::{Cursor, Errors};
use super::meta;
use crate::{Resource, names};

const TEXT_MAX: usize = 128;
const NOTE_MAX: usize = 1024;

/// How a group names the fields of an Event, beside the names in messages.
struct Names {
    about: &'static str,
    note: &'static str,
    reporter: &'static str,
}

const CORE: Names = Names {
    about: "involvedObject",
    note: "message",
    reporter: "reportingComponent",
};

const EVENTS: Names = Names {
    about: "regarding",
    note: "note",
    reporter: "reportingController",
};

/// An Event of the core group.
pub(super) fn core(event: &Cursor<'_>, errors: &mut Errors) {
    of_any_age(event, &CORE, errors);
}

/// A new Event of `events.k8s.io`.
pub(super) fn events(event: &Cursor<'_>, resource: &Resource, errors: &mut Errors) {
    of_any_age(event, &EVENTS, errors);
    meta::create(event, resource, errors);
    series(event, errors);
    if !event.at("eventTime").is_set() {
        errors.required(&event.at("eventTime"), "");
    }
    let kind = event.at("type");
    if !matches!(kind.text(), "Normal" | "Warning") {
        errors.invalid_as(&kind, "", format!("has invalid value: {}", kind.text()));
    }
    for (field, shown) in [
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("deprecatedSource", "source"),
    ] {
        let value = event.at(field);
        let is_unset = value.is_empty() || value.integer() == Some(0);
        if !is_unset {
            errors.invalid_as(&event.at(shown), "", "needs to be unset");
        }
    }
}

/// A changed Event of `events.k8s.io`: only its series goes on.
pub(super) fn change(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    of_any_age(new, &EVENTS, errors);
    meta::update(new, old, errors);
    if !new.at("series").same_as(&old.at("series")) {
        series(new, errors);
    }
    for (field, shown) in [
        ("regarding", "involvedObject"),
        ("reason", "reason"),
        ("note", "message"),
        ("deprecatedSource", "source"),
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("reason", "reason"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingController", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ] {
        let (new_value, old_value) = (new.at(field), old.at(field));
        let shown = new.at(shown);
        errors.check_immutable(&shown.with(new_value.value), &shown.with(old_value.value));
    }
}

/// What holds of every Event: the newer ones, which say when they happened, say more.
fn of_any_age(event: &Cursor<'_>, names: &Names, errors: &mut Errors) {
    let (metadata, object) = (event.at("metadata"), event.at(names.about));
    let own = metadata.at("namespace").text();
    let other = object.at("namespace").text();
    let is_new = event.at("eventTime").is_set();
    let fits = match (is_new, other.is_empty()) {
        (false, true) => own == "default",
        (false, false) => own == other,
        (true, true) => matches!(own, "default" | "kube-system"),
        (true, false) => true,
    };
    if !fits {
        let about = event.at("involvedObject");
        errors.invalid_as(&about.at("namespace"), other, "does not match event.namespace");
    }
    if !is_new {
        return;
    }
    let reporter = event.at("reportingController");
    let reporter = reporter.with(event.at(names.reporter).value);
    if reporter.is_empty() {
        errors.required(&reporter, "");
    }
    for complaint in names::qualified_name(reporter.text()) {
        errors.invalid_as(&reporter, reporter.text(), complaint);
    }
    for field in ["reportingInstance", "action", "reason"] {
        let at = event.at(field);
        if at.is_empty() {
            errors.required(&at, "");
        }
        too_long(&at, TEXT_MAX, errors);
    }
    let message = event.at("message");
    too_long(&message.with(event.at(names.note).value), NOTE_MAX, errors);
}

fn series(event: &Cursor<'_>, errors: &mut Errors) {
    let series = event.at("series");
    if !series.is_set() {
        return;
    }
    if series.at("count").integer().unwrap_or_default() < 2 {
        errors.invalid_as(&series.at("count"), "", "should be at least 2");
    }
    if !series.at("lastObservedTime").is_set() {
        errors.required(&series.at("lastObservedTime"), "");
    }
}

fn too_long(at: &Cursor<'_>, max: usize, errors: &mut Errors) {
    if at.text().len() > max {
        errors.invalid_as(at, "", format!("can have at most {max} characters"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource;
    use serde_json::{Value, json};

    fn event(group: &Names, namespace: &str) -> Value {
        json!({
            "metadata": {"name": "e", "namespace": namespace},
            "eventTime": "2026-01-01T00:00:00.000000Z", group.about: {"kind": "Node", "name": "n"},
            group.reporter: "a.example/b", "reportingInstance": "i", "action": "a", "reason": "r", "type": "Normal",
        })
    }

    fn paths(check: impl FnOnce(&mut Errors)) -> Vec<String> {
        let mut errors = Errors::default();
        check(&mut errors);
        errors.into_list().iter().map(|error| error.path.clone()).collect()
    }

    #[test]
    fn an_event_that_says_when_it_happened_says_who_reports_it() {
        let check = |value: &Value| paths(|errors| core(&Cursor::root(value), errors));
        assert_eq!(check(&event(&CORE, "kube-system")), [""; 0]);
        assert_eq!(check(&event(&CORE, "other")), ["involvedObject.namespace"]);
        let mut bare = event(&CORE, "default");
        for field in ["reportingInstance", "action", "reason"] {
            bare[field] = Value::Null;
        }
        assert_eq!(check(&bare), ["reportingInstance", "action", "reason"]);
        bare["eventTime"] = Value::Null;
        assert_eq!(check(&bare), [""; 0]);
    }

    #[test]
    fn a_new_event_has_none_of_the_former_fields() {
        let mut value = event(&EVENTS, "default");
        let check = |value: &Value| paths(|errors| events(&Cursor::root(value), resource::EVENTS_V1, errors));
        assert_eq!(check(&value), [""; 0]);
        value["deprecatedCount"] = 1.into();
        value["deprecatedSource"] = json!({"host": "h"});
        assert_eq!(check(&value), ["count", "source"]);
    }

    #[test]
    fn only_the_series_of_an_event_goes_on() {
        let old = event(&EVENTS, "default");
        let check = |new: &Value| paths(|errors| change(&Cursor::root(new), &Cursor::root(&old), errors));
        let mut new = old.clone();
        new["series"] = json!({"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"});
        assert_eq!(check(&new), [""; 0]);
        new["series"]["count"] = 1.into();
        new["note"] = "other".into();
        assert_eq!(check(&new), ["series.count", "message"]);
    }
}
