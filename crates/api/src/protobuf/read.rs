//! Messages to values. What comes out still has to be brought into the form of its type: zeros that upstream's encoders
//! always write are dropped there.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::ProtobufError;
use super::wire::{Content, Fields};
use crate::codec::DEPTH_MAX;
use crate::table::{Field, Shape, Target, Type, TypeId, schema};

/// The fields of a message of the type.
pub(super) fn message(id: TypeId, bytes: &[u8]) -> Result<Map<String, Value>, ProtobufError> {
    let mut object = Map::new();
    fields(&mut object, &schema()[id], 0, bytes, 0)?;
    Ok(object)
}

/// A string field's content.
pub(super) fn text(bytes: &[u8], field: &'static str) -> Result<String, ProtobufError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| ProtobufError::Utf8(field))
}

/// Reads a message's fields into an object; `inside` is the nested message that is being read, 0 outside of one.
fn fields(
    object: &mut Map<String, Value>,
    of: &'static Type,
    inside: u32,
    bytes: &[u8],
    depth: usize,
) -> Result<(), ProtobufError> {
    if depth > DEPTH_MAX {
        return Err(ProtobufError::Malformed);
    }
    let mut message = Fields(bytes);
    while let Some((number, content)) = message.next()? {
        if let (true, Content::Bytes(nested)) = (inside == 0 && of.nested > 0 && number == of.nested, content) {
            fields(object, of, of.nested, nested, depth + 1)?;
        } else if let Some(field) = of.field_by_number(inside, number) {
            add(object, field, content, depth)?;
        }
    }
    Ok(())
}

/// Adds one occurrence of a field.
fn add(
    object: &mut Map<String, Value>,
    field: &'static Field,
    content: Content<'_>,
    depth: usize,
) -> Result<(), ProtobufError> {
    let wrapped = field.proto.is_some_and(|p| p.wrapped);
    match (&field.target, content) {
        (Target::List(element), Content::Bytes(bytes)) if wrapped => {
            let items = list(field.name, element, bytes, depth)?;
            object.insert(field.name.to_owned(), items);
        }
        (Target::List(element), content) => {
            let slot = object.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
            let Value::Array(items) = slot else { return Ok(()) };
            match (&**element, content) {
                (Target::Int32 | Target::Int64 | Target::Bool, Content::Bytes(packed)) => {
                    let mut packed = Fields(packed);
                    while !packed.0.is_empty() {
                        let number = Content::Number(packed.varint()?);
                        items.extend(single(field.name, element, number, depth)?);
                    }
                }
                (element, content) => items.extend(single(field.name, element, content, depth)?),
            }
        }
        (Target::Map(element), Content::Bytes(entry)) => {
            let slot = object.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(members) = slot else { return Ok(()) };
            let (key, value) = map_entry(field.name, element, entry, wrapped, depth)?;
            members.insert(key, value);
        }
        (target, content) => {
            if let Some(value) = single(field.name, target, content, depth)? {
                object.insert(field.name.to_owned(), value);
            }
        }
    }
    Ok(())
}

fn map_entry(
    name: &'static str,
    element: &'static Target,
    entry: &[u8],
    wrapped: bool,
    depth: usize,
) -> Result<(String, Value), ProtobufError> {
    let mut key = String::new();
    let mut value = Value::Null;
    let mut message = Fields(entry);
    while let Some((number, content)) = message.next()? {
        match (number, content, element) {
            (1, Content::Bytes(bytes), _) => key = text(bytes, name)?,
            (2, Content::Bytes(bytes), Target::List(inner)) if wrapped => value = list(name, inner, bytes, depth)?,
            (2, content, element) => value = single(name, element, content, depth)?.unwrap_or_default(),
            _ => {}
        }
    }
    Ok((key, value))
}

/// A list that has a message of its own.
fn list(name: &'static str, element: &'static Target, bytes: &[u8], depth: usize) -> Result<Value, ProtobufError> {
    let mut items = Vec::new();
    let mut message = Fields(bytes);
    while let Some((number, content)) = message.next()? {
        if number == 1 {
            items.extend(single(name, element, content, depth)?);
        }
    }
    Ok(Value::Array(items))
}

/// One value; `None` for a time that is not set and for content of another wire type, which is skipped.
fn single(
    name: &'static str,
    target: &'static Target,
    content: Content<'_>,
    depth: usize,
) -> Result<Option<Value>, ProtobufError> {
    Ok(match (target, content) {
        (Target::String, Content::Bytes(bytes)) => Some(Value::String(text(bytes, name)?)),
        (Target::Bytes, Content::Bytes(bytes)) => Some(Value::String(BASE64_STANDARD.encode(bytes))),
        (Target::Bool, content) => content.as_integer().map(|value| Value::Bool(value != 0)),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "32-bit fields carry their sign in the low half"
        )]
        (Target::Int32, content) => content.as_integer().map(|value| Value::from(value as i32)),
        (Target::Int64, content) => content.as_integer().map(Value::from),
        (Target::Double, Content::Fixed(bits)) => Some(f64::from_bits(bits).into()),
        (Target::Type(id), Content::Bytes(bytes)) => typed(name, &schema()[*id], bytes, depth + 1)?,
        _ => None,
    })
}

fn typed(name: &'static str, of: &'static Type, bytes: &[u8], depth: usize) -> Result<Option<Value>, ProtobufError> {
    if of.shape == Shape::Struct {
        let mut object = Map::new();
        fields(&mut object, of, 0, bytes, depth)?;
        return Ok(Some(Value::Object(object)));
    }
    let mut numbers = [0i64; 4];
    let mut string: &[u8] = &[];
    let mut message = Fields(bytes);
    let mut is_set = false;
    while let Some((number, content)) = message.next()? {
        is_set = true;
        match content {
            Content::Bytes(bytes) => string = bytes,
            Content::Number(_) | Content::Fixed(_) => {
                if let Some(slot) = usize::try_from(number).ok().and_then(|n| numbers.get_mut(n)) {
                    *slot = content.as_integer().unwrap_or_default();
                }
            }
        }
    }
    let [_, first, second, _] = numbers;
    Ok(match of.shape {
        Shape::Quantity => Some(Value::String(text(string, name)?)),
        Shape::IntOrString if first == 1 => Some(Value::String(text(string, name)?)),
        Shape::IntOrString => Some(second.into()),
        Shape::Time if is_set => instant(first, 0).map(|t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into()),
        Shape::MicroTime if is_set => {
            instant(first, second).map(|t| t.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string().into())
        }
        Shape::Any => serde_json::from_slice(string).ok(),
        Shape::Time | Shape::MicroTime | Shape::Struct => None,
    })
}

fn instant(seconds: i64, nanos: i64) -> Option<Timestamp> {
    Timestamp::new(seconds, i32::try_from(nanos).ok()?).ok()
}
