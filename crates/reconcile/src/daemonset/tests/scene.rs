//! Worlds of a few nodes and pods, and the plan that one look at them gives.

use std::sync::Arc;

use jiff::SignedDuration;
use rota_api::{Change, Object, Resource, Timestamp, resource};
use serde_json::{Value, json};

use crate::daemonset::DaemonSetController;
use crate::{Controller, Key, Plan, World, WorldChange};

/// The hash of the template of [`Scene::new`].
pub(super) const CURRENT: &str = "current";
/// A time before every scene.
pub(super) const LONG_AGO: &str = "2025-12-31T00:00:00Z";

pub(super) struct Scene {
    pub(super) world: World,
    pub(super) controller: DaemonSetController,
    pub(super) now: Timestamp,
    revision: u64,
}

/// Changes one field of an object, given by JSON pointer.
pub(super) fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer has a slash");
    let parent = parent
        .split('/')
        .skip(1)
        .fold(&mut object, |at, key| match key.parse::<usize>() {
            Ok(index) => &mut at[index],
            Err(_) => &mut at[key],
        });
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

    /// The revision of that name.
    pub(super) fn revision(&self, name: &str) -> Value {
        let found = self.world.get(resource::CONTROLLER_REVISIONS, "ns", name);
        found.expect("a revision").to_value()
    }

    /// The object goes away.
    pub(super) fn remove(&mut self, resource: &'static Resource, namespace: &str, name: &str) -> WorldChange {
        let gone = self
            .world
            .get(resource, namespace, name)
            .cloned()
            .expect("it was there");
        self.world.delete(&gone).expect("it was there")
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
            Change::Create(pod) => Some(format!("+{}", target(pod))),
            Change::Delete(_) => Some(format!("-{}", action.write.name)),
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

/// The names of so many nodes: `n0`, `n1` …
fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("n{at}")).collect()
}

/// A cluster of so many nodes with the DaemonSet.
pub(super) fn scene(set: Value, count: usize) -> Scene {
    let names = names(count);
    Scene::new(set, &names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A pod of the current template that has been ready for long.
pub(super) fn healthy(name: &str, node: &str) -> Value {
    ready(pod(name, node), LONG_AGO)
}

/// How many pods are created and deleted.
pub(super) fn tally(scene: &mut Scene) -> (usize, usize) {
    let actions = scene.pod_actions();
    let created = actions.iter().filter(|action| action.starts_with('+')).count();
    (created, actions.len() - created)
}

/// The pods that a look creates.
pub(super) fn created(scene: &mut Scene) -> Vec<Value> {
    let actions = scene.plan().actions;
    let pods = actions
        .into_iter()
        .filter(|action| action.write.resource == resource::PODS);
    pods.filter_map(|action| match action.write.change {
        Change::Create(pod) => Some(pod),
        _ => None,
    })
    .collect()
}

/// The same pod, created later than others.
pub(super) fn younger(pod: Value) -> Value {
    with(pod, "/metadata/creationTimestamp", json!("2026-01-01T00:00:10Z"))
}

/// `count` pods of the DaemonSet on a node.
pub(super) fn pods_on(node: usize, count: usize) -> Vec<Value> {
    (0..count)
        .map(|at| pod(&format!("p{node}-{at}"), &format!("n{node}")))
        .collect()
}

/// `count` pods of the DaemonSet on a node that its selector does not match.
pub(super) fn strangers_on(node: usize, count: usize) -> Vec<Value> {
    let stranger = |at| {
        with(
            pod(&format!("s{node}-{at}"), &format!("n{node}")),
            "/metadata/labels/app",
            json!("x"),
        )
    };
    (0..count).map(stranger).collect()
}

/// The status that a look writes; null where it says so already.
pub(super) fn reported(plan: &Plan) -> Value {
    let patches = plan.actions.iter().filter_map(|action| match &action.write.change {
        Change::Patch { patch, .. } if action.write.resource == resource::DAEMON_SETS => Some(&patch["status"]),
        _ => None,
    });
    let mut reports = patches.filter(|status| status["desiredNumberScheduled"].is_number());
    reports.next().cloned().unwrap_or_default()
}

/// How often a look says this word.
pub(super) fn says(plan: &Plan, reason: &str) -> usize {
    plan.notes.iter().filter(|note| note.reason == reason).count()
}

/// A node with these labels and taints.
pub(super) fn node(name: &str, labels: &Value, taints: &Value) -> Value {
    json!({"metadata": {"name": name, "uid": name, "labels": labels}, "spec": {"taints": taints}})
}

/// A taint of the key `k`.
pub(super) fn tainted(effect: &str) -> Value {
    json!([{"key": "k", "effect": effect}])
}

pub(super) fn orphaned(pod: Value) -> Value {
    with(pod, "/metadata/ownerReferences", json!([]))
}
