//! The status of new objects, and writes of the status alone.

use serde_json::{Map, Value, json};

use crate::Resource;
use crate::table::{self, Presence, Schema, Shape, Target, Type};
use crate::value::{copy, ensure_object, integer, list, list_mut, object_mut, set, text};

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
            keep_observed_generations(new, old);
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

/// Writers that do not know which generation a pod's status was made of leave what is there: in the status, and in its
/// conditions, type by type in their order.
fn keep_observed_generations(pod: &mut Value, old: &Value) {
    const FIELD: &str = "observedGeneration";
    let seen = |part: &Value| integer(part, FIELD).filter(|generation| *generation != 0);
    let Some(status) = object_mut(pod, "status") else {
        return;
    };
    if let (None, Some(before)) = (seen(status), seen(&old["status"])) {
        set(status, FIELD, before);
    }
    let mut before: Vec<&Value> = list(&old["status"], "conditions").iter().collect();
    for condition in list_mut(status, "conditions") {
        let same = before.iter().position(|old| old["type"] == condition["type"]);
        let generation = same.and_then(|index| seen(before.remove(index)));
        if let (None, Some(generation)) = (seen(condition), generation) {
            set(condition, FIELD, generation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource;

    #[test]
    fn generations_that_a_pod_status_leaves_out_stay() {
        let conditions = |generations: [i64; 3]| {
            let kinds = ["A", "B", "A"].into_iter().zip(generations);
            kinds
                .map(|(kind, generation)| json!({"type": kind, "observedGeneration": generation}))
                .collect::<Vec<_>>()
        };
        let old = json!({"status": {"observedGeneration": 2, "conditions": conditions([1, 2, 3])}});
        for (given, expected) in [([0, 0, 0], [1, 2, 3]), ([9, 0, 0], [9, 2, 3]), ([0, 7, 8], [1, 7, 8])] {
            let mut new = json!({"metadata": {}, "status": {"conditions": conditions(given)}});
            prepare_update(resource::PODS, &mut new, &old);
            assert_eq!(new["status"]["observedGeneration"], 2);
            assert_eq!(new["status"]["conditions"], json!(conditions(expected)));
        }
    }
}
