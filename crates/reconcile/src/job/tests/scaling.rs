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

#[test]
fn pending_pods_are_active() {
    check(
        job(json!({"parallelism": 2, "completions": 2})).status(json!({"active": 2})),
        [pod("a", "Pending"), pod("b", "Pending")],
        &[],
    );
}

#[test]
fn ready_pods_are_counted_among_the_active_ones() {
    check(
        job(json!({"parallelism": 3, "completions": 3})).status(json!({"active": 3})),
        [
            pod("a", "Running"),
            pod("b", "Running").ready(),
            pod("c", "Running").ready(),
        ],
        &["status ready=2"],
    );
}

#[test]
fn of_ten_pods_eight_go_at_once_when_two_are_wanted() {
    let pods = (0..10).map(|at| pod(&format!("p{at}"), "Running"));
    let surplus = "p0, p1, p2, p3, p4, p5, p6, p7";
    check(
        job(json!({"parallelism": 2, "completions": 12})).status(json!({"active": 10})),
        pods,
        &[
            &format!("untrack {surplus}"),
            &format!("delete {surplus}"),
            "status active=2 terminating=8",
        ],
    );
}

#[test]
fn a_ready_pod_that_is_stopped_is_no_longer_counted_as_ready() {
    check(
        job(json!({"parallelism": 2, "completions": 5})).status(json!({"active": 3, "ready": 3})),
        [
            pod("a", "Running").ready(),
            pod("b", "Running").ready(),
            pod("c", "Running").ready(),
        ],
        &["untrack a", "delete a", "status active=2 ready=2 terminating=1"],
    );
}

/// How many pods one look creates and stops.
fn created_and_stopped(spec: Value, running: usize) -> (usize, usize) {
    let pods = (0..running).map(|at| (resource::PODS, pod(&format!("p{at}"), "Running")));
    let world = world(std::iter::once((resource::JOBS, job(spec))).chain(pods));
    let plan = JobController::default().reconcile(&Key::new("d", "j"), &world, now());
    let count = |is_so: fn(&Change) -> bool| plan.actions.iter().filter(|action| is_so(&action.write.change)).count();
    (
        count(|change| matches!(change, Change::Create(_))),
        count(|change| matches!(change, Change::Delete(_))),
    )
}

#[test]
fn one_look_creates_or_stops_no_more_than_five_hundred_pods_unless_all_have_to_go() {
    let of =
        |parallelism: u32, suspend: bool| json!({"parallelism": parallelism, "completions": 9999, "suspend": suspend});
    assert_eq!(created_and_stopped(of(600, false), 0), (500, 0));
    assert_eq!(created_and_stopped(of(600, false), 500), (100, 0));
    assert_eq!(created_and_stopped(of(10, false), 600), (0, 500));
    assert_eq!(created_and_stopped(of(600, true), 600), (0, 600));
}

#[test]
fn creations_go_out_in_batches_each_twice_the_one_before() {
    let world = world([(resource::JOBS, job(json!({"parallelism": 20, "completions": 20})))]);
    let plan = JobController::default().reconcile(&Key::new("d", "j"), &world, now());
    let is_create = |action: &&crate::Action| matches!(action.write.change, Change::Create(_));
    let mut batches: Vec<(u16, usize)> = Vec::new();
    for action in plan.actions.iter().filter(is_create) {
        match batches.last_mut() {
            Some((stage, count)) if *stage == action.stage => *count += 1,
            _ => batches.push((action.stage, 1)),
        }
    }
    let sizes: Vec<usize> = batches.iter().map(|(_, count)| *count).collect();
    assert_eq!(sizes, [1, 2, 4, 8, 5]);
}
