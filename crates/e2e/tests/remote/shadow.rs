//! `--shadow`: everything is decided, nothing written, and each difference told.

use std::time::{Duration, Instant};

use rota_e2e::{Cluster, NO_CONTROLLERS, PATIENCE};
use serde_json::{Value, json};

use crate::words::{apply, daemon_set, job, until_ended, until_rolled_out};

/// The verdicts that were told, as `(verdict, write)`.
fn told(cluster: &Cluster) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(cluster.dir().join("shadow.out")).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let word = |line: &Value, field: &str| line[field].as_str().unwrap_or_default().to_owned();
    lines
        .filter(|line| line["verdict"].is_string())
        .map(|line| (word(&line, "verdict"), word(&line, "write")))
        .collect()
}

/// Waits until the verdicts are as wanted.
fn until_told(cluster: &Cluster, what: &str, is_so: impl Fn(&[(String, String)]) -> bool) -> Vec<(String, String)> {
    let began = Instant::now();
    loop {
        let told = told(cluster);
        if is_so(&told) {
            return told;
        }
        assert!(began.elapsed() < PATIENCE, "waited for {what}; told was {told:#?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Whether a verdict was told about a write that begins so.
fn has(told: &[(String, String)], verdict: &str, write: &str) -> bool {
    told.iter().any(|(is, of)| is == verdict && of.starts_with(write))
}

#[test]
fn who_decides_the_same_agrees_and_leaves_no_trace() {
    let cluster = Cluster::start(&["--sim-nodes", "3", "--sim-run-ms", "500", NO_CONTROLLERS], &[]);
    let _shadow = cluster.shadow(&["--shadow-patience", "5m"]);
    let spec = json!({"completions": 4, "parallelism": 2});
    apply(&cluster, "work", &[daemon_set("agent"), job("pi", &spec, &json!({}))]);

    // The running controllers begin once the shadow has decided: beside them it might see the Job only when its pods are there.
    let first = [
        "create ControllerRevision default/agent-",
        "patch Job/status default/pi",
    ];
    until_told(&cluster, "what is to be written first", |told| {
        first.iter().all(|write| has(told, "decided", write))
    });
    let leases = cluster.run(&["get", "leases", "-n", "kube-system", "-o", "name"]);
    assert_eq!(leases, "", "who only looks on needs no lease");

    let _running = cluster.controllers("running", &cluster.kubeconfig(), &[]);
    until_ended(&cluster, 1);
    until_rolled_out(&cluster, "agent", 3);
    let verdicts = until_told(&cluster, "agreement on both", |told| {
        first.iter().all(|write| has(told, "agreed", write))
    });
    assert!(
        verdicts.iter().all(|(verdict, _)| verdict != "differs"),
        "{verdicts:#?}"
    );
}

#[test]
fn what_the_running_controllers_do_not_do_is_told_once_and_not_done() {
    let cluster = Cluster::start(&["--sim-nodes", "2", NO_CONTROLLERS], &[]);
    let _shadow = cluster.shadow(&["--shadow-patience", "1s", "--controllers", "daemonset"]);
    apply(&cluster, "work", &[daemon_set("agent")]);
    until_told(&cluster, "a difference", |told| {
        has(told, "differs", "create ControllerRevision default/agent-")
    });
    assert_eq!(cluster.run(&["get", "pods,controllerrevisions", "-o", "name"]), "");
}
