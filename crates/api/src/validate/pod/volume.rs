//! Volumes of a pod: their names, and sources that need no storage system.

use std::collections::{BTreeMap, BTreeSet};

use super::super::cursor::{Cursor, Errors};
use super::super::storage;
use super::{Place, env, external};
use crate::names;

/// The volumes of a pod by name, with the kind of their source.
pub(super) struct Volumes(BTreeMap<String, String>);

impl Volumes {
    /// True when there is one of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The field that says where a volume's content comes from.
    pub(super) fn source(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

const FILE_MODE_MAX: i64 = 0o777;

/// Fields of a pod that a file may show.
const FILE_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

/// `volumes`. Only good volumes can be referred to.
pub(super) fn volumes(volumes: &Cursor<'_>, place: Place<'_>, errors: &mut Errors) -> Volumes {
    let mut names_seen = BTreeSet::new();
    let mut good = BTreeMap::new();
    let made: BTreeSet<String> = volumes
        .items()
        .filter(|volume| volume.at("ephemeral").is_set())
        .filter_map(|volume| Some(format!("{}-{}", place.pod_name?, volume.at("name").text())))
        .collect();
    for volume in volumes.items() {
        let before = errors.len();
        let kind = source(&volume, place, errors);
        let name = volume.at("name");
        if name.is_empty() {
            errors.required(&name, "");
        } else {
            errors.complaints(&name, names::dns_label(name.text()));
        }
        if names_seen.contains(name.text()) {
            errors.duplicate(&name);
        }
        if errors.len() == before {
            names_seen.insert(name.text().to_owned());
            good.insert(name.text().to_owned(), kind);
        }
        let claim = volume.at("persistentVolumeClaim");
        if made.contains(claim.at("claimName").text()) {
            let detail = "must not reference a PVC that gets created for an ephemeral volume";
            errors.invalid(&claim.at("claimName"), detail);
        }
    }
    Volumes(good)
}

/// The sources in the order in which upstream looks for them.
const SOURCES: &[&str] = &[
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

fn source(volume: &Cursor<'_>, place: Place<'_>, errors: &mut Errors) -> String {
    let mut found = String::new();
    for kind in SOURCES {
        let source = volume.at(kind);
        if !source.is_set() {
            continue;
        }
        if !found.is_empty() {
            errors.forbidden(&source, "may not specify more than 1 volume type");
            continue;
        }
        (*kind).clone_into(&mut found);
        one_source(kind, &source, volume, place, errors);
    }
    if found.is_empty() {
        errors.required(volume, "must specify a volume type");
    }
    found
}

fn one_source(kind: &str, source: &Cursor<'_>, volume: &Cursor<'_>, place: Place<'_>, errors: &mut Errors) {
    match kind {
        "emptyDir" => {
            let size = source.at("sizeLimit");
            if size.quantity().is_some_and(|size| size.is_negative()) {
                errors.forbidden(&size, "SizeLimit field must be a valid resource quantity");
            }
        }
        "secret" => {
            need(source, &["secretName"], errors);
            files(source, errors);
        }
        "configMap" => {
            need(source, &["name"], errors);
            files(source, errors);
        }
        "downwardAPI" => {
            mode(&source.at("defaultMode"), errors);
            for item in source.at("items").items() {
                downward_file(&item, source, errors);
            }
        }
        "projected" => projected(source, errors),
        "persistentVolumeClaim" => need(source, &["claimName"], errors),
        "image" => {
            if place.is_pod {
                need(source, &["reference"], errors);
            }
            super::container::pull_policy(&source.at("pullPolicy"), errors);
        }
        "ephemeral" => ephemeral(source, volume, place, errors),
        "gitRepo" => {
            need(source, &["repository"], errors);
            local_descending_path(&source.at("directory"), errors);
        }
        _ => external::source(kind, source, volume, errors),
    }
}

/// A claim that is made together with the pod and is called by both their names.
fn ephemeral(source: &Cursor<'_>, volume: &Cursor<'_>, place: Place<'_>, errors: &mut Errors) {
    let template = source.at("volumeClaimTemplate");
    if template.is_set() {
        storage::claim_template(&template, errors);
    } else {
        errors.required(&template, "");
    }
    let name = volume.at("name");
    let Some(pod) = place.pod_name.filter(|_| !name.is_empty()) else {
        return;
    };
    let claim = format!("{pod}-{}", name.text());
    for complaint in names::dns_subdomain(&claim) {
        errors.invalid(&name, format!("PVC name {claim:?}: {complaint}"));
    }
}

/// Demands fields that may not be empty.
pub(super) fn need(source: &Cursor<'_>, fields: &[&str], errors: &mut Errors) {
    for field in fields {
        if source.at(field).is_empty() {
            errors.required(&source.at(field), "");
        }
    }
}

/// A directory or file of the node.
pub(super) fn host_path(source: &Cursor<'_>, errors: &mut Errors) {
    let path = source.at("path");
    if path.is_empty() {
        errors.required(&path, "");
        return;
    }
    no_backsteps(&path, errors);
    let kind = source.at("type");
    if kind.is_set() {
        let kinds = [
            "",
            "BlockDevice",
            "CharDevice",
            "Directory",
            "DirectoryOrCreate",
            "File",
            "FileOrCreate",
            "Socket",
        ];
        errors.check_one_of(&kind, &kinds);
    }
}

/// A path that never leads upwards.
pub(in crate::validate) fn no_backsteps(path: &Cursor<'_>, errors: &mut Errors) {
    if path.text().split('/').any(|part| part == "..") {
        errors.invalid(path, "must not contain '..'");
    }
}

/// A path below a directory: relative, and never upwards.
pub(super) fn local_descending_path(path: &Cursor<'_>, errors: &mut Errors) {
    if path.text().starts_with('/') {
        errors.invalid(path, "must be a relative path");
    }
    no_backsteps(path, errors);
}

/// As [`local_descending_path`], for files that a volume makes: their names do not look like its own.
fn file_path(path: &Cursor<'_>, errors: &mut Errors) {
    local_descending_path(path, errors);
    if path.text().starts_with("..") && !path.text().starts_with("../") {
        errors.invalid(path, "must not start with '..'");
    }
}

fn mode(at: &Cursor<'_>, errors: &mut Errors) {
    if at.integer().is_some_and(|mode| !(0..=FILE_MODE_MAX).contains(&mode)) {
        errors.invalid(at, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

/// Files made of the keys of a ConfigMap or Secret.
fn files(source: &Cursor<'_>, errors: &mut Errors) {
    mode(&source.at("defaultMode"), errors);
    items(source, errors);
}

fn items(source: &Cursor<'_>, errors: &mut Errors) {
    for item in source.at("items").items() {
        self::item(&item, errors);
    }
}

fn item(item: &Cursor<'_>, errors: &mut Errors) {
    need(item, &["key", "path"], errors);
    file_path(&item.at("path"), errors);
    mode(&item.at("mode"), errors);
}

/// One file of the downward API. Upstream reports on the volume, not on the file.
fn downward_file(item: &Cursor<'_>, source: &Cursor<'_>, errors: &mut Errors) {
    let path = source.at("path");
    let path = path.with(item.at("path").value);
    if path.is_empty() {
        errors.required(&path, "");
    }
    file_path(&path, errors);
    let (field, resource) = (item.at("fieldRef"), item.at("resourceFieldRef"));
    let shown_field = source.at("fieldRef");
    let shown_resource = source.at("resourceFieldRef");
    if field.is_set() {
        env::field_reference(&shown_field.with(field.value), FILE_FIELDS, true, errors);
        if resource.is_set() {
            let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
            errors.invalid_as(source, "resource", detail);
        }
    } else if resource.is_set() {
        env::resource_reference(&shown_resource.with(resource.value), true, errors);
    } else {
        errors.required(source, "one of fieldRef and resourceFieldRef is required");
    }
    let shown_mode = source.at("mode");
    mode(&shown_mode.with(item.at("mode").value), errors);
}

fn projected(projected: &Cursor<'_>, errors: &mut Errors) {
    mode(&projected.at("defaultMode"), errors);
    let mut paths = BTreeSet::new();
    for source in projected.at("sources").items() {
        let kinds = [
            "secret",
            "configMap",
            "downwardAPI",
            "serviceAccountToken",
            "clusterTrustBundle",
            "podCertificate",
        ];
        let mut count = 0;
        for kind in kinds {
            let part = source.at(kind);
            if part.is_set() {
                count += 1;
                projection(kind, &part, projected, &mut paths, errors);
            }
        }
        if count > 1 {
            errors.forbidden(&source, "may not specify more than 1 volume type per source");
        }
    }
}

fn projection(
    kind: &str,
    part: &Cursor<'_>,
    projected: &Cursor<'_>,
    paths: &mut BTreeSet<String>,
    errors: &mut Errors,
) {
    // Upstream shows whose file it is where that has a name.
    let mut claim = |path: &str, shown: &str, errors: &mut Errors| {
        if !path.is_empty() && !paths.insert(path.to_owned()) {
            errors.invalid_as(projected, shown, "conflicting duplicate paths");
        }
    };
    match kind {
        "secret" | "configMap" => {
            need(part, &["name"], errors);
            for item in part.at("items").items() {
                self::item(&item, errors);
                claim(item.at("path").text(), part.at("name").text(), errors);
            }
        }
        "downwardAPI" => {
            for item in part.at("items").items() {
                downward_file(&item, part, errors);
                claim(item.at("path").text(), item.at("path").text(), errors);
            }
        }
        "serviceAccountToken" => {
            let seconds = part.at("expirationSeconds");
            if seconds.integer().is_some_and(|seconds| seconds < 600) {
                errors.invalid(&seconds, "may not specify a duration less than 10 minutes");
            }
            if seconds.integer().is_some_and(|seconds| seconds > 1 << 32) {
                errors.invalid(&seconds, "may not specify a duration larger than 2^32 seconds");
            }
            // Upstream names the volume's path here, not the token's.
            let shown = projected.at("path");
            let path = shown.with(part.at("path").value);
            if path.is_empty() {
                errors.required(&path, "");
            } else {
                file_path(&path, errors);
            }
        }
        _ => claim(part.at("path").text(), part.at("path").text(), errors),
    }
}
