//! Types of the table as JSON schemas of either OpenAPI version.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::descriptions::Descriptions;
use crate::resource::Resource;
use crate::table::{Field, ListType, Schema, Shape, Target, Type, TypeId};

/// The dialects differ in where definitions stand and in what may stand beside a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// OpenAPI 2.0 (Swagger).
    V2,
    /// OpenAPI 3.0.
    V3,
}

impl Dialect {
    /// A reference to a type.
    pub(super) fn reference(self, name: &str) -> Value {
        match self {
            Self::V2 => json!({"$ref": format!("#/definitions/{name}")}),
            Self::V3 => json!({"$ref": format!("#/components/schemas/{name}")}),
        }
    }
}

/// The types that requests about these resources and their replies are made of, by name.
pub(super) fn reachable(schema: &Schema, resources: &[&Resource]) -> BTreeSet<TypeId> {
    const EVERYWHERE: [&str; 3] = ["DeleteOptions", "Status", "WatchEvent"];
    let mut open: Vec<TypeId> = EVERYWHERE
        .iter()
        .filter_map(|name| schema.id(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}")))
        .collect();
    for resource in resources {
        open.extend(schema.id(resource.schema));
        open.extend(schema.id(&format!("{}List", resource.schema)));
        for sub in resource.subresources.iter().filter(|s| !s.version.is_empty()) {
            open.extend(schema.by_kind(sub.group, sub.version, sub.kind));
        }
    }
    reachable_from(schema, open)
}

/// These types and all that they are made of.
pub(super) fn reachable_from(schema: &Schema, mut open: Vec<TypeId>) -> BTreeSet<TypeId> {
    let mut found = BTreeSet::new();
    while let Some(id) = open.pop() {
        if found.insert(id) {
            open.extend(schema[id].fields.iter().filter_map(|f| referenced(&f.target)));
        }
    }
    found
}

fn referenced(target: &Target) -> Option<TypeId> {
    match target {
        Target::Type(id) => Some(*id),
        Target::List(inner) | Target::Map(inner) => referenced(inner),
        Target::String
        | Target::Bytes
        | Target::Bool
        | Target::Int32
        | Target::Int64
        | Target::Double
        | Target::Any => None,
    }
}

/// The definition of a type.
pub(super) fn definition(schema: &Schema, descriptions: &Descriptions, of: &Type, dialect: Dialect) -> Value {
    let mut definition = match (of.shape, dialect) {
        (Shape::Struct, _) => structure(schema, descriptions, of, dialect),
        (Shape::Quantity, Dialect::V2) => json!({"type": "string"}),
        (Shape::Quantity, Dialect::V3) => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        (Shape::Time | Shape::MicroTime, _) => json!({"type": "string", "format": "date-time"}),
        (Shape::IntOrString, Dialect::V2) => json!({"type": "string", "format": "int-or-string"}),
        (Shape::IntOrString, Dialect::V3) => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
        (Shape::Any, _) => json!({"type": "object"}),
    };
    if let Some(text) = descriptions.of_type(of) {
        definition["description"] = text.into();
    }
    if of.atomic {
        definition["x-kubernetes-map-type"] = "atomic".into();
    }
    if !of.kinds.is_empty() {
        let kinds = of.kinds.iter();
        definition["x-kubernetes-group-version-kind"] = kinds
            .map(|k| json!({"group": k.group, "version": k.version, "kind": k.kind}))
            .collect();
    }
    definition
}

fn structure(schema: &Schema, descriptions: &Descriptions, of: &Type, dialect: Dialect) -> Value {
    let mut properties = Map::new();
    for field in &of.fields {
        let mut property = property(schema, field, dialect);
        if let Some(text) = descriptions.of_field(of, field) {
            property["description"] = text.into();
        }
        properties.insert(field.name.to_owned(), property);
    }
    let mut definition = json!({"type": "object"});
    if !properties.is_empty() {
        definition["properties"] = properties.into();
    }
    let required: Vec<&str> = of.fields.iter().filter(|f| f.required).map(|f| f.name).collect();
    if !required.is_empty() {
        definition["required"] = required.into();
    }
    definition
}

fn property(schema: &Schema, field: &Field, dialect: Dialect) -> Value {
    let mut property = value(schema, &field.target, dialect);
    let mut extensions = extensions(field);
    if let Some(default) = &field.default {
        extensions.insert("default".to_owned(), default.clone());
    }
    if dialect == Dialect::V3 && property.get("$ref").is_some() {
        // Nothing may stand beside a reference in version 3.
        property = json!({"allOf": [property]});
    }
    if let Value::Object(members) = &mut property {
        members.extend(extensions);
    }
    property
}

fn extensions(field: &Field) -> Map<String, Value> {
    let mut extensions = Map::new();
    let mut add = |name: &str, value: Value| drop(extensions.insert(format!("x-kubernetes-{name}"), value));
    let is_list = matches!(field.target, Target::List(_));
    match &field.list {
        ListType::Unstated => {}
        ListType::Atomic if is_list => add("list-type", "atomic".into()),
        ListType::Atomic => add("map-type", "atomic".into()),
        ListType::Granular => add("map-type", "granular".into()),
        ListType::Set => add("list-type", "set".into()),
        ListType::Map(keys) => {
            add("list-type", "map".into());
            add("list-map-keys", keys.as_slice().into());
        }
    }
    let strategies = [
        (field.patch.merge, "merge"),
        (field.patch.replace, "replace"),
        (field.patch.retain_keys, "retainKeys"),
    ];
    let strategy: Vec<&str> = strategies.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
    if !strategy.is_empty() {
        add("patch-strategy", strategy.join(",").into());
    }
    if let Some(key) = field.patch.merge_key {
        add("patch-merge-key", key.into());
    }
    extensions
}

/// The schema of values of a target.
fn value(schema: &Schema, target: &Target, dialect: Dialect) -> Value {
    match target {
        Target::String => json!({"type": "string"}),
        Target::Bytes => json!({"type": "string", "format": "byte"}),
        Target::Bool => json!({"type": "boolean"}),
        Target::Int32 => json!({"type": "integer", "format": "int32"}),
        Target::Int64 => json!({"type": "integer", "format": "int64"}),
        Target::Double => json!({"type": "number", "format": "double"}),
        Target::Any => json!({"type": "object"}),
        Target::Type(id) => dialect.reference(schema[*id].name),
        Target::List(element) => json!({"type": "array", "items": value(schema, element, dialect)}),
        Target::Map(element) => json!({"type": "object", "additionalProperties": value(schema, element, dialect)}),
    }
}
