//! Updates that start new pods beside old ones, within a budget.
//!
//! Source: specification §9.2, §11.2, §21 cases 57–64.

use rota_api::resource;
use serde_json::{Value, json};

use super::scene::{Scene, deleting, healthy, old, pod, ready, scene, surging, with, younger};
use crate::Wake;

/// With a surge: n0 with the given pods, each other node with a ready old one.
fn surge_scene(surge: usize, count: usize, pods: Vec<Value>) -> Scene {
    let set = with(surging(), "/spec/updateStrategy/rollingUpdate/maxSurge", json!(surge));
    let others = (1..count).map(|at| old(healthy(&format!("p{at}"), &format!("n{at}"))));
    scene(with(set, "/spec/minReadySeconds", json!(15)), count).pods(pods.into_iter().chain(others).collect())
}

#[test]
fn with_a_surge_the_oldest_ready_old_pod_stays_beside_the_new_one() {
    let pods = vec![
        pod("new", "n0"),
        old(healthy("older", "n0")),
        younger(old(healthy("younger", "n0"))),
    ];
    assert_eq!(surge_scene(1, 1, pods).pod_actions(), ["-younger"]);
}

#[test]
fn with_a_surge_old_pods_that_are_not_ready_go_beside_a_new_one() {
    let pods = vec![
        pod("new", "n0"),
        old(pod("older", "n0")),
        younger(old(pod("younger", "n0"))),
    ];
    assert_eq!(surge_scene(1, 1, pods).pod_actions(), ["-older", "-younger"]);
}

#[test]
fn with_a_surge_an_old_pod_that_is_not_ready_goes_as_soon_as_it_has_a_successor() {
    let mut scene = Scene::new(surging(), &["a"]).pods(vec![old(pod("former", "a")), pod("next", "a")]);
    assert_eq!(scene.pod_actions(), ["-former"]);
}

#[test]
fn with_a_surge_the_old_pod_goes_when_its_successor_has_been_ready_long_enough() {
    let set = with(surging(), "/spec/minReadySeconds", json!(15));
    let scene = |since| {
        let former = ready(old(pod("former", "a")), "2025-12-31T00:00:00Z");
        Scene::new(set.clone(), &["a"]).pods(vec![former, ready(pod("next", "a"), since)])
    };
    assert_eq!(scene("2026-01-01T00:00:50Z").pod_actions(), Vec::<String>::new());
    assert_eq!(scene("2026-01-01T00:00:40Z").pod_actions(), ["-former"]);
    let Wake::At(at) = scene("2026-01-01T00:00:50Z").plan().wake else {
        panic!("it becomes available")
    };
    assert_eq!(at.to_string(), "2026-01-01T00:01:05Z");
}

#[test]
fn with_a_surge_a_node_whose_old_pod_is_ending_gets_its_new_one_beyond_the_budget() {
    let pods = vec![pod("new", "n0"), old(healthy("former", "n0"))];
    let mut scene = surge_scene(1, 5, pods);
    scene.apply(resource::PODS, deleting(old(healthy("p4", "n4"))));
    assert_eq!(scene.pod_actions(), ["+n4"]);
}

#[test]
fn with_a_surge_broken_old_pods_get_successors_beyond_the_budget_and_healthy_ones_within() {
    let no_pods = Vec::<String>::new();
    // None of the old pods is ready: every node gets its new one, and the old one goes as soon as that is there.
    let mut broken = surge_scene(3, 5, vec![old(pod("p0", "n0"))]);
    for at in 1..5 {
        broken.apply(resource::PODS, old(pod(&format!("p{at}"), &format!("n{at}"))));
    }
    assert_eq!(broken.pod_actions(), ["+n0", "+n1", "+n2", "+n3", "+n4"]);
    for at in 0..5 {
        broken.apply(resource::PODS, pod(&format!("q{at}"), &format!("n{at}")));
    }
    assert_eq!(broken.pod_actions(), ["-p0", "-p1", "-p2", "-p3", "-p4"]);

    // Another update when all are ready: as many as the budget says.
    let mut scene = surge_scene(3, 5, vec![old(healthy("p0", "n0"))]);
    assert_eq!(scene.pod_actions(), ["+n0", "+n1", "+n2"]);
    for (name, node) in [("q0", "n0"), ("q1", "n1"), ("q2", "n2")] {
        scene.apply(resource::PODS, pod(name, node));
    }
    assert_eq!(scene.pod_actions(), no_pods);
    // Two of the three get ready, and an old pod elsewhere breaks: its node gets a new one beyond the budget.
    scene.advance(5);
    let two_ready_at = scene.now.to_string();
    scene.advance(5);
    for (name, node) in [("q0", "n0"), ("q1", "n1")] {
        scene.apply(resource::PODS, ready(pod(name, node), &two_ready_at));
    }
    scene.apply(resource::PODS, old(pod("p3", "n3")));
    assert_eq!(scene.pod_actions(), ["+n3"]);
    scene.apply(resource::PODS, pod("q3", "n3"));
    assert_eq!(scene.pod_actions(), ["-p3"]);
    // The two are available: their predecessors go, and so does the broken one; one place is free.
    scene.advance(10);
    assert_eq!(scene.pod_actions(), ["-p0", "-p1", "-p3", "+n4"]);
    for name in ["p0", "p1", "p3"] {
        scene.remove(resource::PODS, "ns", name);
    }
    let rest_ready_at = scene.now.to_string();
    for (name, node) in [("q2", "n2"), ("q3", "n3"), ("q4", "n4")] {
        scene.apply(resource::PODS, ready(pod(name, node), &rest_ready_at));
    }
    assert_eq!(scene.pod_actions(), no_pods);
    scene.advance(20);
    assert_eq!(scene.pod_actions(), ["-p2", "-p4"]);
    for name in ["p2", "p4"] {
        scene.remove(resource::PODS, "ns", name);
    }
    assert_eq!(scene.pod_actions(), no_pods);
}

#[test]
fn with_a_surge_pods_of_one_template_by_generation_are_of_one_kind_in_managing_too() {
    let set = with(
        surging(),
        "/metadata/annotations",
        json!({"deprecated.daemonset.template.generation": "5"}),
    );
    let by_generation = with(
        old(healthy("a", "n0")),
        "/metadata/labels/pod-template-generation",
        json!("5"),
    );
    let mut scene = scene(set, 1).pods(vec![by_generation, younger(healthy("b", "n0"))]);
    assert_eq!(
        scene.pod_actions(),
        ["-b"],
        "two pods of the current template, not an old and a new one"
    );
}

#[test]
fn a_template_without_the_toleration_takes_every_pod_from_tainted_nodes() {
    let mut scene = surge_scene(1, 3, vec![old(healthy("p0", "n0"))]);
    for at in 0..3 {
        let name = format!("n{at}");
        let taints = json!([{"key": "zone", "effect": "NoSchedule"}]);
        scene.apply(
            resource::NODES,
            json!({"metadata": {"name": name, "uid": name}, "spec": {"taints": taints}}),
        );
    }
    assert_eq!(scene.pod_actions(), ["-p0", "-p1", "-p2"]);
}
