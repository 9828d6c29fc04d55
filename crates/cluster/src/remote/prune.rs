//! What of an object is kept: the fields that controllers read. A picture of a large cluster then fits into little memory.
//!
//! Only what no controller reads is left out, so an object that is left out of this page is kept whole. Templates are always
//! kept whole: pods are made from them.

use rota_api::{Resource, resource};
use serde_json::{Map, Value};

/// Leaves out of a pod's containers everything but these.
const CONTAINER_FIELDS: [&str; 2] = ["name", "restartPolicy"];
/// Leaves out of a pod's spec everything but these and its containers.
const POD_SPEC_FIELDS: [&str; 8] = [
    "nodeName",
    "affinity",
    "tolerations",
    "nodeSelector",
    "restartPolicy",
    "schedulingGates",
    "terminationGracePeriodSeconds",
    "hostNetwork",
];
/// Leaves out of a pod's status everything but these and its containers.
const POD_STATUS_FIELDS: [&str; 5] = ["phase", "conditions", "reason", "message", "startTime"];
/// Leaves out of the status of a container everything but these.
const CONTAINER_STATUS_FIELDS: [&str; 6] = ["name", "ready", "restartCount", "state", "lastState", "started"];
/// Leaves out of a node's status everything but these.
const NODE_STATUS_FIELDS: [&str; 1] = ["conditions"];
/// What `kubectl apply` leaves behind: as large as the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Leaves out what nobody reads.
pub(super) fn prune(kind: &'static Resource, object: &mut Value) {
    let Some(whole) = object.as_object_mut() else { return };
    if let Some(Value::Object(metadata)) = whole.get_mut("metadata") {
        metadata.remove("managedFields");
        metadata.remove("selfLink");
        // A DaemonSet's annotations go into its revisions, this one included.
        let is_copied = kind == resource::DAEMON_SETS || kind == resource::CONTROLLER_REVISIONS;
        if !is_copied && let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.remove(LAST_APPLIED);
        }
    }
    if kind == resource::PODS {
        prune_pod(whole);
    } else if kind == resource::NODES
        && let Some(Value::Object(status)) = whole.get_mut("status")
    {
        keep(status, &NODE_STATUS_FIELDS);
    }
}

fn prune_pod(pod: &mut Map<String, Value>) {
    if let Some(Value::Object(spec)) = pod.get_mut("spec") {
        let containers = take_lists(spec, &["containers", "initContainers"], &CONTAINER_FIELDS);
        keep(spec, &POD_SPEC_FIELDS);
        spec.extend(containers);
    }
    if let Some(Value::Object(status)) = pod.get_mut("status") {
        let lists = ["containerStatuses", "initContainerStatuses"];
        let containers = take_lists(status, &lists, &CONTAINER_STATUS_FIELDS);
        keep(status, &POD_STATUS_FIELDS);
        status.extend(containers);
    }
}

/// Takes lists of objects out of a map, each object reduced to `fields`.
fn take_lists(map: &mut Map<String, Value>, lists: &[&str], fields: &[&str]) -> Vec<(String, Value)> {
    let mut taken = Vec::new();
    for list in lists {
        let Some(mut items) = map.remove(*list) else { continue };
        for item in items.as_array_mut().into_iter().flatten() {
            if let Some(item) = item.as_object_mut() {
                keep(item, fields);
            }
        }
        taken.push(((*list).to_owned(), items));
    }
    taken
}

fn keep(map: &mut Map<String, Value>, fields: &[&str]) {
    map.retain(|field, _| fields.contains(&field.as_str()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn of_a_pod_what_decisions_rest_on_is_kept() {
        let mut pod = json!({
            "metadata": {"name": "p", "managedFields": [{}], "annotations": {LAST_APPLIED: "{}", "a": "b"}},
            "spec": {"nodeName": "n", "volumes": [{}], "containers": [{"name": "c", "image": "i", "env": []}]},
            "status": {"phase": "Failed", "podIP": "1.2.3.4",
                       "containerStatuses": [{"name": "c", "image": "i", "restartCount": 2, "state": {"terminated": {"exitCode": 3}}}]},
        });
        prune(resource::PODS, &mut pod);
        assert_eq!(
            pod,
            json!({
                "metadata": {"name": "p", "annotations": {"a": "b"}},
                "spec": {"nodeName": "n", "containers": [{"name": "c"}]},
                "status": {"phase": "Failed",
                           "containerStatuses": [{"name": "c", "restartCount": 2, "state": {"terminated": {"exitCode": 3}}}]},
            })
        );
    }

    #[test]
    fn templates_and_the_annotations_of_a_daemon_set_are_kept_whole() {
        let set = json!({
            "metadata": {"name": "d", "annotations": {LAST_APPLIED: "{}"}},
            "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}], "x": 1}}},
        });
        let mut pruned = set.clone();
        prune(resource::DAEMON_SETS, &mut pruned);
        assert_eq!(pruned, set);
    }
}
