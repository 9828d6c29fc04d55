//! `rota bench` on a cluster that goes on: it leaves nothing behind, however it ends.

use std::process::{Child, Output, Stdio};

use rota_e2e::{Cluster, rota};
use rustix::process::{Pid, Signal, kill_process};

fn cluster() -> Cluster {
    Cluster::start(&["--sim-nodes", "3"], &[])
}

fn bench(cluster: &Cluster, args: &[&str]) -> Child {
    let kubeconfig = cluster.kubeconfig();
    let args = [&["bench", "--kubeconfig", &kubeconfig], args].concat();
    let child = rota(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    child.expect("rota")
}

fn until_nothing_is_left(cluster: &Cluster) {
    cluster.until(
        "the namespace of the benchmark to go",
        &["get", "namespaces", "-o", "name"],
        |names| !names.contains("rota-bench"),
    );
}

#[test]
fn a_benchmark_that_is_told_to_end_removes_its_namespace() {
    let cluster = cluster();
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let child = bench(&cluster, &["watch", "--watchers", "2", "--rate", "5", "--secs", "600"]);
        cluster.until(
            "the benchmark to begin",
            &["get", "configmaps", "-A", "-o", "name"],
            |names| names.contains("configmap/seen"),
        );
        kill_process(Pid::from_child(&child), signal).expect("a signal");
        let Output { status, stderr, stdout } = child.wait_with_output().expect("its end");
        let said = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(code), "{said}");
        assert!(said.contains("interrupted") && stdout.is_empty(), "{said}");
        until_nothing_is_left(&cluster);
    }
}

#[test]
fn containers_that_each_fail_once_are_measured_like_others() {
    let cluster = cluster();
    let args = ["job", "--completions", "20", "--parallelism", "10", "--fail-once"];
    let output = bench(&cluster, &args).wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("finished pods"));
    until_nothing_is_left(&cluster);
}
