//! CertificateSigningRequests.

use serde_json::Value;

use super::{AGE, NAME, NONE, Printer, age, human_duration, name, or_none, string};
use crate::value::{integer, list, text};

pub(super) const PRINTERS: &[Printer] = &[Printer {
    kind: "CertificateSigningRequest",
    columns: &[
        NAME,
        AGE,
        string("SignerName"),
        string("Requestor"),
        string("RequestedDuration"),
        string("Condition"),
    ],
    cells: |object, now| {
        let spec = &object["spec"];
        let lifetime = integer(spec, "expirationSeconds").map_or_else(|| NONE.to_owned(), human_duration);
        vec![
            name(object),
            age(object, now),
            or_none(text(spec, "signerName")),
            text(spec, "username").into(),
            lifetime.into(),
            condition(&object["status"]).into(),
        ]
    },
}];

/// How far the request has got.
fn condition(status: &Value) -> String {
    let has = |kind: &str| {
        list(status, "conditions")
            .iter()
            .any(|condition| condition["type"] == kind)
    };
    let mut told = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_owned();
    if has("Failed") {
        told.push_str(",Failed");
    }
    if !text(status, "certificate").is_empty() {
        told.push_str(",Issued");
    }
    told
}
