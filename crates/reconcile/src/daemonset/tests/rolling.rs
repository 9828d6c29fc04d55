//! Updates that take old pods away, within a budget.
//!
//! Source: specification §11, §12, §21 cases 47–56.

use std::collections::BTreeSet;
use std::sync::Arc;

use rota_api::{Object, resource};
use serde_json::{Value, json};

use super::scene::{Scene, daemon_set, deleting, healthy, old, pod, ready, scene, surging, tally, with};
use crate::daemonset::seen::SeenPod;

#[test]
fn a_pod_is_updated_by_its_generation_or_by_its_hash() {
    let labelled = |generation: Option<&str>, hash: Option<&str>| {
        let mut labels = json!({"app": "d"});
        if let Some(generation) = generation {
            labels["pod-template-generation"] = generation.into();
        }
        if let Some(hash) = hash {
            labels["controller-revision-hash"] = hash.into();
        }
        with(pod("p", "n0"), "/metadata/labels", labels)
    };
    let rows = [
        (labelled(Some("12345"), Some("55555")), "55555", true),
        (labelled(Some("12345"), Some("other")), "55555", true),
        (labelled(Some("12345"), None), "55555", true),
        (labelled(Some("12345"), None), "", true),
        (labelled(Some("1"), Some("55555")), "55555", true),
        (labelled(Some("1"), Some("other")), "55555", false),
        (labelled(None, None), "55555", false),
        (labelled(None, None), "", false),
        (with(pod("p", "n0"), "/metadata/labels", Value::Null), "", false),
    ];
    for (value, hash, expected) in rows {
        let object = Arc::new(Object::from_value(resource::PODS, value.clone()));
        assert_eq!(
            SeenPod::of(&object, hash, Some("12345")).is_updated,
            expected,
            "{value} {hash:?}"
        );
    }
}

#[test]
fn a_pod_is_of_the_current_template_by_either_label() {
    let set = with(
        daemon_set(),
        "/metadata/annotations",
        json!({"deprecated.daemonset.template.generation": "5"}),
    );
    let by_generation = with(
        old(pod("p", "a")),
        "/metadata/labels/pod-template-generation",
        json!("5"),
    );
    let by_neither = with(
        old(pod("p", "a")),
        "/metadata/labels/pod-template-generation",
        json!("4"),
    );
    assert_eq!(
        Scene::new(set.clone(), &["a"]).pods(vec![by_generation]).pod_actions(),
        Vec::<String>::new()
    );
    assert_eq!(
        Scene::new(set.clone(), &["a"]).pods(vec![by_neither]).pod_actions(),
        ["-p"]
    );
    let by_hash = with(pod("p", "a"), "/metadata/labels/pod-template-generation", json!("4"));
    assert_eq!(
        Scene::new(set, &["a"]).pods(vec![by_hash]).pod_actions(),
        Vec::<String>::new()
    );
}

/// A rollout of `count` nodes, those in `broken` with an old pod that is not available, those in `stuck` with a new one.
fn rollout(unavailable: usize, count: usize, broken: &[usize], stuck: &[usize]) -> Scene {
    let rolling = json!({"maxUnavailable": unavailable, "maxSurge": 0});
    let set = with(daemon_set(), "/spec/updateStrategy/rollingUpdate", rolling);
    let pods = (0..count).map(|at| {
        let (name, node) = (format!("p{at}"), format!("n{at}"));
        if stuck.contains(&at) {
            pod(&name, &node)
        } else if broken.contains(&at) {
            old(pod(&name, &node))
        } else {
            old(healthy(&name, &node))
        }
    });
    scene(set, count).pods(pods.collect())
}

#[test]
fn old_pods_that_are_not_available_go_beyond_the_budget_and_healthy_ones_within_it() {
    let since = "2026-01-01T00:00:00Z";
    let healthy = |name, node| ready(old(pod(name, node)), since);
    let nodes = ["a", "b", "c"];
    let mut scene =
        Scene::new(daemon_set(), &nodes).pods(vec![healthy("pa", "a"), healthy("pb", "b"), healthy("pc", "c")]);
    assert_eq!(scene.pod_actions(), ["-pa"]);
    let mut scene =
        Scene::new(daemon_set(), &nodes).pods(vec![old(pod("pa", "a")), old(pod("pb", "b")), healthy("pc", "c")]);
    assert_eq!(scene.pod_actions(), ["-pa", "-pb"]);
}

#[test]
fn a_second_update_replaces_what_is_stuck_and_leaves_healthy_old_pods() {
    // Two new pods of the first update are stuck; the second update makes them old.
    assert_eq!(rollout(2, 5, &[3, 4], &[]).pod_actions(), ["-p3", "-p4"]);
    assert_eq!(tally(&mut rollout(2, 5, &[], &[3, 4])), (0, 0));
}

#[test]
fn updates_that_are_stuck_replace_the_same_ten_pods_whatever_they_may_take() {
    let stuck: Vec<usize> = (0..10).collect();
    for unavailable in 0..10 {
        let gone = rollout(unavailable, 20, &stuck, &[]).pod_actions();
        let expected: Vec<String> = (0..10).map(|at| format!("-p{at}")).collect();
        assert_eq!(gone, expected, "at most {unavailable}");
    }
    let one_more: Vec<String> = (0..11).map(|at| format!("-p{at}")).collect();
    let gone: BTreeSet<String> = rollout(11, 20, &stuck, &[]).pod_actions().into_iter().collect();
    assert_eq!(gone, one_more.into_iter().collect(), "and one healthy pod, nine stay");
}

#[test]
fn with_many_new_pods_stuck_only_broken_old_ones_are_replaced() {
    let stuck: Vec<usize> = (12..100).collect();
    assert_eq!(rollout(10, 100, &[3, 7], &stuck).pod_actions(), ["-p3", "-p7"]);
}

#[test]
fn another_strategy_alone_replaces_nothing() {
    for set in [
        daemon_set(),
        surging(),
        with(daemon_set(), "/spec/updateStrategy", json!({"type": "OnDelete"})),
    ] {
        let pods = (0..5).map(|at| healthy(&format!("p{at}"), &format!("n{at}"))).collect();
        assert_eq!(tally(&mut scene(set, 5).pods(pods)), (0, 0));
    }
}

#[test]
fn a_node_without_a_pod_and_one_whose_pod_is_ending_count_as_unavailable() {
    let mut missing = rollout(2, 4, &[], &[]);
    let gone = missing.world.get(resource::PODS, "ns", "p3").cloned().unwrap();
    missing.world.delete(&gone);
    assert_eq!(missing.pod_actions(), ["-p0", "+n3"]);
    let mut ending = rollout(1, 2, &[], &[]);
    ending.apply(resource::PODS, deleting(old(healthy("p1", "n1"))));
    assert_eq!(tally(&mut ending), (0, 0));
}

#[test]
fn on_delete_replaces_nothing_and_recreates_with_the_newest_template() {
    let set = with(daemon_set(), "/spec/updateStrategy", json!({"type": "OnDelete"}));
    let pods = vec![old(healthy("p0", "n0")), old(pod("p1", "n1"))];
    let mut scene = scene(set, 3).pods(pods);
    assert_eq!(scene.pod_actions(), ["+n2"]);
}

#[test]
fn a_silent_node_does_not_hold_a_rollout_up() {
    let mut scene = rollout(1, 3, &[], &[]);
    let silent = json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"},
                        {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]);
    scene.apply(
        resource::NODES,
        json!({"metadata": {"name": "n1", "uid": "n1"}, "spec": {"taints": silent}}),
    );
    // Its old pod was told to stop, and nobody confirms it.
    scene.apply(resource::PODS, deleting(old(pod("p1", "n1"))));
    assert_eq!(scene.pod_actions(), ["-p0"]);
    // A node that is tainted by hand is heard of: it counts, as upstream has it.
    let tainted = json!([{"key": "k", "effect": "NoSchedule"}]);
    scene.apply(
        resource::NODES,
        json!({"metadata": {"name": "n1", "uid": "n1"}, "spec": {"taints": tainted}}),
    );
    assert_eq!(tally(&mut scene), (0, 0));
}
