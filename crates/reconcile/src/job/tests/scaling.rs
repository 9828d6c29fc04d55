//! Starting and scaling (cases 1 to 26).

use super::*;

#[test]
fn a_new_job_gets_as_many_pods_as_may_run_at_once() {
    check(
        job(json!({"parallelism": 2, "completions": 5})).with("/status", json!({})),
        [],
        &[
            "status ready=0 startTime=now terminating=0 uncounted{}",
            "create pod, pod",
            "status active=2",
        ],
    );
}

#[test]
fn a_work_queue_gets_its_workers() {
    check(
        job(json!({"parallelism": 2})),
        [],
        &["create pod, pod", "status active=2"],
    );
}

#[test]
fn pending_pods_are_active_and_ready_ones_are_counted_among_them() {
    check(
        job(json!({"parallelism": 3, "completions": 3})),
        [
            pod("a", "Pending"),
            pod("a", "Running").ready(),
            pod("b", "Running").ready(),
        ],
        &["status active=2 ready=1", "create pod", "status active=3"],
    );
}

#[test]
fn a_success_is_recorded_and_the_next_pod_created() {
    check(
        job(json!({"parallelism": 2, "completions": 5})).status(json!({"active": 2})),
        [pod("a", "Running"), pod("b", "Succeeded")],
        &[
            "status active=1 uncounted{succeeded=[\"b\"]}",
            "untrack b",
            "create pod",
            "status active=2",
        ],
    );
}

#[test]
fn a_surplus_pod_loses_its_finalizer_before_it_is_deleted() {
    check(
        job(json!({"parallelism": 2, "completions": 5})).status(json!({"active": 3})),
        [pod("a", "Running"), pod("b", "Running"), pod("c", "Pending")],
        &["untrack c", "delete c", "status active=2 terminating=1"],
    );
}

#[test]
fn no_more_pods_run_than_completions_are_missing() {
    check(
        job(json!({"parallelism": 3, "completions": 4})).status(json!({"active": 5})),
        [
            pod("a", "Running"),
            pod("b", "Running"),
            pod("c", "Running"),
            pod("d", "Succeeded"),
            pod("e", "Succeeded"),
        ],
        &[
            "status active=3 uncounted{succeeded=[\"d\",\"e\"]}",
            "untrack d, e, a",
            "delete a",
            "status active=2 terminating=1",
        ],
    );
}

#[test]
fn a_job_being_deleted_counts_its_pods_and_lets_them_go() {
    check(
        job(json!({"parallelism": 2, "completions": 3}))
            .deleting()
            .status(json!({"active": 3})),
        [pod("a", "Pending"), pod("b", "Running"), pod("c", "Succeeded")],
        &["status active=2 uncounted{succeeded=[\"c\"]}", "untrack a, b, c"],
    );
}

#[test]
fn a_job_of_an_unknown_completion_mode_is_left_alone() {
    check(
        job(json!({"completionMode": "Random"})),
        [],
        &["event UnknownCompletionMode: Skipped Job sync because completion mode is unknown"],
    );
}

#[test]
fn a_job_managed_by_another_controller_is_left_alone() {
    check(
        job(json!({"managedBy": "example.com/other"})),
        [pod("a", "Running")],
        &[],
    );
}

#[test]
fn a_job_managed_by_this_controller_is_looked_after() {
    check(
        job(json!({"managedBy": "kubernetes.io/job-controller", "completions": 1})).status(json!({"active": 1})),
        [],
        &["status active=-", "create pod", "status active=1"],
    );
}

#[test]
fn a_job_that_is_as_it_should_be_needs_nothing() {
    check(
        job(json!({"parallelism": 2, "completions": 2})).status(json!({"active": 2, "ready": 1})),
        [pod("a", "Running"), pod("b", "Running").ready()],
        &[],
    );
}

#[test]
fn a_job_that_is_gone_needs_nothing() {
    let world = world([(resource::PODS, pod("a", "Running"))]);
    let plan = JobController::default().reconcile(&Key::new("d", "j"), &world, now());
    assert_eq!(plan, Plan::default());
}
