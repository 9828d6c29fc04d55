//! Remarks on pods and pod templates.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::names;
use crate::quantity::Quantity;
use crate::value::{integer, list, members, present, text};

/// Remarks on a pod. At an update only what the old pod did not have is remarked on.
pub(super) fn pod(new: &Value, old: Option<&Value>) -> Vec<String> {
    if old.is_some_and(|old| old["metadata"]["generation"] == new["metadata"]["generation"]) {
        return Vec::new();
    }
    let mut said = Vec::new();
    let wrong = names::dns_label(text(&new["metadata"], "name"));
    if old.is_none() && !wrong.is_empty() {
        said.push(format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is \
             recommended: [{}]",
            wrong.join(" ")
        ));
    }
    said.extend(of_template(new, old, ""));
    said
}

/// Remarks on the pod template at `path`.
pub(super) fn template(new: &Value, old: Option<&Value>, path: &str) -> Vec<String> {
    of_template(new, old, &format!("{path}."))
}

/// Volume sources that no longer work, with what upstream says of them.
const DEAD_VOLUMES: &[(&str, &str)] = &[
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

fn of_template(new: &Value, old: Option<&Value>, prefix: &str) -> Vec<String> {
    let spec = &new["spec"];
    let mut said = Vec::new();
    for (index, constraint) in list(spec, "topologySpreadConstraints").iter().enumerate() {
        if present(constraint, "labelSelector").is_none() {
            said.push(format!(
                "{prefix}spec.topologySpreadConstraints[{index}].labelSelector: a null labelSelector results in matching no pod"
            ));
        }
    }
    if old.is_none() {
        annotations(new, prefix, &mut said);
    }
    for (index, volume) in list(spec, "volumes").iter().enumerate() {
        for (source, fate) in DEAD_VOLUMES {
            if present(volume, source).is_some() {
                said.push(format!("{prefix}spec.volumes[{index}].{source}: {fate}"));
            }
        }
        let parts = list(&volume["projected"], "sources");
        let hollow = parts
            .iter()
            .any(|part| part.as_object().is_none_or(serde_json::Map::is_empty));
        if present(volume, "projected").is_some() && (parts.is_empty() || hollow) {
            said.push(format!(
                "volume {:?} (Projected) has no sources provided",
                text(volume, "name")
            ));
        }
    }
    for (index, secret) in list(spec, "imagePullSecrets").iter().enumerate() {
        if text(secret, "name").is_empty() {
            said.push(format!(
                "{prefix}spec.imagePullSecrets[{index}].name: invalid empty name \"\""
            ));
        }
    }
    for field in ["initContainers", "containers"] {
        for (index, container) in list(spec, field).iter().enumerate() {
            self::container(container, &format!("{prefix}spec.{field}[{index}]"), &mut said);
        }
    }
    ports(spec, prefix, &mut said);
    if integer(spec, "terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0) {
        said.push(format!(
            "{prefix}spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    said
}

fn annotations(new: &Value, prefix: &str, said: &mut Vec<String>) {
    const SECCOMP: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
    for (key, fate) in [
        (
            "scheduler.alpha.kubernetes.io/critical-pod",
            "non-functional in v1.16+; use the \"priorityClassName\" field instead",
        ),
        ("seccomp.security.alpha.kubernetes.io/pod", SECCOMP),
    ] {
        if present(&new["metadata"]["annotations"], key).is_some() {
            said.push(format!("{prefix}metadata.annotations[{key}]: {fate}"));
        }
    }
    for container in list(&new["spec"], "containers")
        .iter()
        .chain(list(&new["spec"], "initContainers"))
    {
        let key = format!(
            "container.seccomp.security.alpha.kubernetes.io/{}",
            text(container, "name")
        );
        if present(&new["metadata"]["annotations"], &key).is_some() {
            said.push(format!("{prefix}metadata.annotations[{key}]: {SECCOMP}"));
        }
    }
}

fn container(container: &Value, path: &str, said: &mut Vec<String>) {
    for field in ["limits", "requests"] {
        for (name, amount) in members(&container["resources"], field) {
            let bytes = matches!(name, "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
            if let Ok(amount) = Quantity::from_value(amount)
                && bytes
                && !amount.is_whole_in_wrapped_millis()
            {
                said.push(format!(
                    "{path}.resources.{field}[{name}]: fractional byte value {:?} is invalid, must be an integer",
                    amount.to_string()
                ));
            }
        }
    }
    let mut seen = BTreeMap::new();
    for (index, variable) in list(container, "env").iter().enumerate() {
        let name = text(variable, "name");
        let value = text(variable, "value");
        // A value that refers to the earlier one builds on it.
        if seen.contains_key(name) && !value.contains(&format!("$({name})")) {
            said.push(format!(
                "{path}.env[{index}]: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
        seen.insert(name, index);
    }
}

/// Port names and numbers that two containers share.
fn ports(spec: &Value, prefix: &str, said: &mut Vec<String>) {
    let mut by_name: BTreeMap<&str, String> = BTreeMap::new();
    let mut by_number: BTreeMap<(i64, &str), String> = BTreeMap::new();
    for (c, container) in list(spec, "containers").iter().enumerate() {
        for (p, port) in list(container, "ports").iter().enumerate() {
            let path = format!("{prefix}spec.containers[{c}].ports[{p}]");
            let name = text(port, "name");
            if !name.is_empty() {
                match by_name.get(name) {
                    Some(first) => said.push(format!(
                        "{path}: duplicate port name {name:?} with {first}, services and probes that select ports by name \
                         will use {first}"
                    )),
                    None => {
                        by_name.insert(name, path.clone());
                    }
                }
            }
            let number = (
                integer(port, "containerPort").unwrap_or_default(),
                text(port, "protocol"),
            );
            match by_number.get(&number) {
                Some(first) => said.push(format!("{path}: duplicate port definition with {first}")),
                None => {
                    by_number.insert(number, path);
                }
            }
        }
    }
}
