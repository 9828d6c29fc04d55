//! Pods: what a create derives from the spec, and writes of parts of a pod.
//!
//! Source: kubernetes `pkg/registry/core/pod/strategy.go`.

use serde_json::{Value, json};

use super::{gates, quality_of_service};
use crate::value::{copy, default_to, ensure_object, list, list_mut, object_mut, present, set, text};

/// The annotations by which clients once confined containers; the container's name follows.
pub(super) const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

pub(super) fn create(pod: &mut Value) {
    gates::drop_at_create(pod);
    confine(pod);
    let quality = quality_of_service(&pod["spec"]);
    let created = pod["metadata"]["creationTimestamp"].clone();
    let gated = !list(&pod["spec"], "schedulingGates").is_empty();
    let status = ensure_object(pod, "status");
    set(status, "qosClass", quality);
    if gated {
        set(
            status,
            "conditions",
            json!([{
                "type": "PodScheduled", "status": "False", "lastProbeTime": null, "lastTransitionTime": created,
                "reason": "SchedulingGated", "message": "Scheduling is blocked due to non-empty scheduling gates",
            }]),
        );
    }
    let labels = pod["metadata"]["labels"].clone();
    if let Some(spec) = object_mut(pod, "spec") {
        select_by_own_labels(spec, &labels);
    }
}

/// What annotations of older clients say about AppArmor becomes what the fields say, where these say nothing.
///
/// Source: `applyAppArmorVersionSkew`.
fn confine(pod: &mut Value) {
    if text(&pod["spec"]["os"], "name") == "windows" {
        return;
    }
    let annotations = pod["metadata"]["annotations"].clone();
    let of_pod = pod["spec"]["securityContext"]["appArmorProfile"].clone();
    let Some(spec) = object_mut(pod, "spec").filter(|_| annotations.is_object()) else {
        return;
    };
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        for container in list_mut(spec, field) {
            let said = text(&annotations, &format!("{APP_ARMOR}{}", text(container, "name")));
            let Some(profile) = app_armor_profile(said).filter(|profile| *profile != of_pod) else {
                continue;
            };
            if present(&container["securityContext"], "appArmorProfile").is_none() {
                set(ensure_object(container, "securityContext"), "appArmorProfile", profile);
            }
        }
    }
}

/// The profile that an annotation names; `None` when it names none.
fn app_armor_profile(said: &str) -> Option<Value> {
    match said {
        "unconfined" => Some(json!({"type": "Unconfined"})),
        "runtime/default" => Some(json!({"type": "RuntimeDefault"})),
        other => {
            let local = other.strip_prefix("localhost/").filter(|local| !local.is_empty())?;
            Some(json!({"type": "Localhost", "localhostProfile": local}))
        }
    }
}

pub(super) fn update(new: &mut Value, old: &Value) {
    gates::drop_at_update(new, old);
}

/// Affinity terms and spread constraints that name label keys are completed with the pod's own values of them.
fn select_by_own_labels(spec: &mut Value, labels: &Value) {
    for constraint in list_mut(spec, "topologySpreadConstraints") {
        complete(constraint, labels);
    }
    let Some(affinity) = object_mut(spec, "affinity") else {
        return;
    };
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(affinity) = object_mut(affinity, kind) else {
            continue;
        };
        for term in list_mut(affinity, "requiredDuringSchedulingIgnoredDuringExecution") {
            complete(term, labels);
        }
        for weighted in list_mut(affinity, "preferredDuringSchedulingIgnoredDuringExecution") {
            if let Some(term) = object_mut(weighted, "podAffinityTerm") {
                complete(term, labels);
            }
        }
    }
}

fn complete(term: &mut Value, labels: &Value) {
    if !term["labelSelector"].is_object() {
        return;
    }
    for (field, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in list(term, field).to_vec() {
            let Some(value) = key.as_str().and_then(|key| present(labels, key)) else {
                continue;
            };
            let selector = ensure_object(term, "labelSelector");
            let mut expressions = list(selector, "matchExpressions").to_vec();
            expressions.push(json!({"key": key, "operator": operator, "values": [value]}));
            set(selector, "matchExpressions", expressions);
        }
    }
}

/// A write of the ephemeral containers: everything else is the stored pod's.
pub(super) fn only_ephemeral_containers(new: &mut Value, old: &Value) {
    let asked = new["spec"].clone();
    restore(new, old);
    copy(&asked, ensure_object(new, "spec"), "ephemeralContainers");
}

/// A write of the resources of containers: everything else is the stored pod's. Containers that are others than before, or in
/// another order, stay for the validation to refuse.
pub(super) fn only_resources(new: &mut Value, old: &Value) {
    let lists = ["containers", "initContainers"];
    let asked = new["spec"].clone();
    let same_number = |field: &&str| list(&asked, field).len() == list(&old["spec"], field).len();
    if !lists.iter().all(same_number) {
        return;
    }
    restore(new, old);
    let Some(spec) = object_mut(new, "spec") else {
        return;
    };
    for field in lists {
        let names = |spec: &Value| -> Vec<String> {
            let containers = list(spec, field).iter();
            containers.map(|container| text(container, "name").to_owned()).collect()
        };
        if names(&asked) != names(spec) {
            copy(&asked, spec, field);
            continue;
        }
        for (container, asked) in list_mut(spec, field).zip(list(&asked, field)) {
            copy(asked, container, "resources");
            copy(asked, container, "resizePolicy");
            default_to(container, "resources", json!({}));
        }
    }
    copy(&asked, spec, "resources");
}

fn restore(new: &mut Value, old: &Value) {
    let version = new["metadata"]["resourceVersion"].clone();
    let managed = new["metadata"]["managedFields"].clone();
    new.clone_from(old);
    let metadata = ensure_object(new, "metadata");
    for (field, value) in [("resourceVersion", version), ("managedFields", managed)] {
        if !value.is_null() {
            set(metadata, field, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resize_takes_nothing_but_resources_and_leaves_other_containers_to_be_refused() {
        let pod = |names: &[&str], cpu: &str| {
            let container = |name: &&str| json!({"name": name, "image": cpu, "resources": {"requests": {"cpu": cpu}}});
            json!({"metadata": {}, "spec": {"containers": names.iter().map(container).collect::<Vec<_>>()}})
        };
        let old = pod(&["a", "b"], "1");
        let resized = |names: &[&str]| {
            let mut new = pod(names, "2");
            only_resources(&mut new, &old);
            let containers = list(&new["spec"], "containers").iter();
            let shown = |container: &Value| {
                let cpu = text(&container["resources"]["requests"], "cpu");
                format!("{} {} {cpu}", text(container, "name"), text(container, "image"))
            };
            containers.map(shown).collect::<Vec<_>>()
        };
        assert_eq!(resized(&["a", "b"]), ["a 1 2", "b 1 2"]);
        assert_eq!(resized(&["b", "a"]), ["b 2 2", "a 2 2"]);
        assert_eq!(resized(&["a"]), ["a 2 2"]);
    }

    #[test]
    fn containers_are_confined_as_annotations_say_where_fields_say_nothing() {
        let profiles = |of_pod: Value, system: &str| {
            let annotations: serde_json::Map<String, Value> = [
                ("a", "runtime/default"),
                ("b", "localhost/x"),
                ("c", "unconfined"),
                ("d", "localhost/"),
                ("own", "unconfined"),
            ]
            .into_iter()
            .map(|(name, said)| (format!("{APP_ARMOR}{name}"), said.into()))
            .collect();
            let own = json!({"name": "own", "securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}});
            let mut pod = json!({"metadata": {"annotations": annotations}, "spec": {
                "os": {"name": system}, "securityContext": {"appArmorProfile": of_pod}, "initContainers": [{"name": "a"}],
                "containers": [{"name": "b"}, {"name": "c"}, {"name": "d"}, {"name": "none"}, own]}});
            create(&mut pod);
            let containers = ["initContainers", "containers"]
                .map(|field| list(&pod["spec"], field).to_vec())
                .concat();
            let kinds: Vec<Value> = containers
                .iter()
                .map(|container| container["securityContext"]["appArmorProfile"]["type"].clone())
                .collect();
            json!(kinds)
        };
        let all = json!([
            "RuntimeDefault",
            "Localhost",
            "Unconfined",
            null,
            null,
            "RuntimeDefault"
        ]);
        assert_eq!(profiles(Value::Null, "linux"), all);
        let rest = json!(["RuntimeDefault", "Localhost", null, null, null, "RuntimeDefault"]);
        assert_eq!(
            profiles(json!({"type": "Unconfined"}), "linux"),
            rest,
            "what the pod has is not repeated"
        );
        let none = json!([null, null, null, null, null, "RuntimeDefault"]);
        assert_eq!(profiles(Value::Null, "windows"), none);
    }
}
