//! Reading and filling in the fields of objects held as JSON values.
//!
//! In the API an absent field, a null and, for most kinds of field, the empty value are one and the same; these helpers
//! read them alike.

use serde_json::{Map, Value};

static EMPTY: Vec<Value> = Vec::new();

/// The text of a field; empty when absent.
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The elements of a field; none when absent.
pub(crate) fn list<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object.get(field).and_then(Value::as_array).unwrap_or(&EMPTY)
}

/// The members of a field, in the order of their keys; none when absent.
pub(crate) fn members<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let map = object.get(field).and_then(Value::as_object);
    map.into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

/// The integer of a field; `None` when absent.
pub(crate) fn integer(object: &Value, field: &str) -> Option<i64> {
    object.get(field).and_then(Value::as_i64)
}

/// The boolean of a field; false when absent.
pub(crate) fn flag(object: &Value, field: &str) -> bool {
    object.get(field).and_then(Value::as_bool).unwrap_or_default()
}

/// The field, where there is one that is not null.
pub(crate) fn present<'a>(object: &'a Value, field: &str) -> Option<&'a Value> {
    object.get(field).filter(|value| !value.is_null())
}

/// Sets the field when it is absent or null.
pub(crate) fn default_to(object: &mut Value, field: &str, value: impl Into<Value>) {
    if present(object, field).is_none() {
        set(object, field, value);
    }
}

/// Sets the field when it is absent, null, or an empty text: fields for which upstream does not tell these apart.
pub(crate) fn default_text(object: &mut Value, field: &str, value: &str) {
    if text(object, field).is_empty() {
        set(object, field, value);
    }
}

/// Sets the field when it is absent, null, or zero: fields for which upstream does not tell these apart.
pub(crate) fn default_number(object: &mut Value, field: &str, value: i64) {
    if integer(object, field).unwrap_or_default() == 0 {
        set(object, field, value);
    }
}

/// Sets a field. An object that is not a JSON object stays as it is.
pub(crate) fn set(object: &mut Value, field: &str, value: impl Into<Value>) {
    if object.is_null() {
        *object = Value::Object(Map::new());
    }
    if let Some(object) = object.as_object_mut() {
        object.insert(field.to_owned(), value.into());
    }
}

/// Removes a field and returns it.
pub(crate) fn remove(object: &mut Value, field: &str) -> Option<Value> {
    object.as_object_mut()?.remove(field)
}

/// Copies a field from one object to another; removes it where the source has none.
pub(crate) fn copy(from: &Value, to: &mut Value, field: &str) {
    match from.get(field) {
        // Most often nothing differs, and to look costs a fraction of a copy.
        Some(value) if to.get(field) == Some(value) => {}
        Some(value) => set(to, field, value.clone()),
        None => {
            remove(to, field);
        }
    }
}

/// The elements of a field, for changing; none when absent.
pub(crate) fn list_mut<'a>(object: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> {
    object
        .get_mut(field)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

/// The field as an object, for changing; `None` when absent.
pub(crate) fn object_mut<'a>(object: &'a mut Value, field: &str) -> Option<&'a mut Value> {
    object.get_mut(field).filter(|value| value.is_object())
}

/// The field as an object, created when absent. `object` must be a JSON object or null, which decoding ensures.
pub(crate) fn ensure_object<'a>(object: &'a mut Value, field: &str) -> &'a mut Value {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let value = &mut object[field];
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value
}

/// Equality as upstream's semantic comparison sees it: absent, null and empty lists, maps and texts are equal, and so are
/// zero and false where absent.
pub(crate) fn semantically_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.iter()
                .all(|(key, value)| semantically_equal(value, b.get(key).unwrap_or(&Value::Null)))
                && b.iter().all(|(key, value)| a.contains_key(key) || is_unset(value))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| semantically_equal(a, b))
        }
        (Value::Null, other) | (other, Value::Null) => is_unset(other),
        (a, b) => a == b,
    }
}

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => false,
    }
}

/// What upstream's language calls the type of a value that was read from JSON.
pub(crate) fn type_in_memory(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// A value as messages of upstream's language runtime show it, such as `map[name:a ports:[80 81]]`.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| format!("{name}:{}", shown(value)));
            format!("map[{}]", members.collect::<Vec<_>>().join(" "))
        }
    }
}
