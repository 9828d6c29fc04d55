//! The status of new objects, and writes of the status alone.

use serde_json::{Map, Value, json};

use crate::Resource;
use crate::table::{self, Presence, Schema, Shape, Target, Type};
use crate::value::{copy, ensure_object, set, text};

/// The status that an object starts with: its type's empty value, and the phase of kinds that have one.
pub(super) fn initial(resource: &Resource) -> Value {
    let schema = table::schema();
    let mut status = match schema.by_name(resource.schema).and_then(|of| of.field("status")) {
        Some(field) => empty(schema, &field.target),
        None => Value::Object(Map::new()),
    };
    let phase = match resource.kind {
        "Pod" | "PersistentVolume" | "PersistentVolumeClaim" => "Pending",
        "Namespace" => "Active",
        _ => return status,
    };
    set(&mut status, "phase", phase);
    status
}

fn empty(schema: &Schema, target: &Target) -> Value {
    match target {
        Target::Type(id) if schema[*id].shape == Shape::Struct => empty_struct(schema, &schema[*id]),
        Target::String | Target::Bytes => "".into(),
        Target::Bool => false.into(),
        Target::Int32 | Target::Int64 | Target::Double => 0.into(),
        Target::Any | Target::Type(_) | Target::List(_) | Target::Map(_) => Value::Null,
    }
}

fn empty_struct(schema: &Schema, of: &Type) -> Value {
    let written = of.fields.iter().filter(|field| field.presence == Presence::Always);
    Value::Object(
        written
            .map(|field| (field.name.to_owned(), empty(schema, &field.target)))
            .collect(),
    )
}

/// A write of the status: everything else that is not metadata stays, and of the metadata what the kind protects.
pub(super) fn prepare_update(resource: &Resource, new: &mut Value, old: &Value) {
    copy(old, new, "spec");
    match resource.kind {
        "Pod" => {
            for field in ["deletionTimestamp", "ownerReferences"] {
                copy(&old["metadata"], ensure_object(new, "metadata"), field);
            }
            let quality = text(&old["status"], "qosClass").to_owned();
            if !quality.is_empty() {
                crate::value::default_text(ensure_object(new, "status"), "qosClass", &quality);
            }
        }
        "Deployment" => copy(&old["metadata"], ensure_object(new, "metadata"), "labels"),
        "Job" => crate::defaults::batch::labels_from_template(new),
        "CertificateSigningRequest" => super::certificates::keep_approval(new, old),
        "DaemonSet" => super::apps::keep_template_generation(new, old),
        _ => {}
    }
    if !new["status"].is_object() {
        set(new, "status", json!({}));
    }
}
