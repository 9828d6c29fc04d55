//! What upstream's Job controller does wrong when the server refuses something, and what is right (specification §14), and the
//! numbered cases (§9) about refusals.

use std::cell::Cell;
use std::rc::Rc;

use jiff::Timestamp;
use rota_api::{ApiError, Change, Object, Write, resource};
use rota_reconcile::Controller;
use rota_reconcile::job::labels::TRACKING_FINALIZER;
use rota_reconcile::job::{JobController, OrphanPods};
use rota_sim::{Cluster, Mode};
use serde_json::{Value, json};

/// Longer than the longest pause between two tries.
const NEXT_TRY_SECS: f64 = 70.0;

const MODES: [Mode; 2] = [Mode::Transaction, Mode::Sequential];

fn controllers() -> Vec<Box<dyn Controller>> {
    vec![Box::new(JobController::default()), Box::new(OrphanPods::default())]
}

/// An empty cluster with one node.
fn cluster(mode: Mode) -> Cluster {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    let mut cluster = Cluster::new(controllers, start);
    cluster.mode = mode;
    let node = json!({"metadata": {"name": "n"}, "status": {"allocatable": {"pods": "9999"}}});
    cluster.create(resource::NODES, node).expect("a node");
    cluster
}

fn with_job(cluster: &mut Cluster, mut spec: Value) {
    let containers = json!([{"name": "c", "image": "app:1"}]);
    spec["template"] = json!({"spec": {"restartPolicy": "Never", "containers": containers}});
    let job = json!({"metadata": {"namespace": "d", "name": "j"}, "spec": spec});
    cluster.create(resource::JOBS, job).expect("a Job");
    cluster.run_for(2.0);
}

fn patch_job(cluster: &mut Cluster, spec: &Value) {
    let patch = Write::merge(resource::JOBS, "d", "j", json!({"spec": spec}));
    cluster.write(&patch).expect("a change that is allowed");
    cluster.run_for(0.5);
}

fn status(cluster: &Cluster) -> Value {
    let job = cluster.api.get(resource::JOBS, "d", "j").expect("the Job");
    job.to_value()["status"].take()
}

fn has(status: &Value, condition: &str) -> bool {
    let conditions = status["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|c| c["type"] == condition && c["status"] == "True")
}

fn pods(cluster: &Cluster) -> Vec<String> {
    cluster
        .api
        .all(resource::PODS)
        .map(|pod| pod.meta().name.clone())
        .collect()
}

fn run_all(cluster: &mut Cluster) {
    for name in pods(cluster) {
        let ready = json!([{"type": "Ready", "status": "True"}]);
        let status = json!({"phase": "Running", "conditions": ready});
        cluster.pod_status("d", &name, status).expect("the pod is there");
    }
    cluster.run_for(2.0);
}

fn events(cluster: &Cluster, reason: &str) -> u64 {
    let told = cluster.record.events.iter().filter(|(event, _)| event.reason == reason);
    told.map(|(_, count)| *count).sum()
}

fn forbid(cluster: &mut Cluster, what: fn(&Write) -> bool) {
    cluster.api.policy = Some(Box::new(move |write| {
        if what(write) {
            let why = "a policy says no";
            return Err(ApiError::forbidden(write.resource, &write.name, why));
        }
        Ok(())
    }));
}

fn is_pod_deletion(write: &Write) -> bool {
    write.resource == resource::PODS && matches!(write.change, Change::Delete(_))
}

fn is_pod_creation(write: &Write) -> bool {
    write.resource == resource::PODS && matches!(write.change, Change::Create(_))
}

fn removes_finalizer(write: &Write) -> bool {
    let Change::Patch { patch, .. } = &write.change else {
        return false;
    };
    patch["metadata"].get("$deleteFromPrimitiveList/finalizers").is_some()
}

fn is_tracked(pod: &Object) -> bool {
    pod.meta()
        .finalizers
        .iter()
        .any(|finalizer| finalizer == TRACKING_FINALIZER)
}

#[test]
fn a_finalizer_that_could_not_be_taken_off_a_forsaken_pod_is_taken_off_later() {
    for mode in MODES {
        let mut cluster = cluster(mode);
        forbid(&mut cluster, removes_finalizer);
        let pod = json!({"metadata": {"namespace": "d", "name": "p", "finalizers": [TRACKING_FINALIZER]},
            "spec": {"containers": [{"name": "c", "image": "app:1"}]}});
        cluster.create(resource::PODS, pod).expect("a pod");
        cluster.run_for(600.0);
        let is_held = |cluster: &Cluster| cluster.api.all(resource::PODS).any(|pod| is_tracked(pod));
        assert!(is_held(&cluster), "the policy forbids it");
        cluster.api.policy = None;
        cluster.run_for(NEXT_TRY_SECS);
        assert!(!is_held(&cluster), "{mode:?}");
    }
}

#[test]
fn in_a_namespace_that_is_being_deleted_no_pod_is_counted_that_is_not_there_and_nobody_is_told() {
    for mode in MODES {
        let mut cluster = cluster(mode);
        let tries = Rc::new(Cell::new(0));
        let counted = Rc::clone(&tries);
        cluster.api.policy = Some(Box::new(move |write| {
            if !is_pod_creation(write) {
                return Ok(());
            }
            counted.set(counted.get() + 1);
            let cause = json!({"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]});
            let why = "unable to create new content in namespace d because it is being terminated";
            Err(ApiError::forbidden(write.resource, &write.name, why).with_details(cause))
        }));
        with_job(&mut cluster, json!({"completions": 2, "parallelism": 2}));
        cluster.run_for(600.0);
        assert!(status(&cluster)["active"].is_null(), "{mode:?}");
        assert_eq!(events(&cluster, "FailedCreate"), 0, "{mode:?}");
        // A try a minute, not a storm; in a transaction the first refusal is followed by one try of its own.
        assert!(tries.get() < 50, "{} tries in ten minutes", tries.get());
        // The key is not blind afterwards.
        cluster.api.policy = None;
        cluster.run_for(NEXT_TRY_SECS);
        assert_eq!(
            (pods(&cluster).len(), status(&cluster)["active"].as_i64()),
            (2, Some(2)),
            "{mode:?}"
        );
    }
}

#[test]
fn a_pod_that_could_not_be_stopped_stays_active_and_ready_in_the_status() {
    for mode in MODES {
        let mut cluster = cluster(mode);
        with_job(&mut cluster, json!({"completions": 9, "parallelism": 3}));
        run_all(&mut cluster);
        forbid(&mut cluster, is_pod_deletion);
        patch_job(&mut cluster, &json!({"parallelism": 2}));
        cluster.run_for(5.0);
        let told = status(&cluster);
        assert_eq!(
            (&told["active"], &told["ready"], &told["terminating"]),
            (&json!(3), &json!(3), &json!(0)),
            "{mode:?}"
        );
        assert_eq!(events(&cluster, "SuccessfulDelete"), 0, "{mode:?}");
        assert!(events(&cluster, "FailedDelete") > 0, "{mode:?}");
        cluster.api.policy = None;
        cluster.run_for(NEXT_TRY_SECS);
        let told = status(&cluster);
        assert_eq!(
            (&told["active"], &told["ready"], &told["terminating"]),
            (&json!(2), &json!(2), &json!(1)),
            "{mode:?}"
        );
        assert!(told["failed"].is_null(), "{mode:?}: {told}");
    }
}

#[test]
fn a_failure_is_announced_although_the_other_pods_cannot_be_stopped() {
    for mode in MODES {
        let mut cluster = cluster(mode);
        let rule = json!({"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}});
        with_job(
            &mut cluster,
            json!({"completions": 2, "parallelism": 2, "podFailurePolicy": {"rules": [rule]}}),
        );
        run_all(&mut cluster);
        forbid(&mut cluster, is_pod_deletion);
        let state = json!({"terminated": {"exitCode": 42, "finishedAt": "2025-12-31T00:00:00Z"}});
        let container =
            json!({"name": "c", "image": "app:1", "imageID": "", "ready": false, "restartCount": 0, "state": state});
        let failed = pods(&cluster)[0].clone();
        let ended = json!({"phase": "Failed", "containerStatuses": [container]});
        cluster.pod_status("d", &failed, ended).expect("the pod is there");
        cluster.run_for(3.0);
        let told = status(&cluster);
        assert!(has(&told, "FailureTarget") && !has(&told, "Failed"), "{mode:?}: {told}");
        assert_eq!(told["active"], 1, "{mode:?}: {told}");
    }
}

#[test]
fn a_success_policy_without_completions_is_answered_not_fatal() {
    let mut cluster = cluster(Mode::Transaction);
    for rule in [json!({"succeededIndexes": "0"}), json!({"succeededCount": 1})] {
        let spec = json!({"completionMode": "Indexed", "parallelism": 1, "successPolicy": {"rules": [rule]},
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "app:1"}]}}});
        let job = json!({"metadata": {"namespace": "d", "name": "j"}, "spec": spec});
        let refused = cluster
            .create(resource::JOBS, job)
            .expect_err("completions are missing");
        assert_eq!(refused.code(), 422);
        assert!(
            refused.message().contains("spec.completions: Required value"),
            "{}",
            refused.message()
        );
    }
}

#[test]
fn with_an_api_that_refuses_every_write_to_pods_nothing_is_counted_and_it_is_tried_again() {
    for mode in MODES {
        let mut cluster = cluster(mode);
        with_job(&mut cluster, json!({"completions": 9, "parallelism": 3}));
        forbid(&mut cluster, |write| write.resource == resource::PODS);
        patch_job(&mut cluster, &json!({"parallelism": 2}));
        cluster.run_for(5.0);
        assert_eq!(status(&cluster)["active"], 3, "{mode:?}");
        assert_eq!(events(&cluster, "SuccessfulDelete"), 0, "{mode:?}");
        cluster.api.policy = None;
        cluster.run_for(NEXT_TRY_SECS);
        assert_eq!(status(&cluster)["active"], 2, "{mode:?}");
    }
}

#[test]
fn behind_a_batch_in_which_a_creation_was_refused_no_further_batch_is_tried() {
    for mode in MODES {
        let mut cluster = cluster(mode);
        let quota = json!({"metadata": {"namespace": "d", "name": "q"}, "spec": {"hard": {"pods": "10"}}});
        cluster.create(resource::RESOURCE_QUOTAS, quota).expect("a quota");
        let containers = json!([{"name": "c", "image": "app:1"}]);
        let template = json!({"spec": {"restartPolicy": "Never", "containers": containers}});
        let spec = json!({"completions": 200, "parallelism": 100, "template": template});
        let job = json!({"metadata": {"namespace": "d", "name": "j"}, "spec": spec});
        cluster.create(resource::JOBS, job).expect("a Job");
        cluster.run_for(0.5);
        // Of the batches of 1, 2, 4 and 8 the last meets the quota.
        assert_eq!(
            (pods(&cluster).len(), events(&cluster, "FailedCreate")),
            (10, 5),
            "{mode:?}"
        );
        cluster.run_for(1.5);
        assert_eq!(status(&cluster)["active"], 10, "{mode:?}");
        assert_eq!(
            events(&cluster, "FailedCreate"),
            6,
            "{mode:?}: the first batch of the next try is one pod"
        );
    }
}

#[test]
fn a_status_that_could_not_be_written_is_written_later_and_one_that_was_is_left() {
    for mode in MODES {
        for conflict in [true, false] {
            let mut cluster = cluster(mode);
            let tries = Rc::new(Cell::new(0));
            let counted = Rc::clone(&tries);
            cluster.api.policy = Some(Box::new(move |write| {
                let is_status = write.resource == resource::JOBS && matches!(write.change, Change::Patch { .. });
                if !is_status {
                    return Ok(());
                }
                counted.set(counted.get() + 1);
                match counted.get() {
                    1 | 2 if conflict => Err(ApiError::modified(write.resource, &write.name)),
                    1 | 2 => Err(ApiError::internal("the store is away")),
                    _ => Ok(()),
                }
            }));
            with_job(&mut cluster, json!({"completions": 1}));
            cluster.run_for(30.0);
            assert_eq!(status(&cluster)["active"], 1, "{mode:?}");
            let written = tries.get();
            cluster.run_for(600.0);
            assert_eq!(tries.get(), written, "{mode:?}");
            assert_eq!(pods(&cluster).len(), 1, "{mode:?}");
        }
    }
}

#[test]
fn a_job_that_fails_while_pods_are_still_created_leaves_no_finalizer_behind() {
    for mode in MODES {
        let mut cluster = cluster(mode);
        // More than one plan creates.
        with_job(
            &mut cluster,
            json!({"completions": 600, "parallelism": 600, "completionMode": "Indexed", "backoffLimit": 0, "suspend": true}),
        );
        let mut ended = false;
        let unsuspend = Write::merge(resource::JOBS, "d", "j", json!({"spec": {"suspend": false}}));
        cluster.write(&unsuspend).expect("the Job is there");
        for _ in 0..40 {
            cluster.run_for(0.005);
            if !ended && let Some(name) = pods(&cluster).first().cloned() {
                ended = true;
                cluster
                    .pod_status("d", &name, json!({"phase": "Failed"}))
                    .expect("the pod is there");
            }
        }
        cluster.run_for(5.0);
        let grace = rota_api::DeleteOptions {
            grace_period_secs: Some(0),
            ..Default::default()
        };
        for name in pods(&cluster) {
            // Some are gone already.
            let _ = cluster.write(&Write::delete(resource::PODS, "d", &name, grace.clone()));
        }
        cluster.run_for(5.0);
        let told = status(&cluster);
        assert!(has(&told, "Failed"), "{mode:?}: {told}");
        assert!(!cluster.api.all(resource::PODS).any(|pod| is_tracked(pod)), "{mode:?}");
    }
}
