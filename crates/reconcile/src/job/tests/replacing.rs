//! podReplacementPolicy (cases 107 to 111).

use super::*;

#[test]
fn a_terminating_pod_is_replaced_at_once_by_default() {
    check(
        job(json!({"completions": 1})).status(json!({"active": 1})),
        [pod("a", "Running")
            .deleting()
            .with("/metadata/deletionTimestamp", json!(ago(700)))],
        &[
            "status active=- terminating=1 uncounted{failed=[\"a\"]}",
            "untrack a",
            "create pod",
            "status active=1",
        ],
    );
}

#[test]
fn under_failed_a_terminating_pod_keeps_its_slot() {
    check(
        job(json!({"completions": 1, "podReplacementPolicy": "Failed"})).status(json!({"active": 1})),
        [pod("a", "Running").deleting()],
        &["status active=- terminating=1"],
    );
}

#[test]
fn under_failed_it_is_replaced_once_it_has_failed() {
    check(
        job(json!({"completions": 1, "podReplacementPolicy": "Failed"})).status(json!({"terminating": 1})),
        [pod("a", "Failed").deleting().ended(143, 700)],
        &[
            "status terminating=0 uncounted{failed=[\"a\"]}",
            "untrack a",
            "create pod",
            "status active=1",
        ],
    );
}

/// A Job of one pod that has two, and four that are being deleted.
fn check_crowded(spec: Value) {
    let terminating = ["t0", "t1", "t2", "t3"].map(|name| pod(name, "Running").deleting());
    let active = [pod("a", "Running"), pod("b", "Pending")];
    check(
        job(spec).status(json!({"active": 2, "terminating": 4})),
        active.into_iter().chain(terminating),
        &["untrack b", "delete b", "status active=1 terminating=5"],
    );
}

#[test]
fn more_terminating_pods_than_slots_create_nothing() {
    check_crowded(json!({"completions": 1, "podReplacementPolicy": "Failed"}));
}

#[test]
fn under_failed_a_terminating_pod_keeps_its_index() {
    check(
        indexed(json!({"parallelism": 2, "completions": 5, "podReplacementPolicy": "Failed"}))
            .status(json!({"terminating": 1})),
        [pod("a", "Running").index(0).deleting()],
        &["create 1", "status active=1"],
    );
}

/// A work queue of one with a pod that runs, one that has failed and one that still ends.
fn check_three(policy: Value, expected: &[&str]) {
    let mut spec = json!({"parallelism": 1});
    merge(&mut spec, policy);
    check(
        job(spec).status(json!({"active": 1, "terminating": 1})),
        [
            pod("a", "Running"),
            pod("b", "Failed").ended(1, 700),
            pod("c", "Running").deleting(),
        ],
        expected,
    );
}

#[test]
fn by_default_a_pod_that_still_ends_has_failed_already() {
    for policy in [json!({}), json!({"podReplacementPolicy": "TerminatingOrFailed"})] {
        check_three(policy, &["status uncounted{failed=[\"b\",\"c\"]}", "untrack b, c"]);
    }
}

#[test]
fn under_failed_a_pod_that_still_ends_has_not_failed_yet() {
    check_three(
        json!({"podReplacementPolicy": "Failed"}),
        &["status uncounted{failed=[\"b\"]}", "untrack b"],
    );
}

#[test]
fn a_pod_failure_policy_alone_lets_terminating_pods_keep_their_slots() {
    let policy = json!({"rules": [{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [1]}}]});
    check_crowded(json!({"completions": 1, "podFailurePolicy": policy}));
}

#[test]
fn a_terminating_pod_without_index_keeps_a_slot_under_failed_and_none_by_default() {
    let of = |policy: &str| {
        indexed(json!({"parallelism": 2, "completions": 5, "podReplacementPolicy": policy}))
            .status(json!({"terminating": 1}))
    };
    let ending = || pod("a", "Running").untracked().deleting();
    check(of("Failed"), [ending()], &["create 0", "status active=1"]);
    check(
        of("TerminatingOrFailed"),
        [ending()],
        &["create 0, 1", "status active=2"],
    );
}
