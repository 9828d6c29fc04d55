use super::*;
use rota_api::resource;
use serde_json::{Value, json};

/// A small cluster under test: nodes and pods are named, everything else has a default.
struct Cluster {
    scheduler: Scheduler,
    now: Timestamp,
}

fn node(name: &str) -> Value {
    json!({"metadata": {"name": name, "uid": name, "labels": {"kubernetes.io/hostname": name}},
           "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}}})
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"namespace": "ns", "name": name, "uid": name, "generation": 1},
           "spec": {"schedulerName": "default-scheduler", "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}})
}

fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer has a slash");
    let parent = parent.split('/').skip(1).fold(&mut object, |at, key| &mut at[key]);
    parent[field] = value;
    object
}

fn pinned(pod: Value, node: &str) -> Value {
    let term = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]});
    let affinity =
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}});
    with(pod, "/spec/affinity", affinity)
}

impl Cluster {
    fn of(nodes: &[Value]) -> Self {
        let mut cluster = Self {
            scheduler: Scheduler::new(),
            now: Timestamp::UNIX_EPOCH,
        };
        for value in nodes {
            cluster.node(value.clone());
        }
        cluster
    }

    fn node(&mut self, value: Value) {
        self.scheduler.apply_node(&Object::from_value(resource::NODES, value));
    }

    fn pod(&mut self, value: Value) {
        self.scheduler
            .apply_pod(&Arc::new(Object::from_value(resource::PODS, value)));
    }

    fn delete_pod(&mut self, name: &str) {
        self.scheduler
            .delete_pod(&Object::from_value(resource::PODS, pod(name)));
    }

    /// One line per decision.
    fn decide(&mut self) -> Vec<String> {
        let decisions = self.scheduler.decide(self.now, 0);
        decisions
            .into_iter()
            .map(|decision| match decision {
                Decision::Bind { pod, node } => format!("{} -> {node}", pod.name),
                Decision::Unschedulable { pod, message, first } => {
                    let again = if first { "" } else { " again" };
                    format!(
                        "{}{again}: {}",
                        pod.name,
                        message.split(". ").next().unwrap_or_default()
                    )
                }
            })
            .collect()
    }
}

#[test]
fn a_pod_goes_to_the_emptiest_node_and_counts_there_at_once() {
    let mut cluster = Cluster::of(&[node("a"), node("b")]);
    cluster.pod(with(
        with(pod("running"), "/spec/nodeName", json!("a")),
        "/status",
        json!({"phase": "Running"}),
    ));
    cluster.pod(pod("p1"));
    cluster.pod(pod("p2"));
    cluster.pod(pod("p3"));
    let placed = cluster.decide();
    assert_eq!(placed[0], "p1 -> b");
    assert_eq!(placed.len(), 3);
    assert!(cluster.decide().is_empty());
}

#[test]
fn more_important_pods_go_first_then_those_who_came_first() {
    let mut cluster = Cluster::of(&[node("a")]);
    cluster.pod(pod("early"));
    cluster.pod(pod("late"));
    cluster.pod(with(pod("important"), "/spec/priority", json!(10)));
    assert_eq!(cluster.decide(), ["important -> a", "early -> a", "late -> a"]);
}

#[test]
fn a_pod_that_fits_nowhere_is_told_why_once_and_placed_when_room_appears() {
    let mut cluster = Cluster::of(&[node("a")]);
    for name in ["p1", "p2", "p3", "p4", "p5"] {
        cluster.pod(pod(name));
    }
    let decisions = cluster.decide();
    assert_eq!(
        decisions.last().unwrap(),
        "p5: 0/1 nodes are available: 1 Insufficient cpu"
    );
    assert!(cluster.decide().is_empty());
    cluster.delete_pod("p2");
    assert_eq!(cluster.decide(), ["p5 -> a"]);
}

#[test]
fn a_finished_pod_makes_room() {
    let mut cluster = Cluster::of(&[node("a")]);
    let big = |name| {
        with(
            pod(name),
            "/spec/containers",
            json!([{"name": "c", "resources": {"requests": {"cpu": "4"}}}]),
        )
    };
    cluster.pod(big("first"));
    cluster.pod(big("second"));
    cluster.decide();
    let bound = with(big("first"), "/spec/nodeName", json!("a"));
    cluster.pod(with(bound, "/status", json!({"phase": "Succeeded"})));
    assert_eq!(cluster.decide(), ["second -> a"]);
}

#[test]
fn reasons_are_counted_over_all_nodes() {
    let tainted = with(
        node("t"),
        "/spec",
        json!({"taints": [{"key": "k", "effect": "NoSchedule"}]}),
    );
    let cordoned = with(node("u"), "/spec", json!({"unschedulable": true}));
    let full = with(
        node("f"),
        "/status/allocatable",
        json!({"cpu": "500m", "memory": "8Gi", "pods": "0"}),
    );
    let mut cluster = Cluster::of(&[tainted, cordoned, full, node("x")]);
    cluster.pod(with(
        pod("p"),
        "/spec/nodeSelector",
        json!({"kubernetes.io/hostname": "f"}),
    ));
    assert_eq!(
        cluster.decide(),
        [
            "p: 0/4 nodes are available: 1 Insufficient cpu, 1 Too many pods, 1 node(s) didn't match Pod's node \
          affinity/selector, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable"
        ]
    );
}

#[test]
fn a_pinned_pod_is_only_measured_against_its_node() {
    let mut cluster = Cluster::of(&[node("a"), node("b"), node("c")]);
    let big = with(
        pod("big"),
        "/spec/containers",
        json!([{"name": "c", "resources": {"requests": {"cpu": "5"}}}]),
    );
    cluster.pod(pinned(pod("fits"), "b"));
    cluster.pod(pinned(big, "c"));
    cluster.pod(pinned(pod("lost"), "gone"));
    assert_eq!(
        cluster.decide(),
        [
            "fits -> b",
            "big: 0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]",
            "lost: 0/3 nodes are available: 3 node(s) didn't satisfy plugin(s) [NodeAffinity]",
        ]
    );
    cluster.node(with(node("c"), "/status/allocatable/cpu", json!("8")));
    cluster.node(node("gone"));
    assert_eq!(cluster.decide(), ["big -> c", "lost -> gone"]);
}

#[test]
fn a_node_port_is_given_to_one_pod_per_node() {
    let port = json!([{"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080, "protocol": "TCP"}]}]);
    let mut cluster = Cluster::of(&[node("a"), node("b")]);
    for name in ["p1", "p2", "p3"] {
        cluster.pod(with(pod(name), "/spec/containers", port.clone()));
    }
    let decisions = cluster.decide();
    assert_eq!(
        decisions[2],
        "p3: 0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports"
    );
}

#[test]
fn pods_of_one_owner_spread_over_nodes() {
    let mut cluster = Cluster::of(&[
        node("a"),
        with(node("b"), "/status/allocatable/cpu", json!("5")),
        node("c"),
    ]);
    for name in ["p1", "p2", "p3"] {
        cluster.pod(with(
            pod(name),
            "/metadata/ownerReferences",
            json!([{"uid": "rs", "controller": true}]),
        ));
    }
    let mut nodes: Vec<String> = cluster
        .decide()
        .iter()
        .map(|d| d.split(" -> ").nth(1).unwrap().to_owned())
        .collect();
    nodes.sort();
    assert_eq!(nodes, ["a", "b", "c"]);
}

#[test]
fn gated_foreign_and_ending_pods_are_left_alone() {
    let mut cluster = Cluster::of(&[node("a")]);
    cluster.pod(with(pod("gated"), "/spec/schedulingGates", json!([{"name": "g"}])));
    cluster.pod(with(pod("foreign"), "/spec/schedulerName", json!("other")));
    cluster.pod(with(
        pod("ending"),
        "/metadata/deletionTimestamp",
        json!("2026-01-01T00:00:00Z"),
    ));
    assert!(cluster.decide().is_empty());
    cluster.pod(with(pod("gated"), "/metadata/generation", json!(2)));
    assert_eq!(cluster.decide(), ["gated -> a"]);
}

#[test]
fn a_refused_binding_frees_the_node_and_keeps_the_turn() {
    let mut cluster = Cluster::of(&[with(node("a"), "/status/allocatable/cpu", json!("1"))]);
    cluster.pod(pod("p1"));
    assert_eq!(cluster.decide(), ["p1 -> a"]);
    cluster.pod(pod("p2"));
    cluster.scheduler.binding_failed("p1");
    let decisions = cluster.decide();
    assert_eq!(decisions[0], "p1 -> a");
    assert!(decisions[1].starts_with("p2: "));
}

#[test]
fn a_late_event_does_not_bring_back_a_pod_that_was_decided() {
    let mut cluster = Cluster::of(&[node("a")]);
    cluster.pod(pod("p"));
    assert_eq!(cluster.decide(), ["p -> a"]);
    cluster.pod(with(pod("p"), "/metadata/labels", json!({"late": "yes"})));
    assert!(cluster.decide().is_empty());
    cluster.pod(with(pod("p"), "/spec/nodeName", json!("a")));
    assert!(cluster.decide().is_empty());
    assert_eq!(cluster.scheduler.waiting(), 0);
}

#[test]
fn a_changed_reason_is_told_again_but_not_often() {
    let mut cluster = Cluster::of(&[]);
    cluster.pod(pinned(pod("p"), "gone"));
    assert_eq!(cluster.decide(), ["p: no nodes available to schedule pods"]);
    cluster.node(node("a"));
    assert!(cluster.decide().is_empty());
    cluster.now = cluster.scheduler.wake().expect("the new reason is still to be told");
    assert_eq!(
        cluster.decide(),
        ["p again: 0/1 nodes are available: 1 node(s) didn't satisfy plugin(s) [NodeAffinity]"]
    );
    assert_eq!(cluster.scheduler.wake(), None);
}

#[test]
fn preferred_affinity_and_discouraging_taints_sway_the_choice() {
    let preferred = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 50, "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}}]}});
    let mut cluster = Cluster::of(&[
        node("a"),
        with(node("b"), "/metadata/labels/disk", json!("ssd")),
        with(
            node("c"),
            "/spec",
            json!({"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}),
        ),
    ]);
    cluster.pod(with(pod("p"), "/spec/affinity", preferred));
    assert_eq!(cluster.decide(), ["p -> b"]);
}

#[test]
fn pods_of_a_vanished_node_count_again_when_it_returns() {
    let mut cluster = Cluster::of(&[node("a")]);
    cluster.pod(with(
        with(
            pod("old"),
            "/spec/containers",
            json!([{"name": "c", "resources": {"requests": {"cpu": "4"}}}]),
        ),
        "/spec/nodeName",
        json!("a"),
    ));
    cluster
        .scheduler
        .delete_node(&Object::from_value(resource::NODES, node("a")));
    cluster.pod(pod("new"));
    assert_eq!(cluster.decide(), ["new: no nodes available to schedule pods"]);
    cluster.node(node("a"));
    cluster.now = "1970-01-01T00:01:00Z".parse().unwrap();
    assert_eq!(
        cluster.decide(),
        ["new again: 0/1 nodes are available: 1 Insufficient cpu"]
    );
}
