//! Fields behind feature gates that are off in 1.36: dropped, unless the stored object has them already.
//!
//! Source: `spec/daemonset.md` §1.6; kubernetes `pkg/api/pod/util.go` (`dropDisabledFields`).

use serde_json::Value;

use crate::value::{list, list_mut, object_mut, remove};

pub(super) fn drop_at_create(object: &mut Value) {
    if let Some(spec) = pod_spec_mut(object) {
        drop_disabled(spec);
    }
}

pub(super) fn drop_at_update(new: &mut Value, old: &Value) {
    let in_use = pod_spec(old).is_some_and(uses_disabled);
    if !in_use {
        drop_at_create(new);
    }
}

/// Leases: candidates for coordinated leadership.
pub(super) fn drop_from_lease(lease: &mut Value) {
    if let Some(spec) = object_mut(lease, "spec") {
        remove(spec, "strategy");
        remove(spec, "preferredHolder");
    }
}

/// Where a kind keeps the spec of its pods.
const PATHS: &[&str] = &[
    "/spec/jobTemplate/spec/template/spec",
    "/spec/template/spec",
    "/template/spec",
    "/spec",
];

fn pod_spec_mut(object: &mut Value) -> Option<&mut Value> {
    let path = PATHS.iter().find(|path| object.pointer(path).is_some())?;
    object.pointer_mut(path)
}

fn pod_spec(object: &Value) -> Option<&Value> {
    PATHS.iter().find_map(|path| object.pointer(path))
}

fn drop_disabled(spec: &mut Value) {
    for field in ["containers", "initContainers", "ephemeralContainers"] {
        for container in list_mut(spec, field) {
            if let Some(lifecycle) = object_mut(container, "lifecycle") {
                remove(lifecycle, "stopSignal");
                if lifecycle.as_object().is_some_and(serde_json::Map::is_empty) {
                    remove(container, "lifecycle");
                }
            }
        }
    }
    for volume in list_mut(spec, "volumes") {
        if let Some(projected) = object_mut(volume, "projected") {
            for source in list_mut(projected, "sources") {
                remove(source, "clusterTrustBundle");
            }
        }
    }
}

fn uses_disabled(spec: &Value) -> bool {
    let mut containers = ["containers", "initContainers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|field| list(spec, field));
    let mut sources = list(spec, "volumes")
        .iter()
        .flat_map(|volume| list(&volume["projected"], "sources"));
    containers.any(|container| container["lifecycle"].get("stopSignal").is_some())
        || sources.any(|source| source.get("clusterTrustBundle").is_some())
}
