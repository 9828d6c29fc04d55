//! Worlds of a few nodes and pods, and the plan that one look at them gives.

use std::sync::Arc;

use jiff::SignedDuration;
use rota_api::{Object, Resource, Timestamp, resource};
use serde_json::{Value, json};

use crate::daemonset::DaemonSetController;
use crate::{Controller, Key, Plan, World, WorldChange};

/// The hash of the template of [`Scene::new`].
pub(super) const CURRENT: &str = "current";

pub(super) struct Scene {
    pub(super) world: World,
    pub(super) controller: DaemonSetController,
    pub(super) now: Timestamp,
    revision: u64,
}

/// Changes one field of an object, given by JSON pointer.
pub(super) fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer has a slash");
    let parent = parent.split('/').skip(1).fold(&mut object, |at, key| &mut at[key]);
    parent[field] = value;
    object
}

/// A DaemonSet that rolls with one node unavailable.
pub(super) fn daemon_set() -> Value {
    let template =
        json!({"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": "app:1"}]}});
    json!({
        "metadata": {"namespace": "ns", "name": "d", "uid": "uid-d", "generation": 1},
        "spec": {
            "selector": {"matchLabels": {"app": "d"}},
            "template": template,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
        },
        "status": {"observedGeneration": 1},
    })
}

/// The same with a surge of one.
pub(super) fn surging() -> Value {
    with(
        daemon_set(),
        "/spec/updateStrategy/rollingUpdate",
        json!({"maxUnavailable": 0, "maxSurge": 1}),
    )
}

/// A pod of it on a node, of the current template, running and not ready.
pub(super) fn pod(name: &str, node: &str) -> Value {
    let owner = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "uid-d", "controller": true});
    json!({
        "metadata": {
            "namespace": "ns", "name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": "d", "controller-revision-hash": CURRENT}, "ownerReferences": [owner],
        },
        "spec": {"nodeName": node, "containers": []},
        "status": {"phase": "Running"},
    })
}

pub(super) fn failed(name: &str, node: &str) -> Value {
    with(pod(name, node), "/status/phase", json!("Failed"))
}

pub(super) fn ready(pod: Value, since: &str) -> Value {
    let condition = json!({"type": "Ready", "status": "True", "lastTransitionTime": since});
    with(pod, "/status/conditions", json!([condition]))
}

pub(super) fn old(pod: Value) -> Value {
    with(pod, "/metadata/labels/controller-revision-hash", json!("old"))
}

pub(super) fn deleting(pod: Value) -> Value {
    with(pod, "/metadata/deletionTimestamp", json!("2026-01-01T00:00:30Z"))
}

impl Scene {
    /// A cluster with these nodes, the DaemonSet and the revision of its template.
    pub(super) fn new(set: Value, nodes: &[&str]) -> Self {
        let controller = DaemonSetController::default();
        let mut scene = Self {
            world: World::watching(controller.watches(), &controller.indexes()),
            controller,
            now: "2026-01-01T00:01:00Z".parse().expect("a time"),
            revision: 0,
        };
        for node in nodes {
            scene.apply(resource::NODES, json!({"metadata": {"name": node, "uid": node}}));
        }
        let data = super::super::revision_data::patch(&set["spec"]["template"]);
        let owner = pod("", "")["metadata"]["ownerReferences"].clone();
        let metadata = json!({"namespace": "ns", "name": "d-current", "uid": "r", "ownerReferences": owner,
                              "labels": {"app": "d", "controller-revision-hash": CURRENT}});
        scene.apply(
            resource::CONTROLLER_REVISIONS,
            json!({"metadata": metadata, "data": data, "revision": 1}),
        );
        scene.apply(resource::DAEMON_SETS, set);
        scene
    }

    pub(super) fn apply(&mut self, resource: &'static Resource, mut value: Value) -> Option<WorldChange> {
        self.revision += 1;
        value["metadata"]["resourceVersion"] = self.revision.to_string().into();
        self.world.apply(Arc::new(Object::from_value(resource, value)))
    }

    pub(super) fn pods(mut self, pods: Vec<Value>) -> Self {
        for pod in pods {
            self.apply(resource::PODS, pod);
        }
        self
    }

    pub(super) fn plan(&mut self) -> Plan {
        self.controller.reconcile(&Key::new("ns", "d"), &self.world, self.now)
    }

    pub(super) fn advance(&mut self, secs: i64) {
        self.now += SignedDuration::from_secs(secs);
    }

    /// What happens to pods: `+node` for a creation, `-name` for a deletion.
    pub(super) fn pod_actions(&mut self) -> Vec<String> {
        let plan = self.plan();
        let pods = plan
            .actions
            .iter()
            .filter(|action| action.write.resource == resource::PODS);
        pods.filter_map(|action| match &action.write.change {
            rota_api::Change::Create(pod) => Some(format!("+{}", target(pod))),
            rota_api::Change::Delete(_) => Some(format!("-{}", action.write.name)),
            _ => None,
        })
        .collect()
    }
}

/// The node that a pod to be created is pinned to.
pub(super) fn target(pod: &Value) -> &str {
    let required = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    required["nodeSelectorTerms"][0]["matchFields"][0]["values"][0]
        .as_str()
        .expect("a pinned pod")
}
