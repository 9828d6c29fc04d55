//! Indexed Jobs (cases 82 to 96).

use super::*;

#[test]
fn the_lowest_free_indexes_run() {
    check(
        indexed(json!({"parallelism": 2, "completions": 5})),
        [],
        &["create 0, 1", "status active=2"],
    );
}

#[test]
fn gaps_are_filled_and_successes_written_as_intervals() {
    check(
        indexed(json!({"parallelism": 8, "completions": 20})).status(json!({"active": 10})),
        [
            pod("a", "Running").index(0),
            pod("b", "Pending").index(3),
            pod("s2", "Succeeded").index(2),
            pod("s4", "Succeeded").index(4),
            pod("s5", "Succeeded").index(5),
            pod("s7", "Succeeded").index(7),
            pod("s8", "Succeeded").index(8),
            pod("s9", "Succeeded").index(9),
        ],
        &[
            "status active=2 completedIndexes=\"2,4,5,7-9\" succeeded=6",
            "untrack s2, s4, s5, s7, s8, s9",
            "create 1, 6, 10, 11, 12, 13",
            "status active=8",
        ],
    );
}

#[test]
fn failed_indexes_run_again() {
    check(
        indexed(json!({"parallelism": 3, "completions": 4})).status(json!({"active": 3})),
        [
            pod("a", "Failed").index(0).ended(1, 700),
            pod("b", "Pending").index(1),
            pod("c", "Failed").index(2).ended(1, 700),
        ],
        &[
            "status active=1 uncounted{failed=[\"a\",\"c\"]}",
            "untrack a, c",
            "create 0, 2",
            "status active=3",
        ],
    );
}

#[test]
fn two_successes_of_one_index_are_one() {
    check(
        indexed(json!({"parallelism": 3, "completions": 3})).status(json!({"active": 3})),
        [
            pod("a", "Succeeded").index(0),
            pod("b", "Succeeded").index(1),
            pod("c", "Succeeded").index(1),
        ],
        &[
            "status active=- completedIndexes=\"0,1\" succeeded=2",
            "untrack a, b, c",
            "create 2",
            "status active=1",
        ],
    );
}

#[test]
fn pods_without_a_valid_index_go_or_count_nowhere() {
    check(
        indexed(json!({"parallelism": 2, "completions": 5})).status(json!({"active": 3})),
        [
            pod("a", "Running").index(0),
            pod("b", "Running"),
            pod("c", "Running").annotation(COMPLETION_INDEX, "x"),
            pod("d", "Succeeded"),
            pod("e", "Failed"),
        ],
        &["untrack d, e, b, c", "delete b, c", "status active=1 terminating=2"],
    );
}

#[test]
fn of_two_pods_of_one_index_the_less_advanced_goes() {
    check(
        indexed(json!({"parallelism": 2, "completions": 5})).status(json!({"active": 2})),
        [pod("a", "Running").index(2), pod("b", "Pending").index(2)],
        &["untrack b", "delete b", "status active=1 terminating=1"],
    );
}

#[test]
fn pods_beyond_the_completions_go_or_count_nowhere() {
    check(
        indexed(json!({"parallelism": 2, "completions": 5})).status(json!({"active": 2})),
        [
            pod("a", "Running").index(5),
            pod("b", "Pending").index(6),
            pod("c", "Succeeded").index(7),
            pod("d", "Failed").index(8),
        ],
        &["untrack c, d, a, b", "delete a, b", "status active=- terminating=2"],
    );
}

#[test]
fn stored_indexes_beyond_shrunk_completions_are_forgotten() {
    check(
        indexed(json!({"parallelism": 2, "completions": 2}))
            .status(json!({"active": 2, "completedIndexes": "3", "succeeded": 1})),
        [pod("a", "Running").index(0), pod("b", "Running").index(1)],
        &["status completedIndexes=- succeeded=-"],
    );
}

#[test]
fn shrinking_to_what_is_done_completes_the_job() {
    check(
        indexed(json!({"parallelism": 1, "completions": 1}))
            .status(json!({"active": 1, "completedIndexes": "1", "succeeded": 1, "failed": 1})),
        [pod("a", "Succeeded").index(0)],
        &[
            "status active=- completedIndexes=\"0\" SuccessCriteriaMet=True(CompletionsReached)",
            "untrack a",
        ],
    );
}

#[test]
fn more_successes_than_can_be_in_flight_are_recorded_at_once_and_let_go_in_two_steps() {
    let pods = |at: std::ops::Range<u32>| at.map(|i| pod(&format!("p{i:03}"), "Succeeded").index(i));
    let world = world(
        std::iter::once((resource::JOBS, indexed(json!({"parallelism": 501, "completions": 501}))))
            .chain(pods(0..501).map(|pod| (resource::PODS, pod))),
    );
    let plan = JobController::default().reconcile(&Key::new("d", "j"), &world, now());
    let told = tell(&plan);
    assert_eq!(
        told[0],
        "status completedIndexes=\"0-500\" conditions: SuccessCriteriaMet=True(CompletionsReached) succeeded=501"
            .replace("conditions: ", "")
    );
    assert_eq!(told[1].split(", ").count(), 500);
    assert_eq!(told.len(), 2);
}

#[test]
fn pods_that_no_index_needs_go_in_order_of_index_the_best_of_each_index_stays() {
    let running = |name| pod(name, "Running");
    check(
        indexed(json!({"parallelism": 3, "completions": 3})).status(json!({"active": 9})),
        [
            running("beyond").index(3),
            running("one-young")
                .index(1)
                .with("/metadata/creationTimestamp", json!(ago(60))),
            running("one-old").index(1),
            running("none"),
            running("zero"),
            pod("zero-pending", "Pending").index(0),
            running("zero-ready").index(0).ready(),
            running("broken").annotation(COMPLETION_INDEX, "-1"),
            running("two").index(2),
        ],
        &[
            "status ready=1",
            "untrack broken, none, zero, zero-pending, one-young, beyond",
            "delete broken, none, zero, zero-pending, one-young, beyond",
            "status active=3 terminating=6",
        ],
    );
}

#[test]
fn the_lowest_indexes_that_are_neither_done_nor_failed_nor_running_come_next() {
    let of = |completions: u32| {
        indexed(json!({"parallelism": 7, "completions": completions, "backoffLimitPerIndex": 0, "backoffLimit": 100}))
            .status(
                json!({"active": 2, "completedIndexes": "1,5", "succeeded": 2, "failedIndexes": "2,6,7", "failed": 3}),
            )
    };
    check(
        of(20),
        [
            pod("a", "Running").index(3),
            pod("b", "Running").index(9),
            pod("x", "Failed").untracked(),
            pod("y", "Succeeded").untracked().index(40),
        ],
        &[
            "create 0 failures=0, 4 failures=0, 8 failures=0, 10 failures=0, 11 failures=0",
            "status active=7",
        ],
    );
}

#[test]
fn a_long_name_is_cut_so_that_the_index_stays_in_the_names_of_pods() {
    for len in [57, 70] {
        let name = "n".repeat(len);
        let job = indexed(json!({"parallelism": 1, "completions": 2}))
            .with("/metadata/name", json!(name))
            .status(json!({"completedIndexes": "0", "succeeded": 1}));
        let world = world([(resource::JOBS, job)]);
        let plan = JobController::default().reconcile(&Key::new("d", &name), &world, now());
        let Change::Create(pod) = &plan.actions[0].write.change else {
            panic!("{plan}");
        };
        assert_eq!(pod["metadata"]["generateName"], format!("{}-1-", "n".repeat(55)));
        assert_eq!(pod["spec"]["hostname"], format!("{name}-1"));
    }
}
