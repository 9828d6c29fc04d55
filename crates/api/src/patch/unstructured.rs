//! What is wrong with the result of a strategic patch: upstream makes the object from maps and lists, not from a text, and has
//! words of its own for what does not fit.
//!
//! Recursion is as deep as the value, which decoding bounds.
//!
//! Source: `apimachinery/pkg/runtime/converter.go` (`fromUnstructured`).

use serde_json::Value;

use crate::table::{Schema, Shape, Target, schema};

/// The first thing that does not fit the type; `None` for what only the texts of values are wrong with, such as times.
pub(super) fn misfit(schema_type: &str, value: &Value) -> Option<String> {
    let schema = schema();
    schema
        .id(schema_type)
        .and_then(|id| of(schema, &Target::Type(id), value))
}

fn of(schema: &Schema, target: &Target, value: &Value) -> Option<String> {
    match (target, value) {
        (_, Value::Null) | (Target::Any, _) => None,
        (Target::Type(id), value) => match (schema[*id].shape, value) {
            (Shape::Struct, Value::Object(members)) => members.iter().find_map(|(name, value)| {
                let field = schema[*id].field(name)?;
                of(schema, &field.target, value)
            }),
            (Shape::Struct, other) => Some(format!("cannot restore struct from: {}", kind(other))),
            _ => None,
        },
        (Target::List(element), Value::Array(items)) => items.iter().find_map(|item| of(schema, element, item)),
        (Target::Map(element), Value::Object(members)) => members.values().find_map(|value| of(schema, element, value)),
        (Target::Map(_), other) => Some(format!("cannot restore map from {}", kind(other))),
        (Target::String | Target::Bytes, Value::String(_))
        | (Target::Bool, Value::Bool(_))
        | (Target::Double, Value::Number(_)) => None,
        (Target::List(_) | Target::Bytes, other) => Some(format!("cannot restore slice from {}", kind(other))),
        (Target::Int32 | Target::Int64, Value::Number(number)) => {
            let is_whole = number.as_f64().is_some_and(|float| float.fract() == 0.0);
            (!is_whole).then(|| format!("cannot convert {} to {}", kind(value), scalar(target)))
        }
        (Target::String, Value::Number(number)) if !number.is_f64() => {
            Some("cannot convert int64 to string".to_owned())
        }
        (scalar_target, _) => Some(format!("unrecognized type: {}", scalar(scalar_target))),
    }
}

/// What upstream's language runtime calls a value of this kind.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "invalid",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
    }
}

fn scalar(target: &Target) -> &'static str {
    match target {
        Target::Bool => "bool",
        Target::Int32 => "int32",
        Target::Int64 => "int64",
        Target::Double => "float64",
        Target::String | Target::Bytes | Target::Any | Target::Type(_) | Target::List(_) | Target::Map(_) => "string",
    }
}
