//! What two runs of the same scenario have in common.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rota_api::{Object, resource};
use serde_json::{Map, Value, json};

use super::minutes::Minutes;
use super::script::{list, text};
use crate::api::LOST_NODE_SECS;
use crate::record::{Event, Record};

/// The rows of pods, with what is the same in all of them put back in.
pub fn unfold_pods(expect: &Value) -> Value {
    let common = expect["podsCommon"].as_object();
    let rows = list(&expect["pods"]).iter().map(|row| {
        let mut whole = common.cloned().unwrap_or_default();
        whole.extend(row.as_object().cloned().unwrap_or_default());
        Value::Object(whole)
    });
    rows.collect()
}

/// Upstream's recorder drops the events of an object beyond so many.
const EVENTS_IN_BURST_MAX: u64 = 25;

/// What is compared of a cluster.
pub struct Picture {
    created: Value,
    events: Value,
    configmaps: Value,
    cronjobs: Value,
    replicasets: Value,
    jobs: Value,
    daemonsets: Value,
    revisions: Value,
    nodes: Value,
    pod_count: Value,
    pods: Value,
}

impl Picture {
    /// What was seen of the scenario `id`, which has `namespace` for itself.
    pub fn of(record: &Record, namespace: &str, id: &str, now: Timestamp) -> Self {
        let names = Names::of(record, namespace, now);
        let all = |resource, picture: fn(&Object) -> Value| -> Vec<Value> {
            let objects = record.all(resource);
            objects.map(|object| names.forget(&picture(object))).collect()
        };
        Self {
            created: names.forget(&json!(record.created)),
            events: events_of(record, id, &names),
            configmaps: config_maps_of(record, &names),
            replicasets: all(resource::REPLICA_SETS, plain_picture).into(),
            cronjobs: all(resource::CRON_JOBS, cron_job_picture).into(),
            jobs: all(resource::JOBS, job_picture).into(),
            daemonsets: sort_rows(&all(resource::DAEMON_SETS, plain_picture)),
            revisions: sort_rows(&all(resource::CONTROLLER_REVISIONS, plain_picture)),
            nodes: nodes_of(record, id),
            pod_count: record.all(resource::PODS).count().into(),
            pods: count_alike(all(resource::PODS, pod_picture)),
        }
    }

    /// Where it differs from what was recorded. `warns_more`: controllers whose plans are many requests see each of them, and so
    /// may warn more often of one thing than those of the recording.
    pub fn compare(&self, expected: &Value, warns_more: bool) -> Vec<String> {
        let mut differences = Vec::new();
        let mut check = |what: &str, expected: &Value, actual: &Value| {
            if !agrees(expected, actual) {
                differences.push(format!("{what}\n    recorded {expected}\n    here     {actual}"));
            }
        };
        check("created", &expected["created"], &self.created);
        // Nodes and their events are recorded in scenarios about them.
        let tells_nodes = expected["nodes"].is_array();
        let recorded = list(&expected["events"]);
        let total: u64 = recorded.iter().filter_map(|event| event["count"].as_u64()).sum();
        if total < EVENTS_IN_BURST_MAX {
            let coarse = recorded.iter().any(|event| text(&event["message"]).starts_with('('));
            let is_told = |event: &&Value| tells_nodes || !text(&event["object"]).starts_with("Node/");
            let told = list(&self.events).iter().filter(is_told).cloned().collect();
            let here = sum_events(&told, coarse);
            let recorded = sum_events(&expected["events"], coarse);
            let here = if warns_more {
                with_fewer_warnings(&here, &recorded)
            } else {
                here
            };
            check("events", &without_unsure(&recorded, &here), &here);
        }
        check("configmaps", &expected["configmaps"], &self.configmaps);
        check("replicasets", &expected["replicasets"], &self.replicasets);
        check("cronjobs", &expected["cronjobs"], &self.cronjobs);
        check("jobs", &recorded_jobs(&expected["jobs"]), &self.jobs);
        check(
            "daemonsets",
            &sorted(&expected["daemonsets"], Clone::clone),
            &self.daemonsets,
        );
        let revisions = sorted(&expected["controllerrevisions"], Clone::clone);
        check("controllerrevisions", &revisions, &self.revisions);
        if tells_nodes {
            check("nodes", &expected["nodes"], &self.nodes);
        }
        check("podCount", &expected["podCount"], &self.pod_count);
        check("pods", &sorted(&expected["pods"], tolerations_sorted), &self.pods);
        differences
    }
}

/// Recorded rows in the order in which rows are compared; a word such as `<unstable>` stays.
fn sorted(rows: &Value, row: fn(&Value) -> Value) -> Value {
    if rows.is_string() {
        return rows.clone();
    }
    sort_rows(&list(rows).iter().map(row).collect::<Vec<_>>())
}

/// Which node of a recording stands for which one here.
#[derive(Clone, Debug)]
pub struct Renaming(Vec<(String, String)>);

/// Every way in which the nodes that a scenario calls interchangeable may stand for one another.
pub fn renamings(scenario: &Value) -> Vec<Renaming> {
    let id = text(&scenario["id"]);
    let nodes: Vec<String> = list(&scenario["interchangeableNodes"])
        .iter()
        .map(|n| format!("{id}-{}", text(n)))
        .collect();
    let mut orders = vec![Vec::new()];
    for _ in &nodes {
        orders = orders
            .into_iter()
            .flat_map(|order: Vec<String>| {
                let rest = nodes
                    .iter()
                    .filter(|node| !order.contains(node))
                    .cloned()
                    .collect::<Vec<_>>();
                rest.into_iter().map(move |node| [order.clone(), vec![node]].concat())
            })
            .collect();
    }
    orders
        .into_iter()
        .map(|order| Renaming(nodes.iter().cloned().zip(order).collect()))
        .collect()
}

impl Renaming {
    /// The value with the names of nodes replaced.
    pub fn apply(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => {
                let found = self.0.iter().find(|(from, _)| from == text);
                found.map_or_else(|| value.clone(), |(_, to)| to.clone().into())
            }
            Value::Array(items) => items.iter().map(|item| self.apply(item)).collect(),
            Value::Object(fields) => Value::Object(
                fields
                    .iter()
                    .map(|(key, field)| (key.clone(), self.apply(field)))
                    .collect(),
            ),
            _ => value.clone(),
        }
    }
}

/// Equal, apart from what the recording calls unstable or does not tell.
fn agrees(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (_, Value::String(word)) if word == "<any>" => true,
        (Value::String(word), _) if word == "<unstable>" || word == "<any>" => true,
        (Value::Null, Value::Object(fields)) => fields.is_empty(),
        (Value::Null, Value::Array(items)) => items.is_empty(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| agrees(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.iter()
                .all(|(key, value)| agrees(value, b.get(key).unwrap_or(&Value::Null)))
                && b.keys().all(|key| a.contains_key(key))
        }
        _ => expected == actual,
    }
}

/// Length of a uid: shorter texts need not be searched for one.
const UID_LEN: usize = 36;

/// Names and uids that differ from run to run, and what stands for them.
struct Names {
    uids: Vec<(String, String)>,
    /// The namespace of the scenario.
    namespace: String,
    minutes: Minutes,
}

impl Names {
    fn of(record: &Record, namespace: &str, now: Timestamp) -> Self {
        let names = record.names.iter();
        Self {
            uids: names
                .map(|(uid, name)| (uid.clone(), format!("<uid:{name}>")))
                .collect(),
            namespace: namespace.to_owned(),
            minutes: Minutes::of(record, now),
        }
    }

    fn forget(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.forget_in(text).into(),
            Value::Array(items) => items.iter().map(|item| self.forget(item)).collect(),
            Value::Object(fields) => Value::Object(
                fields
                    .iter()
                    .map(|(key, field)| (self.forget_in(key), self.forget(field)))
                    .collect(),
            ),
            _ => value.clone(),
        }
    }

    fn forget_in(&self, text: &str) -> String {
        if text == self.namespace {
            return "<ns>".to_owned();
        }
        let uids = if text.len() >= UID_LEN { &self.uids[..] } else { &[] };
        let named = uids
            .iter()
            .fold(text.to_owned(), |text, (uid, word)| text.replace(uid, word));
        self.minutes.forget(&self.random_ends_forgotten(&named))
    }
}

impl Names {
    /// A sentence with names of pods in it, such as `ns/j-1-abcde`, without their random ends.
    fn random_ends_forgotten(&self, sentence: &str) -> String {
        let name_in = |word: &str| Some(word.strip_prefix(&self.namespace)?.strip_prefix('/')?.to_owned());
        let word = |word: &str| match name_in(word) {
            None => word.to_owned(),
            Some(name) => match name.rsplit_once('-') {
                Some((base, _)) => format!("<ns>/{base}-<rand>"),
                None => format!("<ns>/{name}"),
            },
        };
        sentence.split(' ').map(word).collect::<Vec<_>>().join(" ")
    }
}

/// The name of a pod without its random end.
fn plain_name(name: &str, generate_name: Option<&str>) -> String {
    match generate_name {
        Some(base) => format!("{}<rand>", base.chars().take(58).collect::<String>()),
        None => name.to_owned(),
    }
}

fn keep(from: &Value, fields: &[&str], into: &mut Map<String, Value>) {
    for field in fields {
        if let Some(value) = from.get(*field).filter(|value| !value.is_null()) {
            into.insert((*field).to_owned(), value.clone());
        }
    }
}

/// The config map that every namespace has.
const ROOT_CERTIFICATES: &str = "kube-root-ca.crt";

fn config_maps_of(record: &Record, names: &Names) -> Value {
    let config_maps = record.all(resource::CONFIG_MAPS);
    let told = config_maps.filter(|config_map| config_map.meta().name != ROOT_CERTIFICATES);
    told.map(|config_map| names.forget(&config_map_picture(config_map)))
        .collect()
}

/// Of config maps only ownership is told.
fn config_map_picture(config_map: &Object) -> Value {
    let mut picture = plain_picture(config_map);
    if let Some(fields) = picture.as_object_mut() {
        fields.remove("data");
    }
    picture
}

const CRON_JOB_SPEC: &[&str] = &[
    "concurrencyPolicy",
    "failedJobsHistoryLimit",
    "schedule",
    "startingDeadlineSeconds",
    "successfulJobsHistoryLimit",
    "suspend",
    "timeZone",
];

fn cron_job_picture(cron_job: &Object) -> Value {
    let value = cron_job.to_value();
    let Value::Object(mut picture) = plain_picture(cron_job) else {
        return Value::Null;
    };
    let mut spec = Map::new();
    keep(&value["spec"], CRON_JOB_SPEC, &mut spec);
    picture.insert("spec".into(), spec.into());
    let mut status = value["status"].as_object().cloned().unwrap_or_default();
    if let Some(time) = status.get_mut("lastSuccessfulTime") {
        *time = "<time>".into();
    }
    picture.insert("status".into(), status.into());
    Value::Object(picture)
}

const JOB_SPEC: &[&str] = &[
    "activeDeadlineSeconds",
    "backoffLimit",
    "completionMode",
    "completions",
    "managedBy",
    "manualSelector",
    "parallelism",
    "podReplacementPolicy",
    "selector",
    "suspend",
];

fn job_picture(job: &Object) -> Value {
    let value = job.to_value();
    let mut picture = Map::new();
    let metadata = &value["metadata"];
    keep(
        metadata,
        &["name", "labels", "annotations", "finalizers", "generation"],
        &mut picture,
    );
    keep(
        metadata,
        &["deletionGracePeriodSeconds", "ownerReferences"],
        &mut picture,
    );
    if metadata["deletionTimestamp"].is_string() {
        picture.insert("deleting".into(), true.into());
    }
    let mut spec = Map::new();
    keep(&value["spec"], JOB_SPEC, &mut spec);
    picture.insert("spec".into(), spec.into());
    picture.insert("status".into(), status_picture(&value["status"]));
    Value::Object(picture)
}

/// A DaemonSet or a revision: its metadata and whatever it has beside a spec.
fn plain_picture(object: &Object) -> Value {
    let value = object.to_value();
    let mut picture = Map::new();
    let fields = [
        "name",
        "labels",
        "annotations",
        "finalizers",
        "generation",
        "ownerReferences",
        "deletionGracePeriodSeconds",
    ];
    keep(&value["metadata"], &fields, &mut picture);
    if value["metadata"]["deletionTimestamp"].is_string() {
        picture.insert("deleting".into(), true.into());
    }
    keep(&value, &["status", "data", "revision"], &mut picture);
    let conditions = picture
        .get_mut("status")
        .and_then(|status| status.get_mut("conditions"));
    for condition in conditions.and_then(Value::as_array_mut).into_iter().flatten() {
        condition["lastTransitionTime"] = "<time>".into();
    }
    Value::Object(picture)
}

/// The nodes of the scenario. Their annotations come from controllers that take no part here.
fn nodes_of(record: &Record, id: &str) -> Value {
    let nodes = record.all(resource::NODES).map(|node| node.to_value());
    let nodes = nodes.filter(|node| node["metadata"]["labels"]["scenario"] == id);
    nodes.map(|node| node_picture(&node)).collect()
}

fn node_picture(node: &Value) -> Value {
    let kept = |from: &Value, fields: &[&str]| {
        let mut picture = Map::new();
        keep(from, fields, &mut picture);
        picture
    };
    let conditions = list(&node["status"]["conditions"]).iter();
    let conditions: Vec<Value> = conditions
        .map(|condition| kept(condition, &["type", "status", "reason"]).into())
        .collect();
    let taints = list(&node["spec"]["taints"]).iter();
    let taints: Vec<Value> = taints
        .map(|taint| {
            let mut picture = kept(taint, &["key", "value", "effect"]);
            if taint["timeAdded"].is_string() {
                picture.insert("timeAdded".into(), "<time>".into());
            }
            picture.into()
        })
        .collect();
    let mut picture = kept(&node["metadata"], &["name", "labels"]);
    picture.insert("annotations".into(), "<any>".into());
    picture.insert("conditions".into(), sorted_by(conditions, "type"));
    picture.insert("taints".into(), sorted_by(taints, "effect"));
    picture.insert("unschedulable".into(), node["spec"]["unschedulable"].clone());
    picture.into()
}

fn sorted_by(mut rows: Vec<Value>, field: &str) -> Value {
    rows.sort_by_key(|row| text(&row[field]).to_owned());
    rows.into()
}

fn status_picture(status: &Value) -> Value {
    let mut picture = status.clone();
    for time in ["startTime", "completionTime"] {
        if picture[time].is_null() {
            picture.as_object_mut().map(|status| status.remove(time));
        } else {
            picture[time] = "<time>".into();
        }
    }
    if let Some(conditions) = picture.get_mut("conditions").and_then(Value::as_array_mut) {
        for condition in conditions.iter_mut() {
            let mut kept = Map::new();
            keep(condition, &["message", "reason", "status", "type"], &mut kept);
            kept.insert("lastTransitionTime".into(), "<time>".into());
            *condition = kept.into();
        }
        conditions.sort_by_key(|condition| text(&condition["type"]).to_owned());
    }
    picture
}

fn recorded_jobs(jobs: &Value) -> Value {
    let strip = |job: &Value| {
        let mut job = job.clone();
        if let Some(job) = job.as_object_mut() {
            job.remove("template");
        }
        job
    };
    if jobs.is_array() {
        list(jobs).iter().map(strip).collect()
    } else {
        jobs.clone()
    }
}

fn pod_picture(pod: &Object) -> Value {
    let value = pod.to_value();
    let mut picture = Map::new();
    let (metadata, spec, status) = (&value["metadata"], &value["spec"], &value["status"]);
    let fields = ["generateName", "labels", "annotations", "finalizers", "ownerReferences"];
    keep(metadata, &fields, &mut picture);
    keep(metadata, &["deletionGracePeriodSeconds"], &mut picture);
    picture.insert(
        "name".into(),
        plain_name(text(&metadata["name"]), metadata["generateName"].as_str()).into(),
    );
    if metadata["deletionTimestamp"].is_string() {
        picture.insert("deleting".into(), true.into());
    }
    keep(
        spec,
        &[
            "hostname",
            "subdomain",
            "nodeName",
            "hostNetwork",
            "restartPolicy",
            "tolerations",
            "affinity",
        ],
        &mut picture,
    );
    let selector = spec["nodeSelector"].as_object();
    if selector.is_some_and(|selector| selector.keys().any(|key| key != "scenario")) {
        picture.insert("nodeSelector".into(), spec["nodeSelector"].clone());
    }
    let containers = list(&spec["containers"]);
    let is_plain = matches!(containers, [one] if one["image"] == "app:1" && one["env"].is_null());
    if !is_plain {
        let kept = containers.iter().map(|container| {
            let mut kept = Map::new();
            keep(container, &["name", "image", "env"], &mut kept);
            Value::Object(kept)
        });
        picture.insert("containers".into(), kept.collect());
    }
    keep(status, &["phase"], &mut picture);
    for field in ["reason", "message"] {
        if !status[field].is_null() {
            picture.insert(format!("status.{field}"), status[field].clone());
        }
    }
    // That a pod has a node is told by its node.
    let is_told = |condition: &&Value| condition["type"] != "PodScheduled" || condition["status"] != "True";
    let conditions = list(&status["conditions"]).iter().filter(is_told);
    let mut conditions: Vec<Value> = conditions.map(condition_picture).collect();
    conditions.sort_by_key(|condition| text(&condition["type"]).to_owned());
    picture.insert("conditions".into(), conditions.into());
    tolerations_sorted(&Value::Object(picture))
}

/// The order of tolerations means nothing; those that admission gives to every pod are not recorded.
fn tolerations_sorted(pod: &Value) -> Value {
    let mut pod = pod.clone();
    if let Some(tolerations) = pod.get_mut("tolerations").and_then(Value::as_array_mut) {
        tolerations.retain(|toleration| toleration["tolerationSeconds"] != LOST_NODE_SECS);
        tolerations.sort_by_key(ToString::to_string);
        if tolerations.is_empty() {
            pod.as_object_mut().map(|pod| pod.remove("tolerations"));
        }
    }
    pod
}

/// Whether the recorded DaemonSets count the same nodes as those recorded before.
pub fn has_counts_of(daemonsets: &Value, before: &Value) -> bool {
    let counts = |sets: &Value| -> Vec<Value> {
        let of = |set: &Value| NODE_COUNTS.iter().map(|count| set["status"][*count].clone()).collect();
        list(sets).iter().map(of).collect()
    };
    counts(daemonsets) == counts(before)
}

/// Leaves out the counts of nodes; and those of pods too, when the status was not written at all.
pub fn counts_untold(daemonsets: &mut Value, is_unwritten: bool) {
    let of_pods = if is_unwritten { POD_COUNTS } else { &[] };
    for set in daemonsets.as_array_mut().into_iter().flatten() {
        for count in NODE_COUNTS.iter().chain(DERIVED_COUNTS).chain(of_pods) {
            set["status"][*count] = "<unstable>".into();
        }
    }
}

const NODE_COUNTS: &[&str] = &["currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled"];
/// Counts that follow from those of nodes.
const DERIVED_COUNTS: &[&str] = &["numberUnavailable", "updatedNumberScheduled"];
const POD_COUNTS: &[&str] = &["numberAvailable", "numberReady"];

/// What the scheduler says about a pod depends on what other nodes there are.
fn condition_picture(condition: &Value) -> Value {
    let mut kept = Map::new();
    keep(condition, &["type", "status", "reason", "message"], &mut kept);
    if condition["type"] == "PodScheduled" {
        kept.remove("message");
    }
    Value::Object(kept)
}

fn count_alike(pods: Vec<Value>) -> Value {
    let mut counts: BTreeMap<String, (Value, u64)> = BTreeMap::new();
    for pod in pods {
        counts.entry(pod.to_string()).or_insert((pod, 0)).1 += 1;
    }
    let rows: Vec<Value> = counts
        .into_values()
        .map(|(mut pod, count)| {
            pod["count"] = count.into();
            pod
        })
        .collect();
    sort_rows(&rows)
}

fn sort_rows(rows: &[Value]) -> Value {
    let mut rows = rows.to_vec();
    rows.sort_by_key(ToString::to_string);
    rows.into()
}

fn events_of(record: &Record, id: &str, names: &Names) -> Value {
    let of_other_node = |event: &Event| {
        let node = event.object.strip_prefix("Node/");
        node.is_some_and(|node| !node.starts_with(&format!("{id}-")))
    };
    let events = record.all_events();
    let told = events.iter().filter(|(event, _)| !of_other_node(event));
    let events = told.map(|(event, count)| {
        let object = match event.object.strip_prefix("Pod/").and_then(|name| name.rsplit_once('-')) {
            Some((base, _)) => format!("Pod/{base}-<rand>"),
            None => event.object.clone(),
        };
        let message = match event.message.rsplit_once(": ") {
            Some((what @ ("Created pod" | "Deleted pod"), pod)) => {
                format!("{what}: {}", generated_name(&event.object, pod))
            }
            _ => event.message.clone(),
        };
        json!({"object": object, "reason": event.reason, "message": message, "type": event.kind, "count": count})
    });
    names.forget(&events.collect())
}

/// The plain name of a pod that may be gone: it begins with its owner's name and ends in five random characters.
fn generated_name(owner: &str, pod: &str) -> String {
    let job = owner.split_once('/').map_or(owner, |(_, name)| name);
    let is_generated =
        pod.len() > 5 && (pod.starts_with(&format!("{job}-")) || pod.starts_with(&job[..job.len().min(50)]));
    if is_generated {
        format!("{}<rand>", &pod[..pod.len() - 5])
    } else {
        pod.to_owned()
    }
}

/// Recorded events without those of which no one knows how many there are, where there are none here.
fn without_unsure(recorded: &Value, here: &Value) -> Value {
    if recorded.is_string() {
        return recorded.clone();
    }
    let is_here = |event: &Value| list(here).iter().any(|other| agrees(&event[0], &other[0]));
    let told = list(recorded).iter();
    told.filter(|event| event[1] != "<unstable>" || is_here(event))
        .cloned()
        .collect()
}

/// Events here, with warnings that were told more often than in the recording told as often as there.
fn with_fewer_warnings(here: &Value, recorded: &Value) -> Value {
    let told = list(here).iter().map(|event| {
        let same = list(recorded).iter().find(|other| agrees(&other[0], &event[0]));
        match same.filter(|_| event[0][2] == "Warning") {
            Some(other) if other[1].as_u64() < event[1].as_u64() => json!([event[0], other[1]]),
            _ => event.clone(),
        }
    });
    told.collect()
}

/// Events alike in all but their count as one. `coarse`: upstream's recorder has joined some; then messages say nothing.
fn sum_events(events: &Value, coarse: bool) -> Value {
    if events.is_string() {
        return events.clone();
    }
    let mut sums: BTreeMap<Vec<String>, Value> = BTreeMap::new();
    for event in list(events) {
        let quota = text(&event["message"]).starts_with("Error creating: pods");
        let message = if coarse || quota { "" } else { text(&event["message"]) };
        let key = [
            text(&event["object"]),
            text(&event["reason"]),
            text(&event["type"]),
            message,
        ];
        let sum = sums.entry(key.map(str::to_owned).to_vec()).or_insert(json!(0));
        *sum = match (sum.as_u64(), event["count"].as_u64()) {
            (Some(a), Some(b)) => json!(a + b),
            _ => json!("<unstable>"),
        };
    }
    sums.into_iter().map(|(key, count)| json!([key, count])).collect()
}
