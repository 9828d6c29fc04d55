//! Namespaces and configuration.
//!
//! Source: kubernetes `pkg/apis/core/validation/validation.go`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::cursor::{Cursor, Errors};
use super::meta;
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
        "kubernetes.io/dockercfg" => docker_config(&data.key(".dockercfg"), errors),
        "kubernetes.io/dockerconfigjson" => docker_config(&data.key(".dockerconfigjson"), errors),
        "kubernetes.io/basic-auth"
            // One of the two is enough.
            if data.value.get("username").is_none() && data.value.get("password").is_none() => {
                need("username");
                need("password");
            }
        "kubernetes.io/ssh-auth" if data.key("ssh-privatekey").is_empty() => {
            errors.required(&data.key("ssh-privatekey"), "");
        }
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

/// Credentials for registries: a JSON object. What it holds is not shown.
fn docker_config(at: &Cursor<'_>, errors: &mut Errors) {
    if !at.is_set() {
        errors.required(at, "");
        return;
    }
    let content = BASE64.decode(at.text()).unwrap_or_default();
    let wrong = match serde_json::from_slice::<Value>(&content) {
        Ok(Value::Object(_) | Value::Null) => return,
        Ok(other) => format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            match other {
                Value::Array(_) => "array",
                Value::String(_) => "string",
                Value::Bool(_) => "bool",
                Value::Null | Value::Number(_) | Value::Object(_) => "number",
            }
        ),
        Err(error) => crate::codec::json_complaint(&content).unwrap_or_else(|| error.to_string()),
    };
    errors.invalid_as(at, "<secret contents redacted>", wrong);
}

/// The finalizers of a Namespace's spec.
pub(super) fn namespace_finalizers(namespace: &Cursor<'_>, errors: &mut Errors) {
    let spec = namespace.at("spec");
    let finalizers = spec.at("finalizers");
    for finalizer in finalizers.items() {
        finalizer_name(&finalizer, finalizer.text(), errors);
    }
}

fn finalizer_name(at: &Cursor<'_>, name: &str, errors: &mut Errors) {
    for complaint in names::qualified_name(name) {
        errors.invalid_as(at, name, complaint);
    }
    if !meta::is_standard_or_qualified(name) {
        errors.invalid_as(at, name, meta::NOT_STANDARD);
    }
}

/// A Namespace.
pub(super) fn namespace(namespace: &Cursor<'_>, errors: &mut Errors) {
    let spec = namespace.at("spec");
    let finalizers = spec.at("finalizers");
    for finalizer in finalizers.items() {
        // Upstream names the list here, not its element.
        finalizer_name(&finalizers, finalizer.text(), errors);
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
