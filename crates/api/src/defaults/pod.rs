//! Defaults of pods that templates do not have.
//!
//! Source: kubernetes `pkg/apis/core/v1/defaults.go` (`SetDefaults_Pod`), `pkg/apis/core/v1/conversion.go`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::template::{pod_spec, requests_from_limits};
use crate::quantity::Quantity;
use crate::value::{default_to, flag, integer, list, list_mut, members, object_mut, present, set, text};

/// A `Pod`.
pub(super) fn pod(object: &mut Value) {
    default_to(object, "spec", json!({}));
    let Some(spec) = object_mut(object, "spec") else {
        return;
    };
    pod_spec(spec);
    for field in ["initContainers", "containers"] {
        for container in list_mut(spec, field) {
            requests_from_limits(container);
        }
    }
    pod_requests(spec);
    default_to(spec, "enableServiceLinks", true);
    if integer(spec, "terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0) {
        set(spec, "terminationGracePeriodSeconds", 1);
    }
    if flag(spec, "hostNetwork") {
        host_ports(spec);
    }
    default_to(object, "status", json!({}));
    if let Some(status) = object_mut(object, "status") {
        crate::value::default_text(status, "phase", "Pending");
        mirror_addresses(status);
    }
}

/// The older field for one address and the newer one for several say the same; the older one wins.
fn mirror_addresses(status: &mut Value) {
    let first = list(status, "podIPs").first().map(|ip| text(ip, "ip").to_owned());
    match (text(status, "podIP"), first) {
        ("", Some(first)) => set(status, "podIP", first),
        ("", None) => {}
        (ip, first) if first.as_deref() != Some(ip) => {
            let ip = ip.to_owned();
            set(status, "podIPs", json!([{"ip": ip}]));
        }
        _ => {}
    }
}

/// On the host's network a container's port is the host's.
fn host_ports(spec: &mut Value) {
    for field in ["containers", "initContainers"] {
        for container in list_mut(spec, field) {
            for port in list_mut(container, "ports") {
                if integer(port, "hostPort").unwrap_or_default() == 0
                    && let Some(number) = present(port, "containerPort").cloned()
                {
                    set(port, "hostPort", number);
                }
            }
        }
    }
}

/// Requests of the pod as a whole that follow from its limits: what its containers request together, or else the limit.
fn pod_requests(spec: &mut Value) {
    let Some(limits) = present(spec, "resources").and_then(|r| present(r, "limits")).cloned() else {
        return;
    };
    let together = requests_of_containers(spec);
    let Some(resources) = object_mut(spec, "resources") else {
        return;
    };
    for (name, limit) in limits.as_object().into_iter().flatten() {
        let request = match together.get(name) {
            Some(sum) => sum.canonical().into(),
            None => limit.clone(),
        };
        default_to(resources, "requests", json!({}));
        if let Some(requests) = object_mut(resources, "requests") {
            default_to(requests, name, request);
        }
    }
}

/// What the containers of a pod request together, at the most demanding moment of its life.
pub(crate) fn requests_of_containers(spec: &Value) -> BTreeMap<String, Quantity> {
    let requests = |container: &Value| -> BTreeMap<String, Quantity> {
        members(&container["resources"], "requests")
            .filter_map(|(name, value)| Some((name.to_owned(), Quantity::from_value(value).ok()?)))
            .collect()
    };
    let add = |into: &mut BTreeMap<String, Quantity>, more: &BTreeMap<String, Quantity>| {
        for (name, amount) in more {
            let sum = into.get(name).map_or_else(|| amount.clone(), |have| have.plus(amount));
            into.insert(name.clone(), sum);
        }
    };
    let mut running = BTreeMap::new();
    for container in list(spec, "containers") {
        add(&mut running, &requests(container));
    }
    let mut sidecars = BTreeMap::new();
    let mut starting: BTreeMap<String, Quantity> = BTreeMap::new();
    for container in list(spec, "initContainers") {
        let mut moment = requests(container);
        if text(container, "restartPolicy") == "Always" {
            add(&mut sidecars, &moment);
            moment.clone_from(&sidecars);
        } else {
            add(&mut moment, &sidecars);
        }
        for (name, amount) in moment {
            if starting.get(&name).is_none_or(|most| *most < amount) {
                starting.insert(name, amount);
            }
        }
    }
    add(&mut running, &sidecars);
    for (name, amount) in starting {
        if running.get(&name).is_none_or(|most| *most < amount) {
            running.insert(name, amount);
        }
    }
    running
}
