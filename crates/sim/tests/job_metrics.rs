//! What the metrics of the Job controller say after stories whose end is known.

use jiff::Timestamp;
use rota_api::{DeleteOptions, Write, resource};
use rota_reconcile::Controller;
use rota_reconcile::job::{JobController, OrphanPods, metrics};
use rota_sim::{Cluster, Mode};
use serde_json::{Value, json};

fn controllers() -> Vec<Box<dyn Controller>> {
    vec![Box::new(JobController::default()), Box::new(OrphanPods::default())]
}

fn cluster(mut spec: Value) -> Cluster {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    let mut cluster = Cluster::new(controllers, start);
    cluster.mode = Mode::Transaction;
    cluster
        .create(
            resource::NODES,
            json!({"metadata": {"name": "n"}, "status": {"allocatable": {"pods": "9999"}}}),
        )
        .expect("a node");
    let containers = json!([{"name": "c", "image": "app:1"}]);
    spec["template"] = json!({"spec": {"restartPolicy": "Never", "containers": containers}});
    let job = json!({"metadata": {"namespace": "d", "name": "j"}, "spec": spec});
    cluster.create(resource::JOBS, job).expect("a Job");
    cluster.run_for(2.0);
    cluster
}

fn active(cluster: &Cluster) -> Vec<String> {
    let pods = cluster.api.all(resource::PODS).filter(|pod| {
        let meta = pod.meta();
        meta.deleting.is_none() && !matches!(meta.phase.as_str(), "Succeeded" | "Failed")
    });
    pods.map(|pod| pod.meta().name.clone()).collect()
}

/// The first active pods end with these codes, long ago; then the controllers look.
fn end(cluster: &mut Cluster, codes: &[i32]) {
    for (name, code) in active(cluster).iter().zip(codes) {
        let phase = if *code == 0 { "Succeeded" } else { "Failed" };
        let state = json!({"terminated": {"exitCode": code, "finishedAt": "2025-12-31T00:00:00Z"}});
        let container =
            json!({"name": "c", "image": "app:1", "imageID": "", "ready": false, "restartCount": 0, "state": state});
        let status = json!({"phase": phase, "containerStatuses": [container]});
        cluster.pod_status("d", name, status).expect("the pod is there");
    }
    cluster.run_for(2.0);
}

#[test]
fn a_finished_job_and_its_pods_are_counted_once() {
    let mut cluster = cluster(json!({"completions": 2, "parallelism": 2, "backoffLimit": 3}));
    end(&mut cluster, &[0, 1]);
    end(&mut cluster, &[0]);
    let book = &cluster.metrics;
    assert_eq!(book.sum(&metrics::PODS_FINISHED, &["NonIndexed", "succeeded"]), 2.0);
    assert_eq!(book.sum(&metrics::PODS_FINISHED, &["NonIndexed", "failed"]), 1.0);
    let finished = ["NonIndexed", "succeeded", "CompletionsReached"];
    assert_eq!(book.sum(&metrics::JOBS_FINISHED, &finished), 1.0);
    let created = ["NonIndexed", "success", "pods_created"];
    assert_eq!(
        book.count(&metrics::SYNC_SECONDS, &created) as f64,
        book.sum(&metrics::SYNCS, &created)
    );
    assert!(book.sum(&metrics::SYNCS, &created) >= 2.0);
}

#[test]
fn indexes_are_counted_by_how_they_end() {
    let spec = json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 0});
    let mut cluster = cluster(spec);
    end(&mut cluster, &[0, 1]);
    cluster.run_for(5.0);
    let book = &cluster.metrics;
    assert_eq!(book.sum(&metrics::INDEXES_FINISHED, &["succeeded", "perIndex"]), 1.0);
    assert_eq!(book.sum(&metrics::INDEXES_FINISHED, &["failed", "perIndex"]), 1.0);
    assert_eq!(
        book.sum(&metrics::JOBS_FINISHED, &["Indexed", "failed", "FailedIndexes"]),
        1.0
    );
}

#[test]
fn each_failure_is_handled_once_by_its_rule() {
    let rule = |action: &str, code: i32| json!({"action": action, "onExitCodes": {"operator": "In", "values": [code]}});
    let policy = json!({"rules": [rule("Ignore", 1), rule("Count", 2), rule("FailJob", 3)]});
    let spec = json!({"completions": 4, "parallelism": 4, "backoffLimit": 6, "podFailurePolicy": policy});
    let mut cluster = cluster(spec);
    end(&mut cluster, &[1, 2, 9]);
    let handled = |cluster: &Cluster, action| cluster.metrics.sum(&metrics::FAILURES_HANDLED, &[action]);
    assert_eq!(
        ["Ignore", "Count", "FailJob"].map(|action| handled(&cluster, action)),
        [1.0, 1.0, 0.0]
    );
    end(&mut cluster, &[3]);
    assert_eq!(
        ["Ignore", "Count", "FailJob"].map(|action| handled(&cluster, action)),
        [1.0, 1.0, 1.0]
    );
}

#[test]
fn creations_tell_why() {
    let of = |cluster: &Cluster, reason| cluster.metrics.sum(&metrics::PODS_CREATED, &[reason, "succeeded"]);
    for (policy, again) in [
        ("TerminatingOrFailed", "recreate_terminating_or_failed"),
        ("Failed", "recreate_failed"),
    ] {
        let mut cluster = cluster(json!({"completions": 2, "parallelism": 2, "podReplacementPolicy": policy}));
        assert_eq!(of(&cluster, "new"), 2.0, "{policy}");
        end(&mut cluster, &[1, 1]);
        assert_eq!((of(&cluster, "new"), of(&cluster, again)), (2.0, 2.0), "{policy}");
    }
}

#[test]
fn a_refused_creation_is_counted_once_as_failed() {
    let mut cluster = cluster(json!({"completions": 1, "suspend": true}));
    let quota = json!({"metadata": {"namespace": "d", "name": "q"}, "spec": {"hard": {"pods": "0"}}});
    cluster.create(resource::RESOURCE_QUOTAS, quota).expect("a quota");
    let resume = Write::merge(resource::JOBS, "d", "j", json!({"spec": {"suspend": false}}));
    cluster.write(&resume).expect("the Job is there");
    cluster.run_for(0.5);
    let count = |status| cluster.metrics.sum(&metrics::PODS_CREATED, &["new", status]);
    assert_eq!((count("failed"), count("succeeded")), (1.0, 0.0));
}

#[test]
fn every_tracked_pod_that_ends_is_let_go() {
    let mut cluster = cluster(json!({"parallelism": 3}));
    end(&mut cluster, &[1]);
    end(&mut cluster, &[0, 0, 0]);
    let event = |name| cluster.metrics.sum(&metrics::TERMINATED_PODS_TRACKED, &[name]);
    assert_eq!((event("add"), event("delete")), (4.0, 4.0));
}

#[test]
fn jobs_of_other_controllers_are_counted_when_they_come() {
    let mut cluster = cluster(json!({"managedBy": "example.com/other"}));
    let labels = ["example.com/other"];
    assert_eq!(cluster.metrics.sum(&metrics::EXTERNAL_JOBS, &labels), 1.0);
    let delete = Write::delete(resource::JOBS, "d", "j", DeleteOptions::default());
    cluster.write(&delete).expect("the Job is there");
    cluster.run_for(1.0);
    assert_eq!(cluster.metrics.sum(&metrics::EXTERNAL_JOBS, &labels), 1.0);
}
