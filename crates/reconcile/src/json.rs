//! Putting objects together.

use rota_api::Timestamp;
use serde_json::{Map, Value};

/// An object of values that are there already: they are moved in, where the macro `json!` would write each out and read it
/// again.
pub(crate) fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
    Value::Object(fields.collect::<Map<_, _>>())
}

/// A time as the API writes it: whole seconds.
pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
