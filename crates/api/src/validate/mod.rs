//! Validation: whether an object keeps the rules of its kind, and which it breaks.
//!
//! Works on defaulted and prepared objects. Each broken rule names the field, the kind of rule and the reason in upstream's
//! words and order. Not known here: other objects, the time, and how schedules are read ([`Checks`]).
//!
//! Source: `spec/api.md` §2.9; kubernetes `pkg/apis/*/validation/validation.go`.

use serde_json::Value;

use crate::{FieldError, Resource};

/// Rules that this crate does not know itself. Each returns what is wrong in upstream's words.
#[derive(Clone, Copy, Debug)]
pub struct Checks {
    /// Whether a CronJob's schedule can be read.
    pub schedule: fn(&str) -> Result<(), String>,
    /// Whether a time zone of that name is known.
    pub time_zone: fn(&str) -> Result<(), String>,
}

/// The rules that a new object breaks; empty when it is valid.
pub fn create(resource: &'static Resource, value: &Value, checks: &Checks) -> Vec<FieldError> {
    let _ = (resource, value, checks);
    Vec::new()
}

/// The rules that a change from `old` to `new` breaks; empty when it is valid.
///
/// `subresource` is the part written to (`status`, …); `None` is the object itself.
pub fn update(
    resource: &'static Resource,
    new: &Value,
    old: &Value,
    subresource: Option<&str>,
    checks: &Checks,
) -> Vec<FieldError> {
    let _ = (resource, new, old, subresource, checks);
    Vec::new()
}
