//! Events, in both groups.
//!
//! Source: `spec/api.md` §2.9; kubernetes `pkg/apis/core/validation/events.go`.

use super::cursor::{Cursor, Errors};
use crate::names;

const TEXT_MAX: usize = 128;
const NOTE_MAX: usize = 1024;

/// An Event of the core group: it stands in the namespace of what it is about.
pub(super) fn core(event: &Cursor<'_>, errors: &mut Errors) {
    let (metadata, about) = (event.at("metadata"), event.at("involvedObject"));
    let (own, other) = (metadata.at("namespace").text(), about.at("namespace"));
    let fits = if other.is_empty() {
        own == "default"
    } else {
        own == other.text()
    };
    if !fits {
        errors.invalid_as(&other, other.text(), "does not match event.namespace");
    }
}

/// A new Event of `events.k8s.io`.
pub(super) fn events(event: &Cursor<'_>, errors: &mut Errors) {
    let (metadata, about) = (event.at("metadata"), event.at("regarding"));
    let (own, other) = (metadata.at("namespace").text(), about.at("namespace"));
    let shown = event.at("involvedObject");
    let fits = if other.is_empty() {
        own == "default"
    } else {
        own == other.text()
    };
    if !fits {
        errors.invalid_as(&shown.at("namespace"), other.text(), "does not match event.namespace");
    }
    if !event.at("eventTime").is_set() {
        errors.required(&event.at("eventTime"), "");
    }
    let controller = event.at("reportingController");
    if controller.is_empty() {
        errors.required(&controller, "");
    }
    for complaint in names::qualified_name(controller.text()) {
        errors.invalid_as(&controller, controller.text(), complaint);
    }
    for field in ["reportingInstance", "action", "reason"] {
        let at = event.at(field);
        if at.is_empty() {
            errors.required(&at, "");
        }
        too_long(&at, TEXT_MAX, errors);
    }
    let note = event.at("note");
    let message = event.at("message");
    too_long(&message.with(note.value), NOTE_MAX, errors);
    let kind = event.at("type");
    if !matches!(kind.text(), "Normal" | "Warning") {
        errors.invalid_as(&kind, "", format!("has invalid value: {}", kind.text()));
    }
    let series = event.at("series");
    if series.is_set() {
        if series.at("count").integer().unwrap_or_default() < 2 {
            errors.invalid_as(&series.at("count"), "", "should be at least 2");
        }
        if !series.at("lastObservedTime").is_set() {
            errors.required(&series.at("lastObservedTime"), "");
        }
    }
}

fn too_long(at: &Cursor<'_>, max: usize, errors: &mut Errors) {
    if at.text().len() > max {
        errors.invalid_as(at, "", format!("can have at most {max} characters"));
    }
}
