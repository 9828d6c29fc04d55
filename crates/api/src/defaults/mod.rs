//! Defaulting: what an object's fields are when its author leaves them out.
//!
//! Runs on each decoded object, before admission, and again on what a patch made. It fills in what follows from the object
//! alone; what depends on other objects (token volumes, default tolerations, priorities) is admission, and what happens once
//! at a create or an update (resets of status, generated selectors) is [`crate::strategy`].
//!
//! Source: `spec/api.md` §2.9; kubernetes `pkg/apis/*/v1/defaults.go`.

use serde_json::Value;

use crate::Resource;

/// Fills in the defaults of an object of `resource`. Idempotent.
pub fn apply(resource: &'static Resource, value: &mut Value) {
    let _ = (resource, value);
}
