//! How long a replacement waits (cases 46 to 53).

use super::*;

#[test]
fn a_fresh_failure_is_replaced_ten_seconds_after_it_ended() {
    check(
        job(json!({"completions": 1})).status(json!({"active": 1})),
        [pod("a", "Failed").ended(1, 4)],
        &["status active=- uncounted{failed=[\"a\"]}", "untrack a", "wake +6"],
    );
}

#[test]
fn a_second_failure_doubles_the_delay() {
    check(
        job(json!({"completions": 1})).status(json!({"active": 1, "failed": 1})),
        [
            pod("a", "Failed").untracked().ended(1, 40),
            pod("b", "Failed").ended(1, 4),
        ],
        &["status active=- uncounted{failed=[\"b\"]}", "untrack b", "wake +16"],
    );
}

#[test]
fn exactly_at_its_end_the_delay_is_over() {
    check(
        job(json!({"completions": 1})).status(json!({"failed": 1})),
        [pod("a", "Failed").untracked().ended(1, 10)],
        &["create pod", "status active=1"],
    );
}

#[test]
fn a_success_after_the_failure_ends_the_delay() {
    check(
        job(json!({"parallelism": 2, "completions": 4})).status(json!({"active": 2})),
        [pod("a", "Failed").ended(1, 4), pod("b", "Succeeded").ended(0, 3)],
        &[
            "status active=- uncounted{failed=[\"a\"] succeeded=[\"b\"]}",
            "untrack a, b",
            "create pod, pod",
            "status active=2",
        ],
    );
}

#[test]
fn only_failures_after_the_success_count() {
    check(
        job(json!({"parallelism": 3, "completions": 4})).status(json!({"active": 3})),
        [
            pod("a", "Failed").ended(1, 9),
            pod("b", "Succeeded").ended(0, 6),
            pod("c", "Failed").ended(1, 4),
        ],
        &[
            "status active=- uncounted{failed=[\"a\",\"c\"] succeeded=[\"b\"]}",
            "untrack a, b, c",
            "wake +6",
        ],
    );
}

#[test]
fn running_pods_stay_active_in_the_status_while_a_replacement_waits() {
    check(
        job(json!({"parallelism": 3, "completions": 3})).status(json!({"active": 3, "ready": 3})),
        [
            pod("a", "Running").ready(),
            pod("b", "Running").ready(),
            pod("c", "Failed").ended(1, 1),
        ],
        &[
            "status active=2 ready=2 uncounted{failed=[\"c\"]}",
            "untrack c",
            "wake +9",
        ],
    );
}

#[test]
fn without_container_times_the_end_of_readiness_counts() {
    check(
        job(json!({"completions": 1})).status(json!({"failed": 1})),
        [pod("a", "Failed").untracked().with(
            "/status/conditions",
            json!([{"type": "Ready", "status": "False", "lastTransitionTime": ago(3)}]),
        )],
        &["wake +7"],
    );
}

#[test]
fn a_deleted_pod_counts_as_ended_when_it_was_told_to_stop() {
    check(
        job(json!({"completions": 1})).status(json!({"active": 1})),
        [pod("a", "Running").deleting()],
        &[
            "status active=- terminating=1 uncounted{failed=[\"a\"]}",
            "untrack a",
            "wake +10",
        ],
    );
}

#[test]
fn a_pod_stopped_by_scaling_down_delays_nothing() {
    check(
        job(json!({"parallelism": 1, "completions": 2})),
        [pod("a", "Failed").untracked().deleting().ended(137, 1)],
        &["create pod", "status active=1"],
    );
}
