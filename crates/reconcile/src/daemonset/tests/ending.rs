//! Pods that end, by themselves or because they were told to, and pods that are too many.
//!
//! Source: specification §9, §21 cases 23–30.

use jiff::SignedDuration;
use rota_api::{Change, resource};
use serde_json::json;

use super::scene::{
    Scene, daemon_set, deleting, failed, pod, pods_on, reported, says, scene, surging, tally, with, younger,
};
use crate::Wake;
use crate::daemonset::labels::FAILURES;

#[test]
fn of_several_pods_on_a_node_the_oldest_stays() {
    let pods = vec![younger(pod("young", "a")), pod("y", "a"), pod("x", "a")];
    let mut scene = Scene::new(daemon_set(), &["a"]).pods(pods);
    assert_eq!(scene.pod_actions(), ["-y", "-young"]);
}

#[test]
fn a_pod_that_is_about_to_end_keeps_its_node_unless_it_has_ended_or_the_set_surges() {
    let one = |set, pod| Scene::new(set, &["a"]).pods(vec![pod]).pod_actions();
    assert_eq!(one(daemon_set(), deleting(pod("p", "a"))), Vec::<String>::new());
    assert_eq!(one(daemon_set(), deleting(failed("p", "a"))), ["+a"]);
    assert_eq!(one(surging(), deleting(pod("p", "a"))), ["+a"]);
}

#[test]
fn a_pod_that_has_ended_is_replaced_though_a_finalizer_keeps_it() {
    for phase in ["Failed", "Succeeded"] {
        for (finalizers, is_kept) in [(json!([]), false), (json!(["example.com/keep"]), true)] {
            let ended = with(pod("p", "a"), "/status/phase", json!(phase));
            let ended = with(ended, "/metadata/finalizers", finalizers);
            let mut scene = Scene::new(with(daemon_set(), "/status", json!({})), &["a"]).pods(vec![ended.clone()]);
            assert_eq!(reported(&scene.plan())["currentNumberScheduled"], 1, "{phase}");
            let mut scene = Scene::new(daemon_set(), &["a"]).pods(vec![ended.clone()]);
            assert_eq!(scene.pod_actions(), ["-p"], "{phase}");
            // The deletion is done, or waits for the finalizer.
            if is_kept {
                scene.apply(resource::PODS, deleting(ended));
            } else {
                scene.remove(resource::PODS, "ns", "p");
            }
            let plan = scene.plan();
            assert_eq!(
                reported(&plan)["currentNumberScheduled"],
                0,
                "it is counted nowhere: {plan}"
            );
            assert_eq!(scene.pod_actions(), ["+a"], "{phase}, kept: {is_kept}");
            scene.apply(resource::PODS, pod("next", "a"));
            assert_eq!(scene.pod_actions(), Vec::<String>::new(), "{phase}, kept: {is_kept}");
        }
    }
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
        let plan = scene(daemon_set(), 1).pods(pods.clone()).plan();
        assert_eq!(says(&plan, "FailedDaemonPod"), warned);
        assert_eq!(tally(&mut scene(daemon_set(), 1).pods(pods)), expected);
    }
    let mut later = scene(daemon_set(), 1).pods(broken());
    assert_eq!(tally(&mut later), (0, 1), "nothing is created in the same look");
    later.remove(resource::PODS, "ns", "f");
    assert_eq!(tally(&mut later), (1, 0));
}

#[test]
fn a_failed_pod_waits_to_the_last_nanosecond_and_waiting_does_not_count() {
    let mut scene = scene(daemon_set(), 1).pods(vec![failed("f", "n0")]);
    // Pods created and deleted, warnings.
    let look = |scene: &mut Scene| {
        let plan = scene.plan();
        let deleted = plan
            .actions
            .iter()
            .filter(|action| matches!(action.write.change, Change::Delete(_)));
        (plan.actions.len(), deleted.count(), says(&plan, "FailedDaemonPod"))
    };
    let (acts, waits) = ((1, 1, 1), (0, 0, 0));
    // The status is as it should be, so that nothing but pods is written.
    let counts = json!({"observedGeneration": 1, "desiredNumberScheduled": 1, "currentNumberScheduled": 1,
                        "updatedNumberScheduled": 1, "numberUnavailable": 1, "numberMisscheduled": 0, "numberReady": 0});
    scene.apply(resource::DAEMON_SETS, with(daemon_set(), "/status", counts));
    assert_eq!(look(&mut scene), acts);
    assert_eq!(look(&mut scene), waits);
    let end = scene.now + SignedDuration::from_secs(1);
    scene.now = end - SignedDuration::from_nanos(1);
    assert_eq!(look(&mut scene), waits);
    scene.now = end;
    assert_eq!(look(&mut scene), acts);
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
