//! What these stories have in common.

use rota_e2e::Cluster;
use serde_json::{Value, json};

/// A Job of simulated pods: its name, further fields of its spec, annotations of its pods.
pub(crate) fn job(name: &str, spec: &Value, annotations: &Value) -> Value {
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": {
            "metadata": {"annotations": annotations},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "any"}]},
        }},
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        job["spec"][field] = value.clone();
    }
    job
}

/// A DaemonSet of simulated pods.
pub(crate) fn daemon_set(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}},
            "template": {
                "metadata": {"labels": {"app": name}, "annotations": {"rota.dev/sim-run-ms": "86400000"}},
                "spec": {"containers": [{"name": "main", "image": "any"}]},
            },
        },
    })
}

/// Applies objects.
pub(crate) fn apply(cluster: &Cluster, name: &str, objects: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    cluster.apply_text(name, &list.to_string());
}

/// Waits until so many Jobs have ended.
pub(crate) fn until_ended(cluster: &Cluster, count: usize) {
    let path =
        r#"jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.status=="True")].type}{"\n"}{end}"#;
    let has_ended = |line: &str| line.contains(" Complete") || line.contains(" Failed") || line.ends_with("Complete");
    let what = format!("{count} jobs to end");
    cluster.until_within(
        std::time::Duration::from_secs(300),
        &what,
        &["get", "jobs", "-o", path],
        |lines| lines.lines().filter(|line| has_ended(line)).count() >= count,
    );
}

/// Waits until a DaemonSet has its pods of the current template.
pub(crate) fn until_rolled_out(cluster: &Cluster, name: &str, pods: usize) {
    let path = "jsonpath={.metadata.generation} {.status.observedGeneration} {.status.updatedNumberScheduled} {.status.numberAvailable}";
    let what = format!("daemon set {name} to roll out");
    cluster.until(&what, &["get", "daemonset", name, "-o", path], |text| {
        let numbers: Vec<&str> = text.split(' ').collect();
        let wanted = pods.to_string();
        matches!(numbers.as_slice(), [generation, observed, updated, available]
            if generation == observed && *updated == wanted && *available == wanted)
    });
}

/// Changes the template of a DaemonSet.
pub(crate) fn roll(cluster: &Cluster, name: &str, version: usize) {
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"version": version.to_string()}}}}});
    cluster.run(&["patch", "daemonset", name, "-p", &patch.to_string()]);
}
