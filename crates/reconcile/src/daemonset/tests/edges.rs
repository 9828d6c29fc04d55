//! The numbered edge cases of the specification (§21) that no other test of this folder is about. Which test shows which
//! case stands in `rota-sim`'s list.

use std::sync::Arc;

use jiff::SignedDuration;
use rota_api::{Change, Object, resource};
use serde_json::{Value, json};

use super::scene::{Scene, daemon_set, deleting, failed, old, pod, ready, surging, target, with};
use crate::daemonset::claim::{self, Claim};
use crate::daemonset::seen::{SeenDaemonSet, SeenPod, target_node};
use crate::{Controller as _, Key};

const LONG_AGO: &str = "2025-12-31T00:00:00Z";

fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("n{at}")).collect()
}

fn scene(set: Value, count: usize) -> Scene {
    let names = names(count);
    Scene::new(set, &names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// `count` pods of the DaemonSet on a node.
fn pods_on(node: usize, count: usize) -> Vec<Value> {
    (0..count)
        .map(|at| pod(&format!("p{node}-{at}"), &format!("n{node}")))
        .collect()
}

/// `count` pods of the DaemonSet on a node that its selector does not match.
fn strangers_on(node: usize, count: usize) -> Vec<Value> {
    let stranger = |at| {
        with(
            pod(&format!("s{node}-{at}"), &format!("n{node}")),
            "/metadata/labels/app",
            json!("x"),
        )
    };
    (0..count).map(stranger).collect()
}

/// How many pods are created and deleted.
fn tally(scene: &mut Scene) -> (usize, usize) {
    let actions = scene.pod_actions();
    let created = actions.iter().filter(|action| action.starts_with('+')).count();
    (created, actions.len() - created)
}

fn created(scene: &mut Scene) -> Vec<Value> {
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

fn healthy(name: &str, node: &str) -> Value {
    ready(pod(name, node), LONG_AGO)
}

fn selecting_last_five() -> Scene {
    let set = with(
        daemon_set(),
        "/spec/template/spec/nodeSelector",
        json!({"half": "last"}),
    );
    let mut scene = scene(set, 5);
    for at in 5..10 {
        let name = format!("n{at}");
        scene.apply(
            resource::NODES,
            json!({"metadata": {"name": name, "uid": name, "labels": {"half": "last"}}}),
        );
    }
    scene
}

#[test]
fn five_nodes_get_one_pod_each_pinned_and_not_bound() {
    let pods = created(&mut scene(daemon_set(), 5));
    let targets: Vec<&str> = pods.iter().map(target).collect();
    assert_eq!(targets, ["n0", "n1", "n2", "n3", "n4"]);
    assert!(pods.iter().all(|pod| pod["spec"]["nodeName"].is_null()));
}

#[test]
fn the_status_is_written_before_the_first_pod_is_asked_for_and_whatever_revision_it_has() {
    let plan = scene(with(daemon_set(), "/metadata/generation", json!(2)), 3).plan();
    let is_status = |change: &Change| {
        matches!(
            change,
            Change::Patch {
                subresource: Some("status"),
                ..
            }
        )
    };
    let status = plan
        .actions
        .iter()
        .find(|action| is_status(&action.write.change))
        .expect("a status");
    let create = plan
        .actions
        .iter()
        .find(|action| matches!(action.write.change, Change::Create(_)))
        .expect("a pod");
    assert!(status.stage < create.stage);
    assert_eq!(status.write.precondition.revision, None);
    assert!(status.write.precondition.uid.is_some());
}

#[test]
fn without_nodes_nothing_is_done_and_all_counts_are_zero() {
    let mut scene = scene(daemon_set(), 0);
    assert!(scene.plan().is_empty());
}

#[test]
fn conditions_of_a_node_play_no_part() {
    for condition in [
        ("Ready", "False"),
        ("NetworkUnavailable", "True"),
        ("MemoryPressure", "True"),
    ] {
        let conditions = json!([{"type": condition.0, "status": condition.1}]);
        let mut scene = scene(daemon_set(), 0);
        scene.apply(
            resource::NODES,
            json!({"metadata": {"name": "a", "uid": "a"}, "status": {"conditions": conditions}}),
        );
        assert_eq!(scene.pod_actions(), ["+a"], "{condition:?}");
    }
}

#[test]
fn nothing_is_adopted_nor_done_unless_the_set_is_still_what_was_seen() {
    let orphan = with(pod("orphan", "n0"), "/metadata/ownerReferences", json!([]));
    let plan = scene(daemon_set(), 3).pods(vec![orphan]).plan();
    let guard = &plan.actions[0];
    assert_eq!((guard.write.resource, guard.stage), (resource::DAEMON_SETS, 0));
    assert!(guard.write.precondition.revision.is_some());
    assert!(plan.actions[1..].iter().all(|action| action.stage > 0), "{plan}");
}

#[test]
fn missing_pods_come_surplus_ones_go_and_strangers_are_let_go() {
    for set in [daemon_set(), surging()] {
        let pods = [pods_on(1, 1), pods_on(2, 2), pods_on(3, 5), strangers_on(4, 2)].concat();
        let mut scene = scene(set, 5).pods(pods);
        let released = scene.plan().explain().matches("the selector matches no longer").count();
        assert_eq!((tally(&mut scene), released), ((2, 5), 2));
    }
}

#[test]
fn pods_on_nodes_that_are_not_selected_go() {
    let pods = [strangers_on(0, 2), pods_on(1, 3), strangers_on(1, 1), pods_on(4, 1)].concat();
    assert_eq!(tally(&mut selecting_last_five().pods(pods)), (5, 4));
}

#[test]
fn selected_nodes_keep_one_pod_and_others_none() {
    let pods = [
        pods_on(0, 1),
        pods_on(1, 3),
        strangers_on(1, 2),
        pods_on(2, 4),
        pods_on(6, 13),
        strangers_on(7, 4),
        pods_on(9, 1),
        strangers_on(9, 1),
    ];
    assert_eq!(tally(&mut selecting_last_five().pods(pods.concat())), (3, 20));
}

#[test]
fn a_selector_that_no_node_has_brings_no_pod() {
    let set = with(daemon_set(), "/spec/template/spec/nodeSelector", json!({"no": "node"}));
    assert_eq!(tally(&mut scene(set, 3)), (0, 0));
}

#[test]
fn required_affinity_chooses_nodes_and_is_replaced_by_the_node_itself() {
    let terms = json!([
        {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["test"]}]},
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]},
    ]);
    let preferred = json!([{"weight": 1, "preference": {"matchExpressions": [{"key": "k", "operator": "Exists"}]}}]);
    let affinity = json!({"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms},
        "preferredDuringSchedulingIgnoredDuringExecution": preferred,
    }, "podAntiAffinity": {}});
    let mut scene = scene(with(daemon_set(), "/spec/template/spec/affinity", affinity), 10);
    for name in ["n4", "n7"] {
        scene.apply(
            resource::NODES,
            json!({"metadata": {"name": name, "uid": name, "labels": {"zone": "test"}}}),
        );
    }
    let pods = created(&mut scene);
    assert_eq!(pods.iter().map(target).collect::<Vec<_>>(), ["n1", "n4", "n7"]);
    for pod in &pods {
        let affinity = &pod["spec"]["affinity"];
        let pin = json!({"nodeSelectorTerms": [{"matchFields": [
            {"key": "metadata.name", "operator": "In", "values": [target(pod)]}]}]});
        assert_eq!(
            affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"],
            pin
        );
        assert_eq!(
            affinity["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"],
            preferred
        );
        assert_eq!(affinity["podAntiAffinity"], json!({}));
    }
}

#[test]
fn a_template_that_names_a_node_brings_a_pod_there_only() {
    for (name, expected) in [("n1", vec!["+n1"]), ("nowhere", vec![])] {
        let set = with(daemon_set(), "/spec/template/spec/nodeName", json!(name));
        assert_eq!(scene(set, 3).pod_actions(), expected, "{name}");
    }
}

#[test]
fn own_pods_and_orphans_that_match_are_grouped_and_no_others() {
    let orphan = |pod| with(pod, "/metadata/ownerReferences", json!([]));
    let set = Arc::new(Object::from_value(resource::DAEMON_SETS, daemon_set()));
    let seen = SeenDaemonSet::of(&set).unwrap();
    let owner = pod("", "")["metadata"]["ownerReferences"][0].clone();
    let foreign = |pod: Value| {
        let mut other = owner.clone();
        other["uid"] = json!("another");
        with(pod, "/metadata/ownerReferences", json!([other]))
    };
    let mismatched = |pod| with(pod, "/metadata/labels/app", json!("x"));
    let rows = [
        (pod("p", "n0"), Some(Claim::Own)),
        (deleting(failed("p", "n0")), Some(Claim::Own)),
        (mismatched(pod("p", "n0")), Some(Claim::Released)),
        (orphan(pod("p", "n0")), Some(Claim::Adopted)),
        (deleting(orphan(pod("p", "n0"))), None),
        (mismatched(orphan(pod("p", "n0"))), None),
        (foreign(pod("p", "n0")), None),
    ];
    for (value, expected) in rows {
        let object = Object::from_value(resource::PODS, value.clone());
        assert_eq!(claim::claim(&seen, &object), expected, "{value}");
    }
}

#[test]
fn the_node_a_pod_is_meant_for_is_its_node_or_the_one_its_affinity_pins() {
    let field =
        |values: &[&str]| json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": values}]});
    let expression =
        json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["a"]}]});
    let rows = [
        ("", json!([field(&["a"])]), Some("a")),
        ("", json!([expression, field(&["a"])]), Some("a")),
        ("", json!([field(&["a", "b"])]), None),
        ("", json!([expression]), None),
        ("", json!([]), None),
        ("b", json!([field(&["a"])]), Some("b")),
    ];
    for (bound, terms, expected) in rows {
        let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
        let pod = with(pod("p", bound), "/spec/affinity", json!({"nodeAffinity": required}));
        let object = Object::from_value(resource::PODS, pod);
        assert_eq!(target_node(&object).as_deref(), expected, "{bound:?} {terms}");
    }
}

#[test]
fn of_failed_and_running_pods_the_failed_and_the_surplus_go() {
    let running = |count| pods_on(0, count);
    let broken = || vec![failed("f", "n0")];
    let rows = [
        (running(1), (0, 0), 0),
        (vec![], (1, 0), 0),
        (broken(), (0, 1), 1),
        ([broken(), running(3)].concat(), (0, 3), 1),
    ];
    for (pods, expected, warned) in rows {
        let mut scene = scene(daemon_set(), 1).pods(pods.clone());
        let plan = scene.plan();
        let warnings = plan
            .notes
            .iter()
            .filter(|note| note.reason == "FailedDaemonPod")
            .count();
        assert_eq!(warnings, warned);
        let mut again = self::scene(daemon_set(), 1).pods(pods);
        assert_eq!(tally(&mut again), expected);
    }
}

#[test]
fn a_failed_pod_waits_to_the_last_nanosecond_and_waiting_does_not_count() {
    let mut scene = scene(daemon_set(), 1).pods(vec![failed("f", "n0")]);
    assert_eq!(tally(&mut scene), (0, 1));
    assert_eq!(tally(&mut scene), (0, 0));
    let end = scene.now + SignedDuration::from_secs(1);
    scene.now = end - SignedDuration::from_nanos(1);
    assert_eq!(tally(&mut scene), (0, 0));
    scene.now = end;
    assert_eq!(tally(&mut scene), (0, 1));
}

#[test]
fn a_pod_that_ended_well_goes_with_a_friendly_word_and_again_and_again_not_without_a_brake() {
    let ended = with(pod("done", "n0"), "/status/phase", json!("Succeeded"));
    let mut scene = scene(daemon_set(), 1).pods(vec![ended]);
    let plan = scene.plan();
    let message = "Found succeeded daemon pod ns/done on node n0, will try to delete it";
    assert!(
        plan.notes
            .iter()
            .any(|note| note.reason == "SucceededDaemonPod" && note.message == message)
    );
    for _ in 1..5 {
        assert_eq!(tally(&mut scene), (0, 1), "a few in a row go at once");
    }
    assert_eq!(tally(&mut scene), (0, 1));
    assert_eq!(tally(&mut scene), (0, 0), "then there is a brake");
    scene.advance(1);
    assert_eq!(tally(&mut scene), (0, 1));
}

#[test]
fn a_generation_that_was_observed_starts_the_brake_over() {
    let mut scene = scene(daemon_set(), 1).pods(vec![failed("f", "n0")]);
    assert_eq!(tally(&mut scene), (0, 1));
    assert_eq!(tally(&mut scene), (0, 0));
    let observed = with(daemon_set(), "/metadata/generation", json!(2));
    scene.apply(
        resource::DAEMON_SETS,
        with(observed, "/status/observedGeneration", json!(2)),
    );
    assert_eq!(tally(&mut scene), (0, 1));
}

#[test]
fn a_node_that_comes_or_changes_touches_the_sets_that_may_run_there() {
    let set = with(daemon_set(), "/spec/template/spec/nodeSelector", json!({"disk": "ssd"}));
    let mut scene = scene(set, 0);
    let node = |name: &str, labels: Value, taints: Value| json!({"metadata": {"name": name, "uid": name, "labels": labels}, "spec": {"taints": taints}});
    let tainted = || json!([{"key": "k", "effect": "NoSchedule"}]);
    let mut touched = |value: Value| {
        let change = scene.apply(resource::NODES, value).expect("a change");
        scene.controller.touched(&change, &scene.world).len()
    };
    assert_eq!(touched(node("plain", json!({}), json!([]))), 0);
    assert_eq!(touched(node("ssd", json!({"disk": "ssd"}), json!([]))), 1);
    assert_eq!(
        touched(node("new", json!({"disk": "ssd"}), tainted())),
        1,
        "it may keep a pod"
    );
    assert_eq!(touched(node("new", json!({"disk": "ssd"}), json!([]))), 1);
}

#[test]
fn a_node_that_turns_unfit_under_a_running_pod_is_counted_at_once() {
    let mut scene = scene(daemon_set(), 1).pods(vec![healthy("p", "n0")]);
    let taints = json!([{"key": "k", "effect": "NoSchedule"}]);
    let node = json!({"metadata": {"name": "n0", "uid": "n0"}, "spec": {"taints": taints}});
    let change = scene.apply(resource::NODES, node).expect("a change");
    assert_eq!(scene.controller.touched(&change, &scene.world), [Key::new("ns", "d")]);
    let plan = scene.plan();
    let Change::Patch { patch, .. } = &plan.actions[0].write.change else {
        panic!("a status: {plan}")
    };
    assert_eq!(patch["status"]["numberMisscheduled"], 1);
    assert_eq!(patch["status"]["desiredNumberScheduled"], 0);
}

/// The names of the sets that a change of a pod touches, in a namespace with the sets `d`, `e` and one for other pods.
fn touched_by(before: Option<Value>, after: Option<Value>) -> Vec<String> {
    let mut scene = scene(daemon_set(), 1);
    for (name, app) in [("e", "d"), ("other", "x")] {
        let labels = json!({"app": app});
        let set = with(daemon_set(), "/metadata/name", json!(name));
        let set = with(set, "/metadata/uid", json!(format!("uid-{name}")));
        let set = with(set, "/spec/selector/matchLabels", labels.clone());
        scene.apply(
            resource::DAEMON_SETS,
            with(set, "/spec/template/metadata/labels", labels),
        );
    }
    let mut change = before.and_then(|pod| scene.apply(resource::PODS, pod));
    match after {
        Some(pod) => change = scene.apply(resource::PODS, pod),
        None => {
            let gone = change.as_ref().expect("it was there").latest().clone();
            change = scene.world.delete(&gone);
        }
    }
    let change = change.expect("a change");
    let keys = scene.controller.touched(&change, &scene.world);
    keys.into_iter().map(|key| key.name).collect()
}

#[test]
fn a_pod_touches_its_owner_and_an_orphan_all_that_would_take_it() {
    let own = pod("p", "n0");
    let orphan = with(own.clone(), "/metadata/ownerReferences", json!([]));
    let other =
        json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "e", "uid": "uid-e", "controller": true}]);
    let others = with(own.clone(), "/metadata/ownerReferences", other);
    let relabelled = with(orphan.clone(), "/metadata/labels/app", json!("x"));
    let moved = with(orphan.clone(), "/status/phase", json!("Pending"));
    let unlabelled = with(orphan.clone(), "/metadata/labels", json!({}));
    let rows: [(Option<&Value>, Option<&Value>, &[&str]); 10] = [
        (None, Some(&own), &["d"]),
        (None, Some(&orphan), &["d", "e"]),
        (None, Some(&unlabelled), &[]),
        (Some(&own), Some(&own), &["d"]),
        (Some(&own), Some(&others), &["d", "e"]),
        (Some(&own), Some(&orphan), &["d", "e"]),
        (Some(&orphan), Some(&moved), &[]),
        (Some(&orphan), Some(&relabelled), &["other"]),
        (Some(&own), None, &["d"]),
        (Some(&orphan), None, &[]),
    ];
    for (before, after, expected) in rows {
        assert_eq!(
            touched_by(before.cloned(), after.cloned()),
            expected,
            "{before:?} → {after:?}"
        );
    }
}

#[test]
fn a_set_that_goes_or_comes_again_is_touched_and_its_failures_are_forgotten() {
    let mut scene = scene(daemon_set(), 1).pods(vec![failed("f", "n0")]);
    assert_eq!(tally(&mut scene), (0, 1));
    let gone = scene.world.get(resource::DAEMON_SETS, "ns", "d").cloned().unwrap();
    let change = scene.world.delete(&gone).expect("it was there");
    assert_eq!(scene.controller.touched(&change, &scene.world), [Key::new("ns", "d")]);
    assert!(scene.plan().is_empty());
    let again = with(daemon_set(), "/metadata/uid", json!("another"));
    scene.apply(resource::DAEMON_SETS, again);
    assert_eq!(tally(&mut scene), (1, 0), "the failed pod is none of the new one's");
}

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
fn a_created_pod_carries_hash_and_generation_where_there_are_such() {
    let key = "deprecated.daemonset.template.generation";
    for (annotations, expected) in [
        (json!({key: "7"}), json!("7")),
        (json!({key: "x"}), Value::Null),
        (json!({}), Value::Null),
    ] {
        let pods = created(&mut scene(with(daemon_set(), "/metadata/annotations", annotations), 1));
        let labels = &pods[0]["metadata"]["labels"];
        assert_eq!(labels["pod-template-generation"], expected);
        assert_eq!(labels["controller-revision-hash"], "current");
        assert_eq!(labels["app"], "d");
    }
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
    assert_eq!(tally(&mut rollout(11, 20, &stuck, &[])), (0, 11));
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

/// With a surge: n0 with the given pods, each other node with a ready old one.
fn surge_scene(surge: usize, count: usize, pods: Vec<Value>) -> Scene {
    let set = with(surging(), "/spec/updateStrategy/rollingUpdate/maxSurge", json!(surge));
    let others = (1..count).map(|at| old(healthy(&format!("p{at}"), &format!("n{at}"))));
    scene(with(set, "/spec/minReadySeconds", json!(15)), count).pods(pods.into_iter().chain(others).collect())
}

fn younger(pod: Value) -> Value {
    with(pod, "/metadata/creationTimestamp", json!("2026-01-01T00:00:10Z"))
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
fn with_a_surge_a_node_whose_old_pod_is_ending_gets_its_new_one_beyond_the_budget() {
    let pods = vec![pod("new", "n0"), old(healthy("former", "n0"))];
    let mut scene = surge_scene(1, 5, pods);
    scene.apply(resource::PODS, deleting(old(healthy("p4", "n4"))));
    assert_eq!(scene.pod_actions(), ["+n4"]);
}

#[test]
fn with_a_surge_broken_old_pods_get_successors_beyond_the_budget_and_healthy_ones_within() {
    let mut scene = surge_scene(3, 5, vec![old(healthy("p0", "n0"))]);
    assert_eq!(scene.pod_actions(), ["+n0", "+n1", "+n2"]);
    for at in 0..5 {
        scene.apply(resource::PODS, old(pod(&format!("p{at}"), &format!("n{at}"))));
    }
    assert_eq!(tally(&mut scene), (5, 0));
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

#[test]
fn revisions_of_other_namespaces_and_owners_are_none_of_its_business() {
    let mut scene = scene(daemon_set(), 0);
    let data = json!({"spec": {"template": {"old": true}}});
    let revision = |namespace: &str, name: &str, owners: Value| {
        json!({"metadata": {"namespace": namespace, "name": name, "uid": name, "labels": {"app": "d"},
               "ownerReferences": owners}, "data": data, "revision": 7})
    };
    let another = json!([{"kind": "DaemonSet", "name": "x", "uid": "x", "controller": true}]);
    scene.apply(resource::CONTROLLER_REVISIONS, revision("elsewhere", "far", json!([])));
    scene.apply(resource::CONTROLLER_REVISIONS, revision("ns", "foreign", another));
    assert!(scene.plan().is_empty());
    scene.apply(resource::CONTROLLER_REVISIONS, revision("ns", "orphan", json!([])));
    let plan = scene.plan().explain();
    assert!(
        plan.contains("patch ControllerRevision ns/orphan (the selector matches and nobody controls it)"),
        "{plan}"
    );
    assert!(
        plan.contains("patch ControllerRevision ns/d-current (an old template is the current one again)"),
        "{plan}"
    );
}

#[test]
fn a_history_limit_of_none_keeps_what_pods_carry() {
    let set = with(daemon_set(), "/spec/revisionHistoryLimit", json!(0));
    let set = with(set, "/spec/updateStrategy", json!({"type": "OnDelete"}));
    let mut scene = scene(set, 1).pods(vec![deleting(old(failed("p", "n0")))]);
    let owners = pod("", "")["metadata"]["ownerReferences"].clone();
    for (name, number) in [("old", -2), ("unused", -1)] {
        let labels = json!({"app": "d", "controller-revision-hash": name});
        let metadata =
            json!({"namespace": "ns", "name": name, "uid": name, "labels": labels, "ownerReferences": owners});
        scene.apply(
            resource::CONTROLLER_REVISIONS,
            json!({"metadata": metadata, "data": {"spec": {"of": name}}, "revision": number}),
        );
    }
    let plan = scene.plan().explain();
    assert!(
        plan.contains("delete ControllerRevision ns/unused (it is beyond the history limit)"),
        "{plan}"
    );
    assert!(!plan.contains("delete ControllerRevision ns/old"), "{plan}");
}

#[test]
fn a_revision_without_a_hash_gets_its_name_for_one() {
    let mut scene = scene(daemon_set(), 1);
    let mut revision = scene
        .world
        .get(resource::CONTROLLER_REVISIONS, "ns", "d-current")
        .unwrap()
        .to_value();
    revision["metadata"]["labels"] = json!({"app": "d"});
    scene.apply(resource::CONTROLLER_REVISIONS, revision);
    assert_eq!(
        created(&mut scene)[0]["metadata"]["labels"]["controller-revision-hash"],
        "d-current"
    );
    let plan = scene.plan().explain();
    assert!(
        plan.contains("patch ControllerRevision ns/d-current (the revision has no hash)"),
        "{plan}"
    );
}

#[test]
fn the_longest_name_has_a_revision_too() {
    let name = "d".repeat(241) + "." + &"x".repeat(11);
    let mut set = with(daemon_set(), "/metadata/name", json!(name));
    set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("app:2");
    let mut scene = scene(daemon_set(), 1);
    scene.apply(resource::DAEMON_SETS, set);
    let plan = scene
        .controller
        .reconcile(&Key::new("ns", &name), &scene.world, scene.now);
    let revision = plan
        .actions
        .iter()
        .find(|action| action.write.resource == resource::CONTROLLER_REVISIONS);
    let made = &revision.expect("a revision").write.name;
    assert!(
        made.len() <= 253 && !made.contains(".-") && !made.contains("--"),
        "{made}"
    );
}

#[test]
fn an_error_or_a_gap_in_what_is_seen_of_nodes_takes_no_running_pod() {
    let pods = (0..5).map(|at| healthy(&format!("p{at}"), &format!("n{at}"))).collect();
    let mut scene = scene(daemon_set(), 5).pods(pods);
    assert_eq!(tally(&mut scene), (0, 0));
    scene.world.reset(resource::NODES, Vec::new());
    assert_eq!(tally(&mut scene), (0, 0));
}
