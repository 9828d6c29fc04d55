//! What a write of a pod's status may say.
//!
//! Source: kubernetes `ValidatePodStatusUpdate`.

use serde_json::Value;

use super::super::cursor::{Cursor, Errors, IMMUTABLE};
use super::super::{meta, network};
use crate::names;
use crate::value::{list, present, text};

/// A changed status.
pub(in crate::validate) fn update(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    meta::update(new, old, errors);
    let (status, before) = (new.at("status"), &old.value["status"]);
    let spec = &new.value["spec"];
    for condition in status.at("conditions").items() {
        let kind = condition.at("type");
        if kind.text().is_empty() {
            errors.required(&kind, "");
        }
    }
    let nominated = status.at("nominatedNodeName");
    if !nominated.is_empty() {
        errors.complaints(&nominated, names::dns_subdomain(nominated.text()));
    }
    let policy = text(spec, "restartPolicy");
    let restarts = |name: &str, field: &str| {
        let own = list(spec, field).iter().find(|c| text(c, "name") == name);
        let own = own.map(|c| text(c, "restartPolicy")).unwrap_or_default();
        let rules = list(spec, field)
            .iter()
            .any(|c| text(c, "name") == name && !list(c, "restartPolicyRules").is_empty());
        (own.to_owned(), rules)
    };
    for (statuses, field) in [
        ("containerStatuses", "containers"),
        ("initContainerStatuses", "initContainers"),
    ] {
        let at = status.at(statuses);
        for (index, container) in at.items().enumerate() {
            let name = container.at("name").text();
            let Some(was) = list(before, statuses).iter().find(|c| text(c, "name") == name) else {
                continue;
            };
            let (own, rules) = restarts(name, field);
            let effective = if own.is_empty() { policy } else { own.as_str() };
            if rules || !stays_terminated(effective, was, field) {
                continue;
            }
            if present(&container.value["state"], "terminated").is_none() {
                let place = at.index(index);
                errors.forbidden(&place.at("state"), "may not be transitioned to non-terminated state");
            }
        }
    }
    let quality = status.at("qosClass");
    let had = text(before, "qosClass");
    if !had.is_empty() && quality.text() != had {
        errors.invalid_as(&quality, quality.text(), IMMUTABLE);
    }
    addresses(&status, errors);
}

/// Whether a container that has ended is not started again.
fn stays_terminated(policy: &str, was: &Value, field: &str) -> bool {
    let Some(terminated) = present(&was["state"], "terminated") else {
        return false;
    };
    let failed = terminated["exitCode"].as_i64().unwrap_or_default() != 0;
    match policy {
        "Never" => true,
        "OnFailure" => !failed,
        "Always" => false,
        // An init container of a pod that is always restarted runs again when the pod starts over.
        _ => field == "containers",
    }
}

fn addresses(status: &Cursor<'_>, errors: &mut Errors) {
    for field in ["podIPs", "hostIPs"] {
        let list = status.at(field);
        for (index, entry) in list.items().enumerate() {
            let ip = entry.at("ip");
            // Upstream names the element, not its field.
            network::ip(&list.index(index).with(ip.value), errors);
        }
    }
}
