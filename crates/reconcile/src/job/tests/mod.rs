//! What one look at a Job decides: one test per rule, in the order of the specification's edge cases (§9).
//!
//! Which test holds which numbered case is told in the data of the crate `sim`, `edge-cases.tsv`.

mod backoff;
mod completing;
mod counting;
mod failing;
mod indexed;
mod laws;
mod ownership;
mod per_index;
mod policies;
mod replacing;
mod scaling;
mod settling;
mod suspending;

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rota_api::{Change, Object, Resource, Write, resource};
use serde_json::{Value, json};

use super::labels::{COMPLETION_INDEX, INDEX_FAILURE_COUNT, INDEX_IGNORED_FAILURE_COUNT, TRACKING_FINALIZER};
use super::{JobController, OrphanPods};
use crate::{Controller, Key, Plan, Wake, World};

/// The time of all tests, noon.
fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().expect("a time")
}

/// So many seconds before the time of the tests, as the API writes it.
fn ago(secs: i64) -> String {
    (now() - SignedDuration::from_secs(secs)).to_string()
}

/// A Job that started 20 minutes ago, with these fields of its spec; selected by a label, as `manualSelector` has it.
fn job(spec: Value) -> Builder {
    let mut whole = json!({
        "backoffLimit": 6,
        "selector": {"matchLabels": {"app": "j"}},
        "template": {
            "metadata": {"labels": {"app": "j"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "app:1"}]},
        },
    });
    merge(&mut whole, spec);
    Builder(json!({
        "metadata": {"namespace": "d", "name": "j", "uid": "job-uid", "resourceVersion": "7", "generation": 1},
        "spec": whole,
        "status": {"startTime": ago(1200), "ready": 0, "terminating": 0, "uncountedTerminatedPods": {}},
    }))
}

/// An Indexed Job.
fn indexed(spec: Value) -> Builder {
    let mut whole = json!({"completionMode": "Indexed"});
    merge(&mut whole, spec);
    job(whole)
}

/// A bound, tracked pod of the Job, created 10 minutes ago.
fn pod(name: &str, phase: &str) -> Builder {
    Builder(json!({
        "metadata": {
            "namespace": "d", "name": name, "uid": name, "resourceVersion": "5", "labels": {"app": "j"},
            "creationTimestamp": ago(600), "finalizers": [TRACKING_FINALIZER],
            "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "job-uid", "controller": true},
            ],
        },
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "app:1"}]},
        "status": {"phase": phase},
    }))
}

/// An object in the making. Each method changes one thing that matters to a test.
#[derive(Clone)]
struct Builder(Value);

impl Builder {
    fn with(mut self, pointer: &str, value: Value) -> Self {
        let mut place = &mut self.0;
        for part in pointer.split('/').skip(1) {
            place = &mut place[part.replace("~1", "/")];
        }
        *place = value;
        self
    }

    fn status(mut self, status: Value) -> Self {
        merge(&mut self.0["status"], status);
        self
    }

    /// Adds a condition to a Job.
    fn condition(mut self, type_: &str, status: &str, reason: &str) -> Self {
        let entry = json!({"type": type_, "status": status, "reason": reason, "message": reason});
        match self.0["status"]["conditions"].as_array_mut() {
            Some(conditions) => conditions.push(entry),
            None => self.0["status"]["conditions"] = json!([entry]),
        }
        self
    }

    fn deleting(self) -> Self {
        self.with("/metadata/deletionTimestamp", json!(ago(-30)))
            .with("/metadata/deletionGracePeriodSeconds", json!(30))
    }

    fn untracked(self) -> Self {
        self.with("/metadata/finalizers", json!([]))
    }

    fn annotation(self, name: &str, value: &str) -> Self {
        self.with(
            &format!("/metadata/annotations/{}", name.replace('/', "~1")),
            json!(value),
        )
    }

    fn index(self, index: u32) -> Self {
        self.annotation(COMPLETION_INDEX, &index.to_string())
    }

    /// Failures of the index before this pod.
    fn failures(self, count: &str) -> Self {
        self.annotation(INDEX_FAILURE_COUNT, count)
    }

    fn ignored(self, count: &str) -> Self {
        self.annotation(INDEX_IGNORED_FAILURE_COUNT, count)
    }

    fn ready(self) -> Self {
        let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": ago(300)}]);
        self.with("/status/conditions", ready)
    }

    /// The container has ended so many seconds ago with this code.
    fn ended(self, code: i32, secs: i64) -> Self {
        let state = json!({"terminated": {"exitCode": code, "finishedAt": ago(secs)}});
        self.with("/status/containerStatuses", json!([container("c", &state, 0)]))
    }

    fn restarts(self, count: i32) -> Self {
        self.with(
            "/status/containerStatuses",
            json!([container("c", &json!({"running": {}}), count)]),
        )
    }
}

fn container(name: &str, state: &Value, restarts: i32) -> Value {
    json!({"name": name, "image": "app:1", "imageID": "", "ready": false, "restartCount": restarts, "state": state})
}

fn merge(into: &mut Value, changes: Value) {
    match changes {
        Value::Object(fields) => {
            for (key, value) in fields {
                merge(&mut into[key], value);
            }
        }
        value => *into = value,
    }
}

fn world(objects: impl IntoIterator<Item = (&'static Resource, Builder)>) -> World {
    let mut indexes = JobController::default().indexes();
    indexes.extend(OrphanPods::default().indexes());
    let mut world = World::watching(&super::WATCHED, &indexes);
    for (resource, Builder(value)) in objects {
        world.apply(Arc::new(Object::from_value(resource, value)));
    }
    world
}

/// What one look decides, checked line by line.
#[track_caller]
fn check(job: Builder, pods: impl IntoIterator<Item = Builder>, expected: &[&str]) {
    let pods = pods.into_iter().map(|pod| (resource::PODS, pod));
    let world = world(std::iter::once((resource::JOBS, job)).chain(pods));
    let key = Key::new("d", "j");
    let plan = JobController::default().reconcile(&key, &world, now());
    assert_eq!(
        plan,
        JobController::default().reconcile(&key, &world, now()),
        "same world, same plan"
    );
    assert_is_guarded(&plan);
    let told = tell(&plan);
    assert_eq!(told, expected, "\n{told:#?}");
}

/// No write can hit an object other than the one that was seen.
fn assert_is_guarded(plan: &Plan) {
    for action in &plan.actions {
        let is_create = matches!(action.write.change, Change::Create(_));
        assert!(
            is_create || action.write.precondition.uid.is_some(),
            "{} is not guarded",
            action.write
        );
    }
    for action in plan.actions.iter().filter(|a| a.write.resource == resource::JOBS) {
        let (verb, told) = told_write(&action.write);
        let must_be_as_seen = verb == "unchanged" || told.contains("uncounted");
        assert!(
            !must_be_as_seen || action.write.precondition.revision.is_some(),
            "{}",
            action.write
        );
    }
}

/// The plan in a few words; alike writes of one stage in one line.
fn tell(plan: &Plan) -> Vec<String> {
    let mut lines: Vec<(u16, String, Vec<String>)> = Vec::new();
    for action in &plan.actions {
        let (verb, object) = told_write(&action.write);
        match lines.last_mut() {
            Some((stage, last, objects)) if *last == verb && (*stage == action.stage || verb == "create") => {
                objects.push(object);
            }
            _ => lines.push((action.stage, verb, vec![object])),
        }
    }
    let mut told: Vec<String> = lines
        .into_iter()
        .map(|(_, verb, of)| format!("{verb} {}", of.join(", ")).trim_end().to_owned())
        .collect();
    let is_news = |reason: &str| reason != "SuccessfulCreate" && reason != "SuccessfulDelete";
    told.extend(
        plan.notes
            .iter()
            .filter(|n| is_news(&n.reason))
            .map(|n| format!("event {}: {}", n.reason, n.message)),
    );
    if let Wake::At(at) = plan.wake {
        told.push(format!("wake +{}", at.duration_since(now()).as_secs()));
    }
    told
}

fn told_write(write: &Write) -> (String, String) {
    let name = write.name.clone();
    match &write.change {
        Change::Create(pod) => ("create".into(), told_pod(pod)),
        Change::Delete(_) => ("delete".into(), name),
        Change::Patch { patch, .. } if write.resource == resource::JOBS && patch.get("status").is_none() => {
            ("unchanged".into(), String::new())
        }
        Change::Patch { patch, .. } if write.resource == resource::JOBS => {
            ("status".into(), told_status(&patch["status"]))
        }
        Change::Patch { patch, .. } => {
            let owners = &patch["metadata"]["ownerReferences"];
            let verb = match owners[0]["$patch"].as_str() {
                Some(_) => "release",
                None if owners.is_array() => "adopt",
                None => "untrack",
            };
            (verb.into(), name)
        }
        Change::Update { .. } | Change::Post { .. } => ("unexpected".into(), write.to_string()),
    }
}

fn told_pod(pod: &Value) -> String {
    let annotations = &pod["metadata"]["annotations"];
    let mut told = annotations[COMPLETION_INDEX].as_str().unwrap_or("pod").to_owned();
    for (what, name) in [
        ("failures", INDEX_FAILURE_COUNT),
        ("ignored", INDEX_IGNORED_FAILURE_COUNT),
    ] {
        if let Some(count) = annotations[name].as_str() {
            write!(told, " {what}={count}").expect("writing into memory cannot fail");
        }
    }
    told
}

fn told_status(status: &Value) -> String {
    let told = status
        .as_object()
        .into_iter()
        .flatten()
        .map(|(field, value)| match (field.as_str(), value) {
            ("conditions", conditions) => {
                let told = conditions.as_array().into_iter().flatten().map(|c| {
                    let text = |field: &str| c[field].as_str().unwrap_or_default();
                    format!("{}={}({})", text("type"), text("status"), text("reason"))
                });
                told.collect::<Vec<_>>().join(" ")
            }
            ("uncountedTerminatedPods", lists) => {
                let told = lists
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(list, uids)| format!("{list}={uids}"));
                format!("uncounted{{{}}}", told.collect::<Vec<_>>().join(" "))
            }
            (field, Value::Null) => format!("{field}=-"),
            (field, value) => format!("{field}={value}").replace(&format!("\"{}\"", ago(0)), "now"),
        });
    told.collect::<Vec<_>>().join(" ")
}
