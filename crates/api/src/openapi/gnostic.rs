//! The OpenAPI 2.0 document in protobuf: messages of the gnostic model.
//!
//! Only what our documents hold is written; numbers are those of `openapi.v2` in gnostic's `OpenAPIv2.proto`. Values of
//! extensions and defaults travel as YAML texts, for which JSON is good enough.

use serde_json::{Map, Value};

use crate::protobuf::wire::{put_bytes, put_number};

/// The document as an `openapi.v2.Document`.
pub(super) fn document(document: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 << 20);
    text(&mut out, 1, document.get("swagger"));
    let mut info = Vec::new();
    text(&mut info, 1, document.pointer("/info/title"));
    text(&mut info, 2, document.pointer("/info/version"));
    put_bytes(&mut out, 2, &info);
    let mut paths = Vec::new();
    for (name, item) in members(document.get("paths")) {
        named(&mut paths, 2, name, &path_item(item));
    }
    put_bytes(&mut out, 8, &paths);
    put_bytes(&mut out, 9, &named_schemas(document.get("definitions")));
    out
}

fn members(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn text(out: &mut Vec<u8>, number: u32, value: Option<&Value>) {
    if let Some(text) = value.and_then(Value::as_str) {
        put_bytes(out, number, text.as_bytes());
    }
}

fn texts(out: &mut Vec<u8>, number: u32, value: Option<&Value>) {
    items(value).for_each(|item| text(out, number, Some(item)));
}

/// A pair of a name and a message.
fn named(out: &mut Vec<u8>, number: u32, name: &str, message: &[u8]) {
    let mut pair = Vec::with_capacity(name.len() + message.len() + 10);
    put_bytes(&mut pair, 1, name.as_bytes());
    put_bytes(&mut pair, 2, message);
    put_bytes(out, number, &pair);
}

/// An `Any` with a YAML text.
fn any(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 2, format!("{value}\n").as_bytes());
    out
}

fn extensions(out: &mut Vec<u8>, number: u32, object: &Map<String, Value>) {
    for (name, value) in object.iter().filter(|(name, _)| name.starts_with("x-")) {
        named(out, number, name, &any(value));
    }
}

fn path_item(item: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, method) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (8, "patch")] {
        if let Some(Value::Object(operation)) = item.get(method) {
            put_bytes(&mut out, number, &self::operation(operation));
        }
    }
    out
}

fn operation(operation: &Map<String, Value>) -> Vec<u8> {
    let mut out = Vec::new();
    text(&mut out, 5, operation.get("operationId"));
    texts(&mut out, 6, operation.get("produces"));
    texts(&mut out, 7, operation.get("consumes"));
    for parameter in items(operation.get("parameters")) {
        let mut item = Vec::new();
        put_bytes(&mut item, 1, &self::parameter(parameter));
        put_bytes(&mut out, 8, &item);
    }
    let mut responses = Vec::new();
    for (code, response) in members(operation.get("responses")) {
        let mut body = Vec::new();
        text(&mut body, 1, response.get("description"));
        if let Some(schema) = response.get("schema") {
            let mut item = Vec::new();
            put_bytes(&mut item, 1, &self::schema(schema));
            put_bytes(&mut body, 2, &item);
        }
        let mut value = Vec::new();
        put_bytes(&mut value, 1, &body);
        named(&mut responses, 1, code, &value);
    }
    put_bytes(&mut out, 9, &responses);
    extensions(&mut out, 13, operation);
    out
}

/// A `Parameter`: a body, or one of the other places.
fn parameter(parameter: &Value) -> Vec<u8> {
    let required = i64::from(parameter["required"].as_bool().unwrap_or_default());
    let mut inner = Vec::new();
    let mut out = Vec::new();
    match parameter["in"].as_str() {
        Some("body") => {
            text(&mut inner, 2, parameter.get("name"));
            text(&mut inner, 3, parameter.get("in"));
            put_number(&mut inner, 4, required);
            put_bytes(&mut inner, 5, &schema(&parameter["schema"]));
            put_bytes(&mut out, 1, &inner);
        }
        place => {
            let is_query = place == Some("query");
            put_number(&mut inner, 1, required);
            text(&mut inner, 2, parameter.get("in"));
            text(&mut inner, 4, parameter.get("name"));
            text(&mut inner, if is_query { 6 } else { 5 }, parameter.get("type"));
            let mut sub_schema = Vec::new();
            put_bytes(&mut sub_schema, if is_query { 3 } else { 4 }, &inner);
            put_bytes(&mut out, 2, &sub_schema);
        }
    }
    out
}

fn named_schemas(schemas: Option<&Value>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, schema) in members(schemas) {
        named(&mut out, 1, name, &self::schema(schema));
    }
    out
}

/// A `Schema`. Our schemas nest three deep at most: lists and maps of references.
fn schema(schema: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    text(&mut out, 1, schema.get("$ref"));
    text(&mut out, 2, schema.get("format"));
    text(&mut out, 4, schema.get("description"));
    if let Some(default) = schema.get("default") {
        put_bytes(&mut out, 5, &any(default));
    }
    texts(&mut out, 19, schema.get("required"));
    if let Some(values) = schema.get("additionalProperties") {
        let mut item = Vec::new();
        put_bytes(&mut item, 1, &self::schema(values));
        put_bytes(&mut out, 21, &item);
    }
    if let Some(name) = schema.get("type") {
        let mut item = Vec::new();
        text(&mut item, 1, Some(name));
        put_bytes(&mut out, 22, &item);
    }
    if let Some(element) = schema.get("items") {
        let mut item = Vec::new();
        put_bytes(&mut item, 1, &self::schema(element));
        put_bytes(&mut out, 23, &item);
    }
    if schema.get("properties").is_some() {
        put_bytes(&mut out, 25, &named_schemas(schema.get("properties")));
    }
    if let Some(object) = schema.as_object() {
        extensions(&mut out, 31, object);
    }
    out
}
