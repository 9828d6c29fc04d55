//! What containers request and are limited to.

use std::collections::BTreeSet;

use super::super::cursor::{Cursor, Errors, NEGATIVE};
use super::claim;
use crate::names;
use crate::quantity::Quantity;

const STANDARD: &[&str] = &["cpu", "memory", "ephemeral-storage"];
/// Resource names without a domain that mean something somewhere.
const KNOWN: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];

/// A resource of the domain `kubernetes.io`, or of none.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// A resource that nodes offer beyond Kubernetes' own.
pub(in crate::validate) fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && names::qualified_name(&format!("requests.{name}")).is_empty()
}

/// A resource whose requests may not be below its limits.
pub(in crate::validate) fn is_exclusive(name: &str) -> bool {
    is_huge_page(name) || !is_native(name)
}

/// What is wrong with a resource's name, wherever it stands. True when nothing is.
pub(in crate::validate) fn resource_name(at: &Cursor<'_>, name: &str, errors: &mut Errors) -> bool {
    let complaints = names::qualified_name(name);
    let well_formed = complaints.is_empty();
    for complaint in complaints {
        errors.invalid_as(at, name, complaint);
    }
    let known = KNOWN.contains(&name) || is_huge_page(name) || name.starts_with("requests.hugepages-");
    if well_formed && !name.contains('/') && !known {
        errors.invalid_as(at, name, "must be a standard resource type or fully qualified");
        return false;
    }
    well_formed
}

/// What is wrong with the name of a container's resource.
pub(in crate::validate) fn container_name(at: &Cursor<'_>, name: &str, errors: &mut Errors) {
    resource_name(at, name, errors);
    if !name.contains('/') {
        if !STANDARD.contains(&name) && !is_huge_page(name) {
            errors.invalid_as(at, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid_as(at, name, "doesn't follow extended resource name standard");
    }
}

/// What is wrong with an amount of a resource: below zero, or a part of what is counted.
pub(in crate::validate) fn amount(at: &Cursor<'_>, name: &str, errors: &mut Errors) {
    let Some(amount) = at.quantity() else { return };
    if amount.is_negative() {
        errors.invalid_as(at, amount.to_string(), NEGATIVE);
    }
    let counted = is_extended(name)
        || matches!(
            name,
            "pods"
                | "resourcequotas"
                | "services"
                | "replicationcontrollers"
                | "secrets"
                | "configmaps"
                | "persistentvolumeclaims"
                | "services.nodeports"
                | "services.loadbalancers"
        );
    if counted && !amount.is_whole() {
        errors.invalid_as(at, amount.to_string(), "must be an integer");
    }
}

/// Huge pages come whole.
fn huge_pages(at: &Cursor<'_>, name: &str, errors: &mut Errors) {
    let (Some(size), Some(amount)) = (name.strip_prefix("hugepages-"), at.quantity()) else {
        return;
    };
    let divides = match Quantity::parse(size) {
        Ok(size) if size > Quantity::ZERO && size.is_whole() => amount.units() % size.units() == 0,
        _ => false,
    };
    if !divides {
        let detail = format!("{amount} is not positive integer multiple of {name}");
        errors.invalid_as(at, amount.to_string(), detail);
    }
}

/// Amounts of resources of containers. Their paths continue `path`.
pub(in crate::validate) fn amounts(list: &Cursor<'_>, path: &Cursor<'_>, errors: &mut Errors) {
    for (name, value) in list.members() {
        let at = path.key(name);
        let at = at.with(value.value);
        container_name(&at, name, errors);
        amount(&at, name, errors);
        huge_pages(&at, name, errors);
    }
    let only_huge = |(name, _): (&str, _)| is_huge_page(name);
    let no_ordinary = ["cpu", "memory"].iter().all(|name| list.value.get(*name).is_none());
    if no_ordinary && list.members().any(only_huge) {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
}

/// The resources of a container.
pub(super) fn container(container: &Cursor<'_>, claims: &BTreeSet<String>, errors: &mut Errors) {
    let resources = container.at("resources");
    requirements(&resources, container_name, errors);
    claim::references(&resources.at("claims"), claims, errors);
}

type NameRule = fn(&Cursor<'_>, &str, &mut Errors);

fn requirements(resources: &Cursor<'_>, name_rule: NameRule, errors: &mut Errors) {
    let (limits, requests) = (resources.at("limits"), resources.at("requests"));
    for (name, value) in limits.members() {
        name_rule(&value, name, errors);
        amount(&value, name, errors);
        huge_pages(&value, name, errors);
    }
    for (name, value) in requests.members() {
        name_rule(&value, name, errors);
        amount(&value, name, errors);
        compare(name, &value, &limits, &requests, errors);
        huge_pages(&value, name, errors);
    }
    let names: BTreeSet<&str> = limits
        .members()
        .chain(requests.members())
        .map(|(name, _)| name)
        .collect();
    let huge = names.iter().any(|name| is_huge_page(name));
    if huge && !names.contains("cpu") && !names.contains("memory") {
        errors.forbidden(resources, "HugePages require cpu or memory");
    }
}

/// A request is not above its limit; what cannot be shared is requested and limited alike.
fn compare(name: &str, request: &Cursor<'_>, limits: &Cursor<'_>, requests: &Cursor<'_>, errors: &mut Errors) {
    let Some(amount) = request.quantity() else { return };
    let exclusive = is_exclusive(name);
    match limits.key(name).quantity() {
        None if exclusive => {
            errors.required(limits, "Limit must be set for non overcommitable resources");
        }
        None => {}
        Some(limit) if exclusive && amount != limit => {
            let detail = format!("must be equal to {name} limit of {limit}");
            errors.invalid_as(requests, amount.to_string(), detail);
        }
        Some(limit) if amount > limit => {
            let detail = format!("must be less than or equal to {name} limit of {limit}");
            errors.invalid_as(requests, amount.to_string(), detail);
        }
        Some(_) => {}
    }
}

/// Resources of the pod as a whole.
pub(super) fn pod(spec: &Cursor<'_>, errors: &mut Errors) {
    let resources = spec.at("resources");
    if spec.value["os"]["name"] == "windows" {
        errors.forbidden(&resources, "may not be set for a windows pod");
        return;
    }
    if !resources.at("claims").is_empty() {
        errors.forbidden(
            &resources.at("claims"),
            "claims may not be set for Resources at pod-level",
        );
    }
    requirements(&resources, pod_name, errors);
    let together = crate::defaults::pod::requests_of_containers(spec.value);
    let requests = resources.at("requests");
    for (name, request) in requests.members() {
        if let (Some(amount), Some(sum)) = (request.quantity(), together.get(name))
            && *sum > amount
        {
            let detail = format!("must be greater than or equal to aggregate container requests of {sum}");
            errors.invalid_as(&request, amount.to_string(), detail);
        }
    }
    let limits = resources.at("limits");
    // Upstream names the container and the resource below the pod's resources.
    for (index, container) in spec.at("containers").items().enumerate() {
        let own = container.at("resources");
        for (name, limit) in own.at("limits").members() {
            if let (Some(amount), Some(most)) = (limit.quantity(), limits.key(name).quantity())
                && amount > most
            {
                let containers = resources.at("containers");
                let container = containers.index(index);
                let at = container.key(name);
                let detail = format!("must be less than or equal to pod limits of {most}");
                errors.invalid_as(&at.at("limits"), amount.to_string(), detail);
            }
        }
    }
}

fn pod_name(at: &Cursor<'_>, name: &str, errors: &mut Errors) {
    if resource_name(at, name, errors) && !matches!(name, "cpu" | "memory") && !is_huge_page(name) {
        errors.unsupported_as(at, name.into(), &["cpu", "hugepages-", "memory"]);
    }
}

/// What a change of a resource means for the running container. Upstream leaves indexes out of these paths.
pub(super) fn resize_policies(policies: &Cursor<'_>, pod_restarts: &str, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for policy in policies.items() {
        let (name, restart) = (policy.at("resourceName").text(), policy.at("restartPolicy").text());
        if !seen.insert(name.to_owned()) {
            errors.duplicate_as(&policy, name);
        }
        match name {
            "cpu" | "memory" => {}
            "" => errors.required(policies, ""),
            _ => errors.unsupported_as(policies, name.into(), &["cpu", "memory"]),
        }
        match restart {
            "NotRequired" | "RestartContainer" => {}
            "" => errors.required(policies, ""),
            _ => errors.unsupported_as(policies, restart.into(), &["NotRequired", "RestartContainer"]),
        }
        if pod_restarts == "Never" && restart != "NotRequired" {
            let detail = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.invalid_as(policies, restart, detail);
        }
    }
}
