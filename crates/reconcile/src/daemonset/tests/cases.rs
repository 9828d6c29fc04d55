use rota_api::{Change, resource};
use serde_json::json;

use super::scene::{Scene, daemon_set, deleting, failed, old, pod, ready, surging, with};
use crate::daemonset::labels::FAILURES;
use crate::{Controller as _, Key, Wake};

#[test]
fn every_node_without_a_pod_gets_one_pinned_to_it() {
    let mut scene = Scene::new(daemon_set(), &["a", "b", "c"]).pods(vec![pod("p", "b")]);
    assert_eq!(scene.pod_actions(), ["+a", "+c"]);
}

#[test]
fn of_several_pods_on_a_node_the_oldest_stays() {
    let younger = with(
        pod("young", "a"),
        "/metadata/creationTimestamp",
        json!("2026-01-01T00:00:10Z"),
    );
    let mut scene = Scene::new(daemon_set(), &["a"]).pods(vec![younger, pod("y", "a"), pod("x", "a")]);
    assert_eq!(scene.pod_actions(), ["-y", "-young"]);
}

#[test]
fn a_failed_pod_goes_first_and_its_node_gets_another_when_it_is_gone() {
    let mut scene = Scene::new(daemon_set(), &["a"]).pods(vec![failed("f", "a")]);
    let plan = scene.plan();
    assert!(
        plan.notes
            .iter()
            .any(|note| note.message == "Found failed daemon pod ns/f on node a, will try to kill it")
    );
    assert_eq!(
        Scene::new(daemon_set(), &["a"])
            .pods(vec![failed("f", "a")])
            .pod_actions(),
        ["-f"]
    );
}

#[test]
fn pods_that_fail_again_wait_twice_as_long_each_time() {
    let mut scene = Scene::new(daemon_set(), &["a"]).pods(vec![failed("f", "a")]);
    for wait in [1, 2, 4, 8] {
        assert_eq!(scene.pod_actions(), ["-f"]);
        assert_eq!(scene.pod_actions(), Vec::<String>::new());
        let Wake::At(at) = scene.plan().wake else {
            panic!("the wait ends some time")
        };
        assert_eq!(at.duration_since(scene.now).as_secs(), wait);
        scene.advance(wait);
    }
}

#[test]
fn a_long_wait_is_written_on_the_pod_and_outlives_the_controller() {
    let mut scene = Scene::new(daemon_set(), &["a"]).pods(vec![failed("f", "a")]);
    for wait in [1, 2, 4, 8, 16, 32] {
        scene.plan();
        scene.advance(wait);
    }
    let gone = scene.world.get(resource::PODS, "ns", "f").cloned().unwrap();
    scene.world.delete(&gone);
    let plan = scene.plan();
    let created = plan.actions.iter().find_map(|action| match &action.write.change {
        Change::Create(pod) => Some(pod.clone()),
        _ => None,
    });
    assert_eq!(created.unwrap()["metadata"]["annotations"][FAILURES], "6");

    let marked = with(failed("g", "a"), "/metadata/annotations", json!({FAILURES: "6"}));
    let mut restarted = Scene::new(daemon_set(), &["a"]).pods(vec![marked]);
    restarted.now = "2026-01-01T00:00:31Z".parse().unwrap();
    assert_eq!(restarted.pod_actions(), Vec::<String>::new());
    restarted.advance(1);
    assert_eq!(restarted.pod_actions(), ["-g"]);
}

#[test]
fn a_pod_that_replaces_the_fifth_failure_looks_like_any_other() {
    let mut scene = Scene::new(daemon_set(), &["a"]).pods(vec![failed("f", "a")]);
    for wait in [1, 2, 4, 8, 16] {
        scene.plan();
        scene.advance(wait);
    }
    let gone = scene.world.get(resource::PODS, "ns", "f").cloned().unwrap();
    scene.world.delete(&gone);
    let plan = scene.plan();
    let created = plan.actions.iter().find_map(|action| match &action.write.change {
        Change::Create(pod) => Some(pod.clone()),
        _ => None,
    });
    assert!(created.unwrap()["metadata"]["annotations"].is_null());
}

#[test]
fn with_a_surge_a_node_whose_failed_pod_waits_is_occupied() {
    let mut scene = Scene::new(surging(), &["a"]).pods(vec![failed("f", "a")]);
    assert_eq!(scene.pod_actions(), ["-f"]);
    assert_eq!(scene.pod_actions(), Vec::<String>::new());
}

#[test]
fn a_pod_that_is_about_to_end_keeps_its_node_unless_it_has_ended_or_the_set_surges() {
    let one = |set, pod| Scene::new(set, &["a"]).pods(vec![pod]).pod_actions();
    assert_eq!(one(daemon_set(), deleting(pod("p", "a"))), Vec::<String>::new());
    assert_eq!(one(daemon_set(), deleting(failed("p", "a"))), ["+a"]);
    assert_eq!(one(surging(), deleting(pod("p", "a"))), ["+a"]);
}

#[test]
fn a_pod_that_waits_for_a_node_that_does_not_exist_goes_and_a_bound_one_stays() {
    let pinned = |name: &str, node: &str| {
        let field = json!({"key": "metadata.name", "operator": "In", "values": [node]});
        let required = json!({"nodeSelectorTerms": [{"matchFields": [field]}]});
        let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}});
        with(
            with(pod(name, ""), "/spec/affinity", affinity),
            "/status/phase",
            json!("Pending"),
        )
    };
    let mut scene =
        Scene::new(daemon_set(), &["a"]).pods(vec![pinned("waits", "x"), pod("bound", "y"), pinned("fine", "a")]);
    assert_eq!(scene.pod_actions(), ["-waits"]);
}

#[test]
fn taints_keep_pods_away_or_drive_them_off() {
    let tainted = |effect: &str| json!({"metadata": {"name": "a", "uid": "a"}, "spec": {"taints": [{"key": "k", "effect": effect}]}});
    let rows = [
        ("NoSchedule", false, vec![]),
        ("NoSchedule", true, vec![]),
        ("NoExecute", true, vec!["-p"]),
        ("PreferNoSchedule", false, vec!["+a"]),
    ];
    for (effect, has_pod, expected) in rows {
        let mut scene = Scene::new(daemon_set(), &["a"]);
        scene.apply(resource::NODES, tainted(effect));
        if has_pod {
            scene.apply(resource::PODS, pod("p", "a"));
        }
        assert_eq!(scene.pod_actions(), expected, "{effect}");
    }
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
fn with_a_surge_an_old_pod_that_is_not_ready_goes_as_soon_as_it_has_a_successor() {
    let mut scene = Scene::new(surging(), &["a"]).pods(vec![old(pod("former", "a")), pod("next", "a")]);
    assert_eq!(scene.pod_actions(), ["-former"]);
}

#[test]
fn an_orphan_that_matches_is_adopted_and_a_pod_that_matches_no_longer_is_released() {
    let orphan = with(pod("orphan", "a"), "/metadata/ownerReferences", json!([]));
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
fn a_set_that_would_select_everything_is_told_so_and_touches_nothing() {
    let mut scene = Scene::new(with(daemon_set(), "/spec/selector", json!({})), &["a"]);
    let plan = scene.plan();
    assert!(plan.actions.is_empty());
    assert_eq!(plan.notes[0].reason, "SelectingAll");
}

#[test]
fn a_set_that_is_being_deleted_is_left_alone() {
    let mut scene = Scene::new(deleting(daemon_set()), &["a"]);
    assert!(scene.plan().is_empty());
}

#[test]
fn a_name_that_is_taken_by_another_revision_counts_as_a_collision() {
    let mut scene = Scene::new(daemon_set(), &[]);
    let changed = with(
        daemon_set(),
        "/spec/template/spec/containers",
        json!([{"name": "c", "image": "app:2"}]),
    );
    scene.apply(resource::DAEMON_SETS, changed);
    let created = |scene: &mut Scene| {
        let plan = scene.plan();
        let created = plan
            .actions
            .into_iter()
            .find(|a| matches!(a.write.change, Change::Create(_)));
        created.expect("a revision is made").write.name
    };
    let first = created(&mut scene);
    scene.apply(
        resource::CONTROLLER_REVISIONS,
        json!({"metadata": {"namespace": "ns", "name": first, "uid": "taken"}, "data": {"spec": {}}, "revision": 9}),
    );
    assert_ne!(created(&mut scene), first);
    let plan = scene.plan().explain();
    assert!(
        plan.contains("patch DaemonSet/status ns/d (the name of the new revision is taken)"),
        "{plan}"
    );
}

#[test]
fn of_two_revisions_of_one_template_the_younger_stays_and_takes_over_the_pods() {
    let mut scene = Scene::new(daemon_set(), &["a", "b"]).pods(vec![pod("p", "a"), old(pod("q", "b"))]);
    let first = scene
        .world
        .get(resource::CONTROLLER_REVISIONS, "ns", "d-current")
        .unwrap()
        .to_value();
    let twin = with(
        with(first, "/metadata/name", json!("d-twin")),
        "/metadata/uid",
        json!("t"),
    );
    let twin = with(twin, "/metadata/labels/controller-revision-hash", json!("twin"));
    scene.apply(resource::CONTROLLER_REVISIONS, with(twin, "/revision", json!(2)));
    let plan = scene.plan().explain();
    assert!(
        plan.contains("patch Pod ns/p (two revisions hold its template)"),
        "{plan}"
    );
    assert!(!plan.contains("patch Pod ns/q"), "{plan}");
    assert!(plan.contains("delete ControllerRevision ns/d-current"), "{plan}");
}

#[test]
fn a_node_touches_a_set_when_its_eligibility_changes_and_a_heartbeat_does_not() {
    let mut scene = Scene::new(
        with(daemon_set(), "/spec/template/spec/nodeSelector", json!({"disk": "ssd"})),
        &["a"],
    );
    let node = |labels, ready: &str| json!({"metadata": {"name": "a", "uid": "a", "labels": labels}, "status": {"conditions": [{"type": "Ready", "status": ready}]}});
    let mut touched = |value| {
        let change = scene.apply(resource::NODES, value).unwrap();
        scene.controller.touched(&change, &scene.world)
    };
    assert_eq!(touched(node(json!({}), "False")), []);
    assert_eq!(touched(node(json!({"zone": "x"}), "False")), []);
    assert_eq!(touched(node(json!({"disk": "ssd"}), "False")), [Key::new("ns", "d")]);
    assert_eq!(touched(node(json!({"disk": "ssd"}), "True")), []);
}
