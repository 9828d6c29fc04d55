//! Environment variables and what they are taken from.

use super::super::cursor::{Cursor, Errors};
use super::volume::Volumes;
use crate::names;

/// Fields of a pod that a variable may show.
const FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Resources of a container that a variable or a file may show.
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// `env`.
pub(super) fn variables(env: &Cursor<'_>, volumes: &Volumes, errors: &mut Errors) {
    for variable in env.items() {
        let name = variable.at("name");
        if name.is_empty() {
            errors.required(&name, "");
        } else {
            errors.complaints(&name, names::env_var_name(name.text()));
        }
        let source = variable.at("valueFrom");
        if source.is_set() {
            let has_value = !variable.at("value").is_empty();
            value_from(&source, has_value, volumes, errors);
        }
    }
}

fn value_from(source: &Cursor<'_>, has_value: bool, volumes: &Volumes, errors: &mut Errors) {
    let mut count = 0;
    let fields = [
        "fieldRef",
        "resourceFieldRef",
        "configMapKeyRef",
        "secretKeyRef",
        "fileKeyRef",
    ];
    for field in fields {
        let reference = source.at(field);
        if !reference.is_set() {
            continue;
        }
        count += 1;
        match field {
            "fieldRef" => field_reference(&reference, FIELDS, false, errors),
            "resourceFieldRef" => resource_reference(&reference, false, errors),
            "fileKeyRef" => file_key(&reference, volumes, errors),
            _ => {
                let name = reference.at("name");
                errors.complaints(&name.with(&string_or_empty(&name)), names::dns_subdomain(name.text()));
                key(&reference.at("key"), errors);
            }
        }
    }
    let detail = match count {
        0 => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        _ if has_value => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    errors.invalid_as(source, "", detail);
}

fn string_or_empty(at: &Cursor<'_>) -> serde_json::Value {
    at.text().into()
}

fn key(at: &Cursor<'_>, errors: &mut Errors) {
    if at.is_empty() {
        errors.required(at, "");
    } else {
        errors.complaints(at, names::config_key(at.text()));
    }
}

/// A key of a file that an earlier container wrote: into a volume that lives as long as the pod.
fn file_key(reference: &Cursor<'_>, volumes: &Volumes, errors: &mut Errors) {
    let (key, path, volume) = (reference.at("key"), reference.at("path"), reference.at("volumeName"));
    if key.is_empty() {
        errors.required(&key, "");
    } else {
        errors.complaints(&key, names::env_var_name(key.text()));
    }
    if volume.is_empty() {
        errors.required(&volume, "");
    } else {
        match volumes.source(volume.text()) {
            None => errors.not_found(&volume, volume.text()),
            Some("emptyDir") => {}
            Some(_) => errors.invalid(&volume, "referenced volume must be of type emptyDir"),
        }
    }
    if path.is_empty() {
        errors.required(&path, "");
    } else {
        super::volume::local_descending_path(&path, errors);
    }
}

/// A field of the pod. `maps`: whether all labels or annotations together may be shown, as files can.
pub(super) fn field_reference(reference: &Cursor<'_>, known: &[&str], maps: bool, errors: &mut Errors) {
    let (version, path) = (reference.at("apiVersion"), reference.at("fieldPath"));
    if version.is_empty() {
        errors.required(&version, "");
        return;
    }
    if path.is_empty() {
        errors.required(&path, "");
        return;
    }
    if version.text() != "v1" {
        let detail = format!(
            "error converting fieldPath: unsupported pod version: {}",
            version.text()
        );
        errors.invalid(&path, detail);
        return;
    }
    let subscript = path.text().strip_suffix(']').and_then(|path| path.split_once("['"));
    if let Some((base, rest)) = subscript
        && let Some(key) = rest.strip_suffix('\'')
    {
        match base {
            "metadata.annotations" => {
                for complaint in names::qualified_name(&key.to_lowercase()) {
                    errors.invalid_as(reference, key, complaint);
                }
            }
            "metadata.labels" => {
                for complaint in names::qualified_name(key) {
                    errors.invalid_as(reference, key, complaint);
                }
            }
            _ => {
                let detail = format!(
                    "error converting fieldPath: field label does not support subscript: {}",
                    path.text()
                );
                errors.invalid(&path, detail);
            }
        }
        return;
    }
    let convertible = known.contains(&path.text())
        || FIELDS.contains(&path.text())
        || matches!(
            path.text(),
            "metadata.labels"
                | "metadata.annotations"
                | "spec.restartPolicy"
                | "spec.schedulerName"
                | "status.phase"
                | "status.nominatedNodeName"
                | "spec.hostNetwork"
        );
    if !convertible {
        let detail = format!("error converting fieldPath: field label not supported: {}", path.text());
        errors.invalid(&path, detail);
        return;
    }
    let is_map = maps && matches!(path.text(), "metadata.labels" | "metadata.annotations");
    if !known.contains(&path.text()) && !is_map {
        errors.unsupported(&path, known);
    }
}

/// A resource of a container. `of_volume`: files do not stand in a container, so they name one.
pub(super) fn resource_reference(reference: &Cursor<'_>, of_volume: bool, errors: &mut Errors) {
    let (resource, divisor) = (reference.at("resource"), reference.at("divisor"));
    let name = resource.text();
    let huge = name.starts_with("limits.hugepages-") || name.starts_with("requests.hugepages-");
    if of_volume && reference.at("containerName").is_empty() {
        errors.required(&reference.at("containerName"), "");
    } else if resource.is_empty() {
        errors.required(&resource, "");
    } else if !huge && !RESOURCES.contains(&name) {
        errors.unsupported(&resource, RESOURCES);
    }
    self::divisor(&divisor, resource.text(), errors);
}

fn divisor(at: &Cursor<'_>, resource: &str, errors: &mut Errors) {
    const BYTES: &[&str] = &[
        "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
    ];
    let Some(amount) = at.quantity().filter(|amount| !amount.is_zero()) else {
        return;
    };
    let (allowed, listed, name): (&[&str], String, &str) = match resource.rsplit_once('.').map(|(_, name)| name) {
        Some("cpu") => (&["1m", "1"], "1m and 1".to_owned(), "cpu"),
        Some("memory") => (BYTES, BYTES.join(", "), "memory"),
        Some("ephemeral-storage") => (BYTES, BYTES.join(", "), "local ephemeral storage"),
        Some(name) if name.starts_with("hugepages-") => (BYTES, BYTES.join(", "), "hugepages"),
        _ => return,
    };
    if !allowed.contains(&amount.to_string().as_str()) {
        let detail = format!("only divisor's values {listed} are supported with the {name} resource");
        errors.invalid_as(at, resource, detail);
    }
}

/// `envFrom`.
pub(super) fn sources(sources: &Cursor<'_>, errors: &mut Errors) {
    for source in sources.items() {
        let prefix = source.at("prefix");
        if !prefix.is_empty() {
            errors.complaints(&prefix, names::env_var_name(prefix.text()));
        }
        let mut count = 0;
        for field in ["configMapRef", "secretRef"] {
            let reference = source.at(field);
            if reference.is_set() {
                count += 1;
                let name = reference.at("name");
                if name.is_empty() {
                    errors.required(&name, "");
                } else {
                    errors.complaints(&name, names::dns_subdomain(name.text()));
                }
            }
        }
        // Upstream leaves the index out of these paths.
        match count {
            0 => errors.invalid_as(sources, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid_as(sources, "", "may not have more than one field specified at a time"),
        }
    }
}
