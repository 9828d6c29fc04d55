//! The scenarios of upstream's conformance suite about DaemonSets and ControllerRevisions, told with kubectl on three real
//! nodes.
//!
//! Source: `spec/daemonset.md` §22; kubernetes `test/e2e/apps/{daemon_set,controller_revision}.go`.

use std::collections::BTreeSet;

use rota_e2e::{Cluster, Image};
use serde_json::{Value, json};

const OLD: &str = "fluentd:v1.14";
const NEW: &str = "monitoring-agent";
const SELECTOR: &str = "daemonset-name=daemon-set";

fn start() -> Cluster {
    Cluster::start(&["--nodes", "3"], &[Image::Fluentd, Image::MonitoringAgent])
}

/// The DaemonSet of the suite: empty security contexts are written out, and must come back.
fn daemon_set() -> Value {
    let labels = json!({"daemonset-name": "daemon-set"});
    let container = json!({"name": "app", "image": OLD, "imagePullPolicy": "IfNotPresent",
                           "ports": [{"containerPort": 9376}], "securityContext": {}});
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "daemon-set", "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container], "securityContext": {}}},
        },
    })
}

fn create(cluster: &Cluster) {
    cluster.apply_text("daemon-set", &daemon_set().to_string());
}

fn items(cluster: &Cluster, args: &[&str]) -> Vec<Value> {
    let list = cluster.json(args);
    list["items"].as_array().cloned().unwrap_or_default()
}

/// The pods of the DaemonSet that nobody told to stop.
fn pods(cluster: &Cluster) -> Vec<Value> {
    let mut pods = items(cluster, &["get", "pods", "-l", SELECTOR]);
    pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    pods
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().expect("a name").to_owned()
}

fn image(pod: &Value) -> &str {
    pod["spec"]["containers"][0]["image"].as_str().expect("an image")
}

fn revisions(cluster: &Cluster) -> Vec<Value> {
    items(cluster, &["get", "controllerrevisions", "-l", SELECTOR])
}

/// Waits until exactly these nodes have a ready pod with this image, and the status says so.
fn until_running(cluster: &Cluster, on: &[&str], wanted: &str) {
    let path = r#"jsonpath={range .items[*]}{.spec.nodeName} {.spec.containers[0].image} {.status.conditions[?(@.type=="Ready")].status} {.metadata.deletionTimestamp}{"\n"}{end}"#;
    let rows: Vec<String> = on.iter().map(|node| format!("{node} {wanted} True")).collect();
    cluster.until(
        &format!("{wanted} on {on:?}"),
        &["get", "pods", "-l", SELECTOR, "-o", path],
        |text| {
            let mut found: Vec<&str> = text.lines().map(str::trim_end).collect();
            found.sort_unstable();
            found == rows
        },
    );
    let count = on.len();
    let path = "jsonpath={.status.desiredNumberScheduled} {.status.currentNumberScheduled} {.status.numberReady}";
    cluster.until(
        "the status to agree",
        &["get", "daemonset", "daemon-set", "-o", path],
        |text| text == format!("{count} {count} {count}"),
    );
}

const EVERYWHERE: [&str; 3] = ["node-1", "node-2", "node-3"];

fn set_image(cluster: &Cluster, image: &str) {
    cluster.run(&["set", "image", "daemonset/daemon-set", &format!("app={image}")]);
}

/// Watches a rollout until every node has a ready pod with this image; at no moment is more than one node without a ready
/// pod.
fn watch_rollout(cluster: &Cluster, wanted: &str) {
    cluster.until("the rollout", &["get", "pods", "-l", SELECTOR, "-o", "json"], |text| {
        let list: Value = serde_json::from_str(text).expect("JSON of kubectl");
        let mut pods = list["items"].as_array().cloned().expect("a list");
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let waiting = pods.iter().filter(|pod| !is_ready(pod)).count();
        assert!(waiting <= 1, "{waiting} pods are not available: {text}");
        pods.len() == 3 && waiting == 0 && pods.iter().all(|pod| image(pod) == wanted)
    });
}

#[test]
fn a_simple_daemon_runs_on_every_node_and_a_deleted_pod_comes_back() {
    let cluster = start();
    create(&cluster);
    until_running(&cluster, &EVERYWHERE, OLD);
    let first = name(&pods(&cluster)[0]);
    cluster.run(&["delete", "pod", &first, "--wait=false"]);
    cluster.until("it to be replaced", &["get", "pods", "-o", "name"], |pods| {
        !pods.contains(&first)
    });
    until_running(&cluster, &EVERYWHERE, OLD);
    cluster.run(&["delete", "daemonset", "daemon-set"]);
    cluster.until("its pods to go", &["get", "pods", "-o", "name"], str::is_empty);
}

#[test]
fn a_complex_daemon_follows_the_labels_of_nodes() {
    let cluster = start();
    let mut set = daemon_set();
    set["spec"]["template"]["spec"]["nodeSelector"] = json!({"daemonset-color": "blue"});
    cluster.apply_text("daemon-set", &set.to_string());
    cluster.until(
        "it to be seen",
        &[
            "get",
            "daemonset",
            "daemon-set",
            "-o",
            "jsonpath={.status.observedGeneration}",
        ],
        |g| g == "1",
    );
    assert_eq!(pods(&cluster).len(), 0);
    cluster.run(&["label", "node", "node-2", "daemonset-color=blue"]);
    until_running(&cluster, &["node-2"], OLD);
    cluster.run(&["label", "--overwrite", "node", "node-2", "daemonset-color=green"]);
    cluster.until(
        "its pod to go",
        &["get", "pods", "-l", SELECTOR, "-o", "name"],
        str::is_empty,
    );
    let patch = json!({"spec": {"template": {"spec": {"nodeSelector": {"daemonset-color": "green"}}},
                                "updateStrategy": {"type": "RollingUpdate"}}});
    cluster.run(&[
        "patch",
        "daemonset",
        "daemon-set",
        "--type=strategic",
        "-p",
        &patch.to_string(),
    ]);
    until_running(&cluster, &["node-2"], OLD);
}

#[test]
fn a_pod_that_is_said_to_have_failed_is_replaced_and_gone() {
    let cluster = start();
    create(&cluster);
    until_running(&cluster, &EVERYWHERE, OLD);
    let mut pod = pods(&cluster).remove(0);
    let failed = name(&pod);
    pod["metadata"]["resourceVersion"] = "".into();
    pod["status"] = json!({"phase": "Failed"});
    let file = cluster.file("failed.json", &pod.to_string());
    let path = format!("/api/v1/namespaces/default/pods/{failed}/status");
    cluster.run(&["replace", "--raw", &path, "-f", &file]);
    cluster.until("the failed pod to be gone", &["get", "pods", "-o", "name"], |pods| {
        !pods.contains(&failed)
    });
    until_running(&cluster, &EVERYWHERE, OLD);
}

#[test]
fn a_rolling_update_never_takes_more_than_one_pod_and_writes_history() {
    let cluster = start();
    create(&cluster);
    until_running(&cluster, &EVERYWHERE, OLD);
    let first = revisions(&cluster);
    assert_eq!((first.len(), &first[0]["revision"]), (1, &json!(1)));
    let data = &first[0]["data"]["spec"]["template"];
    assert_eq!(data["$patch"], "replace");
    assert_eq!(data["spec"]["securityContext"], json!({}));
    assert_eq!(data["spec"]["containers"][0]["securityContext"], json!({}));
    let hash = |object: &Value| object["metadata"]["labels"]["controller-revision-hash"].clone();
    assert!(pods(&cluster).iter().all(|pod| hash(pod) == hash(&first[0])));

    set_image(&cluster, NEW);
    watch_rollout(&cluster, NEW);
    until_running(&cluster, &EVERYWHERE, NEW);
    let both = revisions(&cluster);
    assert_eq!(both.len(), 2);
    let second = both
        .iter()
        .find(|revision| revision["revision"] == 2)
        .expect("a second revision");
    assert!(pods(&cluster).iter().all(|pod| hash(pod) == hash(second)));
}

#[test]
fn a_rollback_restarts_no_pod_that_was_not_updated() {
    let cluster = start();
    create(&cluster);
    until_running(&cluster, &EVERYWHERE, OLD);
    set_image(&cluster, "foo:non-existent");
    let images = [
        "get",
        "pods",
        "-l",
        SELECTOR,
        "-o",
        "jsonpath={.items[*].spec.containers[0].image}",
    ];
    cluster.until("a pod of the new image", &images, |images| {
        images.contains("foo:non-existent")
    });
    let spared: BTreeSet<String> = pods(&cluster)
        .iter()
        .filter(|pod| image(pod) == OLD)
        .map(name)
        .collect();
    assert_eq!(spared.len(), 2, "one node at a time");
    cluster.run(&["rollout", "undo", "daemonset/daemon-set"]);
    watch_rollout(&cluster, OLD);
    until_running(&cluster, &EVERYWHERE, OLD);
    let after: BTreeSet<String> = pods(&cluster).iter().map(name).collect();
    assert!(spared.is_subset(&after), "{spared:?} {after:?}");
    assert_eq!(revisions(&cluster).len(), 2, "an old template is an old revision again");
}

#[test]
fn a_collection_is_listed_everywhere_and_deleted_at_once() {
    let cluster = start();
    create(&cluster);
    until_running(&cluster, &EVERYWHERE, OLD);
    let listed = || items(&cluster, &["get", "daemonsets", "-A", "-l", SELECTOR]).len();
    assert_eq!(listed(), 1);
    let path =
        "/apis/apps/v1/namespaces/default/daemonsets?labelSelector=daemonset-name%3Ddaemon-set&gracePeriodSeconds=1";
    cluster.run(&["delete", "--raw", path]);
    assert_eq!(listed(), 0);
    cluster.until("its pods to go", &["get", "pods", "-o", "name"], str::is_empty);
}

#[test]
fn conditions_of_others_in_the_status_stay_and_counts_are_put_right() {
    let cluster = start();
    create(&cluster);
    until_running(&cluster, &EVERYWHERE, OLD);
    let watch = cluster.watch(&[
        "get",
        "daemonsets",
        "-l",
        SELECTOR,
        "--watch",
        "-o",
        r#"jsonpath={.status.conditions[*].type} {.status.conditions[*].message}{"\n"}"#,
    ]);
    let mut set = cluster.json(&["get", "daemonset", "daemon-set"]);
    set["status"]["conditions"] =
        json!([{"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from e2e test"}]);
    let file = cluster.file("status.json", &set.to_string());
    cluster.run(&["replace", "--subresource=status", "-f", &file]);
    watch.until("the condition", |text| text.contains("StatusUpdate Set from e2e test"));
    let patch = json!({
        "metadata": {"creationTimestamp": null},
        "spec": {"selector": null, "template": {"metadata": {"creationTimestamp": null}, "spec": {"containers": null}}, "updateStrategy": {}},
        "status": {"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0,
                   "conditions": [{"type": "StatusPatched", "status": "True", "lastTransitionTime": null}]},
    });
    cluster.run(&[
        "patch",
        "daemonset",
        "daemon-set",
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch.to_string(),
    ]);
    watch.until("the other condition", |text| text.contains("StatusPatched"));
    until_running(&cluster, &EVERYWHERE, OLD);
    let conditions = cluster.json(&["get", "daemonset", "daemon-set"])["status"]["conditions"].clone();
    assert_eq!(
        (conditions.as_array().map(Vec::len), &conditions[0]["type"]),
        (Some(1), &json!("StatusPatched"))
    );
}

#[test]
fn a_controller_revision_lives_through_everything_that_can_be_done_to_it() {
    let cluster = start();
    create(&cluster);
    until_running(&cluster, &EVERYWHERE, OLD);
    let first = revisions(&cluster).remove(0);
    let first_name = name(&first);
    let own = |revision: &Value| revision["metadata"]["ownerReferences"][0]["name"] == "daemon-set";
    assert!(own(&first));
    let rows = cluster.run(&["get", "controllerrevisions", "--no-headers"]);
    assert!(rows.contains("daemonset.apps/daemon-set"), "{rows}");

    let patch = json!({"metadata": {"labels": {&first_name: "patched"}}});
    cluster.run(&[
        "patch",
        "controllerrevision",
        &first_name,
        "--type=strategic",
        "-p",
        &patch.to_string(),
    ]);
    assert_eq!(revisions(&cluster)[0]["metadata"]["labels"][&first_name], "patched");

    let mut second = first.clone();
    let second_name = "daemon-set-made-by-hand";
    let mut labels = second["metadata"]["labels"].clone();
    labels["controller-revision-hash"] = "made-by-hand".into();
    second["metadata"] =
        json!({"name": second_name, "labels": labels, "ownerReferences": first["metadata"]["ownerReferences"]});
    second["revision"] = 2.into();
    cluster.run(&["create", "-f", &cluster.file("second.json", &second.to_string())]);
    assert_eq!(revisions(&cluster).len(), 2, "it is not tidied away");
    cluster.run(&["delete", "controllerrevision", &first_name]);
    cluster.until(
        "one to be left",
        &["get", "controllerrevisions", "-o", "name"],
        |names| names.lines().count() == 1,
    );
    cluster.run(&[
        "label",
        "controllerrevision",
        second_name,
        &format!("{second_name}=updated"),
    ]);

    let patch = json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}},
                       "updateStrategy": {"type": "RollingUpdate"}});
    cluster.run(&[
        "patch",
        "daemonset",
        "daemon-set",
        "--type=strategic",
        "-p",
        &patch.to_string(),
    ]);
    cluster.until(
        "a new revision",
        &["get", "controllerrevisions", "-o", "name"],
        |names| names.lines().count() == 2,
    );
    let path = format!("/apis/apps/v1/namespaces/default/controllerrevisions?labelSelector={second_name}%3Dupdated");
    cluster.run(&["delete", "--raw", &path]);
    let left = revisions(&cluster);
    assert_eq!((left.len(), &left[0]["revision"]), (1, &json!(3)), "{left:?}");
}
