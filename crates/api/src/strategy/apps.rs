//! DaemonSets: the template generation. Deployments: nothing beyond what templates need.
//!
//! Source: `spec/daemonset.md` §1.6; kubernetes `pkg/registry/apps/{daemonset,deployment}/strategy.go`.

use serde_json::Value;

use super::gates;
use crate::table;
use crate::value::{ensure_object, set, text};

/// Where the template generation is kept and shown.
pub(crate) const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

const TEMPLATE: &str = "io.k8s.api.core.v1.PodTemplateSpec";

pub(super) fn create_daemon_set(set: &mut Value) {
    let given = template_generation(set).unwrap_or_default();
    set_template_generation(set, given.max(1));
    gates::drop_at_create(set);
}

pub(super) fn update_daemon_set(new: &mut Value, old: &Value) {
    gates::drop_at_update(new, old);
    let before = template_generation(old).unwrap_or(1);
    let changed = !table::means_the_same(TEMPLATE, &new["spec"]["template"], &old["spec"]["template"]);
    set_template_generation(new, before + i64::from(changed));
}

/// A write of the status counts nothing.
pub(super) fn keep_template_generation(new: &mut Value, old: &Value) {
    if let Some(generation) = template_generation(old) {
        set_template_generation(new, generation);
    }
}

fn template_generation(set: &Value) -> Option<i64> {
    text(&set["metadata"]["annotations"], TEMPLATE_GENERATION).parse().ok()
}

fn set_template_generation(daemon_set: &mut Value, generation: i64) {
    let annotations = ensure_object(ensure_object(daemon_set, "metadata"), "annotations");
    set(annotations, TEMPLATE_GENERATION, generation.to_string());
}

pub(super) fn update_deployment(new: &mut Value, old: &Value) {
    gates::drop_at_update(new, old);
}
