//! Namespaces, volumes, Secrets, slices of devices.
//!
//! Source: kubernetes `pkg/registry/core/{namespace,persistentvolume,secret}/strategy.go`.

use serde_json::Value;

use crate::value::{copy, default_text, default_to, ensure_object, list, list_mut, object_mut, set, text};

/// The finalizer that keeps a namespace until its content is gone.
const NAMESPACE_FINALIZER: &str = "kubernetes";

pub(super) fn create_namespace(namespace: &mut Value) {
    let spec = ensure_object(namespace, "spec");
    let mut finalizers = list(spec, "finalizers").to_vec();
    if !finalizers.iter().any(|f| f == NAMESPACE_FINALIZER) {
        finalizers.push(NAMESPACE_FINALIZER.into());
    }
    set(spec, "finalizers", finalizers);
}

pub(super) fn update_namespace(new: &mut Value, old: &Value) {
    copy(&old["spec"], ensure_object(new, "spec"), "finalizers");
}

/// A write of the finalizers of a namespace's spec.
pub(super) fn only_finalizers(new: &mut Value, old: &Value) {
    copy(old, new, "status");
}

/// A new volume entered its phase when it was created.
pub(super) fn create_volume(volume: &mut Value) {
    let created = volume["metadata"]["creationTimestamp"].clone();
    set(ensure_object(volume, "status"), "lastPhaseTransitionTime", created);
}

/// A type set once stays when an update leaves it out.
pub(super) fn update_secret(new: &mut Value, old: &Value) {
    default_text(new, "type", text(old, "type"));
}

/// Taints of devices are as old as the slice that tells of them, unless they say so themselves.
pub(super) fn create_slice(slice: &mut Value) {
    let created = slice["metadata"]["creationTimestamp"].clone();
    let Some(spec) = object_mut(slice, "spec").filter(|_| created.is_string()) else {
        return;
    };
    for device in list_mut(spec, "devices") {
        for taint in list_mut(device, "taints") {
            default_to(taint, "timeAdded", created.clone());
        }
    }
}
