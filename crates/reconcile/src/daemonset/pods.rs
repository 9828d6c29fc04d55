//! The pods that a DaemonSet creates.
//!
//! Source: specification §8.

use rota_api::placement::NAME_FIELD;
use rota_api::{Write, resource};
use serde_json::{Map, Value, json};

use super::labels::{FAILURES, REVISION_HASH, TEMPLATE_GENERATION_LABEL};
use super::limits::FAILURES_WRITTEN_MIN;
use super::seen::SeenDaemonSet;
use crate::ownership;

/// Makes the pods of one DaemonSet: everything but the node is the same in all of them.
pub(super) struct PodMaker {
    pod: Value,
}

impl PodMaker {
    /// Reads the template, fields that this version does not know included.
    pub(super) fn of(set: &SeenDaemonSet<'_>, hash: &str) -> Self {
        let mut template = set.to_template();
        let meta = set.object.meta();
        let mut labels = take_map(&mut template, "labels");
        if !hash.is_empty() {
            labels.insert(REVISION_HASH.into(), hash.into());
        }
        if let Some(generation) = set.template_generation() {
            labels.insert(TEMPLATE_GENERATION_LABEL.into(), generation.to_string().into());
        }
        let mut metadata = json!({
            "generateName": format!("{}-", meta.name),
            "namespace": meta.namespace,
            "labels": labels,
            "ownerReferences": [ownership::reference(set.object)],
        });
        for field in ["annotations", "finalizers"] {
            let value = template["metadata"][field].take();
            if !value.is_null() {
                metadata[field] = value;
            }
        }
        let mut spec = template["spec"].take();
        spec["tolerations"] = serde_json::to_value(&set.tolerations).unwrap_or_default();
        Self {
            pod: json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}),
        }
    }

    /// The creation of the pod for a node, on which so many failed in a row before.
    pub(super) fn create(&self, node: &str, failures: u32) -> Write {
        let mut pod = self.pod.clone();
        pin(&mut pod["spec"], node);
        if failures >= FAILURES_WRITTEN_MIN {
            pod["metadata"]["annotations"][FAILURES] = failures.to_string().into();
        }
        Write::create(resource::PODS, pod)
    }
}

/// Replaces the required node affinity, which was respected when the node was chosen, by the node itself. Preferences and
/// affinity to pods stay.
fn pin(spec: &mut Value, node: &str) {
    let field = json!({"key": NAME_FIELD, "operator": "In", "values": [node]});
    let required = json!({"nodeSelectorTerms": [{"matchFields": [field]}]});
    spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = required;
}

fn take_map(template: &mut Value, field: &str) -> Map<String, Value> {
    match template["metadata"][field].take() {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
