//! What a create or an update makes of an object before it is validated: parts that the caller may not set are reset, and
//! what the server generates is generated.
//!
//! The registry sets uid, creation time and name before it calls here. Source: `spec/api.md` §2.4; kubernetes
//! `pkg/registry/*/*/strategy.go`.

use serde_json::Value;

use crate::Resource;

/// Prepares a new object: status emptied, generation 1 where the kind counts it, generated fields filled in.
pub fn prepare_create(resource: &'static Resource, value: &mut Value) {
    let _ = (resource, value);
}

/// Prepares a changed object: what the request may not touch is taken from `old`, generation is counted up.
///
/// `subresource` is the part written to (`status`, …); `None` is the object itself.
pub fn prepare_update(resource: &'static Resource, new: &mut Value, old: &Value, subresource: Option<&str>) {
    let _ = (resource, new, old, subresource);
}

/// Remarks for the author of a valid object, sent as `Warning` headers. `old` is `None` at a create.
pub fn warnings(resource: &'static Resource, new: &Value, old: Option<&Value>) -> Vec<String> {
    let _ = (resource, new, old);
    Vec::new()
}
