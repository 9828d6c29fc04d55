//! Rollouts of DaemonSets, as `kubectl rollout` shows and steers them, on three real nodes.

use std::collections::BTreeSet;

use rota_e2e::{Cluster, Image};
use serde_json::{Value, json};

const NAME: &str = "daemonset/agent";

fn start(strategy: &Value) -> Cluster {
    let cluster = Cluster::start(&["--nodes", "3"], &[Image::Fluentd, Image::MonitoringAgent]);
    let labels = json!({"app": "agent"});
    let container = json!({"name": "main", "image": "fluentd:v1.14", "imagePullPolicy": "IfNotPresent"});
    let set = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "agent", "annotations": {"kubernetes.io/change-cause": "first"}},
        "spec": {
            "selector": {"matchLabels": labels}, "updateStrategy": strategy,
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    });
    cluster.apply_text("agent", &set.to_string());
    let ready = ["get", "daemonset", "agent", "-o", "jsonpath={.status.numberReady}"];
    cluster.until("three ready pods", &ready, |count| count == "3");
    cluster
}

fn done(cluster: &Cluster) {
    let told = cluster.run(&["rollout", "status", NAME, "--timeout=90s"]);
    assert!(
        told.ends_with("daemon set \"agent\" successfully rolled out\n"),
        "{told}"
    );
}

fn pods(cluster: &Cluster) -> BTreeSet<String> {
    let names = cluster.run(&[
        "get",
        "pods",
        "-l",
        "app=agent",
        "--field-selector=status.phase=Running",
        "-o",
        "name",
    ]);
    names.lines().map(str::to_owned).collect()
}

fn images(cluster: &Cluster) -> String {
    cluster.run(&[
        "get",
        "pods",
        "-l",
        "app=agent",
        "-o",
        "jsonpath={.items[*].spec.containers[0].image}",
    ])
}

#[test]
fn history_undo_and_restart_say_and_do_what_they_do_elsewhere() {
    let cluster = start(&json!({"type": "RollingUpdate"}));
    cluster.run(&["annotate", NAME, "--overwrite", "kubernetes.io/change-cause=second"]);
    cluster.run(&["set", "image", NAME, "main=monitoring-agent"]);
    done(&cluster);
    let history = cluster.run(&["rollout", "history", NAME]);
    assert_eq!(
        history,
        "daemonset.apps/agent \nREVISION  CHANGE-CAUSE\n1         first\n2         second\n\n"
    );
    let template = cluster.run(&["rollout", "history", NAME, "--revision=1"]);
    assert!(template.contains("fluentd:v1.14"), "{template}");
    assert!(
        cluster
            .fails(&["rollout", "history", NAME, "--revision=7"])
            .contains("unable to find")
    );

    let undone = cluster.run(&["rollout", "undo", NAME]);
    assert_eq!(undone, "daemonset.apps/agent rolled back\n");
    done(&cluster);
    assert_eq!(images(&cluster), "fluentd:v1.14 fluentd:v1.14 fluentd:v1.14");
    let history = cluster.run(&["rollout", "history", NAME]);
    assert!(history.contains("2         second\n3         first\n"), "{history}");
    // A kubectl whose types are of another release than the server's does not see that this is the current template.
    let before = pods(&cluster);
    cluster.run(&["rollout", "undo", NAME, "--to-revision=3"]);
    done(&cluster);
    assert_eq!(pods(&cluster), before, "the current template again restarts nothing");

    assert_eq!(
        cluster.run(&["rollout", "restart", NAME]),
        "daemonset.apps/agent restarted\n"
    );
    done(&cluster);
    cluster.until(
        "the old pods to go",
        &["get", "pods", "-l", "app=agent", "-o", "name"],
        |names| names.lines().count() == 3,
    );
    assert!(pods(&cluster).is_disjoint(&before));
    assert!(
        cluster
            .fails(&["rollout", "pause", NAME])
            .contains("pausing is not supported")
    );
    assert!(!cluster.fails(&["scale", NAME, "--replicas=1"]).is_empty());

    let described = cluster.run(&["describe", NAME]);
    for line in [
        "Selector:       app=agent",
        "Desired Number of Nodes Scheduled: 3",
        "Number of Nodes Scheduled with Up-to-date Pods: 3",
        "Pods Status:  3 Running / 0 Waiting / 0 Succeeded / 0 Failed",
        "SuccessfulCreate",
        "daemonset-controller",
    ] {
        assert!(described.contains(line), "{line}\n{described}");
    }
    let wide = cluster.run(&["get", "daemonset", "agent", "-o", "wide"]);
    let header = "NAME DESIRED CURRENT READY UP-TO-DATE AVAILABLE NODE SELECTOR AGE CONTAINERS IMAGES SELECTOR";
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(wide.lines().next().map(words).as_deref(), Some(header));
    assert!(wide.contains("<none>") && wide.contains("app=agent"), "{wide}");
}

#[test]
fn with_a_surge_every_node_has_its_new_pod_before_the_old_one_goes() {
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}});
    let cluster = start(&rolling);
    let watch = cluster.watch(&["get", "pods", "-l", "app=agent", "--watch", "-o", "name"]);
    cluster.run(&["set", "image", NAME, "main=monitoring-agent"]);
    let ready = [
        "get",
        "daemonset",
        "agent",
        "-o",
        "jsonpath={.status.numberReady} {.status.updatedNumberScheduled}",
    ];
    cluster.until("the update", &ready, |text| {
        assert!(text.starts_with('3'), "a node is without a ready pod: {text}");
        text == "3 3"
    });
    done(&cluster);
    cluster.until(
        "the old pods to go",
        &["get", "pods", "-l", "app=agent", "-o", "name"],
        |names| names.lines().count() == 3,
    );
    assert_eq!(images(&cluster), "monitoring-agent monitoring-agent monitoring-agent");
    drop(watch);
}

#[test]
fn on_delete_waits_for_hands() {
    let cluster = start(&json!({"type": "OnDelete"}));
    let before = pods(&cluster);
    cluster.run(&["set", "image", NAME, "main=monitoring-agent"]);
    let two = ["get", "controllerrevisions", "-o", "name"];
    cluster.until("the new revision", &two, |names| names.lines().count() == 2);
    assert_eq!(pods(&cluster), before, "nothing is replaced");
    assert!(cluster.fails(&["rollout", "status", NAME]).contains("RollingUpdate"));
    let one = before.first().expect("a pod");
    cluster.run(&["delete", one]);
    cluster.until(
        "its successor",
        &[
            "get",
            "pods",
            "-l",
            "app=agent",
            "-o",
            "jsonpath={.items[*].spec.containers[0].image}",
        ],
        |images| images.matches("monitoring-agent").count() == 1 && images.matches("fluentd").count() == 2,
    );
}
