//! Defaults of a pod's volumes.
//!
//! Source: `spec/daemonset.md` §1.4; kubernetes `pkg/apis/core/v1/defaults.go`.

use serde_json::{Map, Value, json};

use super::core::claim_spec;
use super::image::pull_policy;
use crate::value::{default_text, default_to, list_mut, object_mut, set, text};

/// Mode of files in volumes made of API objects: 0644.
const FILE_MODE: i64 = 0o644;

/// One volume: a volume without a source is an empty directory.
pub(super) fn volume(volume: &mut Value) {
    if !volume.is_object() {
        return;
    }
    let has_source = volume
        .as_object()
        .is_some_and(|fields| fields.iter().any(|(name, value)| name != "name" && !value.is_null()));
    if !has_source {
        set(volume, "emptyDir", Value::Object(Map::new()));
    }
    for field in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = object_mut(volume, field) {
            default_to(source, "defaultMode", FILE_MODE);
        }
    }
    if let Some(source) = object_mut(volume, "downwardAPI") {
        downward_items(source);
    }
    if let Some(source) = object_mut(volume, "projected") {
        for part in list_mut(source, "sources") {
            projection(part);
        }
    }
    if let Some(source) = object_mut(volume, "hostPath") {
        default_to(source, "type", "");
    }
    if let Some(source) = object_mut(volume, "image")
        && text(source, "pullPolicy").is_empty()
    {
        let policy = pull_policy(text(source, "reference"));
        set(source, "pullPolicy", policy);
    }
    if let Some(template) = object_mut(volume, "ephemeral").and_then(|e| object_mut(e, "volumeClaimTemplate")) {
        default_to(template, "metadata", json!({}));
        default_to(template, "spec", json!({}));
        if let Some(spec) = object_mut(template, "spec") {
            claim_spec(spec);
        }
    }
    legacy(volume);
}

fn projection(part: &mut Value) {
    if let Some(token) = object_mut(part, "serviceAccountToken") {
        default_to(token, "expirationSeconds", 3600);
    }
    if let Some(downward) = object_mut(part, "downwardAPI") {
        downward_items(downward);
    }
    if let Some(certificate) = object_mut(part, "podCertificate") {
        default_to(certificate, "maxExpirationSeconds", 86_400);
    }
}

fn downward_items(source: &mut Value) {
    for item in list_mut(source, "items") {
        if let Some(field) = object_mut(item, "fieldRef") {
            default_text(field, "apiVersion", "v1");
        }
        if let Some(field) = object_mut(item, "resourceFieldRef") {
            default_to(field, "divisor", "0");
        }
    }
}

/// Sources that a persistent volume may have as well.
pub(super) fn legacy(volume: &mut Value) {
    if let Some(source) = object_mut(volume, "iscsi") {
        default_text(source, "iscsiInterface", "default");
    }
    if let Some(source) = object_mut(volume, "rbd") {
        default_text(source, "pool", "rbd");
        default_text(source, "user", "admin");
        default_text(source, "keyring", "/etc/ceph/keyring");
    }
    if let Some(source) = object_mut(volume, "azureDisk") {
        default_to(source, "cachingMode", "ReadWrite");
        default_to(source, "fsType", "ext4");
        default_to(source, "readOnly", false);
        default_to(source, "kind", "Shared");
    }
    if let Some(source) = object_mut(volume, "scaleIO") {
        default_text(source, "storageMode", "ThinProvisioned");
        default_text(source, "fsType", "xfs");
    }
}
