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

#[test]
fn more_terminating_pods_than_slots_create_nothing() {
    check(
        job(json!({"completions": 1, "podReplacementPolicy": "Failed"})).status(json!({"active": 2, "terminating": 4})),
        [
            pod("a", "Running"),
            pod("b", "Pending"),
            pod("t0", "Running").deleting(),
            pod("t1", "Running").deleting(),
            pod("t2", "Running").deleting(),
            pod("t3", "Running").deleting(),
        ],
        &["untrack b", "delete b", "status active=1 terminating=5"],
    );
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
