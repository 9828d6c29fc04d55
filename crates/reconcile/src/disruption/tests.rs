use super::*;

use std::sync::Arc;

use jiff::SignedDuration;
use rota_api::{Change, Object, Write};
use serde_json::{Value, json};

const NOW: &str = "2026-01-01T00:00:00Z";

fn at(secs: i64) -> Timestamp {
    let start: Timestamp = NOW.parse().expect("a time");
    start + SignedDuration::from_secs(secs)
}

fn world(objects: &[(&'static Resource, Value)]) -> World {
    let mut world = World::watching(&WATCHED, &[]);
    for (resource, value) in objects {
        world.apply(Arc::new(Object::from_value(resource, value.clone())));
    }
    world
}

fn budget(spec: Value, status: &Value) -> (&'static Resource, Value) {
    let mut spec = spec;
    spec["selector"] = json!({"matchLabels": {"app": "x"}});
    let metadata = json!({"namespace": "d", "name": "b", "uid": "b", "generation": 2});
    let budget = json!({"metadata": metadata, "spec": spec, "status": status});
    (resource::POD_DISRUPTION_BUDGETS, budget)
}

fn pod(name: &str, ready: &str, owner: Option<(&str, &str)>) -> (&'static Resource, Value) {
    let mut pod = json!({
        "metadata": {"namespace": "d", "name": name, "uid": name, "labels": {"app": "x"}},
        "spec": {"containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]},
    });
    if let Some((kind, uid)) = owner {
        let api_version = if kind == "Job" { "batch/v1" } else { "apps/v1" };
        let owner = json!({"apiVersion": api_version, "kind": kind, "name": uid, "uid": uid, "controller": true});
        pod["metadata"]["ownerReferences"] = json!([owner]);
    }
    (resource::PODS, pod)
}

fn scaled(kind: &'static Resource, name: &str, replicas: i64, owner: Option<&str>) -> (&'static Resource, Value) {
    let mut object = json!({"metadata": {"namespace": "d", "name": name, "uid": name}, "spec": {"replicas": replicas}});
    if let Some(owner) = owner {
        let owner =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": owner, "uid": owner, "controller": true});
        object["metadata"]["ownerReferences"] = json!([owner]);
    }
    (kind, object)
}

fn plan(world: &World, now: Timestamp) -> Plan {
    DisruptionController.reconcile(&Key::new("d", "b"), world, now)
}

/// The status that the plan writes.
fn written(plan: &Plan) -> Value {
    match plan.actions.as_slice() {
        [action] => match &action.write {
            Write {
                change: Change::Update { object, .. },
                ..
            } => object["status"].clone(),
            other => panic!("not an update: {other}"),
        },
        other => panic!("not one write: {other:?}"),
    }
}

/// Allowed, healthy, desired, expected.
#[track_caller]
fn counts(objects: &[(&'static Resource, Value)]) -> [i64; 4] {
    let status = written(&plan(&world(objects), at(0)));
    ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"]
        .map(|field| status[field].as_i64().expect("a count"))
}

#[test]
fn what_is_healthy_beyond_the_number_that_must_be_available_may_go() {
    let least = |n: i64| budget(json!({"minAvailable": n}), &json!({}));
    let (a, b, c) = (pod("a", "True", None), pod("b", "True", None), pod("c", "False", None));
    assert_eq!(counts(&[least(1), a.clone(), b.clone(), c.clone()]), [1, 2, 1, 3]);
    assert_eq!(counts(&[least(2), a.clone(), b.clone(), c]), [0, 2, 2, 2 + 1]);
    assert_eq!(counts(&[least(5), a, b]), [0, 2, 5, 2]);
    assert_eq!(
        counts(&[least(0)]),
        [0, 0, 0, 0],
        "a budget without pods allows nothing"
    );
}

#[test]
fn shares_are_of_what_the_controllers_want_and_rounded_up() {
    let owned = |name: &str| pod(name, "True", Some(("ReplicaSet", "r")));
    let sets = [scaled(resource::REPLICA_SETS, "r", 5, None)];
    let with = |spec: Value| [vec![budget(spec, &json!({})), owned("a"), owned("b")], sets.to_vec()].concat();
    assert_eq!(counts(&with(json!({"minAvailable": "30%"}))), [0, 2, 2, 5]);
    assert_eq!(counts(&with(json!({"maxUnavailable": "70%"}))), [1, 2, 1, 5]);
    assert_eq!(counts(&with(json!({"maxUnavailable": 9}))), [2, 2, 0, 5]);
    assert_eq!(counts(&with(json!({}))), [0, 2, 0, 0]);
}

#[test]
fn a_replica_set_counts_as_much_as_the_deployment_behind_it() {
    let objects = [
        budget(json!({"maxUnavailable": 1}), &json!({})),
        pod("a", "True", Some(("ReplicaSet", "r"))),
        scaled(resource::REPLICA_SETS, "r", 1, Some("dep")),
        scaled(resource::DEPLOYMENTS, "dep", 3, None),
    ];
    assert_eq!(counts(&objects), [0, 1, 2, 3]);
    assert_eq!(
        counts(&objects[..3]),
        [1, 1, 0, 1],
        "the ReplicaSet itself once the Deployment is gone"
    );
}

#[test]
fn pods_without_controller_are_left_out_of_shares_and_users_are_told() {
    let world = world(&[budget(json!({"maxUnavailable": 1}), &json!({})), pod("a", "True", None)]);
    let plan = plan(&world, at(0));
    assert_eq!(written(&plan)["expectedPods"], 0);
    assert!(
        plan.explain()
            .contains("(selector: &LabelSelector{MatchLabels:map[string]string{app: x,},MatchExpressions:[]LabelSelectorRequirement{},})")
    );
}

#[test]
fn a_budget_whose_pods_cannot_be_counted_allows_nothing_and_says_why() {
    let objects = [
        budget(
            json!({"maxUnavailable": 1}),
            &json!({"disruptionsAllowed": 4, "observedGeneration": 1}),
        ),
        pod("a", "True", Some(("Job", "j"))),
    ];
    let status = written(&plan(&world(&objects), at(0)));
    assert_eq!(status["disruptionsAllowed"], 0);
    let condition = &status["conditions"][0];
    assert_eq!(condition["reason"], "SyncFailed");
    assert_eq!(
        condition["message"],
        "jobs.batch does not implement the scale subresource"
    );
    let again = world(&[budget(json!({"maxUnavailable": 1}), &status), objects[1].clone()]);
    assert!(plan(&again, at(9)).is_empty());
}

#[test]
fn a_pod_whose_eviction_was_granted_counts_as_gone_for_two_minutes() {
    let status = json!({"disruptedPods": {"a": NOW, "gone": NOW}});
    let objects = [
        budget(json!({"minAvailable": 1}), &status),
        pod("a", "True", None),
        pod("b", "True", None),
    ];
    let world = world(&objects);
    let early = plan(&world, at(119));
    assert_eq!(written(&early)["currentHealthy"], 1);
    assert_eq!(
        written(&early)["disruptedPods"],
        json!({"a": NOW}),
        "pods that are gone are forgotten"
    );
    assert!(early.explain().contains("wake 2026-01-01T00:02:00Z"), "{early}");
    let late = plan(&world, at(120));
    assert_eq!(written(&late)["currentHealthy"], 2);
    assert_eq!(written(&late)["disruptedPods"], Value::Null);
    assert!(
        late.explain().contains("warn NotDeleted: Pod was expected by PDB d/d"),
        "{late}"
    );
}

#[test]
fn a_status_that_is_true_is_left_alone() {
    let spec = json!({"minAvailable": 1});
    let pods = [pod("a", "True", None), pod("b", "True", None)];
    let with = |status: Value| world(&[vec![budget(spec.clone(), &status)], pods.to_vec()].concat());
    let status = written(&plan(&with(json!({})), at(0)));
    assert_eq!(
        status,
        json!({"observedGeneration": 2, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2,
            "conditions": [{"type": "DisruptionAllowed", "status": "True", "observedGeneration": 2, "reason": "SufficientPods",
                "message": "", "lastTransitionTime": NOW}]})
    );
    assert!(plan(&with(status), at(60)).is_empty());
}

#[test]
fn a_pod_touches_the_budgets_that_protect_it_or_did() {
    let mut world = world(&[budget(json!({"minAvailable": 1}), &json!({}))]);
    let object = |labels: Value, revision: &str| {
        let metadata =
            json!({"namespace": "d", "name": "a", "uid": "a", "labels": labels, "resourceVersion": revision});
        Arc::new(Object::from_value(resource::PODS, json!({"metadata": metadata})))
    };
    let mut touched = |labels: Value, revision: &str| {
        let change = world.apply(object(labels, revision)).expect("news");
        DisruptionController.touched(&change, &world).len()
    };
    assert_eq!(touched(json!({"app": "y"}), "1"), 0);
    assert_eq!(touched(json!({"app": "x"}), "2"), 1);
    assert_eq!(touched(json!({"app": "y"}), "3"), 1);
    assert_eq!(touched(json!({"app": "y", "z": ""}), "4"), 0);
}

#[test]
fn a_mark_of_disruption_is_taken_back_after_two_minutes_unless_the_node_made_it() {
    let marked = |reason: &str, phase: &str| {
        let condition =
            json!({"type": "DisruptionTarget", "status": "True", "reason": reason, "lastTransitionTime": NOW});
        let mut pod = pod("a", "True", None);
        pod.1["status"] = json!({"phase": phase, "conditions": [condition]});
        world(&[pod])
    };
    let explained = |world: &World, secs: i64| {
        let mut controller = StaleDisruptions;
        controller.reconcile(&Key::new("d", "a"), world, at(secs)).explain()
    };
    let evicted = marked("EvictionByEvictionAPI", "Running");
    assert_eq!(explained(&evicted, 119), "wake 2026-01-01T00:02:00Z\n");
    assert!(explained(&evicted, 120).starts_with("0 patch Pod/status d/a"));
    assert_eq!(explained(&marked("TerminationByKubelet", "Running"), 200), "");
    assert_eq!(explained(&marked("EvictionByEvictionAPI", "Failed"), 200), "");
}
