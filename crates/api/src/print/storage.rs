//! Volumes, claims, storage classes, drivers.

use serde_json::Value;

use super::{AGE, NAME, Printer, UNSET, age, boolean, name, number, scalar_or, string};
use crate::value::{flag, list, present, text};

pub(super) const PRINTERS: &[Printer] = &[
    Printer {
        kind: "PersistentVolume",
        columns: &[
            NAME,
            string("Capacity"),
            string("Access Modes"),
            string("Reclaim Policy"),
            string("Status"),
            string("Claim"),
            string("StorageClass"),
            string("VolumeAttributesClass"),
            string("Reason"),
            AGE,
            string("VolumeMode").wide(),
        ],
        cells: |object, now| {
            let (spec, status) = (&object["spec"], &object["status"]);
            let claim = match present(spec, "claimRef") {
                Some(claim) => format!("{}/{}", text(claim, "namespace"), text(claim, "name")),
                None => String::new(),
            };
            vec![
                name(object),
                storage(spec).into(),
                access_modes(spec).into(),
                text(spec, "persistentVolumeReclaimPolicy").into(),
                phase(object).into(),
                claim.into(),
                class(object).into(),
                scalar_or(spec, "volumeAttributesClassName", UNSET),
                text(status, "reason").into(),
                age(object, now),
                scalar_or(spec, "volumeMode", UNSET),
            ]
        },
    },
    Printer {
        kind: "PersistentVolumeClaim",
        columns: &[
            NAME,
            string("Status"),
            string("Volume"),
            string("Capacity"),
            string("Access Modes"),
            string("StorageClass"),
            string("VolumeAttributesClass"),
            AGE,
            string("VolumeMode").wide(),
        ],
        cells: |object, now| {
            let (spec, status) = (&object["spec"], &object["status"]);
            let bound = !text(spec, "volumeName").is_empty();
            let (capacity, modes) = match bound {
                true => (storage(status), access_modes(status)),
                false => (String::new(), String::new()),
            };
            vec![
                name(object),
                phase(object).into(),
                text(spec, "volumeName").into(),
                capacity.into(),
                modes.into(),
                class(object).into(),
                scalar_or(spec, "volumeAttributesClassName", UNSET),
                age(object, now),
                scalar_or(spec, "volumeMode", UNSET),
            ]
        },
    },
    Printer {
        kind: "StorageClass",
        columns: &[
            NAME,
            string("Provisioner"),
            string("ReclaimPolicy"),
            string("VolumeBindingMode"),
            string("AllowVolumeExpansion"),
            AGE,
        ],
        cells: |object, now| {
            const DEFAULT: [&str; 2] = [
                "storageclass.kubernetes.io/is-default-class",
                "storageclass.beta.kubernetes.io/is-default-class",
            ];
            vec![
                name_of_class(object, &DEFAULT).into(),
                text(object, "provisioner").into(),
                scalar_or(object, "reclaimPolicy", "Delete"),
                scalar_or(object, "volumeBindingMode", "Immediate"),
                flag(object, "allowVolumeExpansion").into(),
                age(object, now),
            ]
        },
    },
    Printer {
        kind: "VolumeAttributesClass",
        columns: &[NAME, string("DriverName"), AGE],
        cells: |object, now| {
            const DEFAULT: [&str; 2] = [
                "volumeattributesclass.kubernetes.io/is-default-class",
                "volumeattributesclass.alpha.kubernetes.io/is-default-class",
            ];
            vec![
                name_of_class(object, &DEFAULT).into(),
                text(object, "driverName").into(),
                age(object, now),
            ]
        },
    },
    Printer {
        kind: "VolumeAttachment",
        columns: &[
            NAME,
            string("Attacher").named(),
            string("PV"),
            string("Node"),
            boolean("Attached"),
            AGE,
        ],
        cells: |object, now| {
            let spec = &object["spec"];
            vec![
                name(object),
                text(spec, "attacher").into(),
                text(&spec["source"], "persistentVolumeName").into(),
                text(spec, "nodeName").into(),
                flag(&object["status"], "attached").into(),
                age(object, now),
            ]
        },
    },
    Printer {
        kind: "CSINode",
        columns: &[NAME, number("Drivers"), AGE],
        cells: |object, now| {
            vec![
                name(object),
                list(&object["spec"], "drivers").len().into(),
                age(object, now),
            ]
        },
    },
    Printer {
        kind: "CSIDriver",
        columns: &[
            NAME,
            boolean("AttachRequired"),
            boolean("PodInfoOnMount"),
            boolean("StorageCapacity"),
            string("TokenRequests"),
            boolean("RequiresRepublish"),
            string("Modes"),
            AGE,
        ],
        cells: |object, now| {
            let spec = &object["spec"];
            let join = |texts: Vec<&str>, none: &str| match texts.is_empty() {
                true => none.to_owned(),
                false => texts.join(","),
            };
            let audiences = list(spec, "tokenRequests")
                .iter()
                .map(|r| text(r, "audience"))
                .collect();
            let modes = list(spec, "volumeLifecycleModes")
                .iter()
                .filter_map(Value::as_str)
                .collect();
            vec![
                name(object),
                present(spec, "attachRequired").is_none_or(|v| v == true).into(),
                flag(spec, "podInfoOnMount").into(),
                flag(spec, "storageCapacity").into(),
                join(audiences, UNSET).into(),
                flag(spec, "requiresRepublish").into(),
                join(modes, "<none>").into(),
                age(object, now),
            ]
        },
    },
    Printer {
        kind: "CSIStorageCapacity",
        columns: &[NAME, string("StorageClassName"), string("Capacity")],
        cells: |object, _| {
            vec![
                name(object),
                text(object, "storageClassName").into(),
                scalar_or(object, "capacity", UNSET),
            ]
        },
    },
];

/// The name, and whether an annotation makes the class the default.
fn name_of_class(object: &Value, annotations: &[&str]) -> String {
    let metadata = &object["metadata"];
    let is_default = annotations
        .iter()
        .any(|key| text(&metadata["annotations"], key) == "true");
    format!(
        "{}{}",
        text(metadata, "name"),
        if is_default { " (default)" } else { "" }
    )
}

/// The class of a volume or claim: the annotation from before there was a field stands above the field.
fn class(object: &Value) -> &str {
    const BETA: &str = "volume.beta.kubernetes.io/storage-class";
    match present(&object["metadata"]["annotations"], BETA).and_then(Value::as_str) {
        Some(class) => class,
        None => text(&object["spec"], "storageClassName"),
    }
}

fn storage(of: &Value) -> String {
    let size = scalar_or(&of["capacity"], "storage", "0");
    size.as_str().unwrap_or_default().to_owned()
}

fn phase(object: &Value) -> &str {
    if present(&object["metadata"], "deletionTimestamp").is_some() {
        return "Terminating";
    }
    text(&object["status"], "phase")
}

/// `RWO,ROX`, each mode once, in upstream's order.
fn access_modes(object: &Value) -> String {
    let has = |mode: &str| list(object, "accessModes").iter().any(|m| m == mode);
    let modes = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let shown: Vec<&str> = modes
        .into_iter()
        .filter(|(mode, _)| has(mode))
        .map(|(_, short)| short)
        .collect();
    shown.join(",")
}
