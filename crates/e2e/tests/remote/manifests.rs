//! `deploy/`: its rights are enough, and no more than is needed.

use rota_e2e::{Cluster, NO_CONTROLLERS};
use serde_json::{Value, json};

use crate::words::{apply, daemon_set, job, until_ended, until_rolled_out};

fn deployed(name: &str) -> String {
    format!("{}/../../deploy/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A kubeconfig of the ServiceAccount that the manifests make.
fn kubeconfig_of_account(cluster: &Cluster, namespace: &str) -> String {
    let token = cluster.run(&["create", "token", "rota-controllers", "-n", namespace]);
    let mut view: Value = cluster.json(&["config", "view", "--raw"]);
    view["users"][0]["user"] = json!({"token": token.trim()});
    cluster.file("account.kubeconfig", &view.to_string())
}

#[test]
fn the_service_account_of_the_manifests_may_do_what_the_controllers_do() {
    let cluster = Cluster::start(&["--sim-nodes", "2", "--sim-run-ms", "100", NO_CONTROLLERS], &[]);
    cluster.apply(&deployed("controllers.yaml"));
    let kubeconfig = kubeconfig_of_account(&cluster, "rota-system");
    let options = ["--leader-elect-resource-namespace=rota-system"];
    let _controllers = cluster.controllers("account", &kubeconfig, &options);
    let mut short_lived = job("gone", &json!({"ttlSecondsAfterFinished": 0}), &json!({}));
    short_lived["spec"]["completions"] = 2.into();
    let spec = json!({"completions": 3, "parallelism": 2});
    apply(
        &cluster,
        "work",
        &[daemon_set("agent"), job("pi", &spec, &json!({})), short_lived],
    );
    until_ended(&cluster, 1);
    until_rolled_out(&cluster, "agent", 2);
    cluster.until("the short-lived job to go", &["get", "jobs", "-o", "name"], |names| {
        names.trim() == "job.batch/pi"
    });
    cluster.until(
        "events of the controllers",
        &["get", "events", "-o", "name"],
        |events| !events.is_empty(),
    );
}

#[test]
fn the_service_account_of_one_namespace_needs_no_right_beyond_it() {
    let cluster = Cluster::start(&["--sim-nodes", "2", "--sim-run-ms", "100", "--controllers=*"], &[]);
    cluster.run(&["create", "namespace", "batch"]);
    cluster.apply(&deployed("single-namespace.yaml"));
    let kubeconfig = kubeconfig_of_account(&cluster, "batch");
    let options = [
        "--controllers=job,ttl",
        "--namespace=batch",
        "--managed-by=rota.dev/controllers",
        "--leader-elect-resource-namespace=batch",
    ];
    let _controllers = cluster.controllers("account", &kubeconfig, &options);
    let managed = |name: &str, namespace: &str| {
        let mut job = job(name, &json!({"managedBy": "rota.dev/controllers"}), &json!({}));
        job["metadata"]["namespace"] = namespace.into();
        job
    };
    apply(
        &cluster,
        "work",
        &[managed("ours", "batch"), managed("elsewhere", "default")],
    );
    let path = r#"jsonpath={.status.conditions[?(@.type=="Complete")].status}"#;
    cluster.until(
        "the managed job to complete",
        &["get", "job", "ours", "-n", "batch", "-o", path],
        |status| status == "True",
    );
    let untouched = cluster.json(&["get", "job", "elsewhere"]);
    assert_eq!(
        untouched["status"],
        json!({}),
        "a Job outside the namespace is nobody's"
    );
}
