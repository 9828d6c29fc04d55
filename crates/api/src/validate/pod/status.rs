//! What a write of a pod's status may say.
//!
//! Source: kubernetes `ValidatePodStatusUpdate`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::cursor::{Cursor, Errors};
use super::super::{meta, network};
use super::{annotation, security};
use crate::names;
use crate::value::{list, present, text};

/// A changed status.
pub(in crate::validate) fn update(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    meta::update(new, old, errors);
    let (metadata, before) = (new.at("metadata"), old.at("metadata"));
    let annotations = metadata.at("annotations");
    annotation::change(&annotations, &before.at("annotations"), errors);
    annotation::of_pod(&annotations, &new.at("spec"), errors);
    let (status, before) = (new.at("status"), old.at("status"));
    conditions(&metadata, &status, errors);
    let nominated = status.at("nominatedNodeName");
    if !nominated.is_empty() && nominated.value != before.at("nominatedNodeName").value {
        errors.complaints(&nominated, names::dns_subdomain(nominated.text()));
    }
    if !before.at("qosClass").is_empty() {
        errors.check_immutable(&status.at("qosClass"), &before.at("qosClass"));
    }
    let spec = &old.value["spec"];
    for (field, containers) in [
        ("containerStatuses", "containers"),
        ("initContainerStatuses", "initContainers"),
        ("ephemeralContainerStatuses", ""),
    ] {
        containers_stay_ended(&status.at(field), &before.at(field), spec, containers, errors);
    }
    claims(&status.at("resourceClaimStatuses"), spec, errors);
    addresses(&status.at("podIPs"), errors);
    let hosts = status.at("hostIPs");
    let first = hosts.index(0);
    if !hosts.is_empty() && first.at("ip").text() != status.at("hostIP").text() {
        errors.invalid(&first.at("ip"), "must be equal to `hostIP`");
    }
    addresses(&hosts, errors);
    for field in [
        "containerStatuses",
        "initContainerStatuses",
        "ephemeralContainerStatuses",
    ] {
        users(&status.at(field), spec, errors);
    }
    for (field, containers) in [
        ("containerStatuses", "containers"),
        ("initContainerStatuses", "initContainers"),
    ] {
        devices(&status.at(field), list(spec, containers), errors);
    }
    for container in status.at("ephemeralContainerStatuses").items() {
        let devices = container.at("allocatedResourcesStatus");
        if !devices.is_empty() {
            errors.forbidden(&devices, "must not be specified in container status");
        }
    }
}

/// Conditions are called by qualified names. Upstream reports them as if they were metadata, and capitalizes the field.
fn conditions(metadata: &Cursor<'_>, status: &Cursor<'_>, errors: &mut Errors) {
    let shown = metadata.at("conditions");
    for (index, condition) in status.at("conditions").items().enumerate() {
        let kind = condition.at("type").text();
        if matches!(kind, "PodScheduled" | "Ready" | "Initialized") {
            continue;
        }
        for complaint in names::qualified_name(kind) {
            let at = shown.index(index);
            errors.invalid_as(&at.at("Type"), kind, complaint);
        }
    }
}

/// Containers that have ended and are not started again stay ended. `containers` is their list in the spec; those without
/// one are never started again.
fn containers_stay_ended(
    statuses: &Cursor<'_>,
    before: &Cursor<'_>,
    spec: &Value,
    containers: &str,
    errors: &mut Errors,
) {
    for (index, was) in before.items().enumerate() {
        let name = was.at("name").text();
        if !stays_ended(name, was.value, spec, containers) {
            continue;
        }
        let is = statuses.items().filter(|status| status.at("name").text() == name);
        for _ in is.filter(|status| present(&status.value["state"], "terminated").is_none()) {
            let place = statuses.index(index);
            errors.forbidden(&place.at("state"), "may not be transitioned to non-terminated state");
        }
    }
}

fn stays_ended(name: &str, was: &Value, spec: &Value, containers: &str) -> bool {
    let Some(terminated) = present(&was["state"], "terminated") else {
        return false;
    };
    let failed = terminated["exitCode"].as_i64().unwrap_or_default() != 0;
    if containers.is_empty() {
        return true;
    }
    let own = list(spec, containers).iter().find(|c| text(c, "name") == name);
    let policy = own
        .map(|own| text(own, "restartPolicy"))
        .filter(|policy| !policy.is_empty());
    if own.is_some_and(|own| !list(own, "restartPolicyRules").is_empty()) {
        return false;
    }
    match policy.unwrap_or_else(|| text(spec, "restartPolicy")) {
        "Always" => false,
        "OnFailure" => !failed,
        _ => true,
    }
}

fn claims(statuses: &Cursor<'_>, spec: &Value, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for status in statuses.items() {
        let (name, claim) = (status.at("name"), status.at("resourceClaimName"));
        if !list(spec, "resourceClaims")
            .iter()
            .any(|claim| text(claim, "name") == name.text())
        {
            let detail = "must match the name of an entry in `spec.resourceClaims`";
            errors.invalid_as(&name, name.text(), detail);
        }
        if !seen.insert(name.text().to_owned()) {
            errors.duplicate(&name);
        }
        if claim.is_set() {
            // Upstream reports the claim's name as if it were the entry's.
            errors.complaints(&name.with(claim.value), names::dns_subdomain(claim.text()));
        }
    }
}

fn addresses(list: &Cursor<'_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    let mut texts = Vec::new();
    for (index, entry) in list.items().enumerate() {
        let ip = entry.at("ip");
        // Upstream names the element, not its field.
        network::ip(&list.index(index).with(ip.value), errors);
        texts.push(entry.value["ip"].as_str().unwrap_or_default());
    }
    if texts.len() > 1 {
        network::one_of_each_family(list, &texts, errors);
        for entry in list.items() {
            if !seen.insert(entry.at("ip").text().to_owned()) {
                errors.duplicate(&entry);
            }
        }
    }
}

/// As whom the processes of containers run.
fn users(statuses: &Cursor<'_>, spec: &Value, errors: &mut Errors) {
    let is_windows = text(&spec["os"], "name") == "windows";
    for status in statuses.items() {
        let user = status.at("user");
        let linux = user.at("linux");
        if !linux.is_set() {
            continue;
        }
        // Upstream leaves the user out of these paths.
        let shown = status.at("linux");
        let shown = shown.with(linux.value);
        if is_windows {
            errors.forbidden(&shown, "cannot be set for a windows pod");
            continue;
        }
        security::id(&shown.at("uid"), errors);
        security::id(&shown.at("gid"), errors);
        for group in shown.at("supplementalGroups").items() {
            security::id(&group, errors);
        }
    }
}

/// The health of the devices that containers were given.
fn devices(statuses: &Cursor<'_>, containers: &[Value], errors: &mut Errors) {
    for status in statuses.items() {
        let container = containers.iter().find(|c| text(c, "name") == status.at("name").text());
        for resource in status.at("allocatedResourcesStatus").items() {
            if let Some(container) = container {
                known_device(&resource.at("name"), &container["resources"], errors);
            }
            let mut seen = BTreeSet::new();
            for device in resource.at("resources").items() {
                let id = device.at("resourceID");
                errors.check_one_of(&device.at("health"), &["Healthy", "Unhealthy", "Unknown"]);
                if !seen.insert(id.text().to_owned()) {
                    errors.duplicate(&id);
                }
            }
        }
    }
}

fn known_device(name: &Cursor<'_>, resources: &Value, errors: &mut Errors) {
    let (known, detail) = if name.text().starts_with("claim:") {
        let named = |claim: &Value| match text(claim, "request") {
            "" => format!("claim:{}", text(claim, "name")),
            request => format!("claim:{}/{request}", text(claim, "name")),
        };
        (
            list(resources, "claims")
                .iter()
                .any(|claim| named(claim) == name.text()),
            "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or \
             'claim:<claimName>' if request is empty",
        )
    } else {
        (
            resources["requests"].get(name.text()).is_some(),
            "must match one of the container's resource requests",
        )
    };
    if !known {
        errors.invalid(name, detail);
    }
}
