//! Defaults of the small kinds: namespaces, nodes, secrets, limits, storage, roles.
//!
//! Source: kubernetes `pkg/apis/{core,storage,scheduling,rbac}/v1/defaults.go`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::volume::legacy;
use crate::value::{default_text, default_to, ensure_object, list_mut, object_mut, present, remove, set, text};

/// A `Namespace`: carries its own name as a label, so that selectors can name it.
pub(super) fn namespace(object: &mut Value) {
    default_text(ensure_object(object, "status"), "phase", "Active");
    let name = text(&object["metadata"], "name").to_owned();
    if !name.is_empty() {
        let labels = ensure_object(ensure_object(object, "metadata"), "labels");
        set(labels, "kubernetes.io/metadata.name", name);
    }
}

/// A `Node`: everything can be allocated unless it says otherwise.
pub(super) fn node(object: &mut Value) {
    mirror_ranges(ensure_object(object, "spec"));
    let status = ensure_object(object, "status");
    if let Some(capacity) = present(status, "capacity").cloned() {
        if present(status, "allocatable").is_none() {
            set(status, "allocatable", json!({}));
        }
        if let Some(allocatable) = object_mut(status, "allocatable") {
            for (name, amount) in capacity.as_object().into_iter().flatten() {
                default_to(allocatable, name, amount.clone());
            }
        }
    }
}

/// The older field for one address range and the newer one for several say the same.
fn mirror_ranges(spec: &mut Value) {
    let first = crate::value::list(spec, "podCIDRs").first().cloned();
    match (text(spec, "podCIDR"), first) {
        ("", Some(first)) => set(spec, "podCIDR", first),
        (range, None) if !range.is_empty() => {
            let range = range.to_owned();
            set(spec, "podCIDRs", json!([range]));
        }
        _ => {}
    }
}

/// A `Secret`: text is moved into the data.
pub(super) fn secret(object: &mut Value) {
    default_text(object, "type", "Opaque");
    let Some(Value::Object(texts)) = remove(object, "stringData") else {
        return;
    };
    for (key, value) in texts {
        let encoded = BASE64.encode(value.as_str().unwrap_or_default());
        ensure_object(object, "data")[key] = encoded.into();
    }
}

/// A `LimitRange`: limits of containers stand in for what is less specific.
pub(super) fn limit_range(object: &mut Value) {
    let Some(spec) = object_mut(object, "spec") else {
        return;
    };
    for item in list_mut(spec, "limits") {
        if text(item, "type") != "Container" {
            continue;
        }
        for (from, to) in [
            ("max", "default"),
            ("default", "defaultRequest"),
            ("min", "defaultRequest"),
        ] {
            let Some(source) = present(item, from).cloned() else {
                continue;
            };
            for (name, amount) in source.as_object().into_iter().flatten() {
                default_to(ensure_object(item, to), name, amount.clone());
            }
        }
    }
}

/// A `PersistentVolume`.
pub(super) fn persistent_volume(object: &mut Value) {
    let spec = ensure_object(object, "spec");
    default_text(spec, "persistentVolumeReclaimPolicy", "Retain");
    default_to(spec, "volumeMode", "Filesystem");
    if let Some(source) = object_mut(spec, "hostPath") {
        default_to(source, "type", "");
    }
    legacy(spec);
    default_text(ensure_object(object, "status"), "phase", "Pending");
}

/// A `PersistentVolumeClaim`.
pub(super) fn persistent_volume_claim(object: &mut Value) {
    claim_spec(ensure_object(object, "spec"));
    default_text(ensure_object(object, "status"), "phase", "Pending");
}

/// The spec of a claim, also inside a pod's ephemeral volume.
pub(super) fn claim_spec(spec: &mut Value) {
    default_to(spec, "volumeMode", "Filesystem");
    default_to(spec, "resources", json!({}));
}

/// A `StorageClass`.
pub(super) fn storage_class(object: &mut Value) {
    default_to(object, "reclaimPolicy", "Delete");
    default_to(object, "volumeBindingMode", "Immediate");
}

/// A `CSIDriver`.
pub(super) fn csi_driver(object: &mut Value) {
    let spec = ensure_object(object, "spec");
    default_to(spec, "attachRequired", true);
    default_to(spec, "podInfoOnMount", false);
    default_to(spec, "storageCapacity", false);
    default_to(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    default_to(spec, "requiresRepublish", false);
    default_to(spec, "seLinuxMount", false);
    if spec["volumeLifecycleModes"].as_array().is_none_or(Vec::is_empty) {
        set(spec, "volumeLifecycleModes", json!(["Persistent"]));
    }
}

/// A `PriorityClass`.
pub(super) fn priority_class(object: &mut Value) {
    default_to(object, "preemptionPolicy", "PreemptLowerPriority");
}

/// A `RoleBinding` or `ClusterRoleBinding`: kinds that live in one group only need not name it.
pub(super) fn role_binding(object: &mut Value) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    default_text(ensure_object(object, "roleRef"), "apiGroup", GROUP);
    for subject in list_mut(object, "subjects") {
        if matches!(text(subject, "kind"), "User" | "Group") {
            default_text(subject, "apiGroup", GROUP);
        }
    }
}
