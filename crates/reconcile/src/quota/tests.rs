use std::sync::Arc;

use rota_api::{Object, Resource, resource};
use serde_json::{Value, json};

use super::{QuotaController, WATCHED};
use crate::{Controller, Key, Wake, World, WorldChange};

const NOW: &str = "2026-01-01T00:00:00Z";
/// When a quota seen at `NOW` has stood still.
const LATER: &str = "2026-01-01T00:00:00.5Z";

fn object(kind: &'static Resource, name: &str, mut value: Value) -> Arc<Object> {
    for (field, text) in [
        ("namespace", "d"),
        ("name", name),
        ("uid", name),
        ("resourceVersion", "7"),
    ] {
        value["metadata"][field] = text.into();
    }
    Arc::new(Object::from_value(kind, value))
}

fn quota(hard: Value, status: Value) -> Arc<Object> {
    let mut quota = json!({"spec": {}});
    quota["spec"]["hard"] = hard;
    quota["status"] = status;
    object(resource::RESOURCE_QUOTAS, "q", quota)
}

fn pod(name: &str, phase: &str) -> Arc<Object> {
    let container = json!({"name": "c", "resources": {"requests": {"cpu": "100m"}}});
    object(
        resource::PODS,
        name,
        json!({"spec": {"containers": [container]}, "status": {"phase": phase}}),
    )
}

fn world(objects: &[Arc<Object>]) -> World {
    let mut world = World::watching(&WATCHED, &[]);
    for object in objects {
        world.apply(Arc::clone(object));
    }
    world
}

/// What is planned for the quota: its new status, or nothing.
#[track_caller]
fn check(objects: &[Arc<Object>], expected: &Value) {
    let (mut controller, world) = (QuotaController::default(), world(objects));
    let key = Key::new("d", "q");
    controller.reconcile(&key, &world, NOW.parse().unwrap());
    let plan = controller.reconcile(&key, &world, LATER.parse().unwrap());
    let written = plan
        .actions
        .first()
        .map_or(Value::Null, |action| match &action.write.change {
            rota_api::Change::Update { object, .. } => object["status"].clone(),
            other => panic!("an update was expected, not {other:?}"),
        });
    assert_eq!(&written, expected);
}

#[test]
fn limits_come_into_force_with_a_count_of_what_is_there() {
    let config = object(resource::CONFIG_MAPS, "c", json!({}));
    check(
        &[
            quota(
                json!({"pods": "5", "requests.cpu": "1", "count/configmaps": "3", "count/jobs.batch": "1"}),
                json!({}),
            ),
            pod("a", "Running"),
            pod("b", "Pending"),
            pod("e", "Succeeded"),
            config,
        ],
        &json!({"hard": {"count/configmaps": "3", "count/jobs.batch": "1", "pods": "5", "requests.cpu": "1"},
            "used": {"count/configmaps": "1", "count/jobs.batch": "0", "pods": "2", "requests.cpu": "200m"}}),
    );
}

#[test]
fn a_status_that_says_what_is_true_is_left_alone() {
    let status = json!({"hard": {"pods": "5"}, "used": {"pods": "1"}});
    check(
        &[quota(json!({"pods": "5"}), status), pod("a", "Running")],
        &Value::Null,
    );
    let empty = json!({"hard": {}, "used": {}});
    check(&[quota(json!({}), empty)], &Value::Null);
}

#[test]
fn a_limit_that_was_taken_away_is_no_longer_told() {
    let status = json!({"hard": {"pods": "5", "secrets": "1"}, "used": {"pods": "0", "secrets": "0"}});
    check(
        &[quota(json!({"pods": "5"}), status)],
        &json!({"hard": {"pods": "5"}, "used": {"pods": "0"}}),
    );
}

#[test]
fn a_quota_for_some_pods_counts_no_others() {
    let mut scoped = quota(json!({"pods": "5"}), json!({})).to_value();
    scoped["spec"]["scopes"] = json!(["BestEffort"]);
    let idle = object(resource::PODS, "idle", json!({"spec": {"containers": [{"name": "c"}]}}));
    check(
        &[
            object(resource::RESOURCE_QUOTAS, "q", scoped),
            pod("a", "Running"),
            idle,
        ],
        &json!({"hard": {"pods": "5"}, "used": {"pods": "1"}}),
    );
}

#[test]
fn a_pod_that_does_not_go_stops_counting_in_time() {
    let mut value = pod("a", "Running").to_value();
    value["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:10Z".into();
    value["metadata"]["deletionGracePeriodSeconds"] = 30.into();
    let status = json!({"hard": {"pods": "5"}, "used": {"pods": "1"}});
    let objects = [quota(json!({"pods": "5"}), status), object(resource::PODS, "a", value)];
    let mut controller = QuotaController::default();
    let mut plan = |now: &str| controller.reconcile(&Key::new("d", "q"), &world(&objects), now.parse().unwrap());
    assert_eq!(plan(NOW).wake, Wake::At("2026-01-01T00:00:41Z".parse().unwrap()));
    assert!(plan(NOW).actions.is_empty());
    assert_eq!(plan("2026-01-01T00:00:41Z").actions.len(), 1);
}

#[test]
fn objects_touch_the_quotas_that_limit_them() {
    let mut world = world(&[quota(json!({"pods": "5"}), json!({}))]);
    let mut touched = |object: Arc<Object>| {
        let change = world.apply(object).expect("news");
        QuotaController::default().touched(&change, &world)
    };
    let key = Key::new("d", "q");
    assert_eq!(touched(pod("a", "Running")), std::slice::from_ref(&key));
    assert!(touched(object(resource::SECRETS, "s", json!({}))).is_empty());
    let change = |old: &str, new: &str| WorldChange {
        old: Some(pod("a", old)),
        new: Some(pod("a", new)),
    };
    assert_eq!(
        QuotaController::default().touched(&change("Running", "Failed"), &world),
        [key]
    );
    assert!(
        QuotaController::default()
            .touched(&change("Pending", "Running"), &world)
            .is_empty()
    );
}

#[test]
fn a_charge_whose_object_was_not_seen_yet_is_not_taken_back() {
    let key = Key::new("d", "q");
    let charged = |used: &str, revision: &str| {
        let status = json!({"hard": {"secrets": "3"}, "used": {"secrets": used}});
        let mut value = quota(json!({"secrets": "3"}), status).to_value();
        value["metadata"]["resourceVersion"] = revision.into();
        Arc::new(Object::from_value(resource::RESOURCE_QUOTAS, value))
    };
    let mut controller = QuotaController::default();
    let mut world = world(&[charged("0", "7")]);
    assert!(controller.reconcile(&key, &world, NOW.parse().unwrap()).is_empty());
    let change = world.apply(charged("1", "8")).expect("news");
    assert!(controller.touched(&change, &world).is_empty(), "a charge is right");
    let plan = controller.reconcile(&key, &world, LATER.parse().unwrap());
    assert_eq!(
        (plan.actions.len(), plan.wake),
        (0, Wake::At("2026-01-01T00:00:01Z".parse().unwrap()))
    );
    let plan = controller.reconcile(&key, &world, "2026-01-01T00:00:01Z".parse().unwrap());
    assert_eq!(plan.actions.len(), 1, "a quota that stands still says what there is");
}
