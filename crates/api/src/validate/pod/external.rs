//! Volumes that come from clouds and storage systems, in pods and in PersistentVolumes.
//!
//! Source: kubernetes `pkg/apis/core/validation/validation.go` (`validate*VolumeSource`).

use super::super::cursor::{Cursor, Errors};
use super::volume::{host_path, need};
use crate::names;

const RANGE: &str = "must be between 0 and 255, inclusive";
const PARTITION: &str = "must be between 1 and 255, inclusive";

/// The source of a pod's volume.
pub(super) fn source(kind: &str, source: &Cursor<'_>, volume: &Cursor<'_>, errors: &mut Errors) {
    match kind {
        "iscsi" => {
            iscsi(source, errors);
            let name = volume.at("name");
            let together = name.text().len() + 1 + source.at("targetPortal").text().len();
            if source.at("initiatorName").is_set() && together > 64 {
                errors.invalid(&name, ISCSI_TOO_LONG);
            }
        }
        "csi" => {
            csi_driver(&source.at("driver"), errors);
            let secret = source.at("nodePublishSecretRef");
            if secret.is_set() {
                let name = secret.at("name");
                if name.is_empty() {
                    errors.required(&name, "");
                } else {
                    // Upstream names the source's field here, not the secret's.
                    let shown = source.at("name");
                    errors.complaints(&shown.with(name.value), names::dns_subdomain(name.text()));
                }
            }
        }
        _ => shared(kind, source, errors),
    }
}

/// The source of a PersistentVolume of that name.
pub(in crate::validate) fn persistent(kind: &str, source: &Cursor<'_>, volume: &str, errors: &mut Errors) {
    match kind {
        "iscsi" => {
            iscsi(source, errors);
            let portal = source.at("targetPortal");
            if source.at("initiatorName").is_set() && volume.len() + 1 + portal.text().len() > 64 {
                // Upstream writes the field's name in lower case.
                let shown = source.at("targetportal");
                errors.invalid(&shown.with(portal.value), ISCSI_TOO_LONG);
            }
        }
        "csi" => {
            csi_driver(&source.at("driver"), errors);
            need(source, &["volumeHandle"], errors);
            for field in [
                "controllerPublishSecretRef",
                "controllerExpandSecretRef",
                "nodePublishSecretRef",
                "nodeExpandSecretRef",
            ] {
                secret_reference(&source.at(field), errors);
            }
        }
        "local" => {
            need(source, &["path"], errors);
            super::volume::no_backsteps(&source.at("path"), errors);
        }
        _ => shared(kind, source, errors),
    }
}

/// A secret in a namespace.
fn secret_reference(reference: &Cursor<'_>, errors: &mut Errors) {
    if !reference.is_set() {
        return;
    }
    let (name, namespace) = (reference.at("name"), reference.at("namespace"));
    need(reference, &["name"], errors);
    if !name.is_empty() {
        errors.complaints(&name, names::dns_subdomain(name.text()));
    }
    need(reference, &["namespace"], errors);
    if !namespace.is_empty() {
        errors.complaints(&namespace, names::dns_label(namespace.text()));
    }
}

/// The name of a CSI driver.
pub(in crate::validate) fn csi_driver(at: &Cursor<'_>, errors: &mut Errors) {
    const NAME_MAX: usize = 63;
    if at.is_empty() {
        errors.required(at, "");
    }
    if at.text().len() > NAME_MAX {
        errors.too_long(at, NAME_MAX);
    }
    for complaint in names::dns_subdomain(&at.text().to_lowercase()) {
        errors.invalid_as(at, at.text(), complaint);
    }
}

fn shared(kind: &str, source: &Cursor<'_>, errors: &mut Errors) {
    let fields: &[&str] = match kind {
        "hostPath" => {
            host_path(source, errors);
            return;
        }
        "gcePersistentDisk" => &["pdName"],
        "awsElasticBlockStore" | "cinder" | "portworxVolume" => &["volumeID"],
        "glusterfs" => &["endpoints", "path"],
        "nfs" => &["server", "path"],
        "rbd" => &["monitors", "image"],
        "cephfs" => &["monitors"],
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
    match kind {
        "nfs" => {
            let path = source.at("path");
            if !path.text().starts_with('/') {
                errors.invalid_as(&path, path.text(), "must be an absolute path");
            }
        }
        "gcePersistentDisk" | "awsElasticBlockStore" => {
            let partition = source.at("partition");
            if partition.integer().is_some_and(|number| !(0..=255).contains(&number)) {
                errors.invalid(&partition, PARTITION);
            }
        }
        "cinder" | "storageos" if source.at("secretRef").is_set() => need(&source.at("secretRef"), &["name"], errors),
        "quobyte" => quobyte(source, errors),
        "flocker" => flocker(source, errors),
        "fc" => fibre_channel(source, errors),
        "flexVolume" => flex_options(&source.at("options"), errors),
        "azureDisk" => azure_disk(source, errors),
        _ => {}
    }
}

const ISCSI_TOO_LONG: &str = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if \
                              iscsi.initiatorName is specified.";

fn iscsi(source: &Cursor<'_>, errors: &mut Errors) {
    need(source, &["targetPortal", "iqn"], errors);
    let (name, lun) = (source.at("iqn"), source.at("lun"));
    if !name.is_empty() {
        iscsi_name(&name, errors);
    }
    if lun.integer().is_some_and(|number| !(0..=255).contains(&number)) {
        errors.invalid(&lun, RANGE);
    }
    let authenticates = source.at("chapAuthDiscovery").flag() || source.at("chapAuthSession").flag();
    if authenticates && !source.at("secretRef").is_set() {
        errors.required(&source.at("secretRef"), "");
    }
    let initiator = source.at("initiatorName");
    if initiator.is_set() {
        // Upstream writes the field's name in lower case.
        let shown = source.at("initiatorname");
        iscsi_name(&shown.with(initiator.value), errors);
    }
}

/// `iqn.2001-04.com.example:target`, or `eui.` and `naa.` with their numbers.
fn iscsi_name(at: &Cursor<'_>, errors: &mut Errors) {
    let text = at.text();
    let alphanumeric =
        |text: &str, length: usize| text.chars().count() == length && text.chars().all(|c| c.is_ascii_alphanumeric());
    let good = match text.get(..3) {
        Some("iqn") => is_iqn(text),
        Some("eui") => text.get(4..).is_some_and(|rest| alphanumeric(rest, 16)),
        Some("naa") => text.get(4..).is_some_and(|rest| alphanumeric(rest, 32)),
        _ => {
            errors.invalid(at, "must be valid format starting with iqn, eui, or naa");
            return;
        }
    };
    if !good {
        errors.invalid(at, "must be valid format");
    }
}

fn is_iqn(text: &str) -> bool {
    let Some((authority, target)) = text.split_once(':') else {
        return false;
    };
    let date = authority.strip_prefix("iqn.").and_then(|rest| rest.split_once('.'));
    let is_date = |date: &str| {
        date.len() == 7
            && date.bytes().enumerate().all(|(at, byte)| match at {
                4 => byte == b'-',
                _ => byte.is_ascii_digit(),
            })
    };
    date.is_some_and(|(date, name)| {
        is_date(date) && !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
    }) && !target.is_empty()
        && !target.contains(|c: char| ",;*&$|".contains(c) || c.is_whitespace())
}

fn quobyte(source: &Cursor<'_>, errors: &mut Errors) {
    const TENANT_MAX: usize = 64;
    let detail = "must be a host:port pair or multiple pairs separated by commas";
    let (registry, tenant) = (source.at("registry"), source.at("tenant"));
    if registry.is_empty() {
        errors.required(&registry, detail);
    } else if tenant.text().len() > TENANT_MAX {
        let detail = format!("must be a UUID and may not exceed a length of {TENANT_MAX} characters");
        errors.required(&tenant, detail);
    } else {
        for pair in registry.text().split(',') {
            let is_pair = pair
                .rsplit_once(':')
                .is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'));
            if !is_pair {
                errors.invalid(&registry, detail);
            }
        }
    }
    need(source, &["volume"], errors);
}

fn flocker(source: &Cursor<'_>, errors: &mut Errors) {
    let (name, uuid) = (source.at("datasetName"), source.at("datasetUUID"));
    match (name.is_empty(), uuid.is_empty()) {
        (true, true) => errors.required(source, "one of datasetName and datasetUUID is required"),
        (false, false) => {
            let detail = "datasetName and datasetUUID can not be specified simultaneously";
            errors.invalid_as(source, "resource", detail);
        }
        _ => {}
    }
    if name.text().contains('/') {
        errors.invalid(&name, "must not contain '/'");
    }
}

fn fibre_channel(source: &Cursor<'_>, errors: &mut Errors) {
    let (targets, ids, lun) = (source.at("targetWWNs"), source.at("wwids"), source.at("lun"));
    match (targets.is_empty(), ids.is_empty()) {
        (true, true) => errors.required(&targets, "must specify either targetWWNs or wwids, but not both"),
        (false, false) => errors.invalid(&targets, "targetWWNs and wwids can not be specified simultaneously"),
        _ => {}
    }
    if targets.is_empty() {
        return;
    }
    match lun.integer() {
        None => errors.required(&lun, "lun is required if targetWWNs is specified"),
        Some(0..=255) => {}
        Some(_) => errors.invalid(&lun, RANGE),
    }
}

fn flex_options(options: &Cursor<'_>, errors: &mut Errors) {
    for (key, at) in options.members() {
        let domain = format!(".{}", key.split('/').next().unwrap_or(key).to_lowercase());
        if key.contains('/') && (domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io")) {
            errors.invalid_as(&at, key, "kubernetes.io and k8s.io namespaces are reserved");
        }
    }
}

fn azure_disk(source: &Cursor<'_>, errors: &mut Errors) {
    const MANAGED: &str =
        "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
    const BLOB: &str = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
    let (caching, kind, disk) = (source.at("cachingMode"), source.at("kind"), source.at("diskURI"));
    if caching.is_set() {
        errors.check_one_of(&caching, &["None", "ReadOnly", "ReadWrite"]);
    }
    if !kind.is_set() {
        return;
    }
    errors.check_one_of(&kind, &["Dedicated", "Managed", "Shared"]);
    let (begins, form) = match kind.text() {
        "Managed" => ("/subscriptions/", MANAGED),
        _ => ("https://", BLOB),
    };
    if !disk.text().starts_with(begins) {
        errors.unsupported_as(&disk, disk.text().into(), &[form]);
    }
}
