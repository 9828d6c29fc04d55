//! PersistentVolumes and claims on them.
//!
//! Source: kubernetes `pkg/apis/core/validation/validation.go`.

use serde_json::Value;

use super::cursor::{Cursor, Errors, IMMUTABLE};
use super::{meta, pod};
use crate::names;
use crate::quantity::Quantity;
use crate::value::{present, remove, semantically_equal, set, text};

const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];

/// The sources of a PersistentVolume in the order in which upstream looks for them.
const SOURCES: &[&str] = &[
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

/// A PersistentVolume.
pub(super) fn volume(volume: &Cursor<'_>, errors: &mut Errors) {
    let (metadata, spec) = (volume.at("metadata"), volume.at("spec"));
    access_modes(&spec, "", errors);
    capacity(&spec.at("capacity"), errors);
    let policy = spec.at("persistentVolumeReclaimPolicy");
    if !policy.is_empty() {
        errors.check_one_of(&policy, &["Delete", "Recycle", "Retain"]);
    }
    let affinity = spec.at("nodeAffinity");
    if affinity.is_set() {
        let required = affinity.at("required");
        if required.is_set() {
            pod::node_selector(&required, errors);
        } else {
            errors.required(&required, "must specify required node constraints");
        }
    }
    sources(&spec, metadata.at("name").text(), errors);
    let path = spec.at("hostPath");
    if is_root(path.at("path").text()) && policy.text() == "Recycle" {
        errors.forbidden(&policy, "may not be 'recycle' for a hostPath mount of '/'");
    }
    class_and_mode(&spec, errors);
    let attributes = spec.at("volumeAttributesClassName");
    if attributes.is_set() {
        if attributes.is_empty() {
            errors.required(&attributes, "an empty string is disallowed");
        } else {
            errors.complaints(&attributes, names::dns_subdomain(attributes.text()));
        }
        if !spec.at("csi").is_set() {
            errors.required(
                &spec.at("csi"),
                "has to be specified when using volumeAttributesClassName",
            );
        }
    }
}

fn is_root(path: &str) -> bool {
    !path.is_empty() && path.starts_with('/') && path.split('/').all(|part| matches!(part, "" | "." | ".."))
}

fn sources(spec: &Cursor<'_>, name: &str, errors: &mut Errors) {
    let mut found = false;
    for kind in SOURCES {
        let source = spec.at(kind);
        if !source.is_set() {
            continue;
        }
        if found {
            errors.forbidden(&source, "may not specify more than 1 volume type");
            continue;
        }
        found = true;
        pod::persistent_source(kind, &source, name, errors);
        if *kind == "local" && !spec.at("nodeAffinity").is_set() {
            errors.required(&spec.at("nodeAffinity"), "Local volume requires node affinity");
        }
    }
    if !found {
        errors.required(spec, "must specify a volume type");
    }
}

fn access_modes(spec: &Cursor<'_>, absent: &str, errors: &mut Errors) {
    let modes = spec.at("accessModes");
    if modes.is_empty() {
        errors.required(&modes, absent);
    }
    exclusive_modes(&modes, errors);
}

fn exclusive_modes(modes: &Cursor<'_>, errors: &mut Errors) {
    for mode in modes.items().filter(|mode| !ACCESS_MODES.contains(&mode.text())) {
        errors.unsupported_as(modes, mode.text().into(), ACCESS_MODES);
    }
    let exclusive = |mode: &Cursor<'_>| mode.text() == "ReadWriteOncePod";
    let shared = |mode: &Cursor<'_>| !exclusive(mode) && ACCESS_MODES.contains(&mode.text());
    if modes.items().any(|mode| exclusive(&mode)) && modes.items().any(|mode| shared(&mode)) {
        errors.forbidden(modes, "may not use ReadWriteOncePod with other access modes");
    }
}

fn capacity(capacity: &Cursor<'_>, errors: &mut Errors) {
    if capacity.is_empty() {
        errors.required(capacity, "");
    }
    if capacity.value.get("storage").is_none() || capacity.len() > 1 {
        errors.unsupported(capacity, &["storage"]);
    }
    for (_, at) in capacity.members() {
        not_negative(&at, errors);
        positive(&at, errors);
    }
}

fn not_negative(at: &Cursor<'_>, errors: &mut Errors) {
    if let Some(amount) = at.quantity().filter(|amount| amount.units() < 0) {
        errors.invalid_as(at, amount.units(), "must be a valid resource quantity");
    }
}

fn positive(at: &Cursor<'_>, errors: &mut Errors) -> bool {
    let amount = at.quantity().unwrap_or(Quantity::ZERO);
    if amount <= Quantity::ZERO {
        errors.invalid_as(at, amount.to_string(), "must be greater than zero");
        return false;
    }
    true
}

fn class_and_mode(spec: &Cursor<'_>, errors: &mut Errors) {
    let (class, mode) = (spec.at("storageClassName"), spec.at("volumeMode"));
    if !class.is_empty() {
        errors.complaints(&class, names::dns_subdomain(class.text()));
    }
    if mode.is_set() {
        errors.check_one_of(&mode, VOLUME_MODES);
    }
}

/// A changed PersistentVolume: where it comes from stays.
pub(super) fn volume_change(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    let (spec, before) = (new.at("spec"), old.at("spec"));
    let source =
        |spec: &Value| -> Vec<Option<Value>> { SOURCES.iter().map(|kind| present(spec, kind).cloned()).collect() };
    let mut compared = spec.value.clone();
    // How a volume is expanded may be said later.
    if before.value["csi"].is_object()
        && present(&before.value["csi"], "controllerExpandSecretRef").is_none()
        && let Some(csi) = compared.get_mut("csi")
    {
        remove(csi, "controllerExpandSecretRef");
    }
    if source(&compared) != source(before.value) {
        // Upstream writes the name of the part in lower case.
        let shown = spec.at("persistentvolumesource");
        errors.forbidden(&shown, "spec.persistentvolumesource is immutable after creation\n");
    }
    immutable_at_root(new, "volumeMode", errors, &spec, &before);
    let affinity = before.at("nodeAffinity");
    if affinity.is_set() && !spec.at("nodeAffinity").same_as(&affinity) {
        let shown = new.at("nodeAffinity");
        let detail = format!("{IMMUTABLE}, except for updating from beta label to GA");
        errors.invalid(&shown.with(spec.at("nodeAffinity").value), detail);
    }
    let attributes = spec.at("volumeAttributesClassName");
    if before.at("volumeAttributesClassName").is_set() && !attributes.is_set() {
        errors.forbidden(&attributes, "update from non-nil value to nil is forbidden");
    }
}

/// A field of the spec that stays; upstream reports it as if it stood beside the spec.
fn immutable_at_root(new: &Cursor<'_>, field: &str, errors: &mut Errors, spec: &Cursor<'_>, before: &Cursor<'_>) {
    if !spec.at(field).same_as(&before.at(field)) {
        let shown = new.at(field);
        errors.invalid(&shown.with(spec.at(field).value), IMMUTABLE);
    }
}

/// A PersistentVolumeClaim.
pub(super) fn claim(claim: &Cursor<'_>, errors: &mut Errors) {
    claim_spec(&claim.at("spec"), errors);
}

/// The template of a claim that is made together with a pod.
pub(super) fn claim_template(template: &Cursor<'_>, errors: &mut Errors) {
    let metadata = template.at("metadata");
    meta::annotations(&metadata.at("annotations"), errors);
    meta::labels(&metadata.at("labels"), errors);
    for (field, _) in crate::value::members(template.value, "metadata") {
        if !matches!(field, "annotations" | "labels") {
            errors.forbidden(&metadata.at(field), "cannot be set");
        }
    }
    claim_spec(&template.at("spec"), errors);
}

fn claim_spec(spec: &Cursor<'_>, errors: &mut Errors) {
    let modes = spec.at("accessModes");
    if modes.is_empty() {
        errors.required(&modes, "at least 1 access mode is required");
    }
    meta::label_selector(&spec.at("selector"), errors);
    exclusive_modes(&modes, errors);
    let resources = spec.at("resources");
    let requests = resources.at("requests");
    let asked = requests.at("storage");
    let at = resources.key("storage");
    if asked.is_set() {
        let at = at.with(asked.value);
        positive(&at, errors);
    } else {
        errors.required(&at, "");
    }
    class_and_mode(spec, errors);
    data_source(spec, errors);
    let attributes = spec.at("volumeAttributesClassName");
    if !attributes.is_empty() {
        errors.complaints(&attributes, names::dns_subdomain(attributes.text()));
    }
}

fn data_source(spec: &Cursor<'_>, errors: &mut Errors) {
    let (source, reference) = (spec.at("dataSource"), spec.at("dataSourceRef"));
    for at in [source, reference] {
        if !at.is_set() {
            continue;
        }
        for field in ["name", "kind"] {
            if at.at(field).is_empty() {
                errors.required(&at.at(field), "");
            }
        }
        let (group, kind) = (at.at("apiGroup"), at.at("kind"));
        if group.is_empty() && kind.text() != "PersistentVolumeClaim" {
            let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.invalid_as(&at, kind.text(), detail);
        }
        if !group.is_empty() {
            errors.complaints(&group, names::dns_subdomain(group.text()));
        }
        let namespace = at.at("namespace");
        if !namespace.is_empty() {
            errors.complaints(&namespace, names::dns_label(namespace.text()));
        }
    }
    if !source.is_set() || !reference.is_set() {
        return;
    }
    if !reference.at("namespace").is_empty() {
        errors.invalid(spec, "may not be specified when dataSourceRef.namespace is specified");
    } else if ["apiGroup", "kind", "name"]
        .iter()
        .any(|field| source.at(field).value != reference.at(field).value)
    {
        errors.invalid(spec, "must match dataSourceRef");
    }
}

/// A changed PersistentVolumeClaim: little of it may change.
pub(super) fn claim_change(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    let (spec, before) = (new.at("spec"), old.at("spec"));
    let bound = new.value["status"]["phase"] == "Bound";
    let (mut changed, mut stored) = (spec.value.clone(), before.value.clone());
    if text(&stored, "volumeName").is_empty() {
        crate::value::copy(spec.value, &mut stored, "volumeName");
    }
    if present(&stored, "storageClassName").is_none() {
        crate::value::copy(&stored, &mut changed, "storageClassName");
    }
    let size = |spec: &Value| spec["resources"]["requests"].get("storage").cloned();
    if bound {
        if let (Some(requests), Some(size)) = (changed.pointer_mut("/resources/requests"), size(&stored)) {
            set(requests, "storage", size);
        }
        if present(&changed, "volumeAttributesClassName").is_some() {
            crate::value::copy(&stored, &mut changed, "volumeAttributesClassName");
        }
    }
    if !semantically_equal(&changed, &stored) {
        let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
                      claims\n";
        errors.forbidden(&spec, detail);
    }
    let amount = |value: Option<&Value>| value.and_then(|value| Quantity::from_value(value).ok());
    let (asked, had) = (size(spec.value), size(before.value));
    let has = old.value["status"]["capacity"].get("storage");
    if let (Some(asked), Some(had)) = (amount(asked.as_ref()), amount(had.as_ref()))
        && asked < had
        && asked <= amount(has).unwrap_or(Quantity::ZERO)
    {
        let (resources, requests);
        resources = spec.at("resources");
        requests = resources.at("requests");
        errors.forbidden(&requests.at("storage"), "field can not be less than status.capacity");
    }
    immutable_at_root(new, "volumeMode", errors, &spec, &before);
    let (attributes, had) = (
        spec.at("volumeAttributesClassName"),
        before.at("volumeAttributesClassName"),
    );
    if had.is_set() && !attributes.is_set() {
        errors.forbidden(&attributes, "update from non-nil value to nil is forbidden");
    } else if had.is_set() && attributes.is_empty() {
        errors.forbidden(&attributes, "update from non-nil value to an empty string is forbidden");
    }
}

/// A changed status of a PersistentVolumeClaim.
pub(super) fn claim_status(claim: &Cursor<'_>, errors: &mut Errors) {
    let (spec, status) = (claim.at("spec"), claim.at("status"));
    if spec.at("accessModes").is_empty() {
        // Upstream capitalizes the name of the part.
        let shown = claim.at("Spec");
        errors.required(&shown.at("accessModes"), "");
    }
    for field in ["capacity", "allocatedResources"] {
        for (_, at) in status.at(field).members() {
            not_negative(&at, errors);
        }
    }
}
