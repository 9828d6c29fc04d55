//! What is wrong is said before anything is written.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Output;
use std::time::{Duration, Instant};

use rota_e2e::{Cluster, NO_CONTROLLERS, PATIENCE, rota};
use serde_json::json;

use crate::words::{apply, job, until_ended};

/// Runs `rota controllers`, which must end by itself, with an error; gives what it said.
fn refused(args: &[&str]) -> String {
    let args = [&["controllers", "--listen", "127.0.0.1:0"], args].concat();
    let Output { status, stderr, stdout } = rota(&args).output().expect("rota");
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(stdout.is_empty(), "nothing was ready");
    said
}

/// A kubeconfig of a server at that address.
fn kubeconfig(dir: &std::path::Path, server: &str, cluster: &str, user: &str) -> String {
    let path = dir.join("some.kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: '{server}'{cluster}}}}}]\n\
         users: [{{name: c, user: {user}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: c}}}}]\n"
    );
    std::fs::write(&path, text).expect("a file");
    path.to_string_lossy().into_owned()
}

#[test]
fn a_kubeconfig_that_leads_nowhere_is_named_with_its_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = dir.path().join("none").to_string_lossy().into_owned();
    let said = refused(&["--kubeconfig", &missing]);
    assert!(said.contains("reading kubeconfig") && said.contains(&missing), "{said}");
    // A port that was just free: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address")
        .port();
    let nowhere = kubeconfig(dir.path(), &format!("https://127.0.0.1:{port}"), "", "{token: t}");
    let said = refused(&["--kubeconfig", &nowhere]);
    assert!(said.contains(&format!("reaching https://127.0.0.1:{port}")), "{said}");
}

#[test]
fn a_server_that_is_too_old_is_named_with_the_oldest_that_would_do() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.read(&mut [0; 4096]);
            let body = r#"{"major":"1","minor":"20+","gitVersion":"v1.20.15"}"#;
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
        }
    });
    let dir = tempfile::tempdir().expect("a directory");
    let old = kubeconfig(dir.path(), &format!("http://{address}"), "", "{token: t}");
    let said = refused(&["--kubeconfig", &old]);
    assert!(said.contains("v1.20.15") && said.contains("v1.29"), "{said}");
}

#[test]
fn every_missing_permission_is_named_and_nothing_is_written() {
    let cluster = Cluster::start(&["--sim-nodes", "1", NO_CONTROLLERS], &[]);
    let token = cluster.run(&["create", "token", "default"]);
    let view = cluster.json(&["config", "view", "--raw"]);
    let server = view["clusters"][0]["cluster"]["server"].as_str().expect("a server");
    let authority = view["clusters"][0]["cluster"]["certificate-authority-data"]
        .as_str()
        .expect("data");
    let nobody = kubeconfig(
        cluster.dir(),
        server,
        &format!(", certificate-authority-data: {authority}"),
        &format!("{{token: '{}'}}", token.trim()),
    );
    let said = refused(&["--kubeconfig", &nobody]);
    for needed in [
        "not permitted: create pods in API group \"\", in the whole cluster",
        "not permitted: patch jobs/status in API group \"batch\"",
        "not permitted: list nodes in API group \"\"",
        "not permitted: create controllerrevisions in API group \"apps\"",
        "not permitted: update leases in API group \"coordination.k8s.io\", in namespace kube-system",
    ] {
        assert!(said.contains(needed), "{needed} is missing in\n{said}");
    }
    let one = refused(&[
        "--kubeconfig",
        &nobody,
        "--controllers",
        "ttl",
        "--namespace",
        "default",
        "--leader-elect=false",
    ]);
    assert!(
        one.contains("delete jobs") && one.contains("in namespace default") && !one.contains("controllerrevisions"),
        "{one}"
    );
    let leases = cluster.run(&["get", "leases", "-n", "kube-system", "-o", "name"]);
    assert_eq!(leases, "");
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let said = refused(&["--kubeconfig", "/dev/null", "--leader-elect-lease-duration", "5s"]);
    assert!(said.contains("--leader-elect-renew-deadline"), "{said}");
    let said = refused(&["--kubeconfig", "/dev/null", "--controllers", "jobs"]);
    assert!(said.contains("none of: job, cronjob, daemonset, ttl"), "{said}");
}

#[test]
fn upstreams_controllers_that_still_run_are_found_before_anything_is_written() {
    // Its own controllers stand for upstream's: they write under that name.
    let cluster = Cluster::start(&["--sim-nodes", "1", "--controllers=*"], &[]);
    let now = |ago: i64| {
        let at = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(ago);
        at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
    };
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"namespace": "kube-system", "name": "kube-controller-manager"},
        "spec": {"holderIdentity": "node_1", "leaseDurationSeconds": 3600, "leaseTransitions": 0,
                 "acquireTime": now(60), "renewTime": now(0)},
    });
    apply(&cluster, "work", &[lease, job("busy", &json!({}), &json!({}))]);
    until_ended(&cluster, 1);
    let said = refused(&["--kubeconfig", &cluster.kubeconfig()]);
    assert!(
        said.contains("node_1") && said.contains("wrote the status of Job default/busy"),
        "{said}"
    );
    let leases = cluster.run(&["get", "leases", "-n", "kube-system", "-o", "name"]);
    assert_eq!(leases.trim(), "lease.coordination.k8s.io/kube-controller-manager");
}

#[test]
fn a_controller_that_turns_up_later_ends_our_work_instead_of_a_war() {
    let cluster = Cluster::start(&["--sim-nodes", "1", "--controllers=*"], &[]);
    let mut ours = cluster.controllers("ours", &cluster.kubeconfig(), &["--controllers=cronjob,job"]);
    let began = Instant::now();
    let mut made = 0;
    while ours.exit_status().is_none() {
        assert!(began.elapsed() < PATIENCE, "the other controllers were never noticed");
        apply(
            &cluster,
            "work",
            &[job(&format!("busy-{made}"), &json!({}), &json!({}))],
        );
        made += 1;
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(ours.exit_status(), Some(1));
    let log = std::fs::read_to_string(cluster.dir().join("ours.log")).expect("a log");
    assert!(log.contains("another controller works on the same objects"), "{log}");
}
