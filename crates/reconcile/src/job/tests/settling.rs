//! How soon a Job is looked at after a change (cases 19 and 20).

use super::*;

use crate::{Settle, WorldChange};
use rota_api::resource;

/// How soon the Job is looked at when `pod` becomes `new`.
fn settle(spec: Value, old: Option<Builder>, new: Builder) -> Settle {
    let object = |builder: Builder| Arc::new(Object::from_value(resource::PODS, builder.0));
    let world = world([(resource::JOBS, job(spec)), (resource::PODS, new.clone())]);
    let change = WorldChange {
        old: old.map(object),
        new: Some(object(new)),
    };
    JobController::default().settle(&change, &world)
}

#[test]
fn a_job_that_changes_is_looked_at_at_once() {
    let world = world([(resource::JOBS, job(json!({})))]);
    let change = WorldChange {
        old: None,
        new: world.get(resource::JOBS, "d", "j").cloned(),
    };
    assert_eq!(JobController::default().touched(&change, &world), [Key::new("d", "j")]);
    assert_eq!(JobController::default().settle(&change, &world), Settle::Now);
}

#[test]
fn when_a_pod_fails_others_that_fail_with_it_are_waited_for() {
    let second = Settle::Not(SignedDuration::from_secs(1));
    let running = || Some(pod("a", "Running"));
    assert_eq!(settle(json!({}), running(), pod("a", "Failed")), second);
    assert_eq!(settle(json!({}), running(), pod("a", "Running").deleting()), second);
    assert_ne!(
        settle(json!({}), Some(pod("a", "Failed")), pod("a", "Failed").ended(1, 1)),
        second,
        "that it failed is no news"
    );
    assert_ne!(
        settle(json!({}), running(), pod("a", "Failed").untracked()),
        second,
        "it was counted"
    );
}

#[test]
fn successes_wait_for_one_another_only_where_some_are_enough() {
    let success = || settle(json!({}), Some(pod("a", "Running")), pod("a", "Succeeded"));
    assert_eq!(success(), Settle::Within(SignedDuration::from_millis(10)));
    let some =
        json!({"completionMode": "Indexed", "completions": 2, "successPolicy": {"rules": [{"succeededCount": 1}]}});
    assert_eq!(
        settle(some, Some(pod("a", "Running")), pod("a", "Succeeded")),
        Settle::Not(SignedDuration::from_secs(1))
    );
}
