//! Which pods are the DaemonSet's, and when it may act at all.
//!
//! Source: specification §4, §5, §21 cases 11–27.

use std::sync::Arc;

use rota_api::{Object, resource};
use serde_json::{Value, json};

use super::scene::{
    Scene, daemon_set, deleting, failed, orphaned, pod, pods_on, scene, strangers_on, surging, tally, with,
};
use crate::NoteKind;
use crate::daemonset::claim::{self, Claim};
use crate::daemonset::placed::Placed;
use crate::daemonset::seen::{SeenDaemonSet, target_node};

#[test]
fn a_set_that_would_select_everything_is_told_so_and_touches_nothing() {
    let set = with(daemon_set(), "/spec/selector", json!({}));
    let pods = vec![pod("own", "a"), orphaned(pod("orphan", "b")), failed("broken", "b")];
    let plan = Scene::new(set, &["a", "b", "c"]).pods(pods).plan();
    assert!(plan.actions.is_empty(), "{plan}");
    let told: Vec<&str> = plan.notes.iter().map(|note| note.message.as_str()).collect();
    assert_eq!(
        told,
        ["This daemon set is selecting all pods. A non-empty selector is required."]
    );
    assert_eq!(
        (plan.notes[0].reason.as_ref(), plan.notes[0].kind),
        ("SelectingAll", NoteKind::Warning)
    );
}

#[test]
fn a_set_that_is_being_deleted_is_left_alone() {
    let mut scene = Scene::new(deleting(daemon_set()), &["a"]);
    assert!(scene.plan().is_empty());
}

#[test]
fn nothing_is_adopted_nor_done_unless_the_set_is_still_what_was_seen() {
    let plan = scene(daemon_set(), 3).pods(vec![orphaned(pod("orphan", "n0"))]).plan();
    let guard = &plan.actions[0];
    assert_eq!((guard.write.resource, guard.stage), (resource::DAEMON_SETS, 0));
    assert!(guard.write.precondition.revision.is_some());
    assert!(plan.actions[1..].iter().all(|action| action.stage > 0), "{plan}");
}

#[test]
fn an_orphan_that_matches_is_adopted_and_a_pod_that_matches_no_longer_is_released() {
    let orphan = orphaned(pod("orphan", "a"));
    let other = with(pod("other", "b"), "/metadata/labels", json!({"app": "x"}));
    let mut scene = Scene::new(daemon_set(), &["a", "b"]).pods(vec![orphan, other]);
    let plan = scene.plan().explain();
    assert!(
        plan.contains("patch Pod ns/orphan (the selector matches and nobody controls it)"),
        "{plan}"
    );
    assert!(
        plan.contains("patch Pod ns/other (the selector matches no longer)"),
        "{plan}"
    );
    assert_eq!(scene.pod_actions(), ["+b"]);
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
fn own_pods_and_orphans_that_match_are_grouped_and_no_others() {
    let set = Arc::new(Object::from_value(resource::DAEMON_SETS, daemon_set()));
    let seen = SeenDaemonSet::of(&set).unwrap();
    let foreign = |pod| with(pod, "/metadata/ownerReferences/0/uid", json!("another"));
    let mismatched = |pod| with(pod, "/metadata/labels/app", json!("x"));
    let of = |make: fn(&str, &str) -> Value, name: &str| make(name, "n0");
    // A pod, what it is to the DaemonSet, and whether it holds the node.
    let rows = [
        (of(pod, "own"), Some(Claim::Own), true),
        (deleting(of(pod, "ending")), Some(Claim::Own), true),
        (of(failed, "failed"), Some(Claim::Own), true),
        (deleting(of(failed, "ended")), Some(Claim::Own), false),
        (
            deleting(with(of(pod, "done"), "/status/phase", json!("Succeeded"))),
            Some(Claim::Own),
            false,
        ),
        (mismatched(of(pod, "stranger")), Some(Claim::Released), false),
        (orphaned(of(pod, "orphan")), Some(Claim::Adopted), true),
        (deleting(orphaned(of(pod, "ending-orphan"))), None, false),
        (mismatched(orphaned(of(pod, "other-orphan"))), None, false),
        (foreign(of(pod, "foreign")), None, false),
    ];
    for (value, expected, holds_node) in rows {
        let carried = with(value.clone(), "/metadata/labels/controller-revision-hash", json!("h"));
        let object = Object::from_value(resource::PODS, carried.clone());
        assert_eq!(claim::claim(&seen, &object), expected, "{value}");
        let scene = scene(daemon_set(), 1).pods(vec![carried]);
        let placed = Placed::of(&seen, "h", &scene.world, scene.now);
        let held = placed.node("n0").map_or(0, |node| node.pods.len());
        assert_eq!(held, usize::from(holds_node), "{value}");
        // History keeps what any of its pods carries, also of those that hold no node any more.
        let is_kept = matches!(expected, Some(Claim::Own | Claim::Adopted));
        assert_eq!(placed.carries("h"), is_kept, "{value}");
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
    let without = Object::from_value(resource::PODS, pod("p", ""));
    assert_eq!(target_node(&without), None, "no affinity at all");
    let unclear = json!({"requiredDuringSchedulingIgnoredDuringExecution":
        {"nodeSelectorTerms": [field(&["n0", "n1"])]}});
    let unclear = with(pod("unclear", ""), "/spec/affinity", json!({"nodeAffinity": unclear}));
    let pods = vec![unclear, pod("nowhere", "")];
    assert_eq!(
        scene(daemon_set(), 2).pods(pods).pod_actions(),
        ["+n0", "+n1"],
        "they count nowhere"
    );
}
