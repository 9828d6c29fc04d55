//! Defaults of DaemonSets, Deployments, ReplicaSets, StatefulSets and ReplicationControllers.
//!
//! Source: `spec/daemonset.md` §1.2; kubernetes `pkg/apis/apps/v1/defaults.go`, `pkg/apis/core/v1/defaults.go`.

use serde_json::Value;

use super::core::claim_spec;
use super::template::template;
use crate::strategy::TEMPLATE_GENERATION;
use crate::value::{default_text, default_to, ensure_object, list_mut, members, text};

/// A `DaemonSet`. Its template generation is a number beside the fields, shown as an annotation: always, so that it belongs
/// to whoever wrote the object last; [`crate::strategy`] counts it.
pub(super) fn daemon_set(object: &mut Value) {
    let annotations = ensure_object(ensure_object(object, "metadata"), "annotations");
    default_text(annotations, TEMPLATE_GENERATION, "0");
    let spec = ensure_object(object, "spec");
    let strategy = ensure_object(spec, "updateStrategy");
    default_text(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        let rolling = ensure_object(strategy, "rollingUpdate");
        default_to(rolling, "maxUnavailable", 1);
        default_to(rolling, "maxSurge", 0);
    }
    // The two counts have no absent form once the struct that holds them is there.
    if let Some(rolling) = strategy_parameters(spec) {
        default_to(rolling, "maxUnavailable", 0);
        default_to(rolling, "maxSurge", 0);
    }
    default_to(spec, "revisionHistoryLimit", 10);
    template(spec, "template");
}

fn strategy_parameters(spec: &mut Value) -> Option<&mut Value> {
    crate::value::object_mut(crate::value::object_mut(spec, "updateStrategy")?, "rollingUpdate")
}

/// A `Deployment`.
pub(super) fn deployment(object: &mut Value) {
    let spec = ensure_object(object, "spec");
    default_to(spec, "replicas", 1);
    let strategy = ensure_object(spec, "strategy");
    default_text(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        let rolling = ensure_object(strategy, "rollingUpdate");
        default_to(rolling, "maxUnavailable", "25%");
        default_to(rolling, "maxSurge", "25%");
    }
    default_to(spec, "revisionHistoryLimit", 10);
    default_to(spec, "progressDeadlineSeconds", 600);
    template(spec, "template");
}

/// A `ReplicaSet`.
pub(super) fn replica_set(object: &mut Value) {
    let spec = ensure_object(object, "spec");
    default_to(spec, "replicas", 1);
    template(spec, "template");
}

/// A `StatefulSet`.
pub(super) fn stateful_set(object: &mut Value) {
    let spec = ensure_object(object, "spec");
    default_text(spec, "podManagementPolicy", "OrderedReady");
    let strategy = ensure_object(spec, "updateStrategy");
    default_text(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        default_to(ensure_object(strategy, "rollingUpdate"), "partition", 0);
    }
    let retention = ensure_object(spec, "persistentVolumeClaimRetentionPolicy");
    default_text(retention, "whenDeleted", "Retain");
    default_text(retention, "whenScaled", "Retain");
    default_to(spec, "replicas", 1);
    default_to(spec, "revisionHistoryLimit", 10);
    template(spec, "template");
    for claim in list_mut(spec, "volumeClaimTemplates") {
        default_text(claim, "apiVersion", "v1");
        default_text(claim, "kind", "PersistentVolumeClaim");
        claim_spec(ensure_object(claim, "spec"));
        default_text(ensure_object(claim, "status"), "phase", "Pending");
    }
}

/// A `ReplicationController`: labels and selector follow from the template's labels.
pub(super) fn replication_controller(object: &mut Value) {
    let labels = object["spec"]["template"]["metadata"]["labels"].clone();
    if labels.as_object().is_some_and(|labels| !labels.is_empty()) {
        if members(&object["spec"], "selector").next().is_none() {
            ensure_object(object, "spec")["selector"] = labels.clone();
        }
        if members(&object["metadata"], "labels").next().is_none() {
            ensure_object(object, "metadata")["labels"] = labels;
        }
    }
    let spec = ensure_object(object, "spec");
    default_to(spec, "replicas", 1);
    if spec["template"].is_object() {
        template(spec, "template");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_on_delete_strategy_gets_no_rolling_parameters() {
        let mut object = json!({"spec": {"updateStrategy": {"type": "OnDelete"}}});
        daemon_set(&mut object);
        assert_eq!(object["spec"]["updateStrategy"], json!({"type": "OnDelete"}));
        assert_eq!(object["spec"]["revisionHistoryLimit"], 10);
    }
}
