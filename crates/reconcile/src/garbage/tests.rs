use std::sync::Arc;

use rota_api::{Absent, Change, Object, Resource, Revision, Timestamp, resource};
use serde_json::{Value, json};

use super::{GarbageCollector, WATCHED, WRITES_PER_PLAN_MAX};
use crate::{Controller, Key, Plan, World, WorldChange};

const NOW: &str = "2026-01-01T00:00:00Z";

fn object(resource: &'static Resource, name: &str, owners: &[(&str, &str)]) -> Value {
    let references: Vec<Value> = owners
        .iter()
        .map(|(kind, name)| {
            let api_version = resource::ALL.iter().find(|r| r.kind == *kind).map_or_else(|| "example.com/v1".into(), |r| r.api_version());
            json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": format!("uid-{name}"), "blockOwnerDeletion": true})
        })
        .collect();
    let mut metadata = json!({"name": name, "uid": format!("uid-{name}"), "resourceVersion": "7"});
    if resource.is_namespaced() {
        metadata["namespace"] = "d".into();
    }
    if !references.is_empty() {
        metadata["ownerReferences"] = references.into();
    }
    json!({ "metadata": metadata })
}

fn ending(mut object: Value, finalizer: &str) -> Value {
    object["metadata"]["deletionTimestamp"] = NOW.into();
    object["metadata"]["finalizers"] = json!([finalizer]);
    object
}

fn world(objects: impl IntoIterator<Item = (&'static Resource, Value)>) -> World {
    let mut world = World::watching(&WATCHED, &[]);
    for (resource, value) in objects {
        world.apply(Arc::new(Object::from_value(resource, value)));
    }
    world
}

fn reconcile(collector: &mut GarbageCollector, world: &World, owner: &str) -> Plan {
    collector.reconcile(
        &Key::new("", format!("uid-{owner}")),
        world,
        NOW.parse::<Timestamp>().expect("a time"),
    )
}

/// What is done about the dependents of `j`.
#[track_caller]
fn check(objects: impl IntoIterator<Item = (&'static Resource, Value)>, expected: &[&str]) {
    let world = world(objects);
    let plan = reconcile(&mut GarbageCollector::default(), &world, "j").explain();
    assert_eq!(plan.lines().collect::<Vec<_>>(), expected);
}

fn jobs(value: Value) -> (&'static Resource, Value) {
    (resource::JOBS, value)
}

fn pods(value: Value) -> (&'static Resource, Value) {
    (resource::PODS, value)
}

fn pod_of(name: &str, owners: &[(&str, &str)]) -> (&'static Resource, Value) {
    pods(object(resource::PODS, name, owners))
}

fn job(name: &str) -> Value {
    object(resource::JOBS, name, &[])
}

const DELETED: &str = "0 delete Pod d/p (no owner is left that keeps it)";

#[test]
fn the_dependents_of_a_vanished_owner_are_deleted_in_one_plan() {
    check(
        [pod_of("p", &[("Job", "j")]), pod_of("q", &[("Job", "j")])],
        &[DELETED, "0 delete Pod d/q (no owner is left that keeps it)"],
    );
}

#[test]
fn an_owner_that_was_created_anew_is_another_one() {
    let mut successor = job("j");
    successor["metadata"]["uid"] = "other".into();
    check([jobs(successor), pod_of("p", &[("Job", "j")])], &[DELETED]);
}

#[test]
fn an_object_with_a_solid_owner_stays_and_loses_the_others() {
    check([jobs(job("j")), pod_of("p", &[("Job", "j")])], &[]);
    let both = pod_of("p", &[("Job", "j"), ("Job", "k")]);
    let dropped = "0 patch Pod d/p (these owners are gone or going, another one keeps it)";
    check([jobs(job("k")), both.clone()], &[dropped]);
    check(
        [jobs(job("k")), jobs(ending(job("j"), super::FOREGROUND)), both],
        &[dropped],
    );
}

#[test]
fn an_owner_of_an_unknown_kind_is_never_taken_for_gone() {
    check([pod_of("p", &[("Job", "j"), ("Widget", "w")])], &[]);
}

#[test]
fn what_is_being_deleted_already_is_left_alone() {
    let pod = object(resource::PODS, "p", &[("Job", "j")]);
    check([pods(ending(pod, "example.com/hold"))], &[]);
}

#[test]
fn a_foreground_deletion_waits_for_the_dependents_that_block_it() {
    let waiting = || jobs(ending(job("j"), super::FOREGROUND));
    check([waiting(), pod_of("p", &[("Job", "j")])], &[DELETED]);
    let released = "(no dependent that blocks its deletion is left)";
    check([waiting()], &[&format!("0 patch Job d/j {released}")]);
    let (kind, mut lax) = pod_of("p", &[("Job", "j")]);
    lax["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] = false.into();
    check(
        [waiting(), (kind, lax)],
        &[DELETED, &format!("1 patch Job d/j {released}")],
    );
}

#[test]
fn a_foreground_deletion_goes_down_the_whole_chain() {
    let cron_job = ending(object(resource::CRON_JOBS, "j", &[]), super::FOREGROUND);
    let job = object(resource::JOBS, "k", &[("CronJob", "j")]);
    let world = world([(resource::CRON_JOBS, cron_job), jobs(job), pod_of("p", &[("Job", "k")])]);
    let plan = reconcile(&mut GarbageCollector::default(), &world, "j");
    let Change::Delete(options) = &plan.actions[0].write.change else {
        panic!("the Job is deleted")
    };
    assert_eq!(options.propagation, Some(rota_api::Propagation::Foreground));
}

#[test]
fn owners_that_wait_for_each_other_are_let_go() {
    let first = ending(object(resource::JOBS, "j", &[("Job", "k")]), super::FOREGROUND);
    let second = object(resource::JOBS, "k", &[("Job", "j")]);
    check(
        [jobs(first), jobs(second)],
        &[
            "0 patch Job d/k (its owners and its dependents may wait for each other)",
            "0 delete Job d/k (no owner is left that keeps it)",
        ],
    );
}

#[test]
fn orphans_lose_the_reference_before_their_owner_goes() {
    let leaving = jobs(ending(job("j"), super::ORPHAN));
    check(
        [leaving, pod_of("p", &[("Job", "j")])],
        &[
            "0 patch Pod d/p (its owner is being deleted and leaves it behind)",
            "1 patch Job d/j (no dependent names it any more)",
        ],
    );
}

#[test]
fn an_owner_in_another_namespace_owns_nothing_and_that_is_said() {
    let mut elsewhere = job("j");
    elsewhere["metadata"]["namespace"] = "e".into();
    let warned = "warn OwnerRefInvalidNamespace: ownerRef [batch/v1/Job, namespace: d, name: j, uid: uid-j] does not exist in namespace \"d\"";
    check([jobs(elsewhere), pod_of("p", &[("Job", "j")])], &[DELETED, warned]);
    let node = (resource::NODES, object(resource::NODES, "n", &[("Job", "j")]));
    let warned = "warn OwnerRefInvalidNamespace: ownerRef [batch/v1/Job, namespace: , name: j, uid: uid-j] does not exist in namespace \"\"";
    check([node], &[warned]);
}

#[test]
fn a_deletion_refused_because_the_object_changed_is_repeated_without_minding_changes() {
    let world = world([pod_of("p", &[("Job", "j")])]);
    let mut collector = GarbageCollector::default();
    let precondition = |plan: Plan| plan.actions[0].write.precondition.clone();
    let strict = precondition(reconcile(&mut collector, &world, "j"));
    let lax = precondition(reconcile(&mut collector, &world, "j"));
    let uid = Some("uid-p".to_owned());
    assert_eq!((&strict.uid, strict.revision), (&uid, Some(Revision(7))));
    assert_eq!((&lax.uid, lax.revision), (&uid, None));
}

#[test]
fn more_dependents_than_fit_in_one_plan_follow_at_once() {
    let names = (0..WRITES_PER_PLAN_MAX + 1).map(|at| format!("p{at}"));
    let world = world(names.map(|name| pod_of(&name, &[("Job", "j")])));
    let plan = reconcile(&mut GarbageCollector::default(), &world, "j");
    assert_eq!(plan.actions.len(), WRITES_PER_PLAN_MAX);
    assert_eq!(plan.wake, crate::Wake::At(NOW.parse().expect("a time")));
}

/// The owners that are looked at after `change`.
fn touched(world: &World, change: Option<WorldChange>) -> Vec<String> {
    let keys = GarbageCollector::default().touched(&change.expect("news"), world);
    keys.into_iter().map(|key| key.name).collect()
}

#[test]
fn only_changes_that_can_mean_something_touch_an_owner() {
    let mut world = world([jobs(job("j"))]);
    let enter = |world: &mut World, (kind, mut value): (&'static Resource, Value), revision: u64| {
        value["metadata"]["resourceVersion"] = revision.to_string().into();
        let change = world.apply(Arc::new(Object::from_value(kind, value)));
        touched(world, change)
    };
    let pod = |name: &str| pod_of(name, &[("Job", "j")]);
    assert!(enter(&mut world, pod("p"), 8).is_empty(), "its owner is there");
    assert!(enter(&mut world, pod("q"), 9).is_empty());
    let waiting = || jobs(ending(job("j"), super::FOREGROUND));
    assert_eq!(enter(&mut world, waiting(), 10), ["uid-j"]);
    assert!(enter(&mut world, waiting(), 11).is_empty(), "it is known to be going");
    let gone = world.delete(&Object::from_value(resource::PODS, pod("p").1));
    assert!(touched(&world, gone).is_empty(), "another pod blocks it still");
    let gone = world.delete(&Object::from_value(resource::PODS, pod("q").1));
    assert_eq!(touched(&world, gone), ["uid-j"]);
    assert_eq!(enter(&mut world, pod("r"), 12), ["uid-j"], "a latecomer");
    let gone = world.delete(&Object::from_value(resource::JOBS, job("j")));
    assert_eq!(touched(&world, gone), ["uid-j"]);
}

#[test]
fn what_is_done_because_an_owner_is_missing_is_done_only_if_it_does_not_exist() {
    let absent = |resource: &'static Resource, namespace: &str, name: &str| Absent {
        resource,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: format!("uid-{name}"),
    };
    let job_is_gone = || absent(resource::JOBS, "d", "j");
    let waiting = ending(object(resource::CRON_JOBS, "w", &[]), super::FOREGROUND);
    let rows = [
        // Deleted; of owners in all namespaces as of others.
        (vec![pod_of("p", &[("Job", "j")])], vec![job_is_gone()]),
        (
            vec![pod_of("p", &[("Job", "j"), ("Node", "n")])],
            vec![job_is_gone(), absent(resource::NODES, "", "n")],
        ),
        // The reference is dropped.
        (
            vec![jobs(job("k")), pod_of("p", &[("Job", "j"), ("Job", "k")])],
            vec![job_is_gone()],
        ),
        // Deleted in the foreground.
        (
            vec![
                (resource::CRON_JOBS, waiting),
                jobs(object(resource::JOBS, "k", &[("Job", "j"), ("CronJob", "w")])),
                pod_of("p", &[("Job", "k")]),
            ],
            vec![job_is_gone()],
        ),
    ];
    for (objects, expected) in rows {
        let plan = reconcile(&mut GarbageCollector::default(), &world(objects), "j");
        assert_eq!(plan.actions.len(), 1, "{}", plan.explain());
        assert_eq!(plan.actions[0].write.precondition.absent, expected);
    }
}
