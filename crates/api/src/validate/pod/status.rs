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
    conditions(&status.at("conditions"), errors);
    let nominated = status.at("nominatedNodeName");
    if !nominated.is_empty() && nominated.value != before.at("nominatedNodeName").value {
        errors.complaints(&nominated, names::dns_subdomain(nominated.text()));
        if !text(&old.value["spec"], "nodeName").is_empty() {
            errors.forbidden(&nominated, "may not be set on pods that are already bound to a node");
        }
    }
    observed(&status.at("observedGeneration"), errors);
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
    extended_claim(&status.at("extendedResourceClaimStatus"), spec, errors);
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

fn observed(generation: &Cursor<'_>, errors: &mut Errors) {
    if generation.integer().is_some_and(|generation| generation < 0) {
        errors.invalid(generation, "must be a non-negative integer");
    }
}

/// Conditions are called by qualified names. Upstream capitalizes the field.
fn conditions(conditions: &Cursor<'_>, errors: &mut Errors) {
    for condition in conditions.items() {
        observed(&condition.at("observedGeneration"), errors);
        let kind = condition.at("type").text();
        if matches!(kind, "PodScheduled" | "Ready" | "Initialized") {
            continue;
        }
        for complaint in names::qualified_name(kind) {
            errors.invalid_as(&condition.at("Type"), kind, complaint);
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

/// Whether a container that has ended is never started again. Source: kubernetes `pkg/api/v1/pod/util.go`, `ContainerShouldRestart`.
fn stays_ended(name: &str, was: &Value, spec: &Value, containers: &str) -> bool {
    let Some(terminated) = present(&was["state"], "terminated") else {
        return false;
    };
    if containers.is_empty() {
        return true;
    }
    let exit_code = terminated["exitCode"].as_i64().unwrap_or_default();
    let mut all = ["initContainers", "containers"]
        .iter()
        .flat_map(|field| list(spec, field));
    let restarts_all = |rule: &Value| text(rule, "action") == "RestartAllContainers";
    if all.any(|container| list(container, "restartPolicyRules").iter().any(restarts_all)) {
        return false;
    }
    let Some(own) = list(spec, containers).iter().find(|c| text(c, "name") == name) else {
        return true;
    };
    let policy = match text(own, "restartPolicy") {
        "" => text(spec, "restartPolicy"),
        _ if list(own, "restartPolicyRules")
            .iter()
            .any(|rule| restarts(rule, exit_code)) =>
        {
            return false;
        }
        policy => policy,
    };
    match policy {
        "OnFailure" => exit_code == 0,
        "Never" => true,
        _ => false,
    }
}

/// Whether a rule starts a container again that ended with that exit code.
fn restarts(rule: &Value, exit_code: i64) -> bool {
    let codes = &rule["exitCodes"];
    let is_listed = list(codes, "values")
        .iter()
        .any(|code| code.as_i64() == Some(exit_code));
    let applies = match text(codes, "operator") {
        "In" => is_listed,
        "NotIn" => !is_listed,
        _ => false,
    };
    applies && text(rule, "action") == "Restart"
}

/// The claim that was made for extended resources of containers.
fn extended_claim(status: &Cursor<'_>, spec: &Value, errors: &mut Errors) {
    const NO_RESOURCE: &str = "must match the extended resource name of an entry in spec.initContainers.resources.requests or \
                               spec.containers.resources.requests";
    const NO_CONTAINER: &str = "must match the name of an entry in spec.initContainers.name or spec.containers.name";
    if !status.is_set() {
        return;
    }
    let mappings = status.at("requestMappings");
    if mappings.is_empty() {
        errors.required(&mappings, "at least one request mapping is required");
    }
    let mut seen = BTreeSet::new();
    for mapping in mappings.items() {
        let parts = ["containerName", "resourceName", "requestName"].map(|field| mapping.at(field).text().to_owned());
        let [container, resource, request] = &parts;
        let mut containers = ["containers", "initContainers"]
            .iter()
            .flat_map(|field| list(spec, field));
        match containers.find(|own| text(own, "name") == container) {
            None => errors.invalid_as(&mapping.at("containerName"), container.as_str(), NO_CONTAINER),
            Some(own) if own["resources"]["requests"].get(resource.as_str()).is_none() => {
                errors.invalid_as(&mapping.at("resourceName"), resource.as_str(), NO_RESOURCE);
            }
            Some(_) => {}
        }
        for complaint in names::dns_label(request) {
            errors.invalid_as(&status.at("requestName"), request.as_str(), complaint);
        }
        if seen.contains(&parts) {
            for field in ["containerName", "resourceName", "requestName"] {
                errors.duplicate(&mapping.at(field));
            }
        }
        seen.insert(parts);
    }
    let claim = status.at("resourceClaimName");
    if claim.is_empty() {
        errors.required(&claim, "");
    } else {
        errors.complaints(&claim, names::dns_subdomain(claim.text()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn containers_stay_ended_unless_something_starts_them_again() {
        let ended = |code: i64| json!({"state": {"terminated": {"exitCode": code}}});
        let stays = |container: Value, policy: &str, code: i64| {
            let spec = json!({"restartPolicy": policy, "containers": [container]});
            stays_ended("c", &ended(code), &spec, "containers")
        };
        let plain = || json!({"name": "c"});
        assert!(!stays(plain(), "Always", 0));
        assert!(stays(plain(), "OnFailure", 0));
        assert!(!stays(plain(), "OnFailure", 1));
        assert!(stays(plain(), "Never", 1));
        assert!(
            stays(json!({"name": "other"}), "Always", 1),
            "it is no container of the pod"
        );
        assert!(stays(json!({"name": "c", "restartPolicy": "Never"}), "Always", 1));
        let ruled = |operator: &str, action: &str| {
            let codes = json!({"operator": operator, "values": [42]});
            json!({"name": "c", "restartPolicy": "Never", "restartPolicyRules": [{"action": action, "exitCodes": codes}]})
        };
        assert!(!stays(ruled("In", "Restart"), "Never", 42));
        assert!(stays(ruled("In", "Restart"), "Never", 1));
        assert!(!stays(ruled("NotIn", "Restart"), "Never", 1));
        assert!(
            !stays(ruled("In", "RestartAllContainers"), "Never", 1),
            "any container may be the one that fails"
        );
    }

    #[test]
    fn a_status_observes_no_generation_below_zero() {
        let pod = |status: Value| json!({"metadata": {"name": "p", "namespace": "d", "resourceVersion": "1"}, "spec": {"nodeName": "n"}, "status": status});
        let complaints = |status: Value| {
            let (new, old) = (pod(status), pod(json!({})));
            let mut errors = Errors::default();
            update(&Cursor::root(&new), &Cursor::root(&old), &mut errors);
            errors.into_list().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let negative = "must be a non-negative integer";
        let conditions = json!([{"type": "Ready", "observedGeneration": -3}]);
        assert_eq!(
            complaints(json!({"observedGeneration": -1, "conditions": conditions, "nominatedNodeName": "m"})),
            [
                format!("status.conditions[0].observedGeneration: Invalid value: -3: {negative}"),
                "status.nominatedNodeName: Forbidden: may not be set on pods that are already bound to a node"
                    .to_owned(),
                format!("status.observedGeneration: Invalid value: -1: {negative}"),
            ]
        );
        let mapping = json!({"containerName": "c", "resourceName": "x.io/y", "requestName": "r"});
        assert_eq!(
            complaints(json!({"extendedResourceClaimStatus": {"requestMappings": [mapping]}})),
            [
                "status.extendedResourceClaimStatus.requestMappings[0].containerName: Invalid value: \"c\": must match the \
                 name of an entry in spec.initContainers.name or spec.containers.name",
                "status.extendedResourceClaimStatus.resourceClaimName: Required value",
            ]
        );
    }
}
