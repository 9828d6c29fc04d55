//! Which parts of a pod may change.
//!
//! Source: `spec/api.md` §2.4; kubernetes `ValidatePodUpdate`, `ValidatePodEphemeralContainersUpdate`, `ValidatePodResize`.

use serde_json::Value;

use super::super::cursor::{Cursor, Errors};
use super::super::meta;
use crate::value::{copy, flag, integer, list, list_mut, members, present, remove, semantically_equal, text};

/// A changed pod.
pub(in crate::validate) fn update(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    meta::update(new, old, errors);
    super::whole(new, errors);
    let (spec, before) = (new.at("spec"), old.at("spec"));
    if !same_count(&spec, &before, "containers") || !same_count(&spec, &before, "initContainers") {
        let field = if same_count(&spec, &before, "containers") {
            "initContainers"
        } else {
            "containers"
        };
        errors.forbidden(&spec.at(field), "pod updates may not add or remove containers");
        return;
    }
    deadline(
        &spec.at("activeDeadlineSeconds"),
        &before.at("activeDeadlineSeconds"),
        errors,
    );
    let gated = !list(old.value.get("spec").unwrap_or(&Value::Null), "schedulingGates").is_empty();
    no_new_gates(&spec.at("schedulingGates"), &before.at("schedulingGates"), errors);
    tolerations(&spec.at("tolerations"), &before.at("tolerations"), errors);
    if gated {
        node_selector(&spec.at("nodeSelector"), &before.at("nodeSelector"), errors);
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

fn same_count(new: &Cursor<'_>, old: &Cursor<'_>, field: &str) -> bool {
    new.at(field).len() == old.at(field).len()
}

/// A deadline may be set or brought forward.
fn deadline(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    match (new.integer(), old.integer()) {
        (Some(new_seconds), Some(old_seconds)) if new_seconds > old_seconds => {
            errors.invalid(new, "must be less than or equal to previous value");
        }
        (None, Some(_)) => errors.invalid(new, "must not update from a positive integer to nil value"),
        _ => {}
    }
}

fn no_new_gates(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    for (index, gate) in new.items().enumerate() {
        if !old.items().any(|had| had.value == gate.value) {
            let detail = "only deletion is allowed, but found new scheduling gate";
            errors.forbidden(&new.index(index), format!("{detail} '{}'", gate.at("name").text()));
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
    if !old.items().all(|had| kept(&had)) {
        errors.forbidden(
            new,
            "existing toleration can not be modified except its tolerationSeconds",
        );
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
        if narrows(&new["affinity"]["nodeAffinity"], &old["affinity"]["nodeAffinity"]) {
            copy(old, &mut spec, "affinity");
        }
    }
    spec
}

/// Whether node affinity asks for all that it asked for before: terms stay, requirements may be added to them.
fn narrows(new: &Value, old: &Value) -> bool {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let Some(before) = present(old, REQUIRED) else {
        return true;
    };
    let terms = |selector: &Value| list(selector, "nodeSelectorTerms").to_vec();
    let (had, has) = (terms(before), terms(&new[REQUIRED]));
    had.len() == has.len()
        && had.iter().zip(&has).all(|(had, has)| {
            ["matchExpressions", "matchFields"].iter().all(|field| {
                let (had, has) = (list(had, field), list(has, field));
                has.len() >= had.len() && had.iter().zip(has).all(|(a, b)| a == b)
            })
        })
}

/// A write of the ephemeral containers: they may only be added.
pub(in crate::validate) fn ephemeral_containers(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    super::whole(new, errors);
    meta::update(new, old, errors);
    let spec = new.at("spec");
    let containers = spec.at("ephemeralContainers");
    for before in list(old.value.get("spec").unwrap_or(&Value::Null), "ephemeralContainers") {
        let name = text(before, "name");
        match containers.items().find(|container| container.at("name").text() == name) {
            None => errors.forbidden(
                &containers,
                format!("existing ephemeral containers {name:?} may not be removed\n"),
            ),
            Some(container) if !semantically_equal(container.value, before) => errors.forbidden(
                &containers,
                format!("existing ephemeral containers {name:?} may not be changed\n"),
            ),
            Some(_) => {}
        }
    }
}

/// A write of the resources of running containers.
pub(in crate::validate) fn resize(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    super::whole(new, errors);
    meta::update(new, old, errors);
    let spec = new.at("spec");
    let quality = |pod: &Value| crate::strategy::quality_of_service(&pod["spec"]);
    if quality(new.value) != quality(old.value) {
        errors.invalid_as(
            &spec,
            quality(new.value),
            "Pod QOS Class may not change as a result of resizing",
        );
    }
    let before = &old.value["spec"];
    for (index, container) in spec.at("containers").items().enumerate() {
        let Some(before) = list(before, "containers").get(index) else {
            continue;
        };
        let resources = container.at("resources");
        for field in ["limits", "requests"] {
            let removed = members(&before["resources"], field)
                .any(|(name, _)| matches!(name, "cpu" | "memory") && resources.at(field).value.get(name).is_none());
            if removed {
                errors.forbidden(&resources.at(field), "resource limits cannot be removed");
            }
        }
    }
    if flag(before, "hostNetwork") && text(&spec.value["os"], "name") == "windows" {
        errors.forbidden(&spec, "windows pods cannot be resized");
    }
}
