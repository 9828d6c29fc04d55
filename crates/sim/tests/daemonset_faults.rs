//! One story of a DaemonSet, told again and again with something going wrong at each place where it can: it must end alike,
//! and no pod may be started that the story does not need.
//!
//! The story: a DaemonSet comes to five nodes; one of its pods fails; it is updated; while pods are replaced a node goes and
//! another is tainted for a while; a third drives its pod off and takes it back; the update is taken back.

use std::collections::BTreeMap;

use rota_api::{DeleteOptions, Object, PatchKind, Resource, Write, placement, resource};
use rota_reconcile::Controller;
use rota_reconcile::daemonset::DaemonSetController;
use rota_reconcile::pod_gc::PodGc;
use rota_sim::{Cluster, Mode};
use serde_json::{Value, json};

const NODES: usize = 5;
/// Longer than anything waits in the story.
const LONG_SECS: f64 = 90.0;
/// Turns in which whatever has happened comes to rest.
const TURNS_MAX: usize = 100;

fn controllers() -> Vec<Box<dyn Controller>> {
    vec![Box::new(DaemonSetController::default()), Box::new(PodGc::default())]
}

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Nothing,
    /// The controllers crash behind so many of their writes, and start anew.
    Crash(usize),
    /// The change of that number is not shown to the controllers, until they list everything anew.
    Lost(usize),
}

/// What is compared of two ends.
#[derive(Debug, PartialEq, Eq)]
struct End {
    /// For each node the images of its pods.
    images: BTreeMap<String, Vec<String>>,
    status: Value,
    revisions: Vec<(i64, Value)>,
    /// How many pods there ever were.
    started: u64,
}

struct Story {
    cluster: Cluster,
    fault: Fault,
}

fn image(pod: &Object) -> String {
    let value = pod.to_value();
    value["spec"]["containers"][0]["image"]
        .as_str()
        .expect("an image")
        .to_owned()
}

fn node_of(pod: &Object) -> String {
    let view = pod.view::<rota_api::k8s::api::core::v1::Pod>().expect("a pod");
    let pins = placement::pinned_nodes(view.spec.as_ref().expect("a spec")).expect("a daemon pod is pinned");
    (*pins.first().expect("to one node")).to_owned()
}

impl Story {
    fn new(strategy: &Value, mode: Mode, fault: Fault) -> Self {
        let start = "2026-01-01T00:00:00Z".parse().expect("a time");
        let mut cluster = Cluster::new(controllers, start);
        cluster.mode = mode;
        match fault {
            Fault::Crash(after) => cluster.crash_after = Some(after),
            Fault::Lost(at) => cluster.hide = Some(at),
            Fault::Nothing => {}
        }
        let mut story = Self { cluster, fault };
        for at in 0..NODES {
            let name = format!("n{at}");
            story
                .cluster
                .create(resource::NODES, json!({"metadata": {"name": name}}))
                .expect("a node");
            let allocatable = json!({"status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10"}}});
            story.write(&Write::merge_status(resource::NODES, "", &name, allocatable));
        }
        let template = json!({"metadata": {"labels": {"app": "d"}},
                              "spec": {"containers": [{"name": "c", "image": "app:1"}]}});
        let spec = json!({"selector": {"matchLabels": {"app": "d"}}, "template": template, "updateStrategy": strategy});
        let set = json!({"metadata": {"namespace": "ns", "name": "d"}, "spec": spec});
        story.cluster.create(resource::DAEMON_SETS, set).expect("a DaemonSet");
        story
    }

    fn write(&mut self, write: &Write) {
        self.cluster
            .write(write)
            .unwrap_or_else(|error| panic!("{write}: {error}"));
    }

    fn update_image(&mut self, image: &str) {
        let containers = json!([{"name": "c", "image": image}]);
        let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        self.write(&Write::merge(resource::DAEMON_SETS, "ns", "d", patch));
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "the caller writes the value where it is used"
    )]
    fn set_taints(&mut self, node: &str, taints: Value) {
        self.write(&Write::merge(
            resource::NODES,
            "",
            node,
            json!({"spec": {"taints": taints}}),
        ));
    }

    fn pods(&self) -> Vec<std::sync::Arc<Object>> {
        self.cluster.api.all(resource::PODS).cloned().collect()
    }

    /// Lets the nodes' agents do one thing for each pod, and the controllers what follows.
    fn turn(&mut self) {
        self.cluster.run_for(0.0);
        for pod in self.pods().iter().filter(|pod| !pod.meta().node.is_empty()) {
            let (meta, value) = (pod.meta(), pod.to_value());
            if meta.deleting.is_some() {
                let at_once = DeleteOptions {
                    grace_period_secs: Some(0),
                    ..DeleteOptions::default()
                };
                let _ = self
                    .cluster
                    .write(&Write::delete(resource::PODS, "ns", &meta.name, at_once));
            } else if value["status"]["conditions"].is_null() && meta.phase != "Failed" {
                self.set_phase(&meta.name, "Running", "True");
            }
        }
        self.cluster.run_for(1.0);
    }

    fn set_phase(&mut self, name: &str, phase: &str, ready: &str) {
        let now = self.cluster.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let conditions = json!([{"type": "Ready", "status": ready, "lastTransitionTime": now}]);
        let patch = json!({"status": {"phase": phase, "conditions": conditions}});
        let write = Write::patch(resource::PODS, "ns", name, PatchKind::Strategic, patch, Some("status"));
        self.write(&write);
    }

    /// What was lost is made up for, as a watch that breaks and lists anew does.
    fn heal(&mut self) {
        if matches!(self.fault, Fault::Lost(_)) {
            self.cluster.list_anew();
            self.cluster.run_for(1.0);
        }
    }

    /// Lets everything come to rest: two turns in which nothing happens.
    fn rest(&mut self) {
        let mut quiet = 0;
        for _ in 0..TURNS_MAX {
            let before = self.cluster.shown;
            self.turn();
            self.heal();
            quiet = if self.cluster.shown == before { quiet + 1 } else { 0 };
            if quiet == 2 {
                // What waits for a time, such as the collector of the pods of lost nodes, has had it by then.
                self.cluster.run_for(LONG_SECS);
                self.heal();
                if self.cluster.shown == before {
                    return;
                }
                quiet = 0;
            }
        }
        panic!("the story does not come to rest");
    }

    /// Tells the story to its end.
    fn play(mut self) -> (End, Cluster) {
        self.rest();
        let failing = self
            .pods()
            .into_iter()
            .find(|pod| node_of(pod) == "n1")
            .expect("n1 has a pod");
        self.set_phase(&failing.meta().name, "Failed", "False");
        self.rest();
        self.update_image("app:2");
        self.turn();
        self.write(&Write::delete(resource::NODES, "", "n4", DeleteOptions::default()));
        self.turn();
        self.set_taints("n3", json!([{"key": "k", "effect": "NoSchedule"}]));
        self.turn();
        self.set_taints("n3", Value::Null);
        self.rest();
        self.set_taints("n2", json!([{"key": "k", "effect": "NoExecute"}]));
        self.rest();
        self.set_taints("n2", Value::Null);
        self.rest();
        self.update_image("app:1");
        self.rest();
        (self.end(), self.cluster)
    }

    fn end(&self) -> End {
        let mut images: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pod in self.pods() {
            images.entry(node_of(&pod)).or_default().push(image(&pod));
        }
        let set = self
            .cluster
            .api
            .get(resource::DAEMON_SETS, "ns", "d")
            .expect("the DaemonSet");
        let value = |kind: &'static Resource| self.cluster.api.all(kind).map(|object| object.to_value());
        let mut revisions: Vec<_> = value(resource::CONTROLLER_REVISIONS)
            .map(|mut revision| {
                (
                    revision["revision"].as_i64().unwrap_or_default(),
                    revision["data"].take(),
                )
            })
            .collect();
        revisions.sort_by_key(|(number, _)| *number);
        End {
            images,
            status: set.to_value()["status"].take(),
            revisions,
            started: self
                .cluster
                .record
                .created
                .get("DaemonSet/d")
                .copied()
                .unwrap_or_default(),
        }
    }
}

fn strategies() -> [Value; 2] {
    [
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2, "maxSurge": 0}}),
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}),
    ]
}

/// Every story with this fault at each of its places ends as the one without.
fn check(mode: Mode, places: fn(&Cluster) -> usize, fault: fn(usize) -> Fault) {
    for strategy in strategies() {
        let (expected, cluster) = Story::new(&strategy, mode, Fault::Nothing).play();
        assert_eq!(expected.images.len(), NODES - 1, "the story is told to its end");
        assert!(
            expected.images.values().all(|images| images == &["app:1"]),
            "{expected:?}"
        );
        for at in 0..places(&cluster) {
            let (mut end, cluster) = Story::new(&strategy, mode, fault(at)).play();
            let hidden = &cluster.hidden;
            // Who does not see a node go may start one more pod for it; who does not see it tainted, one less.
            let is_of_node = hidden
                .as_ref()
                .is_some_and(|change| change.resource() == resource::NODES);
            if is_of_node && end.started.abs_diff(expected.started) == 1 {
                end.started = expected.started;
            }
            assert_eq!(end, expected, "{:?} with {strategy}: {hidden:?}", fault(at));
        }
    }
}

#[test]
fn a_crash_behind_any_write_changes_nothing_in_the_end() {
    check(Mode::Sequential, |cluster| cluster.writes, Fault::Crash);
}

#[test]
fn a_crash_at_any_commit_changes_nothing_in_the_end() {
    check(Mode::Transaction, |cluster| cluster.writes, Fault::Crash);
}

#[test]
fn a_change_that_is_not_seen_until_the_next_listing_changes_nothing_in_the_end() {
    check(Mode::Transaction, |cluster| cluster.shown, Fault::Lost);
}
