//! Device classes, claims of devices and what nodes offer.

use serde_json::Value;

use super::{AGE, NAME, Printer, age, name, string};
use crate::value::{list, present, text};

pub(super) const PRINTERS: &[Printer] = &[
    Printer {
        kind: "DeviceClass",
        columns: &[NAME, AGE],
        cells: |object, now| vec![name(object), age(object, now)],
    },
    Printer {
        kind: "ResourceClaim",
        columns: &[NAME, string("State"), AGE],
        cells: |object, now| vec![name(object), state(object).into(), age(object, now)],
    },
    Printer {
        kind: "ResourceClaimTemplate",
        columns: &[NAME, AGE],
        cells: |object, now| vec![name(object), age(object, now)],
    },
    Printer {
        kind: "ResourceSlice",
        columns: &[NAME, string("Node"), string("Driver"), string("Pool"), AGE],
        cells: |object, now| {
            let spec = &object["spec"];
            vec![
                name(object),
                text(spec, "nodeName").into(),
                text(spec, "driver").into(),
                text(&spec["pool"], "name").into(),
                age(object, now),
            ]
        },
    },
];

/// How far a claim has got: `pending`, `allocated,reserved` and the like.
fn state(claim: &Value) -> String {
    let is_deleted = present(&claim["metadata"], "deletionTimestamp").is_some();
    let is_allocated = present(&claim["status"], "allocation").is_some();
    let is_reserved = is_allocated && !list(&claim["status"], "reservedFor").is_empty();
    let states = [
        (is_deleted, "deleted"),
        (!is_allocated && !is_deleted, "pending"),
        (is_allocated, "allocated"),
        (is_reserved, "reserved"),
    ];
    let holds = states.into_iter().filter(|(holds, _)| *holds);
    holds.map(|(_, state)| state).collect::<Vec<_>>().join(",")
}
