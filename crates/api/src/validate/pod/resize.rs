//! A write of the resources of a pod's containers, which it gets while it runs.
//!
//! Source: kubernetes `ValidatePodResize`.

use serde_json::Value;

use super::super::cursor::{Cursor, Errors};
use super::super::meta;
use super::annotation;
use crate::FieldErrorKind;
use crate::quantity::Quantity;
use crate::value::{copy, ensure_object, list, members, present, remove, semantically_equal, text};

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
    pod_level(&spec, before, errors);
    // What follows goes by the order of the containers.
    let so_far = errors.len();
    same_containers(&spec, before, errors);
    if errors.len() > so_far {
        return;
    }
    for field in ["initContainers", "containers"] {
        for (container, before) in spec.at(field).items().zip(list(before, field)) {
            resources(&container, before, errors);
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
}

/// Resources of the pod as a whole.
fn pod_level(spec: &Cursor<'_>, before: &Value, errors: &mut Errors) {
    let resources = spec.at("resources");
    let has_some = |spec: &Value| {
        let mut amounts = ["requests", "limits"]
            .iter()
            .flat_map(|field| members(&spec["resources"], field));
        amounts.next().is_some()
    };
    if !has_some(spec.value) && !has_some(before) {
        return;
    }
    let Some(had) = present(before, "resources") else {
        return;
    };
    if !resources.is_set() {
        errors.forbidden(&resources, "pod-level resources cannot be removed");
        return;
    }
    for field in ["requests", "limits"] {
        if members(had, field).any(|(name, _)| resources.at(field).value.get(name).is_none()) {
            let detail = format!("pod-level resource {field} cannot be removed");
            errors.forbidden(&resources.at(field), detail);
        }
    }
    let whole = |spec: &Value| serde_json::json!({"resources": spec["resources"]});
    let (new, before) = (whole(spec.value), whole(before));
    if !semantically_equal(&without(&new, &before), &before) {
        errors.forbidden(spec, "only cpu and memory resources are mutable at pod-level");
    }
}

/// Nothing else in the pod changes.
fn only_cpu_and_memory(spec: &Cursor<'_>, before: &Value, errors: &mut Errors) {
    for (container, before) in spec.at("containers").items().zip(list(before, "containers")) {
        if !semantically_equal(&without(container.value, before), before) {
            errors.forbidden(spec, "only cpu and memory resources are mutable");
        }
    }
    for (container, before) in spec.at("initContainers").items().zip(list(before, "initContainers")) {
        if !semantically_equal(&without(container.value, before), before) {
            let detail = "only cpu and memory resources for init or sidecar containers are mutable";
            errors.forbidden(&container, detail);
        }
        if is_sidecar(before) || semantically_equal(container.value, before) {
            continue;
        }
        let policies = list(container.value, "resizePolicy").iter();
        for _ in policies.filter(|policy| text(policy, "restartPolicy") == "RestartContainer") {
            let detail = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
            errors.forbidden(&container, detail);
        }
    }
}

/// The container with the amounts of CPU and memory that it had before.
fn without(container: &Value, before: &Value) -> Value {
    let mut container = container.clone();
    let had = &before["resources"];
    let resources = ensure_object(&mut container, "resources");
    for field in ["limits", "requests"] {
        if present(had, field).is_none() {
            remove(resources, field);
            continue;
        }
        let amounts = ensure_object(resources, field);
        for name in ["cpu", "memory"] {
            copy(&had[field], amounts, name);
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
            complaints(&json!({"resources": {"limits": {"memory": "1Gi"}, "requests": {"cpu": "1"}}})),
            [""; 0]
        );
        assert_eq!(
            complaints(&json!({"resources": {"requests": {"cpu": "1", "x.io/y": "1"}}})),
            REFUSED
        );
        let policy = json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
        assert_eq!(complaints(&json!({ "resizePolicy": policy })), REFUSED);
    }
    #[test]
    fn init_containers_are_resized_unless_that_would_restart_them() {
        let spec = |cpu: &str, policy: &str| {
            let policies = json!([{"resourceName": "cpu", "restartPolicy": policy}]);
            json!({"initContainers": [{"name": "i", "resources": {"requests": {"cpu": cpu}}, "resizePolicy": policies}]})
        };
        let complaints = |policy: &str| {
            let (new, old) = (spec("2", policy), spec("1", policy));
            let mut errors = Errors::default();
            only_cpu_and_memory(&Cursor::root(&new), &old, &mut errors);
            errors.into_list().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(complaints("NotRequired"), [""; 0]);
        assert_eq!(
            complaints("RestartContainer"),
            [
                "initContainers[0]: Forbidden: non-sidecar init containers with a resize policy of RestartContainer cannot be \
                 resized"
            ]
        );
    }

    #[test]
    fn resources_of_the_whole_pod_change_and_do_not_go() {
        let before = json!({"resources": {"requests": {"cpu": "1"}}});
        let complaints = |resources: Value| {
            let new = json!({ "resources": resources });
            let mut errors = Errors::default();
            pod_level(&Cursor::root(&new), &before, &mut errors);
            errors.into_list().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(complaints(json!({"requests": {"cpu": "2"}})), [""; 0]);
        assert_eq!(
            complaints(Value::Null),
            ["resources: Forbidden: pod-level resources cannot be removed"]
        );
        assert_eq!(
            complaints(json!({})),
            ["resources.requests: Forbidden: pod-level resource requests cannot be removed"]
        );
    }
}
