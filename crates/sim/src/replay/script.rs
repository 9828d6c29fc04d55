//! The steps of a scenario.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rota_api::{ApiError, DeleteOptions, Object, PatchKind, Propagation, Resource, Write, resource};
use rota_reconcile::Controller;
use serde_json::{Value, json};

use super::minutes::Minutes;
use super::picture;
use super::stage::{Pace, Simulated, Stage};
use crate::api::seconds;
use crate::cluster::{Cluster, Mode};
use crate::record::Record;

/// Nodes that are healthy throughout a scenario about the health of nodes.
const BYSTANDERS: usize = 8;

/// How long a step waits for the pods that it is about.
const PODS_COME_SECS: f64 = 10.0;

/// Between two looks at a picture that may come late, in seconds.
const LOOK_AGAIN_SECS: f64 = 0.5;

/// Plays a scenario on a simulated cluster; returns where its outcome differs from the recorded one.
pub fn replay(scenario: &Value, make: fn() -> Vec<Box<dyn Controller>>, mode: Mode, pace: Pace) -> Vec<String> {
    // In November 2026, when the recordings were made: names that are cut show the beginning of a minute's number.
    let start = Timestamp::from_second(29_920_260 * 60).expect("a time of our century");
    let mut cluster = Cluster::new(make, start);
    cluster.mode = mode;
    replay_on(&mut Simulated { cluster, pace }, scenario)
}

/// Plays a scenario; returns where its outcome differs from the recorded one.
pub fn replay_on(stage: &mut impl Stage, scenario: &Value) -> Vec<String> {
    let mut player = Player {
        stage,
        differences: Vec::new(),
        expected: json!({}),
        step: 0,
        acted: Timestamp::UNIX_EPOCH,
        id: text(&scenario["id"]).to_owned(),
        renamings: picture::renamings(scenario),
        uncounted: false,
    };
    player.create_nodes(scenario);
    for (at, step) in list(&scenario["steps"]).iter().enumerate() {
        player.step = at;
        player.play(step);
        if step["op"] != "settle" {
            player.acted = player.stage.now();
        }
        if !player.differences.is_empty() {
            // What follows is a consequence.
            return player.differences;
        }
    }
    player.check_history(scenario);
    player.differences
}

struct Player<'s, S> {
    stage: &'s mut S,
    differences: Vec<String>,
    /// The last picture expected, for what the next one leaves unchanged.
    expected: Value,
    step: usize,
    /// When the script last did something, or what it waited for came true: awaited times are counted from there.
    acted: Timestamp,
    id: String,
    /// The ways in which the nodes of the recording may stand for those here; agreed pictures leave fewer.
    renamings: Vec<picture::Renaming>,
    /// A node changed, and upstream's DaemonSet status still counts the nodes that were before.
    uncounted: bool,
}

impl<S: Stage> Player<'_, S> {
    fn differ(&mut self, what: impl std::fmt::Display) {
        self.differences.push(format!("step {}: {what}", self.step));
    }

    fn create_nodes(&mut self, scenario: &Value) {
        let nodes = list(&scenario["nodes"]);
        let mut names: Vec<String> = nodes.iter().map(|node| self.create_node(node)).collect();
        let falls_silent = |step: &Value| step["op"] == "node-lease";
        if scenario["recordNodes"] == true || list(&scenario["steps"]).iter().any(falls_silent) {
            names.extend(self.create_bystanders());
        }
        self.stage.nodes_created(&names);
    }

    fn create_node(&mut self, node: &Value) -> String {
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
        let made = self.stage.write(&Write::create(resource::NODES, object));
        let made = made.and_then(|()| self.stage.write(&write));
        if let Err(error) = made.and_then(|()| self.node_ready(&name, is_ready)) {
            self.differ(error.message());
        }
        name
    }

    /// Healthy nodes beside those of a scenario about the health of nodes: where no node is ready, none is called silent.
    fn create_bystanders(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        for at in 0..BYSTANDERS {
            let name = format!("bystander-{}-{at}", self.id);
            let taint = json!({"key": "bystander", "effect": "NoSchedule"});
            let node = json!({"metadata": {"name": name}, "spec": {"taints": [taint]}});
            let made = self.stage.write(&Write::create(resource::NODES, node));
            if let Err(error) = made.and_then(|()| self.node_ready(&name, "True")) {
                self.differ(error.message());
            }
            names.push(name);
        }
        names
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
                let name = self.create_node(&step["node"]);
                self.stage.nodes_created(&[name]);
                self.stage.after_change(false);
            }
            "node-lease" => {
                let name = format!("{}-{}", self.id, text(&step["node"]));
                self.stage.renew_lease(&name, step["renew"] == true);
            }
            "node-delete" | "node-patch" | "node-ready" => self.change_node(step),
            "kubelet" => {
                let status = &step["auto"]["status"];
                self.stage.play_agents(status.is_object().then(|| status.clone()));
                self.stage.after_change(false);
            }
            "wait" => self.stage.run_for(step["seconds"].as_f64().unwrap_or_default()),
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
                let filled = || self.minutes().fill_in(text).into();
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
            return Some(self.stage.look(|record| record.first_revision.clone())?.into());
        }
        let ago: i64 = inner.strip_prefix("now")?.parse().unwrap_or_default();
        Some(seconds(self.stage.now() + SignedDuration::from_secs(ago)).into())
    }

    fn find(&self, kind: &str, name: &str) -> Option<Arc<Object>> {
        let (kind, namespace) = (kind_of(kind)?, self.stage.namespace());
        self.stage.look(|record| record.get(kind, namespace, name).cloned())
    }

    fn minutes(&self) -> Minutes {
        let now = self.stage.now();
        self.stage.look(|record| Minutes::of(record, now))
    }

    fn create(&mut self, step: &Value) {
        let mut object = step["object"].clone();
        let found = resource::find_kind(text(&object["apiVersion"]), text(&object["kind"]));
        let Some(resource) = found else {
            return self.differ("unknown kind");
        };
        object["metadata"]["namespace"] = self.stage.namespace().into();
        let made = self.stage.write(&Write::create(resource, object));
        self.check_code(step, made.map(|()| 201));
        self.stage.after_change(resource == resource::PODS);
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
        let namespace = self.stage.namespace();
        let write = Write::patch(resource, namespace, &name, patch_kind(step), patch, subresource);
        let made = self.stage.write(&write);
        self.check_code(step, made.map(|()| 200));
        self.stage.after_change(false);
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
        let write = Write::delete(resource, self.stage.namespace(), &name, options);
        let made = self.stage.write(&write);
        self.check_code(step, made.map(|()| 200));
        self.stage.after_change(false);
    }

    fn check_code(&mut self, step: &Value, made: Result<u64, ApiError>) {
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
            let (namespace, name) = (self.stage.namespace(), &pod.meta().name);
            let write = Write::patch(resource::PODS, namespace, name, kind, patch, subresource);
            if let Err(error) = self.stage.write(&write) {
                self.differ(error.message());
            }
            self.stage.after_change(true);
        }
    }

    fn delete_pods(&mut self, step: &Value) {
        for pod in self.select(step) {
            let grace_period_secs = step["gracePeriodSeconds"].as_i64();
            let options = DeleteOptions {
                grace_period_secs,
                ..DeleteOptions::default()
            };
            let write = Write::delete(resource::PODS, self.stage.namespace(), &pod.meta().name, options);
            if let Err(error) = self.stage.write(&write) {
                self.differ(error.message());
            }
            self.stage.after_change(true);
        }
    }

    fn node_ready(&mut self, name: &str, status: &str) -> Result<(), ApiError> {
        let reason = if status == "True" {
            "KubeletReady"
        } else {
            "KubeletNotReady"
        };
        let now = seconds(self.stage.now());
        let condition = |type_, status, reason| json!({"type": type_, "status": status, "reason": reason, "lastHeartbeatTime": now});
        let patch = json!({"status": {"conditions": [
            condition("MemoryPressure", "False", "Sufficient"),
            condition("DiskPressure", "False", "Sufficient"),
            condition("PIDPressure", "False", "Sufficient"),
            condition("Ready", status, reason),
        ]}});
        let kind = PatchKind::Strategic;
        self.stage
            .write(&Write::patch(resource::NODES, "", name, kind, patch, Some("status")))
    }

    fn change_node(&mut self, step: &Value) {
        let name = format!("{}-{}", self.id, text(&step["node"]));
        let made = match text(&step["op"]) {
            "node-ready" => self.node_ready(&name, text(&step["status"])),
            "node-patch" => {
                let (kind, patch) = (patch_kind(step), step["patch"].clone());
                let subresource = (step["subresource"] == "status").then_some("status");
                self.stage
                    .write(&Write::patch(resource::NODES, "", &name, kind, patch, subresource))
            }
            _ => self
                .stage
                .write(&Write::delete(resource::NODES, "", &name, DeleteOptions::default())),
        };
        self.check_code(step, made.map(|()| 200));
        self.uncounted = true;
        self.stage.after_change(false);
    }

    /// The recording waited for pods that were still to come.
    fn select(&mut self, step: &Value) -> Vec<Arc<Object>> {
        let recorded = step["result"]["matched"].as_u64().unwrap_or_default();
        let wanted = &step["select"];
        if (self.stage.look(|record| select(record, wanted)).len() as u64) < recorded {
            let max = PODS_COME_SECS + self.stage.late_secs();
            self.stage
                .run_until(max, &|record| select(record, wanted).len() as u64 >= recorded);
        }
        let found = self.stage.look(|record| select(record, wanted));
        if step["result"]["matched"] != found.len() {
            self.differ(format!("{} pods match, not {}", found.len(), step["result"]["matched"]));
        }
        found
    }

    /// Waits for a second of a minute of the clock.
    fn wait_for_second(&mut self, step: &Value) {
        let number = |field: &str| step[field].as_i64().unwrap_or_default();
        let now = self.stage.now();
        let this_minute = now.as_second() - now.as_second().rem_euclid(60);
        let at = this_minute + number("in") * 60 + number("second");
        let wait = at - now.as_second() + if at <= now.as_second() { 60 } else { 0 };
        let fraction = f64::from(now.subsec_nanosecond()) / 1e9;
        self.stage.run_for(wait as f64 - fraction);
    }

    fn wait_until(&mut self, step: &Value) {
        let until = step["until"].clone();
        let mut max = step["max"].as_f64().unwrap_or_default();
        if step["result"]["held"] == true {
            max += self.stage.late_secs();
        }
        let namespace = self.stage.namespace().to_owned();
        let held = self.stage.run_until(max, &|record| holds(record, &namespace, &until));
        if step["result"]["held"] != held.is_some() {
            return self.differ(format!("{until} held: {}", held.is_some()));
        }
        let after = self.stage.now().duration_since(self.acted).as_secs_f64();
        if let Some([from, to]) = step["elapsed"].as_array().map(Vec::as_slice)
            && (after < from.as_f64().unwrap_or_default()
                || after > to.as_f64().unwrap_or(f64::MAX) + self.stage.late_secs())
        {
            self.differ(format!("{until} held after {after} s, not within [{from}, {to}]"));
        }
    }

    fn settle(&mut self, step: &Value) {
        self.stage.settle(step["quietSeconds"].as_f64().unwrap_or(2.5));
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
        let before = &self.expected["daemonsets"];
        self.uncounted &= picture::has_counts_of(&expected["daemonsets"], before);
        if self.uncounted {
            let is_unwritten = expected["daemonsets"] == *before;
            picture::counts_untold(&mut compared["daemonsets"], is_unwritten);
        }
        let mut late = self.stage.late_secs();
        let agreed = loop {
            match self.compare(&compared) {
                Err(_) if late > 0.0 => {
                    self.stage.run_for(LOOK_AGAIN_SECS);
                    late -= LOOK_AGAIN_SECS;
                }
                agreed => break agreed,
            }
        };
        self.renamings = agreed.unwrap_or_else(|differences| {
            for difference in differences {
                self.differ(difference);
            }
            Vec::new()
        });
        self.expected = expected;
    }

    /// The ways in which nodes may stand for those of the recording so that the picture agrees; else where it differs.
    fn compare(&self, expected: &Value) -> Result<Vec<picture::Renaming>, Vec<String>> {
        let (namespace, now) = (self.stage.namespace(), self.stage.now());
        let warns_more = self.stage.warns_more();
        let here = self
            .stage
            .look(|record| picture::Picture::of(record, namespace, &self.id, now));
        let (agreed, differing): (Vec<_>, Vec<_>) = self
            .renamings
            .iter()
            .map(|renaming| (renaming.clone(), here.compare(&renaming.apply(expected), warns_more)))
            .partition(|(_, differences)| differences.is_empty());
        if agreed.is_empty() {
            let differences = differing.into_iter().map(|(_, differences)| differences);
            return Err(differences.min_by_key(Vec::len).unwrap_or_default());
        }
        Ok(agreed.into_iter().map(|(renaming, _)| renaming).collect())
    }

    /// What must hold of all that a watch saw.
    fn check_history(&mut self, scenario: &Value) {
        let minutes = self.minutes();
        for (owner, recorded) in scenario["transitions"].as_object().into_iter().flatten() {
            let Some(name) = owner.strip_prefix("Job/") else {
                continue;
            };
            let name = minutes.fill_in(name);
            let history = self.stage.look(|record| record.job_history.get(&name).cloned());
            let history = history.unwrap_or_default();
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
            let owner = minutes.fill_in(owner);
            let alive = self.stage.look(|record| record.alive_max.get(&owner).copied());
            let alive = alive.unwrap_or_default();
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

fn holds(record: &Record, namespace: &str, until: &Value) -> bool {
    let find = |reference: &Value| {
        let (kind, name) = text(reference).split_once('/')?;
        Some(record.get(kind_of(kind)?, namespace, name)?.to_value())
    };
    if let Some([owner, count]) = until["created"].as_array().map(Vec::as_slice) {
        return record.created.get(text(owner)).copied() >= count.as_u64();
    }
    if let Some([object, condition]) = until["condition"].as_array().map(Vec::as_slice) {
        return find(object).is_some_and(|object| has_condition(&object["status"], text(condition)));
    }
    if let Some([object, path, wanted]) = until["field"].as_array().map(Vec::as_slice) {
        let pointer = format!("/{}", text(path).replace('.', "/"));
        return find(object).is_some_and(|object| object.pointer(&pointer) == Some(wanted));
    }
    if let Some([node, key, effect]) = until["nodeTaint"].as_array().map(Vec::as_slice) {
        let end = format!("-{}", text(node));
        let is_it = |node: &&Arc<Object>| node.meta().name.ends_with(&end);
        let node = record.all(resource::NODES).find(is_it).map(|node| node.to_value());
        let taints = node
            .map(|node| list(&node["spec"]["taints"]).to_vec())
            .unwrap_or_default();
        return taints
            .iter()
            .any(|taint| taint["key"] == *key && taint["effect"] == *effect);
    }
    if until["pods"].is_object() {
        let found = select(record, &until["pods"]).len() as u64;
        return until["equals"].as_u64().is_none_or(|wanted| found == wanted)
            && until["atLeast"].as_u64().is_none_or(|wanted| found >= wanted);
    }
    if until["gone"].is_string() {
        return find(&until["gone"]).is_none();
    }
    until["exists"].is_string() && find(&until["exists"]).is_some()
}

/// The selected pods, in order of completion index, then of creation.
fn select(record: &Record, select: &Value) -> Vec<Arc<Object>> {
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
    let mut pods: Vec<_> = record.all(resource::PODS).filter(is_wanted).cloned().collect();
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
