//! What pods use, and what they have to say where it is limited.
//!
//! Source: kubernetes `pkg/quota/v1/evaluator/core/pods.go`, `component-helpers/resource/helpers.go`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde_json::Value;

use super::{Amounts, add, amounts_of};
use crate::Timestamp;
use crate::quantity::Quantity;
use crate::value::{integer, list, present, text};

const HUGE_PAGES: &str = "hugepages-";
const REQUESTS: &str = "requests.";

/// What every container must say when it is limited: a mistake of the first quotas that was never taken back.
const TO_BE_SPECIFIED: &[&str] = &[
    "cpu",
    "limits.cpu",
    "limits.memory",
    "memory",
    "requests.cpu",
    "requests.memory",
];

/// True for the names under which pods are measured.
pub(super) fn tracks(name: &str) -> bool {
    let is_native = |name: &str| !name.contains('/') || name.contains("kubernetes.io/");
    match name {
        "cpu" | "memory" | "ephemeral-storage" | "pods" => true,
        "requests.cpu" | "requests.memory" | "requests.ephemeral-storage" => true,
        "limits.cpu" | "limits.memory" | "limits.ephemeral-storage" => true,
        _ if name.starts_with(HUGE_PAGES) => true,
        _ => name
            .strip_prefix(REQUESTS)
            .is_some_and(|asked| asked.starts_with(HUGE_PAGES) || !is_native(name)),
    }
}

/// Adds what a pod uses. One that has ended, or that should be gone since long, uses nothing but its place.
pub(super) fn measure(pod: &Value, now: Timestamp, usage: &mut Amounts) {
    if has_ended(pod, now) {
        return;
    }
    let spec = &pod["spec"];
    add(usage, &shown(&total(spec, "requests"), &total(spec, "limits")));
}

fn has_ended(pod: &Value, now: Timestamp) -> bool {
    if matches!(text(&pod["status"], "phase"), "Succeeded" | "Failed") {
        return true;
    }
    let metadata = &pod["metadata"];
    let deleted: Option<Timestamp> = text(metadata, "deletionTimestamp").parse().ok();
    let (Some(deleted), Some(grace_secs)) = (deleted, integer(metadata, "deletionGracePeriodSeconds")) else {
        return false;
    };
    let grace = SignedDuration::from_secs(grace_secs);
    deleted.checked_add(grace).is_ok_and(|overdue| now > overdue)
}

/// The amounts under the names that quotas have for them.
fn shown(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut shown = Amounts::from([("pods".to_owned(), Quantity::from_units(1))]);
    for (name, amount) in requests {
        match name.as_str() {
            "cpu" | "memory" | "ephemeral-storage" => {
                shown.insert(name.clone(), amount.clone());
            }
            _ if name.starts_with(HUGE_PAGES) => {
                shown.insert(name.clone(), amount.clone());
            }
            _ if name.contains('/') => {}
            _ => continue,
        }
        shown.insert(format!("{REQUESTS}{name}"), amount.clone());
    }
    for name in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(amount) = limits.get(name) {
            shown.insert(format!("limits.{name}"), amount.clone());
        }
    }
    shown
}

/// What the pod asks for, or is limited to, at any one time: all containers and sidecars together, or an init container
/// beside the sidecars that were started before it. What is said for the pod as a whole overrules that; overhead is added.
fn total(spec: &Value, field: &str) -> Amounts {
    let of = |container: &Value| amounts_of(&container["resources"], field);
    let mut together = Amounts::new();
    for container in list(spec, "containers") {
        add(&mut together, &of(container));
    }
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in list(spec, "initContainers") {
        let mut at_once = of(container);
        if text(container, "restartPolicy") == "Always" {
            add(&mut together, &at_once);
            add(&mut sidecars, &at_once);
            at_once = sidecars.clone();
        } else {
            add(&mut at_once, &sidecars);
        }
        raise(&mut peak, at_once);
    }
    raise(&mut together, peak);
    if let Some(whole) = present(spec, "resources") {
        together.extend(amounts_of(whole, field));
    }
    let overhead = amounts_of(spec, "overhead");
    let is_limit = field == "limits";
    for (name, amount) in overhead {
        // Overhead raises a limit and makes none.
        match together.get(&name) {
            Some(sum) => drop(together.insert(name, sum.plus(&amount))),
            None if is_limit => {}
            None => drop(together.insert(name, amount)),
        }
    }
    together
}

fn raise(sum: &mut Amounts, other: Amounts) {
    for (name, amount) in other {
        if sum.get(&name).is_none_or(|so_far| *so_far < amount) {
            sum.insert(name, amount);
        }
    }
}

/// What the pod's containers leave open although one of `limited` needs it; `None` when nothing is missing.
pub fn unspecified(pod: &Value, limited: &[impl AsRef<str>]) -> Option<String> {
    let limited: BTreeSet<&str> = limited.iter().map(AsRef::as_ref).collect();
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for kind in ["containers", "initContainers"] {
        for container in list(&pod["spec"], kind) {
            let of = |field: &str| amounts_of(&container["resources"], field);
            let said = shown(&of("requests"), &of("limits"));
            for name in TO_BE_SPECIFIED.iter().filter(|name| limited.contains(**name)) {
                if !said.contains_key(*name) {
                    missing.entry(name).or_default().insert(text(container, "name"));
                }
            }
        }
    }
    let lines: Vec<String> = missing
        .into_iter()
        .map(|(name, containers)| {
            let containers: Vec<&str> = containers.into_iter().collect();
            format!("{name} for: {}", containers.join(","))
        })
        .collect();
    (!lines.is_empty()).then(|| format!("must specify {}", lines.join("; ")))
}
