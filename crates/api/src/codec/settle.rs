//! The form in which objects are stored: a list or map that is always written and holds nothing is null, and a time that is
//! always written and was never set is null too, whether or not its writer said so.
//!
//! Storage does not tell an empty list from none, so that what was sent as `[]` is read back as null where the field is
//! always written. Fields that are left out when empty never get here with an empty value.
//!
//! Source: kubernetes `apimachinery/pkg/runtime/serializer/protobuf`, the encoding of stored objects.

use std::collections::HashSet;
use std::sync::OnceLock;

use serde_json::Value;

use crate::table::{Field, Presence, Schema, Shape, Target, Type, TypeId, schema};

/// Brings an object of the type `schema_type` into the form in which it is stored.
pub fn settle(schema_type: &str, value: &mut Value) {
    let schema = schema();
    if let Some(id) = schema.id(schema_type)
        && concerned(schema).contains(&id)
    {
        object(schema, &schema[id], value);
    }
}

fn object(schema: &'static Schema, of: &'static Type, value: &mut Value) {
    let Value::Object(members) = value else { return };
    for (name, member) in members.iter_mut() {
        let Some(field) = of.field(name) else { continue };
        if is_always_written(field) && is_empty(member) {
            *member = Value::Null;
        } else {
            inside(schema, &field.target, member);
        }
    }
    for field in of.always().filter(|field| is_time(schema, &field.target)) {
        members.entry(field.name).or_insert(Value::Null);
    }
}

fn is_time(schema: &Schema, target: &Target) -> bool {
    matches!(target, Target::Type(id) if matches!(schema[*id].shape, Shape::Time | Shape::MicroTime))
}

fn inside(schema: &'static Schema, target: &'static Target, value: &mut Value) {
    match (target, value) {
        (Target::Type(id), value) if concerned(schema).contains(id) => object(schema, &schema[*id], value),
        (Target::List(element), Value::Array(items)) if leads_on(schema, element) => {
            items.iter_mut().for_each(|item| inside(schema, element, item));
        }
        (Target::Map(element), Value::Object(members)) if leads_on(schema, element) => {
            members.values_mut().for_each(|member| inside(schema, element, member));
        }
        _ => {}
    }
}

fn is_always_written(field: &Field) -> bool {
    field.presence == Presence::Always && matches!(field.target, Target::List(_) | Target::Map(_))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// True when values of the target can hold a list that settles.
fn leads_on(schema: &'static Schema, target: &Target) -> bool {
    match target {
        Target::Type(id) => concerned(schema).contains(id),
        Target::List(element) | Target::Map(element) => leads_on(schema, element),
        _ => false,
    }
}

/// The types with such a list or time, in them or in a type that they hold.
fn concerned(schema: &'static Schema) -> &'static HashSet<TypeId> {
    static CONCERNED: OnceLock<HashSet<TypeId>> = OnceLock::new();
    CONCERNED.get_or_init(|| {
        let mut found: HashSet<TypeId> = HashSet::new();
        loop {
            let leads = |target: &Target| innermost(target).is_some_and(|id| found.contains(&id));
            let more: Vec<TypeId> = schema
                .types()
                .filter(|(id, of)| {
                    let holds = |f: &Field| is_always_written(f) || leads(&f.target);
                    let has_time = || of.always().any(|f| is_time(schema, &f.target));
                    !found.contains(id) && (has_time() || of.fields.iter().any(holds))
                })
                .map(|(id, _)| id)
                .collect();
            if more.is_empty() {
                return found;
            }
            found.extend(more);
        }
    })
}

fn innermost(target: &Target) -> Option<TypeId> {
    match target {
        Target::Type(id) => Some(*id),
        Target::List(element) | Target::Map(element) => innermost(element),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::settle;
    use serde_json::json;

    #[test]
    fn an_empty_list_that_is_always_written_is_stored_as_null() {
        let mut job = json!({"spec": {"podFailurePolicy": {"rules": []}, "template": {"spec": {"containers": [{}]}}}});
        settle("io.k8s.api.batch.v1.Job", &mut job);
        assert_eq!(
            job,
            json!({"spec": {"podFailurePolicy": {"rules": null}, "template": {"spec": {"containers": [{}]}}}})
        );
    }

    #[test]
    fn a_time_that_was_never_set_is_stored_as_null() {
        let mut pod =
            json!({"status": {"conditions": [{"type": "Ready", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        settle("io.k8s.api.core.v1.Pod", &mut pod);
        let ready = json!({"type": "Ready", "lastTransitionTime": "2026-01-01T00:00:00Z", "lastProbeTime": null});
        assert_eq!(pod, json!({"status": {"conditions": [ready]}}));
    }
}
