//! Pods: what a create derives from the spec, and writes of parts of a pod.
//!
//! Source: kubernetes `pkg/registry/core/pod/strategy.go`.

use serde_json::{Value, json};

use super::{gates, quality_of_service};
use crate::value::{copy, default_to, ensure_object, list, list_mut, object_mut, present, set, text};

pub(super) fn create(pod: &mut Value) {
    gates::drop_at_create(pod);
    let quality = quality_of_service(&pod["spec"]);
    let created = pod["metadata"]["creationTimestamp"].clone();
    let gated = !list(&pod["spec"], "schedulingGates").is_empty();
    let status = ensure_object(pod, "status");
    set(status, "qosClass", quality);
    if gated {
        set(
            status,
            "conditions",
            json!([{
                "type": "PodScheduled", "status": "False", "lastProbeTime": null, "lastTransitionTime": created,
                "reason": "SchedulingGated", "message": "Scheduling is blocked due to non-empty scheduling gates",
            }]),
        );
    }
    let labels = pod["metadata"]["labels"].clone();
    if let Some(spec) = object_mut(pod, "spec") {
        select_by_own_labels(spec, &labels);
    }
}

pub(super) fn update(new: &mut Value, old: &Value) {
    gates::drop_at_update(new, old);
}

/// Affinity terms and spread constraints that name label keys are completed with the pod's own values of them.
fn select_by_own_labels(spec: &mut Value, labels: &Value) {
    for constraint in list_mut(spec, "topologySpreadConstraints") {
        complete(constraint, labels);
    }
    let Some(affinity) = object_mut(spec, "affinity") else {
        return;
    };
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(affinity) = object_mut(affinity, kind) else {
            continue;
        };
        for term in list_mut(affinity, "requiredDuringSchedulingIgnoredDuringExecution") {
            complete(term, labels);
        }
        for weighted in list_mut(affinity, "preferredDuringSchedulingIgnoredDuringExecution") {
            if let Some(term) = object_mut(weighted, "podAffinityTerm") {
                complete(term, labels);
            }
        }
    }
}

fn complete(term: &mut Value, labels: &Value) {
    if !term["labelSelector"].is_object() {
        return;
    }
    for (field, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in list(term, field).to_vec() {
            let Some(value) = key.as_str().and_then(|key| present(labels, key)) else {
                continue;
            };
            let selector = ensure_object(term, "labelSelector");
            let mut expressions = list(selector, "matchExpressions").to_vec();
            expressions.push(json!({"key": key, "operator": operator, "values": [value]}));
            set(selector, "matchExpressions", expressions);
        }
    }
}

/// A write of the ephemeral containers: everything else is the stored pod's.
pub(super) fn only_ephemeral_containers(new: &mut Value, old: &Value) {
    let containers = new["spec"]["ephemeralContainers"].clone();
    restore(new, old);
    set(ensure_object(new, "spec"), "ephemeralContainers", containers);
}

/// A write of the resources of containers: everything else is the stored pod's. Containers are told apart by name.
pub(super) fn only_resources(new: &mut Value, old: &Value) {
    let asked = new["spec"].clone();
    restore(new, old);
    let Some(spec) = object_mut(new, "spec") else {
        return;
    };
    for field in ["containers", "initContainers"] {
        for container in list_mut(spec, field) {
            let name = text(container, "name").to_owned();
            if let Some(asked) = list(&asked, field).iter().find(|c| text(c, "name") == name) {
                copy(asked, container, "resources");
                copy(asked, container, "resizePolicy");
                default_to(container, "resources", json!({}));
            }
        }
    }
    copy(&asked, spec, "resources");
}

fn restore(new: &mut Value, old: &Value) {
    let version = new["metadata"]["resourceVersion"].clone();
    let managed = new["metadata"]["managedFields"].clone();
    new.clone_from(old);
    let metadata = ensure_object(new, "metadata");
    for (field, value) in [("resourceVersion", version), ("managedFields", managed)] {
        if !value.is_null() {
            set(metadata, field, value);
        }
    }
}
