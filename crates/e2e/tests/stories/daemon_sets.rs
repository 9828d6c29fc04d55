//! DaemonSets: one pod on every eligible node, whatever happens to the nodes.

use std::collections::BTreeSet;

use rota_e2e::{Cluster, Image, manifest, manifest_text};

const WITH_CONTROL_PLANE: [&str; 3] = ["--control-plane-taint", "--nodes", "3"];

/// The nodes on which pods with `selector` run and are ready, one entry for each pod.
fn until_on(cluster: &Cluster, selector: &str, nodes: &[&str]) {
    let path = r#"jsonpath={range .items[*]}{.spec.nodeName}/{.status.phase}/{.metadata.deletionTimestamp}{"\n"}{end}"#;
    let args = ["get", "pods", "-l", selector, "-o", path];
    let wanted: Vec<String> = nodes.iter().map(|node| format!("{node}/Running/")).collect();
    cluster.until(&format!("pods {selector} on exactly {nodes:?}"), &args, |rows| {
        let mut rows: Vec<&str> = rows.lines().collect();
        rows.sort_unstable();
        rows == wanted
    });
}

/// Waits for the numbers of a DaemonSet's row: desired, current, ready, up to date, available.
fn until_row(cluster: &Cluster, name: &str, numbers: &str) {
    cluster.until(
        &format!("{name} to say {numbers}"),
        &["get", "daemonset", name, "--no-headers"],
        |row| {
            let columns: Vec<&str> = row.split_whitespace().skip(1).take(5).collect();
            columns.join(" ") == numbers
        },
    );
}

#[test]
fn without_a_selector_every_node_that_is_not_tainted_gets_one_pod() {
    let cluster = Cluster::start(&WITH_CONTROL_PLANE, &[Image::MyWeb, Image::Fluentd]);
    cluster.apply(&manifest("003-daemonset-testapp-daemon-notnodeselector.yaml"));
    cluster.apply(&manifest("004-daemonset-fluentd.yaml"));
    until_on(&cluster, "app=testapp-ds", &["node-1", "node-2", "node-3"]);
    until_on(&cluster, "app=fluentd", &["node-1", "node-2", "node-3"]);
    until_row(&cluster, "testapp-daemon-notnodeselector", "3 3 3 3 3");

    let rows = cluster.run(&["get", "pods", "-l", "app=testapp-ds", "--show-labels", "--no-headers"]);
    let labels = |row: &str| row.split_whitespace().last().unwrap_or_default().to_owned();
    let different: BTreeSet<String> = rows.lines().map(labels).collect();
    assert_eq!(different.len(), 1, "{rows}");
    let labels = different.first().expect("one");
    assert!(
        labels.starts_with("app=testapp-ds,controller-revision-hash="),
        "{labels}"
    );
    assert!(labels.ends_with(",pod-template-generation=1"), "{labels}");

    let deleted = cluster.run(&["delete", "daemonsets.apps", "--all"]);
    assert!(deleted.contains("daemonset.apps \"fluentd\" deleted"), "{deleted}");
    cluster.until("the pods to go", &["get", "pods", "-o", "name"], str::is_empty);
}

#[test]
fn labels_of_nodes_bring_pods_and_take_them_away() {
    let cluster = Cluster::start(&WITH_CONTROL_PLANE, &[Image::MyWeb]);
    cluster.apply(&manifest("003-daemonset-testapp-ds-java.yaml"));
    cluster.apply(&manifest("003-daemonset-testapp-ds-python.yaml"));
    until_row(&cluster, "testapp-ds-java", "0 0 0 0 0");
    let (out, err) = cluster.run_with_stderr(&["get", "pods"]);
    assert_eq!(
        (out.as_str(), err.as_str()),
        ("", "No resources found in default namespace.\n")
    );

    cluster.run(&["label", "nodes", "node-1", "node=java"]);
    cluster.run(&["label", "nodes", "node-2", "node=java"]);
    cluster.run(&["label", "nodes", "node-3", "node=python"]);
    until_on(&cluster, "app=java", &["node-1", "node-2"]);
    until_on(&cluster, "app=python", &["node-3"]);
    until_row(&cluster, "testapp-ds-java", "2 2 2 2 2");

    cluster.run(&["label", "nodes", "node-1", "node-"]);
    until_on(&cluster, "app=java", &["node-2"]);
    until_row(&cluster, "testapp-ds-java", "1 1 1 1 1");
}

#[test]
fn a_selector_a_toleration_and_an_affinity_patched_in_move_the_pods() {
    let cluster = Cluster::start(
        &WITH_CONTROL_PLANE,
        &[Image::Fluentd, Image::MonitoringAgent, Image::MyApp],
    );
    cluster.apply(&manifest("004-daemonset-fluentd.yaml"));
    until_on(&cluster, "app=fluentd", &["node-1", "node-2", "node-3"]);

    // fragment-3 tolerates the taint of the control plane and brings a second container.
    cluster.run(&[
        "patch",
        "daemonset",
        "fluentd",
        "-p",
        &manifest_text("004-fragment-3.yaml"),
    ]);
    cluster.run(&["rollout", "status", "daemonset", "fluentd", "--timeout=90s"]);
    until_on(
        &cluster,
        "app=fluentd",
        &["control-plane", "node-1", "node-2", "node-3"],
    );
    let containers = r"jsonpath={.items[*].spec.containers[*].name}";
    let names = cluster.run(&["get", "pods", "-l", "app=fluentd", "-o", containers]);
    assert_eq!(names.matches("monitoring").count(), 4, "{names}");

    // fragment-2 asks for nodes of type worker.
    cluster.run(&["label", "nodes", "node-2", "node-type=worker"]);
    cluster.run(&[
        "patch",
        "daemonset",
        "fluentd",
        "-p",
        &manifest_text("004-fragment-2.yaml"),
    ]);
    until_on(&cluster, "app=fluentd", &["node-2"]);
    until_row(&cluster, "fluentd", "1 1 1 1 1");
}

#[test]
fn a_node_that_joins_gets_its_pod_and_one_that_goes_takes_its_pod_along() {
    let mut cluster = Cluster::start(&WITH_CONTROL_PLANE, &[Image::MyWeb]);
    cluster.apply(&manifest("003-daemonset-testapp-daemon-notnodeselector.yaml"));
    until_on(&cluster, "app=testapp-ds", &["node-1", "node-2", "node-3"]);
    let joined = cluster.join("node-4", "10.244.204.0/24", &[Image::MyWeb]);
    until_on(&cluster, "app=testapp-ds", &["node-1", "node-2", "node-3", "node-4"]);
    drop(joined);
    cluster.run(&["delete", "node", "node-4"]);
    until_row(&cluster, "testapp-daemon-notnodeselector", "3 3 3 3 3");
    until_on(&cluster, "app=testapp-ds", &["node-1", "node-2", "node-3"]);
}
