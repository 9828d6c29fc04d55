//! Which parts of a Job may change, and when.
//!
//! Source: `spec/job.md` §1.2, §1.5.

use serde_json::Value;

use super::{CONTROLLER_UID, JOB_NAME, rules, spec_with_selector};
use crate::resource;
use crate::validate::cursor::{Cursor, Errors, IMMUTABLE};
use crate::validate::meta;
use crate::value::{flag, integer, list, present, remove, semantically_equal, text};

/// A changed Job: it keeps the rules of a new one, and those of a change.
pub(in crate::validate) fn update(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    meta::create(new, resource::JOBS, errors);
    let labels = &old.value["spec"]["template"]["metadata"]["labels"];
    let prefixed = present(labels, CONTROLLER_UID).is_some() && present(labels, JOB_NAME).is_some();
    rules(new, prefixed, errors);
    meta::update(new, old, errors);
    let (spec, before) = (new.at("spec"), old.at("spec"));
    spec_with_selector(&spec, errors);
    completions(&spec, &before, errors);
    errors.check_immutable(&spec.at("selector"), &before.at("selector"));
    template(&spec, old.value, errors);
    for field in [
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ] {
        errors.check_immutable(&spec.at(field), &before.at(field));
    }
}

/// The completions of an Indexed Job may follow its parallelism.
fn completions(spec: &Cursor<'_>, before: &Cursor<'_>, errors: &mut Errors) {
    let (new, old) = (spec.at("completions"), before.at("completions"));
    if spec.at("completionMode").text() != "Indexed" {
        errors.check_immutable(&new, &old);
        return;
    }
    if new.value == old.value || !new.is_set() || !old.is_set() {
        return;
    }
    if new.value != spec.at("parallelism").value {
        errors.invalid(&new, "can only be modified in tandem with spec.parallelism");
    }
}

/// The template is fixed, except for where pods go and what they get while a suspended Job has none.
fn template(spec: &Cursor<'_>, old: &Value, errors: &mut Errors) {
    let (new, before) = (spec.at("template"), &old["spec"]["template"]);
    if !is_open(old) {
        if !semantically_equal(new.value, before) {
            errors.invalid(&new, IMMUTABLE);
        }
        return;
    }
    let pod = new.at("spec");
    if !semantically_equal(&frozen(pod.value), &frozen(&before["spec"])) || !same_containers(pod.value, &before["spec"])
    {
        errors.invalid(&pod, IMMUTABLE);
    }
}

fn is_open(old: &Value) -> bool {
    let status = &old["status"];
    let suspended = list(status, "conditions")
        .iter()
        .any(|c| text(c, "type") == "Suspended" && text(c, "status") == "True");
    flag(&old["spec"], "suspend")
        && integer(status, "active").unwrap_or_default() == 0
        && (present(status, "startTime").is_none() || suspended)
}

/// The part of a pod's spec that stays fixed even then.
fn frozen(spec: &Value) -> Value {
    let mut spec = spec.clone();
    for field in ["nodeSelector", "tolerations", "schedulingGates"] {
        remove(&mut spec, field);
    }
    if let Some(affinity) = spec.get_mut("affinity") {
        remove(affinity, "nodeAffinity");
        if affinity.as_object().is_none_or(serde_json::Map::is_empty) {
            remove(&mut spec, "affinity");
        }
    }
    for field in ["containers", "initContainers"] {
        for container in crate::value::list_mut(&mut spec, field) {
            remove(container, "resources");
        }
    }
    spec
}

fn same_containers(new: &Value, old: &Value) -> bool {
    ["containers", "initContainers"].iter().all(|field| {
        let names =
            |spec: &Value| -> Vec<String> { list(spec, field).iter().map(|c| text(c, "name").to_owned()).collect() };
        names(new) == names(old)
    })
}
