//! podFailurePolicy and successPolicy (cases 112 to 123 and 137 to 143).

use super::*;

fn rules(rules: impl Into<Value>) -> Value {
    json!({"completions": 1, "backoffLimit": 0, "podFailurePolicy": {"rules": rules.into()}})
}

#[test]
fn a_code_of_another_container_is_no_match() {
    check(
        job(rules(
            json!([{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [5], "containerName": "main"}}]),
        ))
        .status(json!({"active": 1})),
        [pod("a", "Failed").ended(5, 700)],
        &[
            "status active=- FailureTarget=True(BackoffLimitExceeded) uncounted{failed=[\"a\"]}",
            "untrack a",
        ],
    );
}

#[test]
fn a_running_pod_is_not_judged() {
    check(
        job(rules(
            json!([{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [5]}}]),
        ))
        .status(json!({"active": 1})),
        [pod("a", "Running").ended(5, 1)],
        &[],
    );
}

#[test]
fn a_code_in_the_list_fails_the_job() {
    check(
        job(rules(
            json!([{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [5, 42]}}]),
        ))
        .status(json!({"active": 2})),
        [pod("a", "Failed").ended(42, 1), pod("b", "Running")],
        &[
            "status active=1 FailureTarget=True(PodFailurePolicy) uncounted{failed=[\"a\",\"b\"]}",
            "untrack a, b",
            "delete b",
            "status active=- terminating=1",
        ],
    );
}

#[test]
fn a_code_not_in_the_list_fails_the_job() {
    check(
        job(rules(
            json!([{"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [5, 6]}}]),
        ))
        .status(json!({"active": 1})),
        [pod("a", "Failed").ended(42, 1)],
        &[
            "status active=- FailureTarget=True(PodFailurePolicy) uncounted{failed=[\"a\"]}",
            "untrack a",
        ],
    );
}

#[test]
fn success_of_a_container_matches_no_rule() {
    check(
        job(rules(
            json!([{"action": "Ignore", "onExitCodes": {"operator": "NotIn", "values": [111]}}]),
        ))
        .status(json!({"active": 1})),
        [pod("a", "Failed").ended(0, 700)],
        &[
            "status active=- FailureTarget=True(BackoffLimitExceeded) uncounted{failed=[\"a\"]}",
            "untrack a",
        ],
    );
}

#[test]
fn the_first_rule_that_matches_acts() {
    check(
        job(rules(json!([{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [5]}}, {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [5]}}]))).status(json!({"active": 1})),
        [pod("a", "Failed").ended(5, 700)],
        &[
    "status active=-",
    "untrack a",
    "create pod",
    "status active=1",
],
    );
}

#[test]
fn an_ignored_failure_delays_its_replacement() {
    check(
        job(rules(
            json!([{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [5]}}]),
        ))
        .status(json!({"active": 1})),
        [pod("a", "Failed").ended(5, 3)],
        &["status active=-", "untrack a", "wake +7"],
    );
}

#[test]
fn an_unknown_action_is_skipped() {
    check(
        job(rules(
            json!([{"action": "Explode", "onExitCodes": {"operator": "In", "values": [5]}}]),
        ))
        .status(json!({"active": 1})),
        [pod("a", "Failed").ended(5, 700)],
        &[
            "status active=- FailureTarget=True(BackoffLimitExceeded) uncounted{failed=[\"a\"]}",
            "untrack a",
        ],
    );
}

#[test]
fn an_unknown_operator_is_skipped() {
    check(
        job(rules(
            json!([{"action": "Ignore", "onExitCodes": {"operator": "Near", "values": [5]}}]),
        ))
        .status(json!({"active": 1})),
        [pod("a", "Failed").ended(5, 700)],
        &[
            "status active=- FailureTarget=True(BackoffLimitExceeded) uncounted{failed=[\"a\"]}",
            "untrack a",
        ],
    );
}

#[test]
fn a_pod_condition_fails_the_job() {
    check(
        job(rules(
            json!([{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]),
        ))
        .status(json!({"active": 1})),
        [pod("a", "Failed").with(
            "/status/conditions",
            json!([{"type": "DisruptionTarget", "status": "True"}]),
        )],
        &[
            "status active=- FailureTarget=True(PodFailurePolicy) uncounted{failed=[\"a\"]}",
            "untrack a",
        ],
    );
}

#[test]
fn a_pod_condition_of_another_status_is_no_match() {
    check(
        job(rules(
            json!([{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]),
        ))
        .status(json!({"active": 1})),
        [pod("a", "Failed").with(
            "/status/conditions",
            json!([{"type": "DisruptionTarget", "status": "False"}]),
        )],
        &[
            "status active=- FailureTarget=True(BackoffLimitExceeded) uncounted{failed=[\"a\"]}",
            "untrack a",
        ],
    );
}

#[test]
fn a_counted_pod_can_still_fail_the_job() {
    check(
        job(json!({"completions": 1, "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [5]}}]}})).status(json!({"failed": 1})),
        [pod("a", "Failed").untracked().ended(5, 700)],
        &[
    "status FailureTarget=True(PodFailurePolicy)",
],
    );
}

#[test]
fn a_terminating_pod_is_judged_when_it_has_failed() {
    check(
        job(rules(
            json!([{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [5]}}]),
        ))
        .status(json!({"active": 1})),
        [pod("a", "Running").deleting()],
        &["status active=- terminating=1"],
    );
}

#[test]
fn a_stored_decision_is_repeated_word_for_word() {
    check(
        job(rules(
            json!([{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [5]}}]),
        ))
        .condition("FailureTarget", "True", "PodFailurePolicy")
        .status(json!({"failed": 2})),
        [pod("a", "Failed").untracked().ended(5, 1)],
        &[
            "status FailureTarget=True(PodFailurePolicy) Failed=True(PodFailurePolicy)",
            "event PodFailurePolicy: PodFailurePolicy",
        ],
    );
}

#[test]
fn enough_of_the_listed_indexes_end_the_job_with_success() {
    check(
        indexed(json!({"parallelism": 3, "completions": 3, "successPolicy": {"rules": [{"succeededIndexes": "0,1", "succeededCount": 1}]}})).status(json!({"active": 3})),
        [pod("a", "Running").index(0), pod("b", "Succeeded").index(1), pod("c", "Running").index(2)],
        &[
    "status active=2 completedIndexes=\"1\" SuccessCriteriaMet=True(SuccessPolicy) succeeded=1",
    "untrack a, b, c",
    "delete a, c",
    "status active=- terminating=2",
],
    );
}

#[test]
fn without_a_count_all_listed_indexes_must_succeed() {
    check(
        indexed(json!({"parallelism": 3, "completions": 3, "successPolicy": {"rules": [{"succeededIndexes": "0,1"}]}}))
            .status(json!({"active": 3})),
        [
            pod("a", "Running").index(0),
            pod("b", "Succeeded").index(1),
            pod("c", "Running").index(2),
        ],
        &["status active=2 completedIndexes=\"1\" succeeded=1", "untrack b"],
    );
}

#[test]
fn the_first_rule_that_is_met_is_named() {
    check(
        indexed(json!({"parallelism": 3, "completions": 3, "successPolicy": {"rules": [{"succeededIndexes": ""}, {"succeededIndexes": "9"}, {"succeededCount": 1}]}})).status(json!({"active": 3})),
        [pod("a", "Running").index(0), pod("b", "Succeeded").index(1), pod("c", "Running").index(2)],
        &[
    "status active=2 completedIndexes=\"1\" SuccessCriteriaMet=True(SuccessPolicy) succeeded=1",
    "untrack a, b, c",
    "delete a, c",
    "status active=- terminating=2",
],
    );
}

#[test]
fn a_failure_of_the_same_look_goes_before_success() {
    check(
        indexed(json!({"parallelism": 3, "completions": 3, "backoffLimit": 0, "successPolicy": {"rules": [{"succeededCount": 1}]}})).status(json!({"active": 3})),
        [pod("a", "Failed").index(0), pod("b", "Succeeded").index(1), pod("c", "Running").index(2)],
        &[
    "status active=1 completedIndexes=\"1\" FailureTarget=True(BackoffLimitExceeded) succeeded=1 uncounted{failed=[\"a\",\"c\"]}",
    "untrack a, b, c",
    "delete c",
    "status active=- terminating=1",
],
    );
}

#[test]
fn success_once_announced_is_not_overturned() {
    check(
        indexed(json!({"parallelism": 2, "completions": 2, "backoffLimit": 0, "successPolicy": {"rules": [{"succeededCount": 1}]}})).status(json!({"completedIndexes": "0", "succeeded": 1, "terminating": 1})).condition("SuccessCriteriaMet", "True", "SuccessPolicy"),
        [pod("a", "Failed").index(1)],
        &[
    "status terminating=0 uncounted{failed=[\"a\"]}",
    "untrack a",
],
    );
}

#[test]
fn a_code_of_an_init_container_is_found_behind_those_of_regular_ones() {
    let failed = json!({"terminated": {"exitCode": 5}});
    let stopped = pod("a", "Failed").ended(143, 1);
    let pod = stopped.with("/status/initContainerStatuses", json!([container("setup", &failed, 0)]));
    let rule = json!({"action": "FailJob", "onExitCodes": {"operator": "In", "values": [5]}});
    let world = world([(resource::JOBS, job(rules(vec![rule]))), (resource::PODS, pod)]);
    let plan = JobController::default().reconcile(&Key::new("d", "j"), &world, now());
    let Change::Patch { patch, .. } = &plan.actions[0].write.change else {
        panic!("{plan}")
    };
    let message = "Container setup for pod d/a failed with exit code 5 matching FailJob rule at index 0";
    assert_eq!(patch["status"]["conditions"][0]["message"], message);
}

#[test]
fn a_rule_that_counts_hides_the_rules_behind_it() {
    let rule = |action: &str| json!({"action": action, "onExitCodes": {"operator": "In", "values": [5]}});
    check(
        job(json!({"completions": 1, "podFailurePolicy": {"rules": [rule("Count"), rule("Ignore")]}}))
            .status(json!({"active": 1})),
        [pod("a", "Failed").ended(5, 700)],
        &[
            "status active=- uncounted{failed=[\"a\"]}",
            "untrack a",
            "create pod",
            "status active=1",
        ],
    );
}

#[test]
fn an_announced_failure_outlives_the_pod_that_caused_it() {
    check(
        job(rules(
            json!([{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [5]}}]),
        ))
        .condition("FailureTarget", "True", "PodFailurePolicy")
        .status(json!({"failed": 1})),
        [],
        &[
            "status FailureTarget=True(PodFailurePolicy) Failed=True(PodFailurePolicy)",
            "event PodFailurePolicy: PodFailurePolicy",
        ],
    );
}

#[test]
fn failure_once_announced_is_not_overturned() {
    check(
        indexed(json!({"parallelism": 2, "completions": 2, "successPolicy": {"rules": [{"succeededCount": 1}]}}))
            .status(json!({"active": 1}))
            .condition("FailureTarget", "True", "BackoffLimitExceeded"),
        [pod("a", "Succeeded").index(1)],
        &["status active=- completedIndexes=\"1\" succeeded=1", "untrack a"],
    );
}

#[test]
fn a_rule_that_fails_the_job_goes_before_success_and_so_do_failed_indexes() {
    let success = json!({"rules": [{"succeededCount": 1}]});
    let fails = json!({"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [5]}}]});
    let pods = || {
        [
            pod("a", "Failed").index(0).failures("0").ended(5, 700),
            pod("b", "Succeeded").index(1),
        ]
    };
    check(
        indexed(json!({"parallelism": 2, "completions": 2, "successPolicy": success, "podFailurePolicy": fails}))
            .status(json!({"active": 2})),
        pods(),
        &[
            "status active=- completedIndexes=\"1\" FailureTarget=True(PodFailurePolicy) succeeded=1 uncounted{failed=[\"a\"]}",
            "untrack a, b",
        ],
    );
    check(
        indexed(
            json!({"parallelism": 2, "completions": 2, "successPolicy": success, "backoffLimitPerIndex": 0,
            "backoffLimit": 100}),
        )
        .status(json!({"active": 2, "failedIndexes": ""})),
        pods(),
        &[
            "status active=- completedIndexes=\"1\" FailureTarget=True(FailedIndexes) failedIndexes=\"0\" succeeded=1 uncounted{failed=[\"a\"]}",
            "untrack a, b",
        ],
    );
}
