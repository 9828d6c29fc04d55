//! Failing: limits and deadlines (cases 40 to 63).

use super::*;

#[test]
fn failures_up_to_the_limit_are_replaced() {
    check(
        job(json!({"completions": 1, "backoffLimit": 1})).status(json!({"active": 1})),
        [pod("a", "Failed").ended(1, 700)],
        &[
            "status active=- uncounted{failed=[\"a\"]}",
            "untrack a",
            "create pod",
            "status active=1",
        ],
    );
}

#[test]
fn one_failure_more_fails_the_job() {
    check(
        job(json!({"completions": 1, "backoffLimit": 1})).status(json!({"active": 1, "failed": 1})),
        [pod("a", "Failed").untracked(), pod("b", "Failed").ended(1, 700)],
        &[
            "status active=- FailureTarget=True(BackoffLimitExceeded) uncounted{failed=[\"b\"]}",
            "untrack b",
        ],
    );
}

#[test]
fn a_failing_job_stops_its_pods_and_counts_them() {
    check(
        job(json!({"parallelism": 3, "completions": 3, "backoffLimit": 0})).status(json!({"active": 3, "ready": 2})),
        [
            pod("a", "Running").ready(),
            pod("b", "Running").ready(),
            pod("c", "Failed"),
        ],
        &[
            "status active=2 FailureTarget=True(BackoffLimitExceeded) uncounted{failed=[\"a\",\"b\",\"c\"]}",
            "untrack a, b, c",
            "delete a, b",
            "status active=- ready=0 terminating=2",
        ],
    );
}

#[test]
fn an_announced_failure_is_sealed_when_no_pod_is_left() {
    check(
        job(json!({"completions": 1}))
            .status(json!({"failed": 1, "uncountedTerminatedPods": {"failed": ["b"]}}))
            .condition("FailureTarget", "True", "BackoffLimitExceeded"),
        [pod("b", "Failed").untracked()],
        &[
            "status FailureTarget=True(BackoffLimitExceeded) Failed=True(BackoffLimitExceeded) failed=2 uncounted{failed=null}",
            "event BackoffLimitExceeded: BackoffLimitExceeded",
        ],
    );
}

#[test]
fn an_announced_failure_waits_for_pods_that_still_end() {
    check(
        job(json!({"completions": 1}))
            .status(json!({"failed": 2, "terminating": 1}))
            .condition("FailureTarget", "True", "BackoffLimitExceeded"),
        [pod("a", "Running").untracked().deleting()],
        &[],
    );
}

#[test]
fn restarts_of_containers_count_against_the_limit() {
    check(
        job(json!({"parallelism": 2, "completions": 2, "backoffLimit": 2, "template": {"spec": {"restartPolicy": "OnFailure"}}})).status(json!({"active": 2})),
        [pod("a", "Running").restarts(1), pod("b", "Pending").restarts(1)],
        &[
    "status FailureTarget=True(BackoffLimitExceeded) uncounted{failed=[\"a\",\"b\"]}",
    "untrack a, b",
    "delete a, b",
    "status active=- terminating=2",
],
    );
}

#[test]
fn restarts_below_the_limit_do_not_matter() {
    check(
        job(json!({"parallelism": 2, "completions": 2, "backoffLimit": 3, "template": {"spec": {"restartPolicy": "OnFailure"}}})).status(json!({"active": 2})),
        [pod("a", "Running").restarts(1), pod("b", "Running").restarts(1)],
        &[],
    );
}

#[test]
fn a_limit_of_zero_allows_no_restart_but_does_not_fail_a_pod_without() {
    check(
        job(json!({"completions": 1, "backoffLimit": 0, "template": {"spec": {"restartPolicy": "OnFailure"}}}))
            .status(json!({"active": 1})),
        [pod("a", "Running").restarts(0)],
        &[],
    );
}

#[test]
fn restarts_of_finished_pods_do_not_count_and_completion_beats_suspension() {
    check(
        job(json!({"completions": 1, "suspend": true, "backoffLimit": 2, "template": {"spec": {"restartPolicy": "OnFailure"}}})).status(json!({"active": 1})),
        [pod("a", "Succeeded").restarts(9)],
        &[
    "status active=- SuccessCriteriaMet=True(CompletionsReached) uncounted{succeeded=[\"a\"]}",
    "untrack a",
],
    );
}

#[test]
fn a_passed_deadline_fails_the_job() {
    check(
        job(json!({"completions": 2, "activeDeadlineSeconds": 1200})).status(json!({"active": 1})),
        [pod("a", "Running"), pod("b", "Succeeded")],
        &[
            "status FailureTarget=True(DeadlineExceeded) uncounted{failed=[\"a\"] succeeded=[\"b\"]}",
            "untrack a, b",
            "delete a",
            "status active=- terminating=1",
        ],
    );
}

#[test]
fn a_deadline_to_come_wakes_the_controller() {
    check(
        job(json!({"completions": 1, "activeDeadlineSeconds": 1230})).status(json!({"active": 1})),
        [pod("a", "Running")],
        &["wake +30"],
    );
}

#[test]
fn a_deadline_of_zero_fails_a_new_job_before_any_pod() {
    check(
        job(json!({"completions": 1, "activeDeadlineSeconds": 0})).with("/status", json!({})),
        [],
        &["status FailureTarget=True(DeadlineExceeded) ready=0 startTime=now terminating=0 uncounted{}"],
    );
}

#[test]
fn the_backoff_limit_goes_before_the_deadline() {
    check(
        job(json!({"completions": 1, "backoffLimit": 0, "activeDeadlineSeconds": 10})).status(json!({"active": 1})),
        [pod("a", "Failed")],
        &[
            "status active=- FailureTarget=True(BackoffLimitExceeded) uncounted{failed=[\"a\"]}",
            "untrack a",
        ],
    );
}

#[test]
fn the_deadline_stands_still_while_the_job_is_suspended() {
    check(
        job(json!({"completions": 1, "suspend": true, "activeDeadlineSeconds": 10})),
        [],
        &[
            "status Suspended=True(JobSuspended) startTime=-",
            "event Suspended: Job suspended",
        ],
    );
}

#[test]
fn a_deadline_beyond_all_reason_never_passes() {
    check(
        job(json!({"completions": 1, "activeDeadlineSeconds": 10_000_000_000i64})).status(json!({"active": 1})),
        [pod("a", "Running")],
        &[],
    );
}

#[test]
fn a_passed_deadline_stops_what_runs() {
    check(
        job(json!({"completions": 1, "activeDeadlineSeconds": 10})).status(json!({"active": 1})),
        [pod("a", "Running")],
        &[
            "status FailureTarget=True(DeadlineExceeded) uncounted{failed=[\"a\"]}",
            "untrack a",
            "delete a",
            "status active=- terminating=1",
        ],
    );
}

#[test]
fn the_longest_deadline_that_counts_is_three_centuries_off() {
    let running =
        |secs: i64| job(json!({"completions": 1, "activeDeadlineSeconds": secs})).status(json!({"active": 1}));
    let rest = 9_223_372_036_i64 - 1200;
    check(
        running(9_223_372_036),
        [pod("a", "Running")],
        &[&format!("wake +{rest}")],
    );
    check(running(9_223_372_037), [pod("a", "Running")], &[]);
}
