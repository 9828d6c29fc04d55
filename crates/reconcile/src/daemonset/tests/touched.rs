//! Which changes are looked at.
//!
//! Source: specification §3, §21 cases 33, 39–46.

use rota_api::resource;
use serde_json::{Value, json};

use super::scene::{Scene, daemon_set, failed, healthy, node, pod, reported, scene, tainted, tally, with};
use crate::{Controller as _, Key};

#[test]
fn a_node_that_comes_or_changes_touches_the_sets_that_may_run_there() {
    let set = with(daemon_set(), "/spec/template/spec/nodeSelector", json!({"disk": "ssd"}));
    let mut scene = scene(set, 0);
    let mut touched = |value: Value| {
        let change = scene.apply(resource::NODES, value).expect("a change");
        scene.controller.touched(&change, &scene.world).len()
    };
    let (ssd, plain) = (json!({"disk": "ssd"}), json!({}));
    assert_eq!(touched(node("plain", &plain, &json!([]))), 0);
    assert_eq!(touched(node("ssd", &ssd, &json!([]))), 1);
    assert_eq!(
        touched(node("new", &ssd, &tainted("NoSchedule"))),
        1,
        "it may keep a pod"
    );
    assert_eq!(touched(node("new", &ssd, &json!([]))), 1);
}

#[test]
fn a_taint_that_goes_lets_the_pod_come() {
    let mut scene = scene(daemon_set(), 0);
    scene.apply(resource::NODES, node("a", &json!({}), &tainted("NoSchedule")));
    assert_eq!(scene.pod_actions(), Vec::<String>::new());
    let change = scene
        .apply(resource::NODES, node("a", &json!({}), &json!([])))
        .expect("a change");
    assert_eq!(scene.controller.touched(&change, &scene.world), [Key::new("ns", "d")]);
    assert_eq!(scene.pod_actions(), ["+a"]);
}

#[test]
fn a_node_touches_a_set_when_its_eligibility_changes_and_a_heartbeat_does_not() {
    let mut scene = Scene::new(
        with(daemon_set(), "/spec/template/spec/nodeSelector", json!({"disk": "ssd"})),
        &["a"],
    );
    let node = |labels, ready: &str, cpu: &str| {
        json!({"metadata": {"name": "a", "uid": "a", "labels": labels},
               "status": {"conditions": [{"type": "Ready", "status": ready}], "allocatable": {"cpu": cpu}}})
    };
    let mut touched = |value| {
        let change = scene.apply(resource::NODES, value).unwrap();
        scene.controller.touched(&change, &scene.world)
    };
    assert_eq!(touched(node(json!({}), "False", "1")), []);
    assert_eq!(touched(node(json!({"zone": "x"}), "False", "1")), []);
    assert_eq!(
        touched(node(json!({"disk": "ssd"}), "False", "1")),
        [Key::new("ns", "d")]
    );
    assert_eq!(touched(node(json!({"disk": "ssd"}), "True", "1")), [], "a heartbeat");
    assert_eq!(touched(node(json!({"disk": "ssd"}), "True", "8")), [], "room");
    assert_eq!(touched(node(json!({"disk": "ssd"}), "True", "8")), [], "nothing");
}

#[test]
fn a_node_that_turns_unfit_under_a_running_pod_is_counted_at_once() {
    let mut scene = scene(daemon_set(), 1).pods(vec![healthy("p", "n0")]);
    let unfit = node("n0", &json!({}), &tainted("NoSchedule"));
    let change = scene.apply(resource::NODES, unfit).expect("a change");
    assert_eq!(scene.controller.touched(&change, &scene.world), [Key::new("ns", "d")]);
    let status = reported(&scene.plan());
    assert_eq!(
        (&status["numberMisscheduled"], &status["desiredNumberScheduled"]),
        (&json!(1), &json!(0))
    );
}

#[test]
fn a_node_that_turns_fit_under_a_misplaced_pod_mends_the_count() {
    let set = with(daemon_set(), "/spec/template/spec/nodeSelector", json!({"disk": "ssd"}));
    let misplaced = json!({"observedGeneration": 1, "numberMisscheduled": 1, "desiredNumberScheduled": 0,
                           "currentNumberScheduled": 0, "numberReady": 0});
    let mut scene = scene(with(set, "/status", misplaced), 1).pods(vec![healthy("p", "n0")]);
    let change = scene.apply(resource::NODES, node("n0", &json!({"disk": "ssd"}), &json!([])));
    let keys = scene.controller.touched(&change.expect("a change"), &scene.world);
    assert_eq!(keys, [Key::new("ns", "d")]);
    let status = reported(&scene.plan());
    assert_eq!(
        (&status["numberMisscheduled"], &status["desiredNumberScheduled"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(scene.pod_actions(), Vec::<String>::new());
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
    // Nobody's kind: a pod of a ReplicaSet.
    let unrelated = with(own.clone(), "/metadata/ownerReferences/0/kind", json!("ReplicaSet"));
    // Of the set that selects other pods, which an orphan with these labels would not go to.
    let stray = with(own.clone(), "/metadata/ownerReferences/0/name", json!("other"));
    let stray = with(stray, "/metadata/ownerReferences/0/uid", json!("uid-other"));
    let rows: [(Option<&Value>, Option<&Value>, &[&str]); 12] = [
        (None, Some(&own), &["d"]),
        (None, Some(&orphan), &["d", "e"]),
        (None, Some(&unlabelled), &[]),
        (Some(&own), Some(&own), &["d"]),
        (Some(&own), Some(&others), &["d", "e"]),
        (Some(&own), Some(&orphan), &["d", "e"]),
        (Some(&orphan), Some(&moved), &[]),
        (Some(&orphan), Some(&relabelled), &["other"]),
        (Some(&stray), Some(&orphan), &["d", "e", "other"]),
        (Some(&own), None, &["d"]),
        (Some(&orphan), None, &[]),
        (Some(&unrelated), None, &[]),
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
