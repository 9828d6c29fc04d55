//! Volumes of a pod.

use std::collections::{BTreeMap, BTreeSet};

use super::super::cursor::{Cursor, Errors};
use super::env;
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
pub(super) fn volumes(volumes: &Cursor<'_>, errors: &mut Errors) -> Volumes {
    let mut names_seen = BTreeSet::new();
    let mut good = BTreeMap::new();
    for volume in volumes.items() {
        let before = errors.len();
        let kind = source(&volume, errors);
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

fn source(volume: &Cursor<'_>, errors: &mut Errors) -> String {
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
        one_source(kind, &source, errors);
    }
    if found.is_empty() {
        errors.required(volume, "must specify a volume type");
    }
    found
}

fn one_source(kind: &str, source: &Cursor<'_>, errors: &mut Errors) {
    match kind {
        "emptyDir" => {
            let size = source.at("sizeLimit");
            if size.quantity().is_some_and(|size| size.is_negative()) {
                errors.forbidden(&size, "SizeLimit field must be a valid resource quantity");
            }
        }
        "hostPath" => host_path(source, errors),
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
        "nfs" => {
            need(source, &["server", "path"], errors);
            let path = source.at("path");
            if !path.is_empty() && !path.text().starts_with('/') {
                errors.invalid(&path, "must be an absolute path");
            }
        }
        "image" => need(source, &["reference"], errors),
        "ephemeral" => need(source, &["volumeClaimTemplate"], errors),
        "gitRepo" => need(source, &["repository"], errors),
        "iscsi" => need(source, &["targetPortal", "iqn"], errors),
        "csi" => {
            let driver = source.at("driver");
            need(source, &["driver"], errors);
            for complaint in names::dns_subdomain(&driver.text().to_lowercase()) {
                if !driver.is_empty() {
                    errors.invalid(&driver, complaint);
                }
            }
        }
        _ => legacy(kind, source, errors),
    }
}

/// Sources of clouds and storage systems: the names they cannot do without.
fn legacy(kind: &str, source: &Cursor<'_>, errors: &mut Errors) {
    let fields: &[&str] = match kind {
        "gcePersistentDisk" => &["pdName"],
        "awsElasticBlockStore" | "cinder" | "portworxVolume" => &["volumeID"],
        "glusterfs" => &["endpoints", "path"],
        "rbd" => &["monitors", "image"],
        "cephfs" => &["monitors"],
        "quobyte" => &["registry", "volume"],
        "flexVolume" => &["driver"],
        "azureFile" => &["secretName", "shareName"],
        "vsphereVolume" => &["volumePath"],
        "photonPersistentDisk" => &["pdID"],
        "azureDisk" => &["diskName", "diskURI"],
        "storageos" => &["volumeName"],
        "scaleIO" => &["gateway", "system", "volumeName"],
        _ => &[],
    };
    need(source, fields, errors);
}

fn need(source: &Cursor<'_>, fields: &[&str], errors: &mut Errors) {
    for field in fields {
        if source.at(field).is_empty() {
            errors.required(&source.at(field), "");
        }
    }
}

fn host_path(source: &Cursor<'_>, errors: &mut Errors) {
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

fn no_backsteps(path: &Cursor<'_>, errors: &mut Errors) {
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
    if path.text().starts_with("..") && !path.text().starts_with("../") && path.text() != ".." {
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
        need(&item, &["key", "path"], errors);
        file_path(&item.at("path"), errors);
        mode(&item.at("mode"), errors);
    }
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
        let mut count = 0;
        for kind in [
            "secret",
            "configMap",
            "downwardAPI",
            "serviceAccountToken",
            "clusterTrustBundle",
            "podCertificate",
        ] {
            let part = source.at(kind);
            if !part.is_set() {
                continue;
            }
            count += 1;
            if count > 1 {
                errors.forbidden(&source, "may not specify more than 1 volume type per source");
                continue;
            }
            projection(kind, &part, projected, &mut paths, errors);
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
            items(part, errors);
            for item in part.at("items").items() {
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
            let shown = projected.at("path");
            let path = shown.with(part.at("path").value);
            let seconds = part.at("expirationSeconds");
            if seconds.integer().is_some_and(|seconds| seconds < 600) {
                errors.invalid(&seconds, "may not specify a duration less than 10 minutes");
            }
            if seconds.integer().is_some_and(|seconds| seconds > 1 << 32) {
                errors.invalid(&seconds, "may not specify a duration larger than 2^32 seconds");
            }
            if path.is_empty() {
                errors.required(&path, "");
            } else {
                file_path(&path, errors);
            }
            claim(path.text(), path.text(), errors);
        }
        _ => claim(part.at("path").text(), part.at("path").text(), errors),
    }
}
