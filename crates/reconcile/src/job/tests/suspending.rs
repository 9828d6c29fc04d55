//! Suspending and resuming (cases 64 to 72a).

use super::*;

#[test]
fn a_suspended_job_stops_its_pods_uncounted() {
    check(
        job(json!({"parallelism": 2, "completions": 2, "suspend": true})).status(json!({"active": 2})),
        [pod("a", "Running"), pod("b", "Running")],
        &[
            "status Suspended=True(JobSuspended) startTime=-",
            "untrack a, b",
            "delete a, b",
            "status active=- terminating=2",
            "event Suspended: Job suspended",
        ],
    );
}

#[test]
fn a_suspended_job_that_is_deleted_only_lets_its_pods_go() {
    check(
        job(json!({"completions": 1, "suspend": true}))
            .deleting()
            .status(json!({"active": 1})),
        [pod("a", "Running")],
        &["untrack a"],
    );
}

#[test]
fn a_job_created_suspended_does_not_start() {
    check(
        job(json!({"completions": 1, "suspend": true})).with("/status", json!({})),
        [],
        &[
            "status Suspended=True(JobSuspended) ready=0 terminating=0 uncounted{}",
            "event Suspended: Job suspended",
        ],
    );
}

#[test]
fn a_resumed_job_starts_anew() {
    check(
        job(json!({"completions": 1}))
            .with(
                "/status",
                json!({"ready": 0, "terminating": 0, "uncountedTerminatedPods": {}}),
            )
            .condition("Suspended", "True", "JobSuspended"),
        [],
        &[
            "status Suspended=False(JobResumed) startTime=now",
            "create pod",
            "status active=1",
            "event Resumed: Job resumed",
        ],
    );
}

#[test]
fn suspending_a_work_queue_after_a_success_completes_it() {
    check(
        job(json!({"parallelism": 3, "suspend": true})).status(json!({"active": 2, "succeeded": 1})),
        [pod("a", "Running"), pod("b", "Running")],
        &[
            "status SuccessCriteriaMet=True(CompletionsReached)",
            "untrack a, b",
            "delete a, b",
            "status active=- terminating=2",
        ],
    );
}

#[test]
fn a_condition_that_is_false_already_stays_as_it_is() {
    check(
        job(json!({"completions": 1})).condition("Suspended", "False", "JobResumed").status(json!({"active": 1, "conditions": [{"type": "Suspended", "status": "False", "reason": "JobResumed", "message": "Job resumed"}]})),
        [pod("a", "Running")],
        &[],
    );
}

#[test]
fn a_job_that_was_suspended_unseen_goes_on() {
    check(
        job(json!({"completions": 1, "suspend": false}))
            .status(json!({"active": 1}))
            .with("/metadata/generation", json!(3)),
        [pod("a", "Running")],
        &[],
    );
}

#[test]
fn under_failed_a_resumed_job_gets_no_pods_before_the_old_ones_have_ended() {
    let spec = |suspend: bool| {
        json!({"parallelism": 2, "completions": 2, "podReplacementPolicy": "Failed", "suspend": suspend,
            "template": {"spec": {"containers": [{"name": "c", "image": "app:1", "resources": {"limits": {"cpu": "2"}}}]}}})
    };
    let ending = || {
        [
            pod("a", "Running").untracked().deleting(),
            pod("b", "Running").untracked().deleting(),
        ]
    };
    let suspended = |suspend, terminating: u32| {
        job(spec(suspend))
            .with("/status/startTime", Value::Null)
            .status(json!({"terminating": terminating, "conditions": [
                {"type": "Suspended", "status": "True", "reason": "JobSuspended", "message": "Job suspended"}]}))
    };
    check(suspended(true, 2), ending(), &[]);
    let resumed = "status Suspended=False(JobResumed) startTime=now";
    check(suspended(false, 2), ending(), &[resumed, "event Resumed: Job resumed"]);
    check(
        suspended(false, 0),
        [],
        &[
            resumed,
            "create pod, pod",
            "status active=2",
            "event Resumed: Job resumed",
        ],
    );
    let world = world([(resource::JOBS, suspended(false, 0))]);
    let plan = JobController::default().reconcile(&Key::new("d", "j"), &world, now());
    let created = plan.actions.iter().find_map(|action| match &action.write.change {
        Change::Create(pod) => Some(pod),
        _ => None,
    });
    assert_eq!(
        created.expect("a pod")["spec"]["containers"][0]["resources"]["limits"]["cpu"],
        "2"
    );
}
