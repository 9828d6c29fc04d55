//! Events.

use jiff::Timestamp;
use serde_json::Value;

use super::age::since;
use super::{Printer, string};
use crate::value::{integer, present, text};

pub(super) const PRINTERS: &[Printer] = &[Printer {
    kind: "Event",
    columns: &[
        string("Last Seen"),
        string("Type"),
        string("Reason"),
        string("Object"),
        string("Subobject").wide(),
        string("Source").wide(),
        string("Message"),
        string("First Seen").wide(),
        string("Count").wide(),
        string("Name").named().wide(),
    ],
    cells: event,
}];

fn event(event: &Value, now: Timestamp) -> Vec<Value> {
    let about = &event["involvedObject"];
    let kind = text(about, "kind").to_lowercase();
    let series = present(event, "series");
    let first = match present(event, "firstTimestamp") {
        Some(_) => since(event, "firstTimestamp", now),
        None => since(event, "eventTime", now),
    };
    let last = match (series, present(event, "lastTimestamp")) {
        (Some(series), _) => since(series, "lastObservedTime", now),
        (None, Some(_)) => since(event, "lastTimestamp", now),
        (None, None) => first.clone(),
    };
    let count = match series {
        Some(series) => integer(series, "count"),
        None => integer(event, "count").filter(|count| *count != 0),
    };
    let target = match text(about, "name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    vec![
        last.into(),
        text(event, "type").into(),
        text(event, "reason").into(),
        target.into(),
        text(about, "fieldPath").into(),
        source(event).into(),
        text(event, "message").trim().into(),
        first.into(),
        count.unwrap_or(1).into(),
        text(&event["metadata"], "name").into(),
    ]
}

/// `component, host`, or the reporting controller and its instance.
fn source(event: &Value) -> String {
    let pair = |name: &str, place: &str| match place {
        "" => name.to_owned(),
        place => format!("{name}, {place}"),
    };
    match text(&event["source"], "component") {
        "" => pair(text(event, "reportingComponent"), text(event, "reportingInstance")),
        component => pair(component, text(&event["source"], "host")),
    }
}
