//! Taking a running cluster over from upstream's controllers, and giving it back: no pod is touched.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use rota_api::{Absent, Write, resource};
use rota_e2e::laws::Witness;
use rota_e2e::{Cluster, NO_CONTROLLERS};
use serde_json::{Value, json};

use crate::words::{apply, until_ended, until_rolled_out};

const NODES: usize = 3;

/// Recorded: templates as upstream's server keeps them, the revision that upstream's controller makes of each, its hash.
fn recorded() -> Vec<Value> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(&include_bytes!("../../../reconcile/tests/data/daemonset-revisions.jsonl.gz")[..])
        .read_to_string(&mut text)
        .expect("the recordings are text");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// The uid of the object of that kind and name.
fn uid(cluster: &Cluster, kind: &str, name: &str) -> String {
    cluster.run(&["get", kind, name, "-o", "jsonpath={.metadata.uid}"])
}

/// A DaemonSet as upstream's controller leaves it: its revision, and a pod on each node.
fn create_set(cluster: &Cluster, name: &str, case: &Value) {
    let labels = &case["template"]["metadata"]["labels"];
    let set = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": case["template"]},
    });
    apply(cluster, name, &[set]);
    let owner = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "name": name, "uid": uid(cluster, "daemonset", name),
        "controller": true, "blockOwnerDeletion": true,
    });
    let hash = case["hash"].as_str().expect("a hash");
    let data: Value = serde_json::from_str(case["revision_data"].as_str().expect("a revision")).expect("JSON");
    let mut marked = labels.clone();
    marked["controller-revision-hash"] = hash.into();
    let revision = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1, "data": data,
        "metadata": {"name": format!("{name}-{hash}"), "labels": marked, "ownerReferences": [owner],
                     "annotations": {"deprecated.daemonset.template.generation": "1"}},
    });
    marked["pod-template-generation"] = "1".into();
    let pod = |node: usize| {
        let mut spec = case["template"]["spec"].clone();
        let field = json!({"key": "metadata.name", "operator": "In", "values": [format!("sim-{node}")]});
        spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
            json!({"nodeSelectorTerms": [{"matchFields": [field]}]});
        let tolerate = |key: &str, effect: &str| json!({"key": key, "operator": "Exists", "effect": effect});
        spec["tolerations"] = json!([
            tolerate("node.kubernetes.io/not-ready", "NoExecute"),
            tolerate("node.kubernetes.io/unreachable", "NoExecute"),
            tolerate("node.kubernetes.io/disk-pressure", "NoSchedule"),
            tolerate("node.kubernetes.io/memory-pressure", "NoSchedule"),
            tolerate("node.kubernetes.io/pid-pressure", "NoSchedule"),
            tolerate("node.kubernetes.io/unschedulable", "NoSchedule"),
        ]);
        json!({
            "apiVersion": "v1", "kind": "Pod", "spec": spec,
            "metadata": {"name": format!("{name}-{node}xyz"), "generateName": format!("{name}-"), "labels": marked,
                         "ownerReferences": [owner], "annotations": {"rota.dev/sim-run-ms": "86400000"}},
        })
    };
    let mut objects: Vec<Value> = (0..NODES).map(pod).collect();
    objects.push(revision);
    apply(cluster, &format!("{name}-parts"), &objects);
}

/// A Job as upstream's controller leaves it in the middle of its work: two pods running, with their finalizers.
fn create_job(cluster: &Cluster) {
    let container = json!([{"name": "c", "image": "any"}]);
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "half"},
        "spec": {"completions": 2, "parallelism": 2, "template": {"spec": {"restartPolicy": "Never", "containers": container}}},
    });
    apply(cluster, "half", &[job]);
    let uid = uid(cluster, "job", "half");
    let labels = json!({
        "controller-uid": uid, "batch.kubernetes.io/controller-uid": uid,
        "job-name": "half", "batch.kubernetes.io/job-name": "half",
    });
    let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "half", "uid": uid, "controller": true,
                       "blockOwnerDeletion": true});
    let pods: Vec<Value> = (0..2)
        .map(|n| {
            json!({
                "apiVersion": "v1", "kind": "Pod", "spec": {"restartPolicy": "Never", "containers": container},
                "metadata": {"name": format!("half-{n}abcd"), "generateName": "half-", "labels": labels,
                             "finalizers": ["batch.kubernetes.io/job-tracking"], "ownerReferences": [owner],
                             "annotations": {"rota.dev/sim-run-ms": "4000"}},
            })
        })
        .collect();
    apply(cluster, "half-pods", &pods);
}

/// The pods that there are: name to uid, and whether one is being deleted.
fn pods(witness: &Witness) -> BTreeMap<String, (String, bool)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pods = witness.list(resource::PODS);
    pods.iter()
        .map(|pod| {
            let metadata = &pod["metadata"];
            let is_going = !metadata["deletionTimestamp"].is_null();
            (text(&metadata["name"]), (text(&metadata["uid"]), is_going))
        })
        .collect()
}

fn revisions(cluster: &Cluster) -> String {
    let path = r#"jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.revision}{"\n"}{end}"#;
    cluster.run(&["get", "controllerrevisions", "-o", path])
}

#[test]
fn a_cluster_is_taken_over_and_given_back_without_touching_a_pod() {
    let mut cluster = Cluster::start(&["--sim-nodes", "3", NO_CONTROLLERS], &[]);
    let plain = |case: &&Value| {
        let spec = &case["template"]["spec"];
        spec["affinity"].is_null() && spec["nodeSelector"].is_null() && spec["tolerations"].is_null()
    };
    let cases: Vec<Value> = recorded().iter().filter(plain).take(4).cloned().collect();
    assert!(cases.len() == 4, "the recordings hold plain templates");
    let names: Vec<String> = (0..cases.len()).map(|n| format!("set{n}")).collect();
    for (name, case) in names.iter().zip(&cases) {
        // A selector of its own for each, or they would quarrel about pods.
        let mut case = case.clone();
        let text = case["revision_data"].as_str().expect("data").to_owned();
        let own = |value: &mut Value| value["metadata"]["labels"] = json!({"app": name});
        own(&mut case["template"]);
        let mut data: Value = serde_json::from_str(&text).expect("JSON");
        own(&mut data["spec"]["template"]);
        case["revision_data"] = data.to_string().into();
        create_set(&cluster, name, &case);
    }
    create_job(&cluster);
    let witness = Witness::of(&cluster.kubeconfig());
    let (pods_before, revisions_before) = (pods(&witness), revisions(&cluster));

    let mut ours = cluster.controllers("ours", &cluster.kubeconfig(), &[]);
    for name in &names {
        until_rolled_out(&cluster, name, NODES);
    }
    until_ended(&cluster, 1);
    assert_eq!(pods(&witness), pods_before, "taking over touches no pod");
    assert_eq!(revisions(&cluster), revisions_before, "and remembers nothing anew");
    witness.check();
    ours.stop();

    drop(witness);
    cluster.start_again_with_controllers();
    let witness = Witness::of(&cluster.kubeconfig());
    // Something new that its own controllers have done shows that they are at work.
    let touch = json!({"spec": {"minReadySeconds": 1}}).to_string();
    for name in &names {
        cluster.run(&["patch", "daemonset", name, "-p", &touch]);
        until_rolled_out(&cluster, name, NODES);
    }
    assert_eq!(pods(&witness), pods_before, "giving back touches no pod");
    assert_eq!(revisions(&cluster), revisions_before);
}

#[test]
fn what_is_written_because_something_is_gone_is_refused_by_a_foreign_server_too_while_it_is_there() {
    let cluster = Cluster::start(&["--no-nodes", NO_CONTROLLERS], &[]);
    for name in ["books", "other"] {
        cluster.run(&["create", "configmap", name]);
    }
    let absent = Absent {
        resource: resource::CONFIG_MAPS,
        namespace: "default".to_owned(),
        name: "other".to_owned(),
        uid: uid(&cluster, "configmap", "other"),
    };
    let struck_out = json!({"data": {"other": "gone"}});
    let write = Write::merge(resource::CONFIG_MAPS, "default", "books", struck_out).if_absent(absent);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let remote = runtime.block_on(rota_sim::replay::server::connect(Path::new(&cluster.kubeconfig())));
    let remote = remote.expect("a connection");
    let refused = runtime.block_on(remote.write(write.clone())).expect_err("it is there");
    assert!(refused.is_conflict(), "{refused}");
    cluster.run(&["delete", "configmap", "other"]);
    cluster.run(&["create", "configmap", "other"]);
    runtime
        .block_on(remote.write(write))
        .expect("another one of its name is none of it");
    let data = cluster.run(&["get", "configmap", "books", "-o", "jsonpath={.data.other}"]);
    assert_eq!(data, "gone");
}
