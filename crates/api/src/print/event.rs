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

/// The field that the core group and events.k8s.io name differently.
fn either<'a>(event: &'a Value, core: &'static str, events: &'static str) -> (&'a Value, &'static str) {
    match present(event, core) {
        Some(value) => (value, core),
        None => (&event[events], events),
    }
}

fn event(event: &Value, now: Timestamp) -> Vec<Value> {
    let (about, _) = either(event, "involvedObject", "regarding");
    let kind = text(about, "kind").to_lowercase();
    let series = present(event, "series");
    let first = match either(event, "firstTimestamp", "deprecatedFirstTimestamp") {
        (Value::Null, _) => since(event, "eventTime", now),
        (_, field) => since(event, field, now),
    };
    let last = match (series, either(event, "lastTimestamp", "deprecatedLastTimestamp")) {
        (Some(series), _) => since(series, "lastObservedTime", now),
        (None, (Value::Null, _)) => first.clone(),
        (None, (_, field)) => since(event, field, now),
    };
    let count = match series {
        Some(series) => integer(series, "count"),
        None => {
            let (count, _) = either(event, "count", "deprecatedCount");
            count.as_i64().filter(|count| *count != 0)
        }
    };
    let target = match text(about, "name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let (message, _) = either(event, "message", "note");
    vec![
        last.into(),
        text(event, "type").into(),
        text(event, "reason").into(),
        target.into(),
        text(about, "fieldPath").into(),
        source(event).into(),
        message.as_str().unwrap_or_default().trim().into(),
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
    let (source, _) = either(event, "source", "deprecatedSource");
    let (reporter, _) = either(event, "reportingComponent", "reportingController");
    match text(source, "component") {
        "" => pair(reporter.as_str().unwrap_or_default(), text(event, "reportingInstance")),
        component => pair(component, text(source, "host")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_reads_the_same_in_both_groups() {
        let core = json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p"}, "message": "m",
            "reportingComponent": "c", "reportingInstance": "i", "count": 3, "firstTimestamp": "1970-01-01T00:00:00Z",
            "lastTimestamp": "1970-01-01T00:00:05Z"});
        let events = json!({"metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p"}, "note": "m",
            "reportingController": "c", "reportingInstance": "i", "deprecatedCount": 3,
            "deprecatedFirstTimestamp": "1970-01-01T00:00:00Z", "deprecatedLastTimestamp": "1970-01-01T00:00:05Z"});
        let now = Timestamp::from_second(60).unwrap();
        let cells = event(&core, now);
        assert_eq!(cells, event(&events, now));
        assert_eq!(cells[0], "55s");
        assert_eq!(
            (&cells[3], &cells[5], &cells[6]),
            (&json!("pod/p"), &json!("c, i"), &json!("m"))
        );
    }
}
