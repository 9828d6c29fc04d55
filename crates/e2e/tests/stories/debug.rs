//! `kubectl debug`: a container is added to a pod that runs, to look into it.

use std::io::Write as _;
use std::process::Stdio;

use rota_e2e::{Cluster, Image};

/// Runs until it is deleted, and ends at once then.
const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: target}
spec:
  containers:
  - {name: main, image: busybox, command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 4321 & wait $!; done"]}
"#;

/// A cluster with the pod, which runs.
fn cluster() -> Cluster {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    cluster.apply_text("target", POD);
    cluster.until("a running pod", &["get", "pod", "target", "--no-headers"], |pod| {
        pod.contains("Running")
    });
    cluster
}

/// Deletes the pod, which must be gone within its grace, whatever was done to it.
fn delete(cluster: &Cluster) {
    cluster.run(&["delete", "pod", "target", "--timeout=25s"]);
    cluster.until("it to be gone", &["get", "pods", "-o", "name"], str::is_empty);
}

#[test]
fn a_container_that_is_added_sees_its_target_and_answers_like_any_other() {
    let cluster = cluster();
    let script = "ps; echo looked; exec sleep 1000";
    let debug = [
        "debug",
        "target",
        "--image=busybox",
        "-c",
        "look",
        "--target=main",
        "--",
    ];
    cluster.run(&[&debug[..], &["sh", "-c", script]].concat());
    let logs = cluster.until("its output", &["logs", "target", "-c", "look"], |logs| {
        logs.contains("looked")
    });
    assert!(logs.contains("sleep 4321"), "{logs}");
    let pod = cluster.json(&["get", "pod", "target"]);
    let status = &pod["status"]["ephemeralContainerStatuses"][0];
    assert!(status["state"]["running"].is_object(), "{status}");
    assert_eq!((&status["ready"], &status["restartCount"]), (&false.into(), &0.into()));
    let main = &pod["status"]["containerStatuses"][0];
    assert_eq!((&main["ready"], &main["restartCount"]), (&true.into(), &0.into()));
    // The first process that it sees is the target's, by its command.
    let first = cluster.run(&["exec", "target", "-c", "look", "--", "cat", "/proc/1/cmdline"]);
    assert!(first.contains("sleep 4321"), "{first:?}");
    let described = cluster.run(&["describe", "pod", "target"]);
    assert!(described.contains("Ephemeral Containers:"), "{described}");
    delete(&cluster);
}

#[test]
fn what_is_typed_into_a_container_that_is_added_is_answered() {
    let cluster = cluster();
    let debug = ["debug", "-i", "target", "--image=busybox", "-c", "shell", "--", "sh"];
    let mut child = cluster
        .command(&debug)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin
        .write_all(b"echo $((6 * 7)) from $(hostname); exit 3\n")
        .expect("typing");
    let output = child.wait_with_output().expect("kubectl");
    drop(stdin);
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.contains("42 from target"), "{output:?}");
    let code = "jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}";
    cluster.until("its end", &["get", "pod", "target", "-o", code], |code| code == "3");
    // It is never started again.
    let pod = cluster.json(&["get", "pod", "target"]);
    assert_eq!(pod["status"]["phase"], "Running");
    delete(&cluster);
}

#[test]
fn a_pod_goes_whatever_was_started_in_it() {
    let mut cluster = cluster();
    // Sessions that stay open, one that cannot be started, and a container that is added.
    let open = |args: &[&str]| {
        cluster
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("kubectl")
    };
    let mut sessions = vec![
        open(&["exec", "-i", "target", "--", "sh", "-c", "cat & sleep 1000"]),
        open(&["attach", "-i", "target"]),
    ];
    for _ in 0..5 {
        cluster.fails(&["exec", "target", "--", "no-such-command"]);
    }
    cluster.run(&[
        "debug",
        "target",
        "--image=busybox",
        "-c",
        "look",
        "--target=main",
        "--",
        "sleep",
        "1000",
    ]);
    let running = "jsonpath={.status.ephemeralContainerStatuses[0].state.running}";
    cluster.until("it to run", &["get", "pod", "target", "-o", running], |state| {
        !state.is_empty()
    });
    sessions.push(
        cluster
            .command(&["attach", "-i", "target", "-c", "look"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("kubectl"),
    );
    cluster.kill();
    cluster.start_again();
    delete(&cluster);
    for mut session in sessions {
        let _ = session.kill();
        let _ = session.wait();
    }
}
