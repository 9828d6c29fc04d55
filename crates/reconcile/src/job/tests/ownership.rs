//! Adoption, release, forsaken pods (cases 144 to 151).

use super::*;

use crate::WorldChange;

/// What becomes of the finalizer of a pod.
#[track_caller]
fn check_orphan(jobs: impl IntoIterator<Item = Builder>, orphan: Builder, is_let_go: bool) {
    let jobs = jobs.into_iter().map(|job| (resource::JOBS, job));
    let world = world(jobs.chain([(resource::PODS, orphan)]));
    let plan = OrphanPods::default().reconcile(&Key::new("d", "a"), &world, now());
    assert_eq!(!plan.is_empty(), is_let_go, "{plan}");
    let pod = world.get(resource::PODS, "d", "a").cloned();
    let touched = OrphanPods::default().touched(&WorldChange { old: None, new: pod }, &world);
    assert_eq!(!touched.is_empty(), is_let_go);
}

fn owned_by(api_version: &str, kind: &str, controller: bool) -> Builder {
    let owner =
        json!({"apiVersion": api_version, "kind": kind, "name": "j", "uid": "job-uid", "controller": controller});
    pod("a", "Running").with("/metadata/ownerReferences", json!([owner]))
}

#[test]
fn a_matching_orphan_is_adopted_and_counted() {
    check(
        job(json!({"completions": 2})).status(json!({"active": 1})),
        [
            pod("a", "Running"),
            pod("b", "Succeeded")
                .untracked()
                .with("/metadata/ownerReferences", json!([])),
        ],
        &[
            "unchanged",
            "adopt b",
            "status uncounted{succeeded=[\"b\"]}",
            "untrack b",
        ],
    );
}

#[test]
fn nothing_is_adopted_unless_the_job_is_still_what_was_seen_of_it() {
    let orphan = |name| pod(name, "Running").with("/metadata/ownerReferences", json!([]));
    let job = job(json!({"completions": 2, "parallelism": 2})).status(json!({"active": 2}));
    let world = world([
        (resource::JOBS, job),
        (resource::PODS, orphan("a")),
        (resource::PODS, orphan("b")),
    ]);
    let plan = JobController::default().reconcile(&Key::new("d", "j"), &world, now());
    let first = &plan.actions[0].write;
    assert_eq!(
        (first.resource, first.precondition.revision.is_some()),
        (resource::JOBS, true)
    );
    let stages: Vec<u16> = plan.actions.iter().map(|action| action.stage).collect();
    assert_eq!(stages, [0, 1, 1], "{plan}");
}

#[test]
fn a_pod_whose_labels_match_no_longer_is_released_and_replaced() {
    check(
        job(json!({"completions": 1})).status(json!({"active": 1})),
        [pod("a", "Running").with("/metadata/labels", json!({"app": "other"}))],
        &["release a", "status active=-", "create pod", "status active=1"],
    );
}

#[test]
fn a_pod_of_another_owner_is_left_alone() {
    check(
        job(json!({"completions": 1})).status(json!({"active": 1})),
        [
            pod("a", "Running"),
            pod("b", "Running").with(
                "/metadata/ownerReferences",
                json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x", "controller": true}]),
            ),
        ],
        &[],
    );
}

#[test]
fn a_terminating_orphan_is_not_adopted() {
    check(
        job(json!({"completions": 1})).status(json!({"active": 1})),
        [
            pod("a", "Running"),
            pod("b", "Running")
                .deleting()
                .with("/metadata/ownerReferences", json!([])),
        ],
        &[],
    );
}

#[test]
fn a_job_being_deleted_adopts_and_releases_nothing() {
    check(
        job(json!({"completions": 1})).deleting().status(json!({"active": 1})),
        [
            pod("a", "Running").untracked(),
            pod("b", "Running").with("/metadata/ownerReferences", json!([])),
            pod("c", "Running").with("/metadata/labels", json!({})),
        ],
        &[],
    );
}

#[test]
fn pods_that_no_unfinished_job_controls_lose_the_finalizer() {
    let live = || job(json!({}));
    check_orphan([], pod("a", "Running"), true);
    check_orphan([live().condition("Complete", "True", "")], pod("a", "Running"), true);
    check_orphan(
        [live()],
        pod("a", "Running").with("/metadata/ownerReferences", json!([])),
        true,
    );
    check_orphan([live()], owned_by("batch/v1", "Job", false), true);
    check_orphan(
        [live().with("/metadata/uid", json!("successor"))],
        pod("a", "Running"),
        true,
    );
}

#[test]
fn pods_of_live_jobs_and_of_other_controllers_keep_the_finalizer() {
    let live = || job(json!({}));
    check_orphan([live()], pod("a", "Running"), false);
    check_orphan([], owned_by("batch/v1", "CronJob", true), false);
    check_orphan([], owned_by("example.com/v1", "Job", true), false);
    let elsewhere = job(json!({"managedBy": "example.com/other"})).condition("Complete", "True", "");
    check_orphan([elsewhere], pod("a", "Running"), false);
    check_orphan([], pod("a", "Running").untracked(), false);
}

#[test]
fn a_job_that_ends_or_goes_away_forsakes_its_tracked_pods() {
    let done = job(json!({})).condition("Failed", "True", "");
    let mut world = world([(resource::JOBS, done), (resource::PODS, pod("a", "Running"))]);
    let job = world.get(resource::JOBS, "d", "j").cloned().expect("the Job");
    let changed = WorldChange {
        old: None,
        new: Some(Arc::clone(&job)),
    };
    assert_eq!(OrphanPods::default().touched(&changed, &world), [Key::new("d", "a")]);
    let gone = world.delete(&job).expect("the Job was there");
    assert_eq!(OrphanPods::default().touched(&gone, &world), [Key::new("d", "a")]);
}

#[test]
fn changes_touch_the_jobs_they_concern() {
    let orphan = || pod("a", "Running").with("/metadata/ownerReferences", json!([]));
    let mut world = world([(resource::JOBS, job(json!({})))]);
    let mut touched = |pod: Builder| {
        let object = Arc::new(Object::from_value(resource::PODS, pod.0));
        world.delete(&object);
        let change = world.apply(object).expect("news");
        JobController::default().touched(&change, &world)
    };
    assert_eq!(touched(pod("a", "Running")), [Key::new("d", "j")]);
    assert_eq!(touched(orphan()), [Key::new("d", "j")], "the selector matches");
    assert_eq!(touched(orphan().with("/metadata/labels", json!({"app": "x"}))), []);
    assert_eq!(touched(owned_by("batch/v1", "CronJob", true)), []);
}

#[test]
fn a_pod_that_has_ended_and_was_counted_is_not_looked_at_again() {
    let labelled = |pod: Builder| pod.with("/metadata/labels/batch.kubernetes.io~1controller-uid", json!("job-uid"));
    let unsettled = |pod: Builder| {
        let world = world([(resource::PODS, pod)]);
        world
            .find(resource::PODS, super::super::claim::UNSETTLED.name, "job-uid")
            .count()
            == 1
    };
    assert!(unsettled(labelled(pod("a", "Running"))));
    assert!(unsettled(labelled(pod("a", "Running").untracked())), "it is active");
    assert!(unsettled(labelled(pod("a", "Succeeded"))), "it is not counted");
    assert!(unsettled(pod("a", "Succeeded").untracked()), "its labels may not match");
    assert!(!unsettled(labelled(pod("a", "Succeeded").untracked())));
}

#[test]
fn an_orphan_that_goes_away_touches_no_job() {
    let orphan = pod("a", "Running").with("/metadata/ownerReferences", json!([]));
    let mut world = world([(resource::JOBS, job(json!({}))), (resource::PODS, orphan)]);
    let object = world.get(resource::PODS, "d", "a").cloned().expect("the pod");
    let gone = world.delete(&object).expect("it was there");
    assert_eq!(JobController::default().touched(&gone, &world), []);
}

#[test]
fn an_orphan_whose_labels_change_touches_every_job_that_may_want_it() {
    let orphan = |label: &str, revision: &str| {
        pod("a", "Running")
            .with("/metadata/ownerReferences", json!([]))
            .with("/metadata/labels", json!({"app": label}))
            .with("/metadata/resourceVersion", json!(revision))
    };
    let other = job(json!({}))
        .with("/metadata/name", json!("k"))
        .with("/metadata/uid", json!("other-uid"));
    let mut world = world([
        (resource::JOBS, job(json!({}))),
        (resource::JOBS, other),
        (resource::PODS, orphan("x", "1")),
    ]);
    let mut touched = |pod: Builder| {
        let change = world
            .apply(Arc::new(Object::from_value(resource::PODS, pod.0)))
            .expect("news");
        JobController::default().touched(&change, &world)
    };
    assert_eq!(touched(orphan("j", "2")), [Key::new("d", "j"), Key::new("d", "k")]);
    assert_eq!(touched(orphan("j", "3")), [], "the labels are the same");
}

#[test]
fn an_orphan_with_the_finalizer_is_looked_at_when_it_comes_and_when_it_changes() {
    let orphan = |revision: &str| {
        pod("a", "Running")
            .with("/metadata/ownerReferences", json!([]))
            .with("/metadata/resourceVersion", json!(revision))
    };
    let mut world = world([]);
    for revision in ["1", "2"] {
        let object = Arc::new(Object::from_value(resource::PODS, orphan(revision).0));
        let change = world.apply(object).expect("news");
        assert_eq!(OrphanPods::default().touched(&change, &world), [Key::new("d", "a")]);
    }
}
