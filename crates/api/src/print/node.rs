//! Nodes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{AGE, NAME, NONE, Printer, UNKNOWN, age, name, string};
use crate::value::{flag, list, members, text};

pub(super) const PRINTERS: &[Printer] = &[Printer {
    kind: "Node",
    columns: &[
        NAME,
        string("Status"),
        string("Roles"),
        AGE,
        string("Version"),
        string("Internal-IP").wide(),
        string("External-IP").wide(),
        string("OS-Image").wide(),
        string("Kernel-Version").wide(),
        string("Container-Runtime").wide(),
    ],
    cells: |object, now| {
        let info = &object["status"]["nodeInfo"];
        let known = |field: &str| match text(info, field) {
            "" => UNKNOWN.to_owned(),
            value => value.to_owned(),
        };
        let kernel = match text(info, "architecture") {
            "" => known("kernelVersion"),
            architecture => format!("{} ({architecture})", known("kernelVersion")),
        };
        vec![
            name(object),
            status(object).into(),
            roles(object).into(),
            age(object, now),
            text(info, "kubeletVersion").into(),
            address(object, "InternalIP").into(),
            address(object, "ExternalIP").into(),
            known("osImage").into(),
            kernel.into(),
            known("containerRuntimeVersion").into(),
        ]
    },
}];

fn status(node: &Value) -> String {
    let ready = list(&node["status"], "conditions")
        .iter()
        .rfind(|c| text(c, "type") == "Ready");
    let mut status = match ready {
        Some(condition) if text(condition, "status") == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if flag(&node["spec"], "unschedulable") {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn roles(node: &Value) -> String {
    let roles: BTreeSet<&str> = members(&node["metadata"], "labels")
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    if roles.is_empty() {
        return NONE.to_owned();
    }
    roles.into_iter().collect::<Vec<_>>().join(",")
}

fn address(node: &Value, kind: &str) -> String {
    let address = list(&node["status"], "addresses")
        .iter()
        .find(|a| text(a, "type") == kind);
    address.map_or(NONE, |address| text(address, "address")).to_owned()
}
