//! Small steps into objects: the parts of `metadata` that the server itself reads and writes.

use rota_api::Revision;
use serde_json::{Map, Value};

/// `metadata`, made an object if it is none.
pub(crate) fn metadata(value: &mut Value) -> &mut Map<String, Value> {
    object(value, "metadata")
}

/// The field of that name, made an object if it is none.
pub(crate) fn object<'a>(value: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let inner = value
        .as_object_mut()
        .expect("made an object above")
        .entry(field.to_owned())
        .or_insert(Value::Null);
    if !inner.is_object() {
        *inner = Value::Object(Map::new());
    }
    inner.as_object_mut().expect("made an object above")
}

/// The field of that name, made a list if it is none.
pub(crate) fn list<'a>(object: &'a mut Map<String, Value>, field: &str) -> &'a mut Vec<Value> {
    let inner = object.entry(field.to_owned()).or_insert(Value::Null);
    if !inner.is_array() {
        *inner = Value::Array(Vec::new());
    }
    inner.as_array_mut().expect("made a list above")
}

/// A text of `metadata`; empty when absent.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value["metadata"][field].as_str().unwrap_or_default()
}

/// `metadata.finalizers`.
pub(crate) fn finalizers(value: &Value) -> impl Iterator<Item = &str> {
    value["metadata"]["finalizers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// True while the object is being deleted.
pub(crate) fn is_deleting(value: &Value) -> bool {
    value["metadata"]["deletionTimestamp"].is_string()
}

/// The resource version a request names; `None` where it names none.
///
/// Errors: the text is not a number.
pub(crate) fn resource_version(value: &Value) -> Result<Option<Revision>, String> {
    match text(value, "resourceVersion") {
        "" | "0" => Ok(None),
        text => text.parse().map(|v| Some(Revision(v))).map_err(|_| not_unsigned(text)),
    }
}

/// What Go says of a text that is no unsigned number of 64 bits.
pub(crate) fn not_unsigned(text: &str) -> String {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let why = if is_number {
        "value out of range"
    } else {
        "invalid syntax"
    };
    format!("strconv.ParseUint: parsing {text:?}: {why}")
}

/// Sets `metadata.resourceVersion`.
pub(crate) fn set_resource_version(value: &mut Value, revision: Revision) {
    if revision > Revision(0) {
        metadata(value).insert("resourceVersion".to_owned(), revision.to_string().into());
    }
}
