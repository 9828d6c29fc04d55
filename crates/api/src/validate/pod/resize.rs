//! A write of the resources of a pod's containers, which it gets while it runs.
//!
//! Source: kubernetes `ValidatePodResize`.

use serde_json::Value;

use super::super::cursor::{Cursor, Errors};
use super::super::meta;
use super::annotation;
use crate::FieldErrorKind;
use crate::quantity::Quantity;
use crate::value::{copy, list, members, present, remove, semantically_equal, text};

/// A changed pod whose resources were written.
pub(in crate::validate) fn resize(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    if let Some(why) = unfit(old) {
        errors.push(FieldErrorKind::Forbidden, "[]", None, why);
        return;
    }
    meta::update(new, old, errors);
    super::whole(new, errors);
    let (spec, before) = (new.at("spec"), &old.value["spec"]);
    let quality = |pod: &Value| crate::strategy::quality_of_service(&pod["spec"]);
    if quality(new.value) != quality(old.value) {
        let detail = "Pod QOS Class may not change as a result of resizing";
        errors.invalid_as(&spec, text(&new.value["status"], "qosClass"), detail);
    }
    if !node_resizes(old.value) {
        errors.forbidden(&spec, "Pod running on node without support for resize");
    }
    // What follows goes by the order of the containers.
    let so_far = errors.len();
    same_containers(&spec, before, errors);
    if errors.len() > so_far {
        return;
    }
    for field in ["initContainers", "containers"] {
        for (container, before) in spec.at(field).items().zip(list(before, field)) {
            if field == "containers" || is_sidecar(before) {
                resources(&container, before, errors);
            }
        }
    }
    only_cpu_and_memory(&spec, before, errors);
}

/// Why the resources of a pod cannot be written.
fn unfit(old: &Cursor<'_>) -> Option<&'static str> {
    if annotation::is_mirror(old) {
        return Some("static pods cannot be resized");
    }
    (text(&old.value["spec"]["os"], "name") == "windows").then_some("windows pods cannot be resized")
}

/// Containers stay those that they were, in the order in which they were.
fn same_containers(spec: &Cursor<'_>, before: &Value, errors: &mut Errors) {
    for field in ["containers", "initContainers"] {
        let (containers, before) = (spec.at(field), list(before, field));
        if containers.len() != before.len() {
            errors.forbidden(&containers, format!("{field} may not be added or removed on resize"));
            continue;
        }
        for (container, before) in containers.items().zip(before) {
            let name = container.at("name");
            if name.text() != text(before, "name") {
                errors.forbidden(&name, format!("{field} may not be renamed or reordered on resize"));
            }
        }
    }
}

fn is_sidecar(container: &Value) -> bool {
    text(container, "restartPolicy") == "Always"
}

/// Nodes that can resize tell what running containers have.
fn node_resizes(pod: &Value) -> bool {
    let statuses = list(&pod["status"], "containerStatuses");
    let running = statuses
        .iter()
        .find(|status| present(&status["state"], "running").is_some());
    running.is_none_or(|status| present(status, "resources").is_some())
}

fn resources(container: &Cursor<'_>, before: &Value, errors: &mut Errors) {
    let resources = container.at("resources");
    let had = &before["resources"];
    for field in ["requests", "limits"] {
        let lost = members(had, field).any(|(name, _)| resources.at(field).value.get(name).is_none());
        if lost {
            errors.forbidden(&resources.at(field), format!("resource {field} cannot be removed"));
        }
    }
    let policy = list(container.value, "resizePolicy")
        .iter()
        .find(|policy| text(policy, "resourceName") == "memory");
    if policy.is_some_and(|policy| text(policy, "restartPolicy") == "RestartContainer") {
        return;
    }
    let limits = resources.at("limits");
    let memory = limits.key("memory");
    if memory.is_set() && present(&had["limits"], "memory").is_none() {
        let detail = "memory limits cannot be added unless resizePolicy is RestartContainer";
        errors.forbidden(&memory, detail);
    }
}

/// Nothing else in the pod changes.
fn only_cpu_and_memory(spec: &Cursor<'_>, before: &Value, errors: &mut Errors) {
    for field in ["containers", "initContainers"] {
        for (container, before) in spec.at(field).items().zip(list(before, field)) {
            let (same, detail) = match (field, is_sidecar(before)) {
                ("containers", _) => (
                    without(container.value, before),
                    "only cpu and memory resources are mutable",
                ),
                (_, true) => (
                    without(container.value, before),
                    "only cpu and memory resources for sidecar containers are mutable",
                ),
                (_, false) => (
                    container.value.clone(),
                    "resources for non-sidecar init containers are immutable",
                ),
            };
            if !semantically_equal(&same, before) {
                errors.forbidden(spec, detail);
            }
        }
    }
}

/// The container with the amounts of CPU and memory that it had before.
fn without(container: &Value, before: &Value) -> Value {
    let mut container = container.clone();
    for field in ["limits", "requests"] {
        let had = &before["resources"][field];
        let Some(amounts) = container.pointer_mut(&format!("/resources/{field}")) else {
            continue;
        };
        for name in ["cpu", "memory"] {
            copy(had, amounts, name);
        }
        let empty = amounts.as_object().is_some_and(serde_json::Map::is_empty);
        if empty && let Some(resources) = container.get_mut("resources") {
            remove(resources, field);
        }
    }
    equal_amounts(&mut container, before);
    container
}

/// Amounts that are equal are written alike.
fn equal_amounts(container: &mut Value, before: &Value) {
    for field in ["limits", "requests"] {
        let Some(amounts) = container
            .pointer_mut(&format!("/resources/{field}"))
            .and_then(Value::as_object_mut)
        else {
            continue;
        };
        for (name, amount) in amounts {
            let had = &before["resources"][field][name.as_str()];
            let equal = matches!((Quantity::from_value(amount), Quantity::from_value(had)), (Ok(a), Ok(b)) if a == b);
            if equal {
                amount.clone_from(had);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn complaints(change: &Value) -> Vec<String> {
        let before = json!({
            "name": "c",
            "resources": {"requests": {"cpu": "1"}},
            "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}],
        });
        let mut after = before.clone();
        for (field, value) in change.as_object().unwrap() {
            after[field] = value.clone();
        }
        let (spec, before) = (json!({"containers": [after]}), json!({"containers": [before]}));
        let mut errors = Errors::default();
        only_cpu_and_memory(&Cursor::root(&spec), &before, &mut errors);
        errors.into_list().iter().map(|error| error.detail.clone()).collect()
    }

    #[test]
    fn a_resize_neither_moves_nor_renames_nor_counts_containers_anew() {
        let spec = |containers: &[&str], init: &[&str]| {
            let named = |names: &[&str]| names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>();
            json!({"containers": named(containers), "initContainers": named(init)})
        };
        let complaints = |after: &Value| {
            let mut errors = Errors::default();
            same_containers(&Cursor::root(after), &spec(&["a", "b"], &["i"]), &mut errors);
            errors.into_list().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(complaints(&spec(&["a", "b"], &["i"])), [""; 0]);
        assert_eq!(
            complaints(&spec(&["b", "a"], &[])),
            [
                "containers[0].name: Forbidden: containers may not be renamed or reordered on resize",
                "containers[1].name: Forbidden: containers may not be renamed or reordered on resize",
                "initContainers: Forbidden: initContainers may not be added or removed on resize",
            ]
        );
    }

    #[test]
    fn a_resize_changes_amounts_and_not_how_they_are_changed() {
        const REFUSED: [&str; 1] = ["only cpu and memory resources are mutable"];
        assert_eq!(complaints(&json!({"resources": {"requests": {"cpu": "2"}}})), [""; 0]);
        assert_eq!(
            complaints(&json!({"resources": {"requests": {"cpu": "1", "x.io/y": "1"}}})),
            REFUSED
        );
        let policy = json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
        assert_eq!(complaints(&json!({ "resizePolicy": policy })), REFUSED);
    }
}
