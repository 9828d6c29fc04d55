//! A new node takes no pods until it has shown that it is ready.
//!
//! Source: kubernetes `plugin/pkg/admission/nodetaint`.

use rota_api::taints::{NO_SCHEDULE, NOT_READY};
use serde_json::{Value, json};

use crate::fields;

/// Taints a new node as not ready.
pub(super) fn admit(node: &mut Value) {
    let taints = fields::list(fields::object(node, "spec"), "taints");
    let has_it = taints
        .iter()
        .any(|taint| taint["key"] == NOT_READY && taint["effect"] == NO_SCHEDULE);
    if !has_it {
        taints.push(json!({"key": NOT_READY, "effect": NO_SCHEDULE}));
    }
}
