//! Containers that are added to look into a running pod.
//!
//! Source: kubernetes `validateEphemeralContainers`.

use super::super::cursor::{Cursor, Errors};
use crate::value::{list, text};

const DETAIL: &str = "cannot be set for an Ephemeral Container";

/// What an ephemeral container keeps beyond what every container does.
pub(super) fn container(container: &Cursor<'_>, spec: &Cursor<'_>, errors: &mut Errors) {
    let target = container.at("targetContainerName");
    let known = ["containers", "initContainers"]
        .iter()
        .flat_map(|field| list(spec.value, field))
        .any(|other| text(other, "name") == target.text());
    if !target.is_empty() && !known {
        errors.not_found(&target, target.text());
    }
    for field in [
        "ports",
        "resources",
        "resizePolicy",
        "restartPolicy",
        "restartPolicyRules",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle",
    ] {
        let at = container.at(field);
        let is_zero = match field {
            "ports" | "resources" | "resizePolicy" | "restartPolicyRules" => at.is_empty(),
            _ => !at.is_set(),
        };
        if !is_zero {
            errors.forbidden(&at, DETAIL);
        }
    }
    for mount in container.at("volumeMounts").items() {
        for field in ["subPath", "subPathExpr"] {
            if !mount.at(field).is_empty() {
                errors.forbidden(&mount.at(field), DETAIL);
            }
        }
    }
}
