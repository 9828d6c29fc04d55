//! backoffLimitPerIndex (cases 125 to 136).

use super::*;

#[test]
fn a_failed_pod_is_kept_until_its_replacement_runs() {
    check(
        indexed(json!({"parallelism": 2, "completions": 2, "backoffLimitPerIndex": 1, "backoffLimit": 100}))
            .status(json!({"active": 2, "failedIndexes": ""})),
        [
            pod("a", "Failed").index(0).failures("0").ended(1, 700),
            pod("b", "Running").index(1),
        ],
        &["status active=1", "create 0 failures=1", "status active=2"],
    );
}

#[test]
fn a_replaced_pod_is_counted() {
    check(
        indexed(json!({"parallelism": 2, "completions": 2, "backoffLimitPerIndex": 1, "backoffLimit": 100}))
            .status(json!({"active": 2, "failedIndexes": ""})),
        [
            pod("a", "Failed").index(0).failures("0").ended(1, 700),
            pod("b", "Running").index(1),
            pod("c", "Pending").index(0).failures("1"),
        ],
        &["status uncounted{failed=[\"a\"]}", "untrack a"],
    );
}

#[test]
fn an_index_over_its_limit_has_failed() {
    check(
        indexed(json!({"parallelism": 2, "completions": 2, "backoffLimitPerIndex": 1, "backoffLimit": 100}))
            .status(json!({"active": 2, "failedIndexes": ""})),
        [
            pod("a", "Failed").index(0).failures("1").ended(1, 700),
            pod("b", "Running").index(1),
        ],
        &[
            "status active=1 failedIndexes=\"0\" uncounted{failed=[\"a\"]}",
            "untrack a",
        ],
    );
}

#[test]
fn a_rule_can_fail_the_index_at_once() {
    check(
        indexed(json!({"parallelism": 2, "completions": 2, "backoffLimitPerIndex": 1, "backoffLimit": 100, "podFailurePolicy": {"rules": [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [3]}}]}})).status(json!({"active": 2, "failedIndexes": ""})),
        [pod("a", "Failed").index(0).failures("0").ended(3, 700), pod("b", "Running").index(1)],
        &[
    "status active=1 failedIndexes=\"0\" uncounted{failed=[\"a\"]}",
    "untrack a",
],
    );
}

#[test]
fn an_ignored_failure_is_handed_on_apart() {
    check(
        indexed(json!({"parallelism": 2, "completions": 2, "backoffLimitPerIndex": 1, "backoffLimit": 100, "podFailurePolicy": {"rules": [{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [3]}}]}})).status(json!({"active": 2, "failedIndexes": ""})),
        [pod("a", "Failed").index(0).failures("3").ignored("1").ended(3, 700), pod("b", "Running").index(1)],
        &[
    "status active=1",
    "create 0 failures=3 ignored=2",
    "status active=2",
],
    );
}

#[test]
fn the_job_fails_when_every_index_has_ended_and_one_has_failed() {
    check(
        indexed(json!({"parallelism": 2, "completions": 2, "backoffLimitPerIndex": 1, "backoffLimit": 100}))
            .status(json!({"active": 2, "failedIndexes": ""})),
        [
            pod("a", "Failed").index(0).failures("1"),
            pod("b", "Succeeded").index(1),
        ],
        &[
            "status active=- completedIndexes=\"1\" FailureTarget=True(FailedIndexes) failedIndexes=\"0\" succeeded=1 uncounted{failed=[\"a\"]}",
            "untrack a, b",
        ],
    );
}

#[test]
fn too_many_failed_indexes_end_the_job() {
    check(
        indexed(json!({"parallelism": 3, "completions": 4, "backoffLimitPerIndex": 0, "backoffLimit": 100, "maxFailedIndexes": 1})).status(json!({"active": 3, "failedIndexes": ""})),
        [pod("a", "Failed").index(0), pod("b", "Failed").index(1), pod("c", "Running").index(2)],
        &[
    "status active=1 FailureTarget=True(MaxFailedIndexesExceeded) failedIndexes=\"0,1\" uncounted{failed=[\"a\",\"b\",\"c\"]}",
    "untrack a, b, c",
    "delete c",
    "status active=- terminating=1",
],
    );
}

#[test]
fn an_index_in_backoff_keeps_its_slot() {
    check(
        indexed(json!({"parallelism": 2, "completions": 4, "backoffLimitPerIndex": 5, "backoffLimit": 100}))
            .status(json!({"active": 1, "failedIndexes": ""})),
        [
            pod("a", "Failed").index(0).failures("0").ended(1, 3),
            pod("b", "Failed").index(1).failures("2").ended(1, 3),
        ],
        &["status active=-", "wake +7"],
    );
}

#[test]
fn indexes_that_are_ready_run_while_others_wait() {
    check(
        indexed(json!({"parallelism": 2, "completions": 2, "backoffLimitPerIndex": 1, "backoffLimit": 100, "completions": 3, "parallelism": 3})).status(json!({"active": 2, "failedIndexes": ""})),
        [pod("a", "Failed").index(0).failures("0").ended(1, 3), pod("b", "Running").index(1)],
        &[
    "status active=1",
    "create 2 failures=0",
    "status active=2",
    "wake +7",
],
    );
}

#[test]
fn nonsense_in_the_annotation_reads_as_none() {
    check(
        indexed(json!({"parallelism": 2, "completions": 2, "backoffLimitPerIndex": 1, "backoffLimit": 100}))
            .status(json!({"active": 2, "failedIndexes": ""})),
        [
            pod("a", "Failed").index(0).failures("-1").ended(1, 700),
            pod("b", "Running").index(1),
        ],
        &["status active=1", "create 0 failures=1", "status active=2"],
    );
}

#[test]
fn counted_and_ignored_failures_delay_alike() {
    check(
        indexed(json!({"parallelism": 1, "completions": 1, "backoffLimitPerIndex": 5, "backoffLimit": 100}))
            .status(json!({"failedIndexes": ""})),
        [pod("a", "Failed").index(0).failures("1").ignored("1").ended(1, 3)],
        &["wake +37"],
    );
}

#[test]
fn the_global_limit_counts_kept_pods_as_well() {
    check(
        indexed(json!({"parallelism": 2, "completions": 2, "backoffLimitPerIndex": 5, "backoffLimit": 1}))
            .status(json!({"active": 2, "failedIndexes": ""})),
        [
            pod("a", "Failed").index(0).failures("0"),
            pod("b", "Failed").index(1).failures("0"),
        ],
        &[
            "status active=- FailureTarget=True(BackoffLimitExceeded) uncounted{failed=[\"a\",\"b\"]}",
            "untrack a, b",
        ],
    );
}

fn limited(limit: u32) -> Builder {
    indexed(json!({"parallelism": 2, "completions": 2, "backoffLimitPerIndex": limit, "backoffLimit": 100}))
        .status(json!({"active": 1, "failedIndexes": ""}))
}

#[test]
fn a_failed_pod_that_somebody_deletes_is_kept_until_its_replacement_runs() {
    check(
        limited(1),
        [
            pod("a", "Failed").index(0).failures("0").ended(1, 700).deleting(),
            pod("b", "Running").index(1),
        ],
        &["create 0 failures=1", "status active=2"],
    );
}

#[test]
fn of_several_failed_pods_of_an_index_the_one_with_most_failures_is_kept_then_the_latest() {
    let failed = |name, failures, secs| pod(name, "Failed").index(0).failures(failures).ended(1, secs);
    check(
        limited(9),
        [
            failed("few", "1", 700),
            failed("most-early", "3", 800),
            failed("most-late", "3", 700),
            failed("let-go", "7", 700).untracked(),
            pod("b", "Running").index(1),
        ],
        &[
            "status uncounted{failed=[\"few\",\"most-early\"]}",
            "untrack few, most-early",
            "create 0 failures=4",
            "status active=2",
        ],
    );
}

#[test]
fn pods_of_indexes_that_run_or_do_not_exist_are_not_kept() {
    check(
        limited(9).status(json!({"active": 2})),
        [
            pod("a", "Failed").index(0).failures("0").ended(1, 700),
            pod("b", "Running").index(0).failures("1"),
            pod("c", "Running").index(1),
            pod("d", "Failed").index(2).failures("0").ended(1, 700),
        ],
        &["status uncounted{failed=[\"a\"]}", "untrack a, d"],
    );
}

#[test]
fn the_annotation_is_a_number_of_32_bits_and_everything_else_reads_as_none() {
    for (text, next) in [("0", "1"), ("3", "4"), ("xyz", "1"), ("-1", "1"), ("2147483648", "1")] {
        check(
            limited(1000),
            [
                pod("a", "Failed").index(0).failures(text).ended(1, 7000),
                pod("b", "Running").index(1),
            ],
            &[&format!("create 0 failures={next}"), "status active=2"],
        );
    }
    // The largest number is more than any limit allows.
    check(
        limited(1000),
        [
            pod("a", "Failed").index(0).failures("2147483647").ended(1, 7000),
            pod("b", "Running").index(1),
        ],
        &["status failedIndexes=\"0\" uncounted{failed=[\"a\"]}", "untrack a"],
    );
}
