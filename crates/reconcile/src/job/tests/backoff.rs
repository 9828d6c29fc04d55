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

/// A controller that looks at a Job again and again, and what it says of the pods that ended.
#[derive(Default)]
struct Watcher(JobController);

impl Watcher {
    #[track_caller]
    fn sees(&mut self, pods: impl IntoIterator<Item = Builder>, wake: Option<i64>) {
        self.sees_with(json!({}), pods, wake);
    }

    #[track_caller]
    fn sees_with(&mut self, status: Value, pods: impl IntoIterator<Item = Builder>, wake: Option<i64>) {
        let job = job(json!({"completions": 9, "parallelism": 9, "backoffLimit": 99})).status(status);
        let pods = pods.into_iter().map(|pod| (resource::PODS, pod));
        let world = world(std::iter::once((resource::JOBS, job)).chain(pods));
        let plan = self.0.reconcile(&Key::new("d", "j"), &world, now());
        let due = match plan.wake {
            Wake::At(at) => Some(at.duration_since(now()).as_secs()),
            Wake::OnChange => None,
        };
        assert_eq!(due, wake, "{plan}");
    }
}

#[test]
fn failures_add_up_from_look_to_look_until_a_pod_succeeds() {
    let mut watcher = Watcher::default();
    let failed = |name, secs| pod(name, "Failed").ended(1, secs);
    watcher.sees([failed("a", 4), failed("b", 3)], Some(17));
    // Nothing new: the same.
    watcher.sees([failed("a", 4), failed("b", 3)], Some(17));
    watcher.sees(
        [failed("a", 4).untracked(), failed("b", 3).untracked(), failed("c", 2)],
        Some(38),
    );
    watcher.sees([failed("c", 2).untracked(), pod("d", "Succeeded").ended(0, 1)], None);
    watcher.sees([pod("d", "Succeeded").ended(0, 1), failed("e", 0)], Some(10));
}

#[test]
fn a_failure_that_another_controller_has_entered_in_the_status_already_delays_as_well() {
    let mut watcher = Watcher::default();
    watcher.sees([pod("a", "Failed").ended(1, 30)], None);
    let entered = json!({"failed": 1, "uncountedTerminatedPods": {"failed": ["b"]}});
    let second = || pod("b", "Failed").ended(1, 2);
    watcher.sees_with(
        entered,
        [pod("a", "Failed").untracked().ended(1, 30), second()],
        Some(18),
    );
    let counted = json!({"failed": 2});
    watcher.sees_with(
        counted,
        [pod("a", "Failed").untracked().ended(1, 30), second().untracked()],
        Some(18),
    );
}

#[test]
fn a_success_that_is_not_let_go_yet_wipes_nothing_out_again() {
    let mut watcher = Watcher::default();
    let success = || pod("d", "Succeeded").ended(0, 9);
    watcher.sees([success()], None);
    let failed = || pod("e", "Failed").ended(1, 2);
    watcher.sees([success(), failed()], Some(8));
    watcher.sees([success(), failed().untracked()], Some(8));
}

#[test]
fn a_success_at_the_instant_of_the_failure_ends_the_delay() {
    Watcher::default().sees(
        [pod("a", "Failed").ended(1, 4), pod("b", "Succeeded").ended(0, 4)],
        None,
    );
}

#[test]
fn the_last_container_to_end_is_the_end_of_the_pod() {
    let ended = |name: &str, secs| {
        container(
            name,
            &json!({"terminated": {"exitCode": 1, "finishedAt": ago(secs)}}),
            0,
        )
    };
    let of = |regular: Value, init: Value| {
        pod("a", "Failed")
            .with("/status/containerStatuses", regular)
            .with("/status/initContainerStatuses", init)
            .with(
                "/spec/initContainers",
                json!([{"name": "side", "image": "x", "restartPolicy": "Always"}, {"name": "setup", "image": "x"}]),
            )
    };
    let wake = |pod, secs| Watcher::default().sees([pod], Some(secs));
    wake(of(json!([ended("c", 4), ended("d", 2)]), json!([])), 8);
    wake(of(json!([ended("c", 4)]), json!([ended("side", 1)])), 9);
    wake(of(json!([ended("c", 4)]), json!([ended("setup", 1)])), 6);
}

#[test]
fn while_a_container_runs_the_end_of_readiness_counts_then_the_creation() {
    let running = json!([container("c", &json!({"running": {}}), 0)]);
    let of = |ready: &str| {
        pod("a", "Failed")
            .with("/status/containerStatuses", running.clone())
            .with("/metadata/creationTimestamp", json!(ago(2)))
            .with(
                "/status/conditions",
                json!([{"type": "Ready", "status": ready, "lastTransitionTime": ago(3)}]),
            )
    };
    Watcher::default().sees([of("False")], Some(7));
    Watcher::default().sees([of("True")], Some(8));
}

#[test]
fn running_pods_of_other_indexes_stay_active_while_an_index_waits() {
    check(
        indexed(json!({"parallelism": 3, "completions": 3, "backoffLimitPerIndex": 2, "backoffLimit": 100}))
            .status(json!({"active": 3, "ready": 3, "failedIndexes": ""})),
        [
            pod("a", "Failed").index(0).failures("0").ended(1, 1),
            pod("b", "Running").index(1).ready(),
            pod("c", "Running").index(2).ready(),
        ],
        &["status active=2 ready=2", "wake +9"],
    );
}
