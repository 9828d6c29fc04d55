//! The pods that a ReplicaSet creates: all alike.
//!
//! Source: `GetPodFromTemplate` in `pkg/controller/controller_utils.go`.

use serde_json::{Value, json};

use super::seen::SeenReplicaSet;
use crate::ownership;

/// A pod of the template, fields that this version does not know included. Costs a parse.
pub(super) fn from_template(set: &SeenReplicaSet<'_>) -> Value {
    let mut template = set.object.to_value()["spec"]["template"].take();
    let meta = set.object.meta();
    let mut metadata = json!({
        "generateName": format!("{}-", meta.name),
        "namespace": meta.namespace,
        "ownerReferences": [ownership::reference(set.object)],
    });
    for field in ["labels", "annotations", "finalizers"] {
        let value = template["metadata"][field].take();
        if !value.is_null() {
            metadata[field] = value;
        }
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"].take()})
}
