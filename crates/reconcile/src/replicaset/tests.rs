use std::sync::Arc;

use rota_api::{Change, Object, Timestamp, resource};
use serde_json::{Value, json};

use super::{ReplicaSetController, WATCHED, claim};
use crate::{Controller, Key, Plan, World};

const NOW: &str = "2026-01-01T12:00:00Z";

fn set(replicas: u32) -> Value {
    json!({
        "metadata": {"namespace": "d", "name": "r", "uid": "uid-r", "generation": 1},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "a"}},
                 "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "m", "image": "i"}]}}},
    })
}

/// A running, ready pod of the ReplicaSet.
fn pod(name: &str) -> Value {
    json!({
        "metadata": {"namespace": "d", "name": name, "uid": format!("uid-{name}"), "labels": {"app": "a"}, "annotations": {},
                     "creationTimestamp": "2026-01-01T10:00:00Z", "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "uid-r", "controller": true}]},
        "spec": {"nodeName": "n", "containers": []},
        "status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T11:00:00Z"}]},
    })
}

fn with(mut object: Value, pointer: &str, value: impl Into<Value>) -> Value {
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer has a slash");
    object.pointer_mut(parent).expect("the place is there")[field] = value.into();
    object
}

fn plan(set: Value, pods: &[Value]) -> Plan {
    let mut world = World::watching(&WATCHED, &[claim::ORPHANS]);
    world.apply(Arc::new(Object::from_value(resource::REPLICA_SETS, set)));
    for pod in pods {
        world.apply(Arc::new(Object::from_value(resource::PODS, pod.clone())));
    }
    let now: Timestamp = NOW.parse().expect("a time");
    ReplicaSetController.reconcile(&Key::new("d", "r"), &world, now)
}

/// The writes beside that of the status, with their stages.
#[track_caller]
fn check(set: Value, pods: &[Value], expected: &[&str]) {
    let plan = plan(set, pods);
    let writes = plan
        .actions
        .iter()
        .map(|action| format!("{} {}", action.stage, action.write));
    let writes: Vec<_> = writes.filter(|write| !write.contains("/status")).collect();
    assert_eq!(writes, expected);
}

/// Of two pods, only one of which is wanted, this one goes.
#[track_caller]
fn check_goes(goes: Value, stays: Value) {
    let name = goes["metadata"]["name"].as_str().expect("a name").to_owned();
    check(set(1), &[stays, goes], &[&format!("1 delete Pod d/{name}")]);
}

#[test]
fn missing_pods_are_created_in_growing_batches() {
    let expected = [
        "1 create Pod d/r-*",
        "2 create Pod d/r-*",
        "2 create Pod d/r-*",
        "3 create Pod d/r-*",
    ];
    check(set(4), &[], &expected);
    // Beside them the status, and what is told if one is refused.
    assert_eq!(plan(set(600), &[]).actions.len(), 2 + super::BURST_MAX);
}

#[test]
fn a_pod_is_made_of_the_template_and_controlled() {
    let Change::Create(pod) = plan(set(1), &[]).actions.remove(1).write.change else {
        panic!("a pod is created")
    };
    assert_eq!(pod["metadata"]["labels"], json!({"app": "a"}));
    assert_eq!(pod["metadata"]["ownerReferences"][0]["uid"], "uid-r");
    assert_eq!(pod["spec"]["containers"][0]["image"], "i");
}

#[test]
fn pods_that_have_ended_or_are_being_deleted_are_replaced() {
    let ended = with(pod("p"), "/status/phase", "Failed");
    check(set(1), &[ended], &["1 create Pod d/r-*"]);
    let going = with(pod("p"), "/metadata/deletionTimestamp", NOW);
    check(set(1), &[going], &["1 create Pod d/r-*"]);
}

#[test]
fn orphans_that_match_are_adopted_and_own_pods_that_do_not_are_released() {
    let orphan = with(pod("p"), "/metadata/ownerReferences", json!([]));
    // The write before them makes sure that the ReplicaSet is still there.
    check(set(1), std::slice::from_ref(&orphan), &["1 patch Pod d/p"]);
    let stranger = with(pod("p"), "/metadata/labels/app", "b");
    check(set(1), &[stranger], &["0 patch Pod d/p", "1 create Pod d/r-*"]);
    let deleting = with(set(1), "/metadata/deletionTimestamp", NOW);
    check(deleting, &[orphan], &[]);
}

#[test]
fn of_too_many_pods_those_with_least_to_lose_go() {
    let (a, z) = (pod("a"), pod("z"));
    check_goes(with(z.clone(), "/spec/nodeName", ""), a.clone());
    check_goes(with(z.clone(), "/status/phase", "Pending"), a.clone());
    check_goes(with(z.clone(), "/status/conditions", json!([])), a.clone());
    let costly = with(
        a.clone(),
        "/metadata/annotations",
        json!({"controller.kubernetes.io/pod-deletion-cost": "10"}),
    );
    check_goes(z.clone(), costly);
    let since = |pod: &Value, time: &str| with(pod.clone(), "/status/conditions/0/lastTransitionTime", time);
    check_goes(since(&z, "2026-01-01T11:59:00Z"), a.clone());
    let restarted = json!([{"name": "m", "image": "i", "imageID": "", "ready": true, "restartCount": 3}]);
    check_goes(with(z.clone(), "/status/containerStatuses", restarted), a.clone());
    check_goes(
        with(z.clone(), "/metadata/creationTimestamp", "2026-01-01T11:59:59Z"),
        a.clone(),
    );
    check_goes(a, z);
}

#[test]
fn pods_that_share_their_node_go_before_those_that_have_it_alone() {
    let alone = with(pod("a"), "/spec/nodeName", "other");
    check(set(2), &[alone, pod("y"), pod("z")], &["1 delete Pod d/y"]);
}

#[test]
fn the_status_tells_what_was_seen() {
    let going = with(pod("g"), "/metadata/deletionTimestamp", NOW);
    let unready = with(pod("u"), "/status/conditions", json!([]));
    let plan = plan(set(2), &[pod("p"), unready, going]);
    let Change::Patch { patch, .. } = &plan.actions[0].write.change else {
        panic!("the status is written")
    };
    let expected = json!({"replicas": 2, "terminatingReplicas": 1, "fullyLabeledReplicas": 2, "readyReplicas": 1,
                          "availableReplicas": 1, "observedGeneration": 1});
    assert_eq!(patch["status"], expected);
    let told = with(
        set(1),
        "/status",
        json!({"replicas": 1, "terminatingReplicas": 0, "fullyLabeledReplicas": 1,
        "readyReplicas": 1, "availableReplicas": 1, "observedGeneration": 1}),
    );
    assert!(self::plan(told, &[pod("p")]).is_empty());
}

#[test]
fn a_pod_is_available_when_it_has_been_ready_for_long_enough() {
    let patient = with(set(1), "/spec/minReadySeconds", 7200);
    let plan = plan(patient, &[pod("p")]);
    let Change::Patch { patch, .. } = &plan.actions[0].write.change else {
        panic!("the status is written")
    };
    assert!(patch["status"].get("availableReplicas").is_none());
    assert_eq!(
        plan.wake,
        crate::Wake::At("2026-01-01T13:00:00Z".parse().expect("a time"))
    );
}

#[test]
fn a_pod_touches_its_controller_and_an_orphan_those_that_want_it() {
    let mut world = World::watching(&WATCHED, &[claim::ORPHANS]);
    world.apply(Arc::new(Object::from_value(resource::REPLICA_SETS, set(1))));
    let mut touched = |pod: Value| {
        let change = world.apply(Arc::new(Object::from_value(resource::PODS, pod)));
        ReplicaSetController.touched(&change.expect("news"), &world)
    };
    assert_eq!(touched(pod("a")), [Key::new("d", "r")]);
    let orphan = with(pod("b"), "/metadata/ownerReferences", json!([]));
    assert_eq!(touched(orphan.clone()), [Key::new("d", "r")]);
    assert!(touched(with(with(orphan, "/metadata/labels/app", "b"), "/metadata/name", "c")).is_empty());
}

/// The status of a ReplicaSet of which creations were refused.
fn short(replicas: u32) -> Value {
    let failure = json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "no room"});
    let other = json!({"type": "Other", "status": "True"});
    let status = json!({"replicas": 1, "fullyLabeledReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
        "terminatingReplicas": 0, "observedGeneration": 1, "conditions": [failure, other]});
    let mut set = set(replicas);
    set["status"] = status;
    set
}

#[test]
fn what_is_told_when_a_creation_is_refused_keeps_the_conditions_of_others() {
    let mut whole = short(3);
    whole["status"]["conditions"].as_array_mut().expect("a list").remove(0);
    let plan = plan(whole, &[pod("p")]);
    let told: Vec<_> = plan
        .actions
        .iter()
        .filter(|action| action.is_told_of_refusal())
        .collect();
    assert_eq!(told.len(), 1, "{plan}");
    let write = told[0]
        .after_refusal(|_| false, (1, "exceeded quota: q"))
        .expect("a write");
    let Change::Patch { patch, .. } = write.change else {
        panic!("a patch");
    };
    let conditions = &patch["status"]["conditions"];
    assert_eq!(
        (&conditions[0]["type"], &conditions[0]["message"]),
        (&json!("ReplicaFailure"), &json!("exceeded quota: q"))
    );
    assert_eq!(conditions[1]["type"], "Other");
}

#[test]
fn a_failure_is_told_once_and_taken_back_when_no_pod_is_missing() {
    let still = plan(short(3), &[pod("p")]);
    assert!(!still.actions.iter().any(crate::Action::is_told_of_refusal), "{still}");
    let over = plan(short(1), &[pod("p")]);
    let Change::Patch { patch, .. } = &over.actions[0].write.change else {
        panic!("{over}");
    };
    assert_eq!(
        patch["status"]["conditions"],
        json!([{"type": "Other", "status": "True"}])
    );
}
