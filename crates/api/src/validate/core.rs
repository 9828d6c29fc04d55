//! The small kinds of the core group: namespaces, nodes, configuration.
//!
//! Source: kubernetes `pkg/apis/core/validation/validation.go`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::cursor::{Cursor, Errors};
use super::{meta, network, pod};
use crate::{FieldErrorKind, names};

/// Data of a ConfigMap or Secret.
const DATA_BYTES_MAX: usize = 1024 * 1024;

/// A ConfigMap.
pub(super) fn config_map(map: &Cursor<'_>, errors: &mut Errors) {
    let (data, binary) = (map.at("data"), map.at("binaryData"));
    let mut bytes = 0;
    for (key, value) in data.members() {
        for complaint in names::config_key(key) {
            errors.invalid_as(&value, key, complaint);
        }
        if binary.value.get(key).is_some() {
            errors.invalid_as(&value, key, "duplicate of key present in binaryData");
        }
        bytes += value.text().len();
    }
    for (key, value) in binary.members() {
        for complaint in names::config_key(key) {
            errors.invalid_as(&value, key, complaint);
        }
        bytes += decoded_length(value.text());
    }
    if bytes > DATA_BYTES_MAX {
        let detail = format!("may not be more than {DATA_BYTES_MAX} bytes");
        errors.push(FieldErrorKind::TooLong, "[]", None, detail);
    }
}

fn decoded_length(base64: &str) -> usize {
    let padding = base64.bytes().rev().take_while(|b| *b == b'=').count();
    (base64.len() / 4 * 3).saturating_sub(padding)
}

/// Data that its author froze stays as it is.
pub(super) fn immutable_data(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    if old.at("immutable").value != &Value::Bool(true) {
        return;
    }
    let detail = "field is immutable when `immutable` is set";
    if new.at("immutable").value != &Value::Bool(true) {
        errors.forbidden(&new.at("immutable"), detail);
    }
    for field in ["data", "binaryData"] {
        if !new.at(field).same_as(&old.at(field)) {
            errors.forbidden(&new.at(field), detail);
        }
    }
}

/// A Secret.
pub(super) fn secret(secret: &Cursor<'_>, errors: &mut Errors) {
    let data = secret.at("data");
    let mut bytes = 0;
    for (key, value) in data.members() {
        for complaint in names::config_key(key) {
            errors.invalid_as(&value, key, complaint);
        }
        bytes += decoded_length(value.text());
    }
    if bytes > DATA_BYTES_MAX {
        errors.too_long(&data, DATA_BYTES_MAX);
    }
    let mut need = |key: &str| {
        if data.value.get(key).is_none() {
            errors.required(&data.key(key), "");
        }
    };
    match secret.at("type").text() {
        "kubernetes.io/dockercfg" => need(".dockercfg"),
        "kubernetes.io/dockerconfigjson" => need(".dockerconfigjson"),
        "kubernetes.io/basic-auth"
            // One of the two is enough.
            if data.value.get("username").is_none() && data.value.get("password").is_none() => {
                need("username");
                need("password");
            }
        "kubernetes.io/ssh-auth" => need("ssh-privatekey"),
        "kubernetes.io/tls" => {
            need("tls.crt");
            need("tls.key");
        }
        "kubernetes.io/service-account-token" => {
            const ACCOUNT: &str = "kubernetes.io/service-account.name";
            let metadata = secret.at("metadata");
            let annotations = metadata.at("annotations");
            if annotations.key(ACCOUNT).is_empty() {
                errors.required(&annotations.key(ACCOUNT), "");
            }
        }
        _ => {}
    }
}

/// A Namespace.
pub(super) fn namespace(namespace: &Cursor<'_>, errors: &mut Errors) {
    let spec = namespace.at("spec");
    let finalizers = spec.at("finalizers");
    for finalizer in finalizers.items() {
        for complaint in names::qualified_name(finalizer.text()) {
            errors.invalid_as(&finalizers, finalizer.text(), complaint);
        }
        if !meta::is_standard_or_qualified(finalizer.text()) {
            errors.invalid_as(&finalizers, finalizer.text(), meta::NOT_STANDARD);
        }
    }
}

/// A changed status of a Namespace: it says that it is going when it is.
pub(super) fn namespace_status(new: &Cursor<'_>, errors: &mut Errors) {
    let (metadata, status) = (new.at("metadata"), new.at("status"));
    let phase = status.at("phase").text();
    // Upstream capitalizes the field's name.
    let shown = status.at("Phase");
    if metadata.at("deletionTimestamp").is_set() {
        if phase != "Terminating" {
            errors.invalid_as(
                &shown,
                phase,
                "may only be 'Terminating' if `deletionTimestamp` is not empty",
            );
        }
    } else if phase != "Active" {
        errors.invalid_as(&shown, phase, "may only be 'Active' if `deletionTimestamp` is empty");
    }
}

/// A Node.
pub(super) fn node(node: &Cursor<'_>, errors: &mut Errors) {
    let spec = node.at("spec");
    if !spec.at("taints").is_empty() {
        // Upstream reports taints as if they were metadata.
        let metadata = node.at("metadata");
        let shown = metadata.at("taints");
        taints(&shown.with(spec.at("taints").value), errors);
    }
    for field in ["capacity", "allocatable"] {
        let status = node.at("status");
        let list = status.at(field);
        for (name, value) in list.members() {
            // Upstream writes these as fields, not as keys.
            let at = list.at(name);
            if value.quantity().is_some_and(|amount| amount.is_negative()) {
                errors.invalid(&at, super::cursor::NEGATIVE);
            }
        }
    }
    let ranges = spec.at("podCIDRs");
    for range in ranges.items() {
        network::cidr(&range, errors);
    }
}

fn taints(taints: &Cursor<'_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for taint in taints.items() {
        let (key, value, effect) = (taint.at("key"), taint.at("value"), taint.at("effect"));
        for complaint in names::qualified_name(key.text()) {
            errors.invalid_as(&key, key.text(), complaint);
        }
        if !value.is_empty() {
            errors.complaints(&value, names::label_value(value.text()));
        }
        match effect.text() {
            "" => errors.required(&effect, ""),
            _ => errors.check_one_of(&effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]),
        }
        if !seen.insert((key.text().to_owned(), effect.text().to_owned())) {
            errors.push(
                FieldErrorKind::Duplicate,
                taint.path(),
                Some(taint.value),
                "taints must be unique by key and effect pair",
            );
        }
    }
}

/// What a Node once was given it keeps.
pub(super) fn node_change(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    let (spec, before) = (new.at("spec"), old.at("spec"));
    for field in ["providerID", "podCIDRs"] {
        let (new, old) = (spec.at(field), before.at(field));
        if !old.is_empty() && !new.same_as(&old) {
            errors.forbidden(&new, "node updates may not change it except from \"\" to valid");
        }
    }
}

/// A RuntimeClass.
pub(super) fn runtime_class(class: &Cursor<'_>, errors: &mut Errors) {
    let handler = class.at("handler");
    if handler.is_empty() {
        errors.required(&handler, "");
    } else {
        errors.complaints(&handler, names::dns_label(handler.text()));
    }
    let overhead = class.at("overhead");
    if overhead.is_set() {
        // Upstream reports the overhead as if it were a container's limits.
        pod::resource_amounts(&overhead.at("podFixed"), &overhead.at("limits"), errors);
    }
    let scheduling = class.at("scheduling");
    meta::labels(&scheduling.at("nodeSelector"), errors);
    pod::tolerations(&scheduling.at("tolerations"), errors);
}
