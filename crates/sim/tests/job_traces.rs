//! Golden plans: what the Job controller writes in the stories of the specification (§4.21), in order, for people to read.
//!
//! A line is a write: its stage, what it does, and for a status the fields that it changes.

use std::fmt::Write as _;

use jiff::Timestamp;
use rota_api::{Change, DeleteOptions, Write, resource};
use rota_reconcile::job::{JobController, OrphanPods};
use rota_reconcile::{Action, Controller};
use rota_sim::api::seconds;
use rota_sim::{Cluster, Mode};
use serde_json::{Value, json};

fn controllers() -> Vec<Box<dyn Controller>> {
    vec![Box::new(JobController::default()), Box::new(OrphanPods::default())]
}

/// A story: a Job, what becomes of it, and what was written.
struct Story {
    cluster: Cluster,
    text: String,
}

impl Story {
    fn of(mut spec: Value) -> Self {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let mut cluster = Cluster::new(controllers, start);
        cluster.mode = Mode::Sequential;
        cluster.plans = Some(Vec::new());
        let node = json!({"metadata": {"name": "n"}, "status": {"allocatable": {"pods": "9999"}}});
        cluster.create(resource::NODES, node).expect("a node");
        let containers = json!([{"name": "c", "image": "app:1"}]);
        spec["template"] = json!({"spec": {"restartPolicy": "Never", "containers": containers}});
        let job = json!({"metadata": {"namespace": "d", "name": "j"}, "spec": spec});
        cluster.create(resource::JOBS, job).expect("a Job");
        let mut story = Self {
            cluster,
            text: String::new(),
        };
        story.then("the Job is created", 2.0);
        story
    }

    /// Tells what is written within so many seconds.
    fn then(&mut self, what: &str, secs: f64) {
        self.cluster.run_for(secs);
        let _ = writeln!(self.text, "{what}:");
        for (_, plan) in self.cluster.plans.replace(Vec::new()).unwrap_or_default() {
            for action in &plan.actions {
                let _ = writeln!(self.text, "  {}", told(action));
            }
            for note in plan.notes.iter().filter(|note| !note.reason.starts_with("Successful")) {
                let _ = writeln!(self.text, "  event {}", note.reason);
            }
            self.text.push_str("  --\n");
        }
    }

    fn pod(&self, at: usize) -> String {
        let alive = self.cluster.api.all(resource::PODS).filter(|pod| {
            let meta = pod.meta();
            meta.deleting.is_none() && !matches!(meta.phase.as_str(), "Succeeded" | "Failed")
        });
        let mut alive: Vec<_> = alive
            .map(|pod| (pod.meta().uid.clone(), pod.meta().name.clone()))
            .collect();
        alive.sort();
        alive.swap_remove(at).1
    }

    fn report(&mut self, at: usize, status: Value, what: &str, secs: f64) {
        let pod = self.pod(at);
        self.cluster.pod_status("d", &pod, status).expect("the pod is there");
        self.then(what, secs);
    }

    fn ready(&mut self, at: usize) {
        let ready = json!([{"type": "Ready", "status": "True"}]);
        self.report(
            at,
            json!({"phase": "Running", "conditions": ready}),
            "a pod is ready",
            2.0,
        );
    }

    fn ends(&mut self, at: usize, phase: &str, code: i32, secs: f64) {
        let now = seconds(self.cluster.now());
        let state = json!({"terminated": {"exitCode": code, "finishedAt": now}});
        let container =
            json!({"name": "c", "image": "app:1", "imageID": "", "ready": false, "restartCount": 0, "state": state});
        let status = json!({"phase": phase, "containerStatuses": [container]});
        self.report(at, status, &format!("a pod has {}", phase.to_lowercase()), secs);
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "the caller writes the value where it is used"
    )]
    fn patch(&mut self, spec: Value, what: &str) {
        let patch = Write::merge(resource::JOBS, "d", "j", json!({"spec": spec}));
        self.cluster.write(&patch).expect("a change that is allowed");
        self.then(what, 2.0);
    }

    /// The pods that are being deleted are gone.
    fn bury(&mut self) {
        let ending: Vec<_> = self.cluster.api.all(resource::PODS).cloned().collect();
        for pod in ending.iter().filter(|pod| pod.meta().deleting.is_some()) {
            let at_once = DeleteOptions {
                grace_period_secs: Some(0),
                ..DeleteOptions::default()
            };
            let delete = Write::delete(resource::PODS, "d", &pod.meta().name, at_once);
            self.cluster.write(&delete).expect("the pod is there");
        }
        self.then("the deleted pods are gone", 2.0);
    }
}

fn told(Action { write, stage, .. }: &Action) -> String {
    let what = match &write.change {
        Change::Patch { patch, .. } if write.resource == resource::JOBS && patch.get("status").is_none() => {
            "make sure that the Job is unchanged".to_owned()
        }
        Change::Patch { patch, .. } if write.resource == resource::JOBS => {
            format!("status {}", told_status(&patch["status"]))
        }
        Change::Patch { patch, .. } if patch["metadata"]["ownerReferences"].is_null() => "finalizer gone".to_owned(),
        Change::Patch { patch, .. } if patch["metadata"]["finalizers"].is_array() => "adopt".to_owned(),
        Change::Patch { .. } => "release".to_owned(),
        Change::Create(pod) => {
            let annotations = &pod["metadata"]["annotations"];
            let count = &annotations["batch.kubernetes.io/job-index-failure-count"];
            let failures = count
                .as_str()
                .map(|count| format!(" (failures: {count})"))
                .unwrap_or_default();
            format!(
                "create {}*{failures}",
                pod["metadata"]["generateName"].as_str().unwrap_or_default()
            )
        }
        Change::Delete(_) => "delete".to_owned(),
        Change::Update { .. } | Change::Post { .. } => "unexpected".to_owned(),
    };
    format!("{stage} {what}")
}

fn told_status(status: &Value) -> String {
    let field = |(name, value): (&String, &Value)| match name.as_str() {
        "conditions" => {
            let all = value.as_array().into_iter().flatten();
            let told = all.map(|c| format!("{}={}", c["type"], c["status"]).replace('"', ""));
            told.collect::<Vec<_>>().join(" ")
        }
        "uncountedTerminatedPods" => {
            let lists = value.as_object().into_iter().flatten();
            let told = lists.map(|(list, uids)| format!("{list} {}", uids.as_array().map_or(0, Vec::len)));
            format!("uncounted({})", told.collect::<Vec<_>>().join(", "))
        }
        "startTime" | "completionTime" => format!("{name} {}", if value.is_null() { "gone" } else { "set" }),
        _ => format!(
            "{name} {}",
            if value.is_null() {
                "0".to_owned()
            } else {
                value.to_string().replace('"', "")
            }
        ),
    };
    let fields = status.as_object().into_iter().flatten().map(field);
    fields.collect::<Vec<_>>().join(", ")
}

#[test]
fn one_pod_succeeds() {
    let mut story = Story::of(json!({}));
    story.ready(0);
    story.ends(0, "Succeeded", 0, 2.0);
    insta::assert_snapshot!(story.text);
}

#[test]
fn one_pod_fails_and_none_may() {
    let mut story = Story::of(json!({"backoffLimit": 0}));
    story.ends(0, "Failed", 1, 2.0);
    insta::assert_snapshot!(story.text);
}

#[test]
fn one_of_two_pods_fails_and_none_may() {
    let mut story = Story::of(json!({"backoffLimit": 0, "completions": 2, "parallelism": 2}));
    story.ready(1);
    story.ends(0, "Failed", 1, 2.0);
    story.bury();
    insta::assert_snapshot!(story.text);
}

#[test]
fn a_failed_pod_is_replaced_after_its_backoff() {
    let mut story = Story::of(json!({}));
    story.ends(0, "Failed", 1, 2.0);
    story.then("ten seconds later", 10.0);
    insta::assert_snapshot!(story.text);
}

#[test]
fn an_index_succeeds() {
    let mut story = Story::of(json!({"completions": 5, "parallelism": 4, "completionMode": "Indexed"}));
    story.ends(3, "Succeeded", 0, 2.0);
    insta::assert_snapshot!(story.text);
}

#[test]
fn a_job_is_scaled_down() {
    let mut story = Story::of(json!({"completions": 4, "parallelism": 3}));
    story.patch(json!({"parallelism": 1}), "parallelism is 1");
    story.bury();
    insta::assert_snapshot!(story.text);
}

#[test]
fn a_job_is_suspended_and_resumed() {
    let mut story = Story::of(json!({"completions": 2, "parallelism": 2}));
    story.patch(json!({"suspend": true}), "it is suspended");
    story.bury();
    story.patch(json!({"suspend": false}), "it is resumed");
    insta::assert_snapshot!(story.text);
}

#[test]
fn an_index_fails_and_is_tried_again() {
    let mut story = Story::of(json!({"completions": 1, "completionMode": "Indexed", "backoffLimitPerIndex": 1}));
    story.ends(0, "Failed", 1, 2.0);
    story.then("ten seconds later", 10.0);
    insta::assert_snapshot!(story.text);
}

#[test]
fn a_pod_is_orphaned_by_a_client_and_adopted_again() {
    let mut story = Story::of(json!({}));
    let pod = story.pod(0);
    let orphan = Write::merge(
        resource::PODS,
        "d",
        &pod,
        json!({"metadata": {"ownerReferences": null}}),
    );
    story.cluster.write(&orphan).expect("the pod is there");
    story.then("its owner is gone", 2.0);
    insta::assert_snapshot!(story.text);
}

#[test]
fn a_pod_is_relabelled_by_a_client_and_replaced() {
    let mut story = Story::of(json!({}));
    let pod = story.pod(0);
    let relabel = Write::merge(resource::PODS, "d", &pod, json!({"metadata": {"labels": null}}));
    story.cluster.write(&relabel).expect("the pod is there");
    story.then("its labels are gone", 2.0);
    insta::assert_snapshot!(story.text);
}
