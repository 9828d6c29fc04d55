//! The steps of a scenario.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rota_api::{DeleteOptions, Object, PatchKind, Propagation, Resource, Write, resource};
use rota_reconcile::Controller;
use serde_json::{Value, json};

use super::minutes::Minutes;
use super::picture;
use crate::api::seconds;
use crate::cluster::{Cluster, Mode};

/// The namespace of the scenario.
pub const NAMESPACE: &str = "ns";

/// Nodes that are healthy throughout a scenario about the health of nodes.
const BYSTANDERS: usize = 8;

/// What their names begin with.
pub(super) const BYSTANDER: &str = "bystander-";

/// How long a step waits for the pods that it is about.
const PODS_COME_SECS: f64 = 10.0;

/// When controllers look at what a step changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At the next step that lets time pass: pod changes of one moment are seen together, as upstream's batching has it.
    Batched,
    /// At once, after each single change.
    Eager,
}

/// Plays a scenario; returns where its outcome differs from the recorded one.
pub fn replay(scenario: &Value, make: fn() -> Vec<Box<dyn Controller>>, mode: Mode, pace: Pace) -> Vec<String> {
    let start = Timestamp::from_second(1_767_225_600).expect("a time of our century");
    let mut cluster = Cluster::new(make, start);
    cluster.mode = mode;
    let mut player = Player {
        cluster,
        pace,
        differences: Vec::new(),
        expected: json!({}),
        step: 0,
        id: text(&scenario["id"]).to_owned(),
        renamings: picture::renamings(scenario),
        uncounted: false,
    };
    for node in list(&scenario["nodes"]) {
        player.create_node(node);
    }
    if scenario["recordNodes"] == true {
        player.create_bystanders();
    }
    for (at, step) in list(&scenario["steps"]).iter().enumerate() {
        player.step = at;
        player.play(step);
        if !player.differences.is_empty() {
            // What follows is a consequence.
            return player.differences;
        }
    }
    player.check_history(scenario);
    player.differences
}

struct Player {
    cluster: Cluster,
    pace: Pace,
    differences: Vec<String>,
    /// The last picture expected, for what the next one leaves unchanged.
    expected: Value,
    step: usize,
    id: String,
    /// The ways in which the nodes of the recording may stand for those here; agreed pictures leave fewer.
    renamings: Vec<picture::Renaming>,
    /// A node changed, and upstream's DaemonSet status was not written since: it may count what was before.
    uncounted: bool,
}

impl Player {
    fn differ(&mut self, what: impl std::fmt::Display) {
        self.differences.push(format!("step {}: {what}", self.step));
    }

    fn create_node(&mut self, node: &Value) {
        let name = format!("{}-{}", self.id, text(&node["name"]));
        let mut labels = json!({
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
            "scenario": self.id,
        });
        for (key, value) in node["labels"].as_object().into_iter().flatten() {
            labels[key] = value.clone();
        }
        let mut capacity = json!({"cpu": "64", "memory": "256Gi", "pods": "500", "ephemeral-storage": "100Gi"});
        for (key, value) in node["capacity"].as_object().into_iter().flatten() {
            capacity[key] = value.clone();
        }
        let mut spec = json!({});
        for field in ["taints", "unschedulable"] {
            if !node[field].is_null() {
                spec[field] = node[field].clone();
            }
        }
        let object = json!({"metadata": {"name": name, "labels": labels}, "spec": spec});
        let status = json!({"status": {"capacity": capacity, "allocatable": capacity}});
        let write = Write::merge_status(resource::NODES, "", &name, status);
        let is_ready = if node["ready"] == false { "False" } else { "True" };
        let made = self.cluster.create(resource::NODES, object);
        let made = made.and_then(|_| self.cluster.write(&write));
        if let Err(error) = made.and_then(|_| self.node_ready(&name, is_ready)) {
            self.differ(error.message());
        }
    }

    /// Healthy nodes beside those of a scenario about the health of nodes, so that not all of them are in trouble.
    fn create_bystanders(&mut self) {
        for at in 0..BYSTANDERS {
            let name = format!("{BYSTANDER}{at}");
            let taint = json!({"key": "bystander", "effect": "NoSchedule"});
            let made = self.cluster.create(
                resource::NODES,
                json!({"metadata": {"name": name}, "spec": {"taints": [taint]}}),
            );
            if let Err(error) = made.and_then(|_| self.node_ready(&name, "True")) {
                self.differ(error.message());
            }
        }
    }

    fn play(&mut self, step: &Value) {
        let step = &self.fill_in(step);
        match text(&step["op"]) {
            "create" => self.create(step),
            "patch" => self.patch(step),
            "delete" => self.delete(step),
            "pod-status" => self.change_pods(step, Some("status"), PatchKind::Strategic),
            "pod-patch" => self.change_pods(step, None, patch_kind(step)),
            "pod-delete" => self.delete_pods(step),
            "node-create" => {
                self.create_node(&step["node"]);
                self.after_change(false);
            }
            "node-delete" | "node-patch" | "node-ready" => self.change_node(step),
            "kubelet" => {
                self.cluster.agents = step["auto"]["status"]
                    .is_object()
                    .then(|| step["auto"]["status"].clone());
                self.after_change(false);
            }
            "wait" => self.cluster.run_for(step["seconds"].as_f64().unwrap_or_default()),
            "minute" => self.wait_for_second(step),
            "await" => self.wait_until(step),
            "settle" => self.settle(step),
            other => self.differ(format!("unknown step {other:?}")),
        }
    }

    /// Times and uids that only the replay knows.
    fn fill_in(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => {
                let filled = || Minutes::of(&self.cluster).fill_in(text).into();
                self.placeholder(text).unwrap_or_else(filled)
            }
            Value::Array(items) => items.iter().map(|item| self.fill_in(item)).collect(),
            Value::Object(fields) => {
                let filled = fields.iter().map(|(key, field)| {
                    let is_recorded = key == "expect" || key == "result";
                    (
                        key.clone(),
                        if is_recorded {
                            field.clone()
                        } else {
                            self.fill_in(field)
                        },
                    )
                });
                Value::Object(filled.collect())
            }
            _ => value.clone(),
        }
    }

    fn placeholder(&self, text: &str) -> Option<Value> {
        let inner = text.strip_prefix('<')?.strip_suffix('>')?;
        if let Some(of) = inner.strip_prefix("uid:") {
            let (kind, name) = of.split_once('/')?;
            return Some(self.find(kind, name)?.meta().uid.clone().into());
        }
        if inner == "cr:0" {
            // Uids are given in order.
            let mut names = self.cluster.api.names.values();
            return Some(names.find_map(|name| name.strip_prefix("ControllerRevision/"))?.into());
        }
        let ago: i64 = inner.strip_prefix("now")?.parse().unwrap_or_default();
        Some(seconds(self.cluster.now() + SignedDuration::from_secs(ago)).into())
    }

    fn find(&self, kind: &str, name: &str) -> Option<&Arc<Object>> {
        self.cluster.api.get(kind_of(kind)?, NAMESPACE, name)
    }

    /// A change of a Job is looked at at once, one of a pod with others of the same moment.
    fn after_change(&mut self, of_pods: bool) {
        if self.pace == Pace::Eager || !of_pods {
            self.cluster.run_for(0.0);
        }
    }

    fn create(&mut self, step: &Value) {
        let mut object = step["object"].clone();
        let found = resource::find_kind(text(&object["apiVersion"]), text(&object["kind"]));
        let Some(resource) = found else {
            return self.differ("unknown kind");
        };
        object["metadata"]["namespace"] = NAMESPACE.into();
        let made = self.cluster.create(resource, object);
        self.check_code(step, made.map(|_| 201));
        self.after_change(resource == resource::PODS);
    }

    fn target(&self, step: &Value) -> Option<(&'static Resource, String)> {
        let (kind, name) = text(&step["ref"]).split_once('/')?;
        Some((kind_of(kind)?, name.to_owned()))
    }

    fn patch(&mut self, step: &Value) {
        let Some((resource, name)) = self.target(step) else {
            return self.differ("unknown ref");
        };
        let subresource = (step["subresource"] == "status").then_some("status");
        let patch = step["patch"].clone();
        let write = Write::patch(resource, NAMESPACE, &name, patch_kind(step), patch, subresource);
        let made = self.cluster.write(&write);
        self.check_code(step, made.map(|_| 200));
        self.after_change(false);
    }

    fn delete(&mut self, step: &Value) {
        let Some((resource, name)) = self.target(step) else {
            return self.differ("unknown ref");
        };
        let options = DeleteOptions {
            grace_period_secs: step["gracePeriodSeconds"].as_i64(),
            propagation: match text(&step["propagationPolicy"]) {
                "Foreground" => Some(Propagation::Foreground),
                "Background" => Some(Propagation::Background),
                "Orphan" => Some(Propagation::Orphan),
                _ => None,
            },
            orphan_dependents: None,
        };
        let made = self.cluster.write(&Write::delete(resource, NAMESPACE, &name, options));
        self.check_code(step, made.map(|_| 200));
        self.after_change(false);
    }

    fn check_code(&mut self, step: &Value, made: Result<u64, rota_api::ApiError>) {
        let code = made.unwrap_or_else(|error| error.code().into());
        if step["result"]["code"] != code {
            self.differ(format!(
                "{} answered {code}, not {}",
                step["op"], step["result"]["code"]
            ));
        }
    }

    fn change_pods(&mut self, step: &Value, subresource: Option<&'static str>, kind: PatchKind) {
        for pod in self.select(step) {
            let patch = step["patch"].clone();
            let write = Write::patch(resource::PODS, NAMESPACE, &pod.meta().name, kind, patch, subresource);
            if let Err(error) = self.cluster.write(&write) {
                self.differ(error.message());
            }
            self.after_change(true);
        }
    }

    fn delete_pods(&mut self, step: &Value) {
        for pod in self.select(step) {
            let grace_period_secs = step["gracePeriodSeconds"].as_i64();
            let options = DeleteOptions {
                grace_period_secs,
                ..DeleteOptions::default()
            };
            let write = Write::delete(resource::PODS, NAMESPACE, &pod.meta().name, options);
            if let Err(error) = self.cluster.write(&write) {
                self.differ(error.message());
            }
            self.after_change(true);
        }
    }

    fn node_ready(&mut self, name: &str, status: &str) -> Result<Arc<Object>, rota_api::ApiError> {
        let reason = if status == "True" {
            "KubeletReady"
        } else {
            "KubeletNotReady"
        };
        let now = seconds(self.cluster.now());
        let condition = |type_, status, reason| json!({"type": type_, "status": status, "reason": reason, "lastHeartbeatTime": now});
        let patch = json!({"status": {"conditions": [
            condition("MemoryPressure", "False", "Sufficient"),
            condition("DiskPressure", "False", "Sufficient"),
            condition("PIDPressure", "False", "Sufficient"),
            condition("Ready", status, reason),
        ]}});
        let kind = PatchKind::Strategic;
        self.cluster
            .write(&Write::patch(resource::NODES, "", name, kind, patch, Some("status")))
    }

    fn change_node(&mut self, step: &Value) {
        let end = format!("-{}", text(&step["node"]));
        let names = self
            .cluster
            .api
            .all(resource::NODES)
            .map(|node| node.meta().name.clone());
        let Some(name) = names.into_iter().find(|name| name.ends_with(&end)) else {
            return self.differ("unknown node");
        };
        let made = match text(&step["op"]) {
            "node-ready" => self.node_ready(&name, text(&step["status"])),
            "node-patch" => {
                let (kind, patch) = (patch_kind(step), step["patch"].clone());
                let subresource = (step["subresource"] == "status").then_some("status");
                self.cluster
                    .write(&Write::patch(resource::NODES, "", &name, kind, patch, subresource))
            }
            _ => self
                .cluster
                .write(&Write::delete(resource::NODES, "", &name, DeleteOptions::default())),
        };
        self.check_code(step, made.map(|_| 200));
        self.uncounted = true;
        self.after_change(false);
    }

    /// The recording waited for pods that were still to come.
    fn select(&mut self, step: &Value) -> Vec<Arc<Object>> {
        let recorded = step["result"]["matched"].as_u64().unwrap_or_default();
        let wanted = &step["select"];
        if (select(&self.cluster, wanted).len() as u64) < recorded {
            self.cluster.run_until(PODS_COME_SECS, |cluster| {
                select(cluster, wanted).len() as u64 >= recorded
            });
        }
        let found = select(&self.cluster, wanted);
        if step["result"]["matched"] != found.len() {
            self.differ(format!("{} pods match, not {}", found.len(), step["result"]["matched"]));
        }
        found
    }

    /// Waits for a second of a minute of the clock.
    fn wait_for_second(&mut self, step: &Value) {
        let number = |field: &str| step[field].as_i64().unwrap_or_default();
        let now = self.cluster.now();
        let this_minute = now.as_second() - now.as_second().rem_euclid(60);
        let at = this_minute + number("in") * 60 + number("second");
        let wait = at - now.as_second() + if at <= now.as_second() { 60 } else { 0 };
        let fraction = f64::from(now.subsec_nanosecond()) / 1e9;
        self.cluster.run_for(wait as f64 - fraction);
    }

    fn wait_until(&mut self, step: &Value) {
        let until = step["until"].clone();
        let max = step["max"].as_f64().unwrap_or_default();
        let held = self.cluster.run_until(max, |cluster| holds(cluster, &until));
        if step["result"]["held"] != held.is_some() {
            return self.differ(format!("{until} held: {}", held.is_some()));
        }
        if let (Some(after), Some([from, to])) = (held, step["elapsed"].as_array().map(Vec::as_slice))
            && (after < from.as_f64().unwrap_or_default() || after > to.as_f64().unwrap_or(f64::MAX))
        {
            self.differ(format!("{until} held after {after} s, not within [{from}, {to}]"));
        }
    }

    fn settle(&mut self, step: &Value) {
        self.cluster.settle(step["quietSeconds"].as_f64().unwrap_or(2.5));
        let recorded = &step["expect"];
        let mut expected = json!({});
        for part in list(&recorded["unchanged"]) {
            expected[text(part)] = self.expected[text(part)].clone();
        }
        for (part, value) in recorded.as_object().into_iter().flatten() {
            expected[part] = value.clone();
        }
        if recorded["pods"].is_array() {
            expected["pods"] = picture::unfold_pods(recorded);
        }
        let mut compared = expected.clone();
        self.uncounted &= expected["daemonsets"] == self.expected["daemonsets"];
        if self.uncounted {
            picture::counts_untold(&mut compared["daemonsets"]);
        }
        let here = picture::Picture::of(&self.cluster);
        let (agreed, differing): (Vec<_>, Vec<_>) = self
            .renamings
            .iter()
            .map(|renaming| (renaming.clone(), here.compare(&renaming.apply(&compared))))
            .partition(|(_, differences)| differences.is_empty());
        self.renamings = agreed.into_iter().map(|(renaming, _)| renaming).collect();
        if self.renamings.is_empty() {
            let fewest = differing
                .into_iter()
                .map(|(_, differences)| differences)
                .min_by_key(Vec::len);
            for difference in fewest.unwrap_or_default() {
                self.differ(difference);
            }
        }
        self.expected = expected;
    }

    /// What must hold of all that a watch saw.
    fn check_history(&mut self, scenario: &Value) {
        let minutes = Minutes::of(&self.cluster);
        for (owner, recorded) in scenario["transitions"].as_object().into_iter().flatten() {
            let Some(name) = owner.strip_prefix("Job/") else {
                continue;
            };
            let history = self
                .cluster
                .job_history
                .get(&minutes.fill_in(name))
                .cloned()
                .unwrap_or_default();
            for pair in list(&recorded["conditionOrder"]) {
                let (before, after) = (
                    first_true(&history, text(&pair[0])),
                    first_true(&history, text(&pair[1])),
                );
                if before.is_none() || before >= after {
                    self.differ(format!("{owner}: {pair} came at {before:?} and {after:?}"));
                }
            }
            let failed: Vec<i64> = history
                .iter()
                .map(|s| s["failed"].as_i64().unwrap_or_default())
                .collect();
            if !failed.is_sorted() {
                self.differ(format!("{owner}: failed went down: {failed:?}"));
            }
        }
        for (owner, peak) in scenario["peaks"].as_object().into_iter().flatten() {
            let alive = self
                .cluster
                .alive_max
                .get(&minutes.fill_in(owner))
                .copied()
                .unwrap_or_default();
            if peak["alive"].as_u64().is_some_and(|most| alive as u64 > most) {
                self.differ(format!("{owner} had {alive} pods alive, not {}", peak["alive"]));
            }
        }
    }
}

fn first_true(history: &[Value], condition: &str) -> Option<usize> {
    history.iter().position(|status| has_condition(status, condition))
}

fn has_condition(status: &Value, condition: &str) -> bool {
    list(&status["conditions"])
        .iter()
        .any(|c| c["type"] == condition && c["status"] == "True")
}

fn holds(cluster: &Cluster, until: &Value) -> bool {
    let job_status = |reference: &Value| {
        let name = text(reference).split_once('/').map_or("", |(_, name)| name);
        cluster
            .api
            .get(resource::JOBS, NAMESPACE, name)
            .map(|job| job.to_value()["status"].take())
    };
    if let Some([owner, count]) = until["created"].as_array().map(Vec::as_slice) {
        return cluster.api.created.get(text(owner)).copied() >= count.as_u64();
    }
    if let Some([job, condition]) = until["condition"].as_array().map(Vec::as_slice) {
        return job_status(job).is_some_and(|status| has_condition(&status, text(condition)));
    }
    if until["pods"].is_object() {
        let found = select(cluster, &until["pods"]).len() as u64;
        return until["equals"].as_u64().is_none_or(|wanted| found == wanted)
            && until["atLeast"].as_u64().is_none_or(|wanted| found >= wanted);
    }
    if until["gone"].is_string() {
        return job_status(&until["gone"]).is_none();
    }
    false
}

/// The selected pods, in order of completion index, then of creation.
fn select(cluster: &Cluster, select: &Value) -> Vec<Arc<Object>> {
    let index = |pod: &Object| -> Option<i64> {
        pod.to_value()["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]
            .as_str()?
            .parse()
            .ok()
    };
    let is_wanted = |pod: &&Arc<Object>| {
        let meta = pod.meta();
        let owner_is = |wanted: &str| meta.owners.iter().any(|o| format!("{}/{}", o.kind, o.name) == wanted);
        select["owner"].as_str().is_none_or(owner_is)
            && select["index"].as_i64().is_none_or(|wanted| index(pod) == Some(wanted))
            && select["node"].as_str().is_none_or(|wanted| meta.node.ends_with(wanted))
            && select["phase"]
                .as_array()
                .is_none_or(|phases| phases.iter().any(|p| *p == meta.phase.as_str()))
            && select["terminating"]
                .as_bool()
                .is_none_or(|wanted| meta.deleting.is_some() == wanted)
            && select["label"]
                .as_object()
                .into_iter()
                .flatten()
                .all(|(key, value)| meta.labels.get(key).map(String::as_str) == value.as_str())
            && select["image"]
                .as_str()
                .is_none_or(|wanted| pod.to_value()["spec"]["containers"][0]["image"] == wanted)
            && select["name"].as_str().is_none_or(|wanted| meta.name == wanted)
    };
    let mut pods: Vec<_> = cluster.api.all(resource::PODS).filter(is_wanted).cloned().collect();
    pods.sort_by_key(|pod| (index(pod), pod.meta().created, pod.meta().uid.clone()));
    if let Some(limit) = select["limit"].as_u64() {
        pods.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    pods
}

fn kind_of(kind: &str) -> Option<&'static Resource> {
    resource::ALL.iter().copied().find(|r| r.kind == kind && r.is_stored())
}

fn patch_kind(step: &Value) -> PatchKind {
    match text(&step["type"]) {
        "json" => PatchKind::Json,
        "strategic" => PatchKind::Strategic,
        _ => PatchKind::Merge,
    }
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
