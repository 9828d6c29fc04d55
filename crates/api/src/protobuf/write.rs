//! Values to messages.
//!
//! Upstream's encoders always write what is no pointer in their structs, empty or not; so do we, which keeps the bytes
//! equal. Lists and maps are written element by element, maps in the order of their keys.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use super::wire::{put_bytes, put_double, put_number};
use crate::table::{Field, Presence, Shape, Target, Type, TypeId, schema};

/// Appends the fields of a value of the type.
pub(super) fn message(out: &mut Vec<u8>, id: TypeId, value: &Value) {
    let of = &schema()[id];
    match of.shape {
        Shape::Struct => fields(out, of, value),
        Shape::Quantity => put_bytes(out, 1, scalar_text(value).as_bytes()),
        Shape::Time => time(out, value, |_| 0),
        Shape::MicroTime => time(out, value, |nanos| nanos / 1000 * 1000),
        Shape::IntOrString => {
            put_number(out, 1, i64::from(value.is_string()));
            put_number(out, 2, value.as_i64().unwrap_or_default());
            put_bytes(out, 3, value.as_str().unwrap_or_default().as_bytes());
        }
        Shape::Any => {
            if !value.is_null() {
                put_bytes(out, 1, value.to_string().as_bytes());
            }
        }
    }
}

fn fields(out: &mut Vec<u8>, of: &Type, value: &Value) {
    let mut ordered = of.by_proto_order().peekable();
    while let Some(field) = ordered.next() {
        let Some(proto) = field.proto else { continue };
        if proto.inside == 0 {
            self::field(out, field, proto.number, value.get(field.name));
            continue;
        }
        let mut nested = Vec::new();
        self::field(&mut nested, field, proto.number, value.get(field.name));
        while let Some(field) = ordered.next_if(|f| f.proto.is_some_and(|p| p.inside == proto.inside)) {
            let number = field.proto.map(|p| p.number).unwrap_or_default();
            self::field(&mut nested, field, number, value.get(field.name));
        }
        put_bytes(out, proto.inside, &nested);
    }
}

fn field(out: &mut Vec<u8>, field: &Field, number: u32, value: Option<&Value>) {
    let value = value.filter(|v| !v.is_null());
    let wrapped = field.proto.is_some_and(|p| p.wrapped);
    match (&field.target, value) {
        (Target::List(element), Some(Value::Array(items))) if wrapped => {
            let mut inner = Vec::new();
            items.iter().for_each(|item| single(&mut inner, 1, element, item));
            put_bytes(out, number, &inner);
        }
        (Target::List(element), Some(Value::Array(items))) => {
            items.iter().for_each(|item| single(out, number, element, item));
        }
        (Target::Map(element), Some(Value::Object(members))) => {
            for (key, member) in members {
                let mut entry = Vec::new();
                put_bytes(&mut entry, 1, key.as_bytes());
                map_value(&mut entry, element, member, wrapped);
                put_bytes(out, number, &entry);
            }
        }
        (Target::List(_) | Target::Map(_), _) => {}
        (target, Some(value)) => single(out, number, target, value),
        (Target::Bytes, None) => {}
        (target, None) if field.presence != Presence::Explicit => single(out, number, target, &Value::Null),
        (_, None) => {}
    }
}

fn map_value(entry: &mut Vec<u8>, element: &Target, member: &Value, wrapped: bool) {
    match (element, member) {
        (Target::List(inner), Value::Array(items)) if wrapped => {
            let mut list = Vec::new();
            items.iter().for_each(|item| single(&mut list, 1, inner, item));
            put_bytes(entry, 2, &list);
        }
        _ => single(entry, 2, element, member),
    }
}

/// Appends one value; null stands for the empty value.
fn single(out: &mut Vec<u8>, number: u32, target: &Target, value: &Value) {
    match target {
        Target::String => put_bytes(out, number, scalar_text(value).as_bytes()),
        Target::Bytes => {
            let bytes = BASE64_STANDARD
                .decode(value.as_str().unwrap_or_default())
                .unwrap_or_default();
            put_bytes(out, number, &bytes);
        }
        Target::Bool => put_number(out, number, i64::from(value.as_bool().unwrap_or_default())),
        Target::Int32 | Target::Int64 => put_number(out, number, value.as_i64().unwrap_or_default()),
        Target::Double => put_double(out, number, value.as_f64().unwrap_or_default()),
        Target::Type(id) => {
            let mut inner = Vec::new();
            message(&mut inner, *id, value);
            put_bytes(out, number, &inner);
        }
        Target::Any => put_bytes(out, number, value.to_string().as_bytes()),
        // Lists of lists and maps of maps have no form in protobuf; no message of the API has one.
        Target::List(_) | Target::Map(_) => {}
    }
}

fn scalar_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// `{seconds, nanos}`; a time that is not set is an empty message.
fn time(out: &mut Vec<u8>, value: &Value, nanos: impl Fn(i32) -> i32) {
    let Some(instant) = value.as_str().and_then(|text| text.parse::<Timestamp>().ok()) else {
        return;
    };
    put_number(out, 1, instant.as_second());
    put_number(out, 2, i64::from(nanos(instant.subsec_nanosecond())));
}
