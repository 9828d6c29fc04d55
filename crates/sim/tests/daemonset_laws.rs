//! What holds of every DaemonSet on every cluster, whatever happens to nodes, pods and templates.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rota_api::{Object, PatchKind, Write, placement, resource};
use rota_reconcile::daemonset::DaemonSetController;
use rota_reconcile::pod_gc::PodGc;
use rota_reconcile::{Controller, Key};
use rota_sim::{Cluster, Mode};
use serde_json::{Value, json};

const NODES: usize = 4;

fn controllers() -> Vec<Box<dyn Controller>> {
    vec![Box::new(DaemonSetController::default()), Box::new(PodGc::default())]
}

/// Something that happens.
#[derive(Clone, Debug)]
enum Step {
    /// The template gets this image.
    Image(u8),
    /// The node is tainted with this effect; 0 takes the taint away.
    Taint(usize, u8),
    /// A pod of the node ends up in this state: 0 ready, 1 not ready, 2 failed.
    Pod(usize, u8),
    /// A pod of the node is deleted by hand.
    Delete(usize),
    /// The node agents stop the pods that are to stop.
    Reap,
    /// The controller is restarted behind so many writes.
    Crash(usize),
    /// Time passes.
    Wait(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..4_u8).prop_map(Step::Image),
        (0..NODES, 0..3_u8).prop_map(|(node, effect)| Step::Taint(node, effect)),
        (0..NODES, 0..3_u8).prop_map(|(node, state)| Step::Pod(node, state)),
        (0..NODES).prop_map(Step::Delete),
        Just(Step::Reap),
        (0..6_usize).prop_map(Step::Crash),
        (1..20_u8).prop_map(Step::Wait),
    ]
}

fn strategy() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"type": "OnDelete"})),
        (1..3).prop_map(|n| json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": n, "maxSurge": 0}})),
        (1..3).prop_map(|n| json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": n}})),
    ]
}

struct Scene {
    cluster: Cluster,
}

impl Scene {
    fn new(strategy: &Value, mode: Mode) -> Self {
        let start = "2026-01-01T00:00:00Z".parse().expect("a time");
        let mut cluster = Cluster::new(controllers, start);
        cluster.mode = mode;
        for node in 0..NODES {
            let allocatable = json!({"cpu": "4", "memory": "8Gi", "pods": "10"});
            let object = json!({"metadata": {"name": format!("n{node}")}, "status": {"allocatable": allocatable}});
            cluster.create(resource::NODES, object).expect("a node");
            let status = json!({"status": {"allocatable": allocatable}});
            let write = Write::merge_status(resource::NODES, "", &format!("n{node}"), status);
            cluster.write(&write).expect("a node's status");
        }
        let template =
            json!({"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": "app:0"}]}});
        let spec = json!({"selector": {"matchLabels": {"app": "d"}}, "template": template, "updateStrategy": strategy});
        let set = json!({"metadata": {"namespace": "ns", "name": "d"}, "spec": spec});
        cluster.create(resource::DAEMON_SETS, set).expect("a DaemonSet");
        cluster.run_for(0.0);
        Self { cluster }
    }

    fn pods(&self) -> Vec<std::sync::Arc<Object>> {
        self.cluster.api.all(resource::PODS).cloned().collect()
    }

    fn pod_of(&self, node: usize) -> Option<String> {
        let pod = self
            .pods()
            .into_iter()
            .find(|pod| pod.meta().node == format!("n{node}"))?;
        Some(pod.meta().name.clone())
    }

    fn play(&mut self, step: &Step) {
        match step {
            Step::Image(image) => {
                let containers = json!([{"name": "c", "image": format!("app:{image}")}]);
                let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
                self.write(&Write::merge(resource::DAEMON_SETS, "ns", "d", patch));
            }
            Step::Taint(node, effect) => {
                let taint = |effect: &str| json!([{"key": "k", "effect": effect}]);
                let taints = match effect {
                    0 => Value::Null,
                    1 => taint("NoSchedule"),
                    _ => taint("NoExecute"),
                };
                let patch = json!({"spec": {"taints": taints}});
                self.write(&Write::merge(resource::NODES, "", &format!("n{node}"), patch));
            }
            Step::Pod(node, state) => {
                if let Some(name) = self.pod_of(*node) {
                    self.set_status(&name, *state);
                }
            }
            Step::Delete(node) => {
                if let Some(name) = self.pod_of(*node) {
                    self.write(&Write::delete(
                        resource::PODS,
                        "ns",
                        &name,
                        rota_api::DeleteOptions::default(),
                    ));
                }
            }
            Step::Reap => self.reap(),
            Step::Crash(after) => self.cluster.crash_after = Some(*after),
            Step::Wait(secs) => self.cluster.run_for((*secs).into()),
        }
        self.cluster.run_for(0.0);
    }

    fn write(&mut self, write: &Write) {
        // A refusal, such as of a pod that is gone, is part of the game.
        let _ = self.cluster.write(write);
    }

    fn set_status(&mut self, name: &str, state: u8) {
        let now = self.cluster.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let ready = if state == 0 { "True" } else { "False" };
        let phase = if state == 2 { "Failed" } else { "Running" };
        let conditions = json!([{"type": "Ready", "status": ready, "lastTransitionTime": now}]);
        let patch = json!({"status": {"phase": phase, "conditions": conditions}});
        let kind = PatchKind::Strategic;
        self.write(&Write::patch(resource::PODS, "ns", name, kind, patch, Some("status")));
    }

    fn reap(&mut self) {
        for pod in self.pods().iter().filter(|pod| pod.meta().deleting.is_some()) {
            let at_once = rota_api::DeleteOptions {
                grace_period_secs: Some(0),
                ..Default::default()
            };
            self.write(&Write::delete(resource::PODS, "ns", &pod.meta().name, at_once));
        }
    }

    /// Lets everything come to rest: agents stop what is to stop and start what is there.
    fn calm_down(&mut self) {
        for _ in 0..40 {
            self.reap();
            let waiting: Vec<String> = self
                .pods()
                .iter()
                .filter(|pod| pod.meta().phase != "Failed" && !is_ready(pod))
                .map(|pod| pod.meta().name.clone())
                .collect();
            for name in waiting {
                self.set_status(&name, 0);
            }
            self.cluster.run_for(30.0);
        }
    }

    /// Pods that count, by the node they are meant for.
    fn alive(&self) -> BTreeMap<String, Vec<std::sync::Arc<Object>>> {
        let mut by_node: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for pod in self.pods().into_iter().filter(|pod| pod.meta().deleting.is_none()) {
            let view = pod.view::<rota_api::k8s::api::core::v1::Pod>().expect("a pod");
            let spec = view.spec.as_ref().expect("a spec");
            let pins = placement::pinned_nodes(spec).expect("a daemon pod is pinned");
            let node = pins.into_iter().next().expect("to one node").to_owned();
            by_node.entry(node).or_default().push(pod);
        }
        by_node
    }

    fn check_always(&self) {
        for (node, pods) in self.alive() {
            let mut hashes: Vec<_> = pods
                .iter()
                .map(|pod| pod.meta().labels["controller-revision-hash"].clone())
                .collect();
            hashes.sort();
            let all = hashes.len();
            hashes.dedup();
            assert_eq!(hashes.len(), all, "two pods of one revision on {node}");
            assert!(all <= 2, "{all} pods on {node}");
        }
    }

    fn check_calm(&mut self, on_delete: bool) {
        let alive = self.alive();
        let hash = |pod: &Object| pod.meta().labels["controller-revision-hash"].clone();
        let mut hashes = Vec::new();
        for node in self.cluster.api.all(resource::NODES) {
            let taint = node.to_value()["spec"]["taints"][0]["effect"].clone();
            let pods = alive.get(&node.meta().name).map(Vec::as_slice).unwrap_or_default();
            match taint.as_str() {
                None => assert_eq!(pods.len(), 1, "an eligible node has one pod"),
                Some("NoExecute") => assert!(pods.is_empty(), "a node that is not eligible has none"),
                Some(_) => assert!(pods.len() <= 1, "no pod comes to a tainted node"),
            }
            hashes.extend(pods.iter().filter(|_| taint.is_null()).map(|pod| hash(pod)));
        }
        hashes.sort();
        hashes.dedup();
        assert!(on_delete || hashes.len() <= 1, "the rollout is complete");
        let key = Key::new("ns", "d");
        let now = self.cluster.now();
        let plan = DaemonSetController::default().reconcile(&key, &self.cluster.world, now);
        assert!(plan.is_empty(), "a converged world needs nothing:\n{plan}");
    }
}

fn is_ready(pod: &Object) -> bool {
    pod.to_value()["status"]["conditions"][0]["status"] == "True"
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_every_eligible_node_ends_with_one_pod_of_the_current_template(
        strategy in strategy(),
        mode in prop_oneof![Just(Mode::Transaction), Just(Mode::Sequential)],
        steps in prop::collection::vec(step(), 1..14),
    ) {
        let mut scene = Scene::new(&strategy, mode);
        for step in &steps {
            scene.play(step);
            scene.check_always();
        }
        scene.cluster.crash_after = None;
        scene.calm_down();
        scene.check_calm(strategy["type"] == "OnDelete");
    }

    #[test]
    fn a_rollout_never_takes_more_healthy_pods_than_the_budget(
        budget in 1..4_usize,
        readiness in prop::collection::vec(any::<bool>(), NODES),
    ) {
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": budget, "maxSurge": 0}});
        let mut scene = Scene::new(&strategy, Mode::Transaction);
        for (node, ready) in readiness.iter().enumerate() {
            scene.play(&Step::Pod(node, u8::from(!ready)));
        }
        let healthy = readiness.iter().filter(|ready| **ready).count();
        scene.play(&Step::Image(1));
        let left = scene.pods().iter().filter(|pod| is_ready(pod) && pod.meta().deleting.is_none()).count();
        let broken = NODES - healthy;
        prop_assert_eq!(healthy - left, budget.saturating_sub(broken).min(healthy));
    }
}
