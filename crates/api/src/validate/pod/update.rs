//! Which parts of a pod may change.
//!
//! Source: `spec/api.md` §2.4; kubernetes `ValidatePodUpdate`, `ValidatePodEphemeralContainersUpdate`.

use serde_json::Value;

use super::super::cursor::{Cursor, Errors};
use super::super::meta;
use super::annotation;
use crate::value::{copy, integer, list, list_mut, present, remove, semantically_equal, set, text};

/// A changed pod.
pub(in crate::validate) fn update(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    meta::update(new, old, errors);
    super::whole(new, errors);
    annotations(new, old, errors);
    let (spec, before) = (new.at("spec"), old.at("spec"));
    if spec.value == before.value {
        return;
    }
    for field in ["containers", "initContainers"] {
        if !images(&spec.at(field), &before.at(field), errors) {
            return;
        }
    }
    if !deadline(
        &spec.at("activeDeadlineSeconds"),
        &before.at("activeDeadlineSeconds"),
        errors,
    ) {
        return;
    }
    tolerations(&spec.at("tolerations"), &before.at("tolerations"), errors);
    no_new_gates(&spec.at("schedulingGates"), &before.at("schedulingGates"), errors);
    let gated = !before.at("schedulingGates").is_empty();
    if gated {
        node_selector(&spec.at("nodeSelector"), &before.at("nodeSelector"), errors);
        let (affinity, had) = (spec.at("affinity"), before.at("affinity"));
        node_affinity(&affinity.at("nodeAffinity"), had.at("nodeAffinity").value, errors);
    }
    if !semantically_equal(&frozen(spec.value, before.value, gated), before.value) {
        let mut detail = "pod updates may not change fields other than `spec.containers[*].image`,\
                          `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to \
                          existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
                          previously negative)"
            .to_owned();
        detail.push('\n');
        errors.forbidden(&spec, detail);
    }
}

fn annotations(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    let (metadata, before) = (new.at("metadata"), old.at("metadata"));
    let annotations = metadata.at("annotations");
    annotation::change(&annotations, &before.at("annotations"), errors);
    annotation::of_pod(&annotations, &new.at("spec"), errors);
}

/// Containers stay as many as they were; false when they do not, and nothing more is looked at.
fn images(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) -> bool {
    if new.len() != old.len() {
        errors.forbidden(new, "pod updates may not add or remove containers");
        return false;
    }
    for container in new.items() {
        let image = container.at("image");
        if image.is_empty() {
            errors.required(&image, "");
        }
        super::unpadded(&image, errors);
    }
    true
}

/// A deadline may be set or brought forward. False when nothing more is looked at.
fn deadline(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) -> bool {
    let most = i64::from(i32::MAX);
    match (new.integer(), old.integer()) {
        (Some(seconds), _) if !(0..=most).contains(&seconds) => {
            errors.invalid(new, format!("must be between 0 and {most}, inclusive"));
            false
        }
        (Some(seconds), Some(before)) if seconds > before => {
            errors.invalid(new, "must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            errors.invalid(new, "must not update from a positive integer to nil value");
            true
        }
        _ => true,
    }
}

fn no_new_gates(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    for gate in new.items() {
        let name = gate.at("name");
        if !old.items().any(|had| had.at("name").text() == name.text()) {
            let detail = "only deletion is allowed, but found new scheduling gate";
            errors.forbidden(&name, format!("{detail} '{}'", name.text()));
        }
    }
}

/// Tolerations may be added; of those that are there only the time may change.
fn tolerations(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    let timeless = |toleration: &Value| {
        let mut toleration = toleration.clone();
        remove(&mut toleration, "tolerationSeconds");
        toleration
    };
    let kept = |had: &Cursor<'_>| new.items().any(|has| timeless(has.value) == timeless(had.value));
    if old.items().all(|had| kept(&had)) {
        super::tolerations(new, errors);
    } else {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.forbidden(new, detail);
    }
}

/// While a pod waits at a gate its node selector may be tightened.
fn node_selector(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    let kept = old
        .members()
        .all(|(key, value)| new.value.get(key) == Some(value.value));
    if !kept {
        let shown = if new.is_set() {
            new.value.clone()
        } else {
            serde_json::json!({})
        };
        let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        errors.invalid_as(new, shown, detail);
    }
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

/// While a pod waits at a gate its node affinity may be tightened: terms stay, requirements may be added to them.
fn node_affinity(new: &Cursor<'_>, old: &Value, errors: &mut Errors) {
    let had = list(&old[REQUIRED], "nodeSelectorTerms");
    if had.is_empty() {
        return;
    }
    let required = new.at(REQUIRED);
    let terms = required.at("nodeSelectorTerms");
    if terms.len() != had.len() {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        errors.invalid(&terms, detail);
        return;
    }
    for (term, had) in terms.items().zip(had) {
        if !only_adds(term.value, had) {
            errors.invalid(&term, "only additions are allowed (no mutations or deletions)");
        }
    }
}

fn only_adds(new: &Value, old: &Value) -> bool {
    let fields = ["matchExpressions", "matchFields"];
    let is_empty = |term: &Value| fields.iter().all(|field| list(term, field).is_empty());
    if is_empty(old) {
        return is_empty(new);
    }
    fields.iter().all(|field| {
        let (had, has) = (list(old, field), list(new, field));
        has.len() >= had.len() && had.iter().zip(has).all(|(a, b)| semantically_equal(a, b))
    })
}

/// The new spec with everything that may change taken from the old one.
fn frozen(new: &Value, old: &Value, gated: bool) -> Value {
    let mut spec = new.clone();
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        copy(old, &mut spec, field);
    }
    for field in ["containers", "initContainers"] {
        for (index, container) in list_mut(&mut spec, field).enumerate() {
            if let Some(before) = list(old, field).get(index) {
                copy(before, container, "image");
            }
        }
    }
    if integer(old, "terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0)
        && integer(new, "terminationGracePeriodSeconds") == Some(1)
    {
        copy(old, &mut spec, "terminationGracePeriodSeconds");
    }
    if gated {
        copy(old, &mut spec, "nodeSelector");
        freeze_node_affinity(&mut spec, old);
    }
    spec
}

fn freeze_node_affinity(spec: &mut Value, old: &Value) {
    let had = present(&old["affinity"], "nodeAffinity");
    if present(spec, "affinity").is_none() {
        if let Some(had) = had {
            set(spec, "affinity", serde_json::json!({"nodeAffinity": had}));
        }
        return;
    }
    let others = ["podAffinity", "podAntiAffinity"];
    let alone = others.iter().all(|field| present(&spec["affinity"], field).is_none());
    if present(old, "affinity").is_none() && alone {
        remove(spec, "affinity");
    } else {
        copy(&old["affinity"], &mut spec["affinity"], "nodeAffinity");
    }
}

/// A write of the ephemeral containers: they may only be added.
pub(in crate::validate) fn ephemeral_containers(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    if annotation::is_mirror(old) {
        errors.push(
            crate::FieldErrorKind::Forbidden,
            "[]",
            None,
            "static pods do not support ephemeral containers",
        );
        return;
    }
    meta::update(new, old, errors);
    super::whole(new, errors);
    annotations(new, old, errors);
    let spec = new.at("spec");
    let containers = spec.at("ephemeralContainers");
    for before in list(&old.value["spec"], "ephemeralContainers") {
        let name = text(before, "name");
        let what = match containers.items().find(|container| container.at("name").text() == name) {
            None => "removed",
            Some(container) if !semantically_equal(container.value, before) => "changed",
            Some(_) => continue,
        };
        let detail = format!("existing ephemeral containers {name:?} may not be {what}\n");
        errors.forbidden(&containers, detail);
    }
}
