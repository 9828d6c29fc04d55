//! A node dies: what somebody looks after runs elsewhere, a bare pod does not.

use rota_e2e::{Cluster, Image};
use serde_json::Value;

/// A bare pod, a ReplicaSet and a Job whose pods tolerate a silent node for two seconds.
const WORK: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: bare, labels: {app: bare}}
spec:
  tolerations:
  - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
  - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
  containers:
  - {name: main, image: busybox, command: [sleep, "1000"]}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: kept}
spec:
  replicas: 1
  selector: {matchLabels: {app: kept}}
  template:
    metadata: {labels: {app: kept}}
    spec:
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
      containers:
      - {name: main, image: busybox, command: [sleep, "1000"]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    metadata: {labels: {app: once}}
    spec:
      restartPolicy: Never
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
      containers:
      - {name: main, image: busybox, command: [sleep, "1000"]}
"#;

/// Name, node and address of the pods of an app that run and are not being deleted.
fn running(cluster: &Cluster, app: &str) -> Vec<[String; 3]> {
    let pods = cluster.json(&["get", "pods", "-l", &format!("app={app}")]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pods = pods["items"].as_array().expect("a list").iter();
    pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null() && pod["status"]["phase"] == "Running")
        .map(|pod| {
            [
                text(&pod["metadata"]["name"]),
                text(&pod["spec"]["nodeName"]),
                text(&pod["status"]["podIP"]),
            ]
        })
        .collect()
}

#[test]
fn pods_of_a_dead_node_are_made_anew_elsewhere_except_a_bare_one() {
    let mut cluster = Cluster::start(&["--nodes", "2", "--node-grace-secs", "25"], &[Image::Busybox]);
    let mut joined = cluster.join("node-3", "10.244.203.0/24", &[Image::Busybox]);
    cluster.run(&["cordon", "node-1", "node-2"]);
    cluster.apply_text("work", WORK);
    cluster.until("three running pods", &["get", "pods", "--no-headers"], |pods| {
        pods.matches("Running").count() == 3
    });
    let before = ["kept", "once"].map(|app| running(&cluster, app));
    cluster.run(&["uncordon", "node-1", "node-2"]);
    joined.kill();

    cluster.until(
        "node-3 to be not ready",
        &["get", "node", "node-3", "--no-headers"],
        |row| row.contains("NotReady"),
    );
    for (app, before) in ["kept", "once"].into_iter().zip(before) {
        cluster.until(
            &format!("a new pod of {app}"),
            &["get", "pods", "-l", &format!("app={app}")],
            |_| {
                let now = running(&cluster, app);
                now.len() == 1 && now[0][1] != "node-3"
            },
        );
        let after = running(&cluster, app);
        assert_eq!((before.len(), after.len()), (1, 1));
        assert_ne!(
            (&before[0][0], &before[0][2]),
            (&after[0][0], &after[0][2]),
            "new name and address"
        );
        assert_ne!(before[0][2], after[0][2], "new address");
    }
    assert_eq!(
        running(&cluster, "bare"),
        Vec::<[String; 3]>::new(),
        "nobody makes a bare pod anew"
    );
}

#[test]
fn a_restarted_container_keeps_the_name_and_address_of_its_pod() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    let restarts = [
        "get",
        "pod",
        "again",
        "-o",
        "jsonpath={.status.containerStatuses[0].restartCount} {.status.phase} {.status.podIP} {.metadata.uid}",
    ];
    cluster.apply_text(
        "again",
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"again"},
            "spec":{"containers":[{"name":"main","image":"busybox","command":["sleep","6"]}]}}"#,
    );
    let before = cluster.until("the pod to run", &restarts, |text| text.starts_with("0 Running 1"));
    let after = cluster.until("the container to restart", &restarts, |text| {
        text.starts_with("1 Running")
    });
    assert_eq!(before.get(1..), after.get(1..));
}
