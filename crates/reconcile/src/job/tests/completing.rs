//! Completing (cases 28 to 39).

use super::*;

#[test]
fn the_last_success_announces_completion() {
    check(
        job(json!({"parallelism": 2, "completions": 2})).status(json!({"active": 2})),
        [pod("a", "Succeeded"), pod("b", "Succeeded")],
        &[
            "status active=- SuccessCriteriaMet=True(CompletionsReached) uncounted{succeeded=[\"a\",\"b\"]}",
            "untrack a, b",
        ],
    );
}

#[test]
fn an_announced_completion_is_sealed_once_everything_is_counted() {
    check(
        job(json!({"completions": 1}))
            .status(json!({"uncountedTerminatedPods": {"succeeded": ["a"]}}))
            .condition("SuccessCriteriaMet", "True", "CompletionsReached"),
        [pod("a", "Succeeded").untracked()],
        &[
            "status completionTime=now SuccessCriteriaMet=True(CompletionsReached) Complete=True(CompletionsReached) succeeded=1 uncounted{succeeded=null}",
            "event Completed: Job completed",
        ],
    );
}

#[test]
fn completion_waits_until_the_finalizers_are_gone() {
    check(
        job(json!({"completions": 1}))
            .status(json!({"uncountedTerminatedPods": {"succeeded": ["a"]}}))
            .condition("SuccessCriteriaMet", "True", "CompletionsReached"),
        [pod("a", "Succeeded")],
        &["untrack a"],
    );
}

#[test]
fn completion_waits_for_terminating_pods() {
    check(
        indexed(json!({"parallelism": 1, "completions": 1}))
            .status(json!({"completedIndexes": "0", "succeeded": 1, "terminating": 1}))
            .condition("SuccessCriteriaMet", "True", "CompletionsReached"),
        [pod("a", "Running").index(1).untracked().deleting()],
        &[],
    );
}

#[test]
fn a_work_queue_gets_no_worker_after_the_first_success() {
    check(
        job(json!({"parallelism": 2})).status(json!({"active": 2})),
        [pod("a", "Succeeded"), pod("b", "Running")],
        &["status active=1 uncounted{succeeded=[\"a\"]}", "untrack a"],
    );
}

#[test]
fn a_work_queue_is_complete_when_its_last_worker_ends() {
    check(
        job(json!({"parallelism": 2})).status(json!({"active": 2})),
        [pod("a", "Succeeded"), pod("b", "Failed")],
        &[
            "status active=- SuccessCriteriaMet=True(CompletionsReached) uncounted{failed=[\"b\"] succeeded=[\"a\"]}",
            "untrack a, b",
        ],
    );
}

#[test]
fn no_completions_wanted_completes_even_a_suspended_job() {
    check(
        job(json!({"completions": 0, "suspend": true})).with("/status", json!({})),
        [],
        &["status SuccessCriteriaMet=True(CompletionsReached) ready=0 terminating=0 uncounted{}"],
    );
}

#[test]
fn a_finished_job_is_left_alone() {
    check(
        job(json!({"completions": 1})).condition("Complete", "True", ""),
        [pod("a", "Running"), pod("b", "Failed")],
        &[],
    );
}

#[test]
fn a_hand_made_false_condition_decides_nothing() {
    check(
        job(json!({"completions": 1}))
            .status(json!({"active": 1}))
            .condition("FailureTarget", "False", "x")
            .condition("SuccessCriteriaMet", "False", "x"),
        [pod("a", "Running")],
        &[],
    );
}

#[test]
fn behind_a_hand_made_false_condition_the_real_one_is_found() {
    check(
        job(json!({"completions": 1, "backoffLimit": 0}))
            .condition("FailureTarget", "False", "x")
            .condition("FailureTarget", "True", "BackoffLimitExceeded")
            .status(json!({"failed": 1})),
        [],
        &[
            "status FailureTarget=False(x) FailureTarget=True(BackoffLimitExceeded) Failed=True(BackoffLimitExceeded)",
            "event BackoffLimitExceeded: BackoffLimitExceeded",
        ],
    );
}

#[test]
fn a_hand_made_failed_false_turns_true_in_its_place() {
    check(
        job(json!({"completions": 1}))
            .condition("Failed", "False", "x")
            .condition("FailureTarget", "True", "DeadlineExceeded"),
        [],
        &[
            "status Failed=True(DeadlineExceeded) FailureTarget=True(DeadlineExceeded)",
            "event DeadlineExceeded: DeadlineExceeded",
        ],
    );
}

#[test]
fn more_successes_than_completions_are_remarked() {
    check(
        job(json!({"completions": 1}))
            .status(json!({"succeeded": 2}))
            .condition("SuccessCriteriaMet", "True", "CompletionsReached"),
        [],
        &[
            "status completionTime=now SuccessCriteriaMet=True(CompletionsReached) Complete=True(CompletionsReached)",
            "event TooManySucceededPods: Too many succeeded pods running after completion count reached",
            "event Completed: Job completed",
        ],
    );
}

#[test]
fn behind_a_hand_made_false_condition_a_real_end_is_announced_once() {
    check(
        job(json!({"completions": 1, "backoffLimit": 0}))
            .status(json!({"active": 1}))
            .condition("FailureTarget", "False", "x"),
        [pod("a", "Failed")],
        &[
            "status active=- FailureTarget=False(x) FailureTarget=True(BackoffLimitExceeded) uncounted{failed=[\"a\"]}",
            "untrack a",
        ],
    );
    // What was announced is not announced again while a pod still ends.
    check(
        job(json!({"completions": 1, "backoffLimit": 0}))
            .status(json!({"failed": 1, "terminating": 1}))
            .condition("FailureTarget", "False", "x")
            .condition("FailureTarget", "True", "BackoffLimitExceeded"),
        [pod("b", "Running").untracked().deleting()],
        &[],
    );
}

#[test]
fn shrinking_announces_completion_although_a_pod_still_ends() {
    check(
        indexed(json!({"parallelism": 1, "completions": 1})).status(json!({"active": 2})),
        [pod("a", "Succeeded").index(0), pod("b", "Running").index(1).deleting()],
        &[
            "status active=- completedIndexes=\"0\" SuccessCriteriaMet=True(CompletionsReached) succeeded=1 terminating=1",
            "untrack a, b",
        ],
    );
}
