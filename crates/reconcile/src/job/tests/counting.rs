//! Each pod is counted once (cases 97 to 106).

use super::*;

#[test]
fn pods_without_finalizer_were_counted_before() {
    check(
        job(json!({"parallelism": 2, "completions": 9})).status(json!({"active": 2, "succeeded": 2, "failed": 1})),
        [
            pod("a", "Running"),
            pod("b", "Running"),
            pod("c", "Succeeded").untracked(),
            pod("d", "Succeeded").ended(0, 1),
            pod("e", "Failed").untracked(),
            pod("f", "Failed").ended(1, 9),
        ],
        &["status uncounted{failed=[\"f\"] succeeded=[\"d\"]}", "untrack d, f"],
    );
}

#[test]
fn a_recorded_pod_whose_finalizer_is_gone_moves_into_the_counter() {
    check(
        job(json!({"completions": 3})).status(
            json!({"active": 1, "succeeded": 1, "uncountedTerminatedPods": {"succeeded": ["x"], "failed": ["y"]}}),
        ),
        [pod("a", "Running")],
        &["status failed=1 succeeded=2 uncounted{failed=null succeeded=null}"],
    );
}

#[test]
fn a_recorded_pod_is_not_recorded_again() {
    check(
        job(json!({"completions": 3})).status(json!({"active": 1, "uncountedTerminatedPods": {"succeeded": ["b"]}})),
        [pod("a", "Running"), pod("b", "Succeeded")],
        &["untrack b"],
    );
}

#[test]
fn a_pod_recorded_as_failed_stays_failed() {
    check(
        job(json!({"completions": 1})).status(json!({"active": 1, "uncountedTerminatedPods": {"failed": ["b"]}})),
        [pod("a", "Running"), pod("b", "Succeeded")],
        &["untrack b"],
    );
}

#[test]
fn a_pod_recorded_as_succeeded_stays_succeeded() {
    check(
        job(json!({"completions": 2})).status(json!({"active": 1, "uncountedTerminatedPods": {"succeeded": ["b"]}})),
        [pod("a", "Running"), pod("b", "Failed").ended(1, 700)],
        &["untrack b"],
    );
}

#[test]
fn a_pod_being_deleted_counts_as_failed_unless_it_succeeded() {
    check(
        job(json!({"parallelism": 2, "completions": 5})).status(json!({"active": 5})),
        [
            pod("a", "Running").deleting(),
            pod("b", "Pending").deleting(),
            pod("c", "Succeeded").deleting(),
            pod("d", "Failed").deleting(),
            pod("e", "Running").deleting().untracked(),
        ],
        &[
            "status active=- terminating=3 uncounted{failed=[\"a\",\"b\",\"d\"] succeeded=[\"c\"]}",
            "untrack a, b, c, d",
            "create pod, pod",
            "status active=2",
        ],
    );
}

#[test]
fn a_pod_that_stops_because_its_job_is_deleted_is_no_failure_and_one_that_was_stopped_before_is() {
    let told = |name: &str, secs: i64| {
        let until = json!(ago(secs - 30));
        pod(name, "Running")
            .deleting()
            .with("/metadata/deletionTimestamp", until)
    };
    check(
        job(json!({"parallelism": 3, "completions": 3}))
            .with("/metadata/deletionTimestamp", json!(ago(5)))
            .status(json!({"active": 3})),
        [told("before", 6), told("with", 5), told("after", 4)],
        &[
            "status active=- terminating=3 uncounted{failed=[\"before\"]}",
            "untrack after, before, with",
        ],
    );
}

#[test]
fn a_job_that_completes_lets_pending_pods_go_uncounted() {
    check(
        indexed(json!({"parallelism": 2, "completions": 2}))
            .status(json!({"active": 1, "completedIndexes": "0,1", "succeeded": 2}))
            .condition("SuccessCriteriaMet", "True", "SuccessPolicy"),
        [pod("a", "Pending").index(1)],
        &["untrack a", "delete a", "status active=- terminating=1"],
    );
}

#[test]
fn old_records_take_part_of_the_room_for_new_ones() {
    let succeeded = (0..500).map(|at| pod(&format!("p{at}"), "Succeeded"));
    let waiting = pod("b", "Failed").ended(1, 700);
    let job = job(json!({"completions": 501, "parallelism": 501}))
        .status(json!({"active": 501, "uncountedTerminatedPods": {"failed": ["a", "b"]}}));
    let pods = succeeded.chain([waiting]).map(|pod| (resource::PODS, pod));
    let world = world(std::iter::once((resource::JOBS, job)).chain(pods));
    let plan = JobController::default().reconcile(&Key::new("d", "j"), &world, now());
    let Change::Patch { patch, .. } = &plan.actions[0].write.change else {
        panic!("the status comes first: {plan}");
    };
    let lists = &patch["status"]["uncountedTerminatedPods"];
    let len = |list: &str| lists[list].as_array().map_or(0, Vec::len);
    assert_eq!((len("succeeded"), len("failed")), (499, 1), "{lists}");
    assert_eq!(patch["status"]["failed"], 1, "the pod of the other record is gone");
}
