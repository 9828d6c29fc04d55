//! Who has to leave a tainted node, when, and what is said.

use super::*;

use std::sync::Arc;

use serde_json::Value;

const START: &str = "2026-01-01T00:00:00Z";

fn at(secs: i64) -> Timestamp {
    let start: Timestamp = START.parse().expect("a time");
    start + SignedDuration::from_secs(secs)
}

fn node(taints: &Value, revision: u64) -> Arc<Object> {
    let node = json!({"metadata": {"name": "n", "uid": "n", "resourceVersion": revision.to_string()}, "spec": {"taints": taints}});
    Arc::new(Object::from_value(resource::NODES, node))
}

fn pod(tolerations: &Value, revision: u64) -> Arc<Object> {
    let pod = json!({"metadata": {"namespace": "d", "name": "p", "uid": "u", "resourceVersion": revision.to_string()},
        "spec": {"nodeName": "n", "containers": [], "tolerations": tolerations}});
    Arc::new(Object::from_value(resource::PODS, pod))
}

fn world(taints: &Value, tolerations: &Value) -> World {
    let mut world = World::watching(&WATCHED, &[]);
    world.apply(node(taints, 1));
    world.apply(pod(tolerations, 1));
    world
}

fn taint(key: &str, effect: &str) -> Value {
    json!({"key": key, "effect": effect})
}

fn toleration(key: &str, secs: impl Into<Value>) -> Value {
    json!({"key": key, "operator": "Exists", "tolerationSeconds": secs.into()})
}

const EVICTED: &str = "0 patch Pod/status d/p (it does not tolerate a taint of its node any longer)
1 delete Pod d/p (it does not tolerate a taint of its node any longer)
note TaintManagerEviction: Marking for deletion Pod d/p
";

#[track_caller]
fn expect(controller: &mut TaintEvictionController, world: &World, secs: i64, expected: &str) {
    let plan = controller.reconcile(&Key::new("d", "p"), world, at(secs));
    assert_eq!(plan.explain(), expected);
}

#[track_caller]
fn check(taints: &Value, tolerations: &Value, expected: &str) {
    let mut controller = TaintEvictionController::default();
    expect(&mut controller, &world(taints, tolerations), 0, expected);
}

#[test]
fn a_pod_leaves_at_once_when_one_taint_is_not_tolerated() {
    check(&json!([taint("a", "NoExecute")]), &json!([]), EVICTED);
    check(
        &json!([taint("a", "NoExecute"), taint("b", "NoExecute")]),
        &json!([toleration("a", 60)]),
        EVICTED,
    );
    check(&json!([taint("a", "NoExecute")]), &json!([toleration("a", 0)]), EVICTED);
    check(
        &json!([taint("a", "NoExecute")]),
        &json!([toleration("a", -5)]),
        EVICTED,
    );
}

#[test]
fn other_effects_evict_nobody() {
    check(&json!([taint("a", "NoSchedule")]), &json!([]), "");
    check(&json!([]), &json!([]), "");
}

#[test]
fn the_shortest_time_of_the_tolerations_used_decides() {
    let taints = json!([taint("a", "NoExecute"), taint("b", "NoExecute")]);
    check(
        &taints,
        &json!([toleration("a", 60), toleration("b", 30)]),
        "wake 2026-01-01T00:00:30Z\n",
    );
    check(
        &taints,
        &json!([toleration("a", Value::Null), toleration("b", Value::Null)]),
        "",
    );
    // Of two that cover a taint the first counts.
    check(
        &taints,
        &json!([toleration("a", 60), toleration("a", 5), toleration("b", Value::Null)]),
        "wake 2026-01-01T00:01:00Z\n",
    );
}

#[test]
fn a_pod_is_evicted_when_its_time_is_over() {
    let world = world(&json!([taint("a", "NoExecute")]), &json!([toleration("a", 4)]));
    let mut controller = TaintEvictionController::default();
    expect(&mut controller, &world, 0, "wake 2026-01-01T00:00:04Z\n");
    expect(&mut controller, &world, 3, "wake 2026-01-01T00:00:04Z\n");
    expect(&mut controller, &world, 4, EVICTED);
    // A refused eviction is tried again.
    expect(&mut controller, &world, 5, EVICTED);
}

#[test]
fn a_running_wait_keeps_its_end() {
    let mut world = world(&json!([taint("a", "NoExecute")]), &json!([toleration("a", 60)]));
    let mut controller = TaintEvictionController::default();
    expect(&mut controller, &world, 0, "wake 2026-01-01T00:01:00Z\n");
    let change = world.apply(pod(&json!([toleration("a", 10)]), 2)).expect("news");
    assert_eq!(controller.touched(&change, &world), [Key::new("d", "p")]);
    expect(&mut controller, &world, 1, "wake 2026-01-01T00:01:00Z\n");
}

#[test]
fn a_wait_ends_with_the_taint() {
    let mut world = world(&json!([taint("a", "NoExecute")]), &json!([toleration("a", 6)]));
    let mut controller = TaintEvictionController::default();
    expect(&mut controller, &world, 0, "wake 2026-01-01T00:00:06Z\n");
    let change = world.apply(node(&json!([]), 2)).expect("news");
    assert_eq!(controller.touched(&change, &world), [Key::new("d", "p")]);
    let cancelled = "note TaintManagerEviction: Cancelling deletion of Pod d/p\n";
    expect(&mut controller, &world, 3, cancelled);
    expect(&mut controller, &world, 6, "");
}

#[test]
fn a_pod_that_is_going_anyway_is_marked_once() {
    let mut world = world(&json!([taint("a", "NoExecute")]), &json!([]));
    let mut going = pod(&json!([]), 2).to_value();
    going["metadata"]["deletionTimestamp"] = START.into();
    world.apply(Arc::new(Object::from_value(resource::PODS, going.clone())));
    let mut controller = TaintEvictionController::default();
    let marked = "0 patch Pod/status d/p (it does not tolerate a taint of its node any longer)
note TaintManagerEviction: Marking for deletion Pod d/p
";
    expect(&mut controller, &world, 9, marked);
    let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": REASON});
    going["status"] = json!({"conditions": [condition]});
    going["metadata"]["resourceVersion"] = "3".into();
    world.apply(Arc::new(Object::from_value(resource::PODS, going)));
    expect(&mut controller, &world, 10, "");
}

#[test]
fn a_node_touches_its_pods_only_by_taints_that_evict() {
    let mut world = world(&json!([]), &json!([]));
    let mut controller = TaintEvictionController::default();
    let change = world.apply(node(&json!([taint("a", "NoSchedule")]), 2)).expect("news");
    assert!(controller.touched(&change, &world).is_empty());
    let change = world.apply(node(&json!([taint("a", "NoExecute")]), 3)).expect("news");
    assert_eq!(controller.touched(&change, &world), [Key::new("d", "p")]);
}

const CANCELLED: &str = "note TaintManagerEviction: Cancelling deletion of Pod d/p\n";

#[test]
fn a_pod_that_goes_while_its_wait_runs_is_told_of() {
    let mut world = world(&json!([taint("a", "NoExecute")]), &json!([toleration("a", 6)]));
    let mut controller = TaintEvictionController::default();
    expect(&mut controller, &world, 0, "wake 2026-01-01T00:00:06Z\n");
    let pod = world.get(resource::PODS, "d", "p").cloned().expect("the pod");
    let change = world.delete(&pod).expect("it was there");
    assert_eq!(controller.touched(&change, &world), [Key::new("d", "p")]);
    let plan = controller.reconcile(&Key::new("d", "p"), &world, at(3));
    assert_eq!(
        (plan.explain().as_str(), plan.notes[0].regarding.uid.as_str()),
        (CANCELLED, "")
    );
    expect(&mut controller, &world, 6, "");
}

#[test]
fn a_second_taint_that_is_not_tolerated_ends_the_wait_and_evicts() {
    let mut world = world(&json!([taint("a", "NoExecute")]), &json!([toleration("a", 60)]));
    let mut controller = TaintEvictionController::default();
    expect(&mut controller, &world, 0, "wake 2026-01-01T00:01:00Z\n");
    world.apply(node(&json!([taint("a", "NoExecute"), taint("b", "NoExecute")]), 2));
    let plan = controller.reconcile(&Key::new("d", "p"), &world, at(3));
    let messages: Vec<&str> = plan.notes.iter().map(|note| note.message.as_str()).collect();
    assert_eq!(
        messages,
        ["Cancelling deletion of Pod d/p", "Marking for deletion Pod d/p"]
    );
}

#[test]
fn a_wait_outlives_its_node() {
    let mut world = world(&json!([taint("a", "NoExecute")]), &json!([toleration("a", 6)]));
    let mut controller = TaintEvictionController::default();
    expect(&mut controller, &world, 0, "wake 2026-01-01T00:00:06Z\n");
    let node = world.get(resource::NODES, "", "n").cloned().expect("the node");
    world.delete(&node);
    expect(&mut controller, &world, 3, "wake 2026-01-01T00:00:06Z\n");
    expect(&mut controller, &world, 6, EVICTED);
    // Without a wait a pod of a missing node is nobody's business here.
    expect(&mut TaintEvictionController::default(), &world, 6, "");
}
