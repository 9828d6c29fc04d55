//! `rota run`: one Job now, and its result as the exit status.

use std::io::{BufRead as _, BufReader};
use std::process::{Output, Stdio};

use rota_e2e::{Cluster, Image, manifest, rota};
use rustix::process::{Pid, Signal, kill_process};

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = rota(&[&["run"], args].concat()).output().expect("rota");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (status.code(), text(&stdout), text(&stderr))
}

#[test]
fn the_exit_status_is_that_of_the_job() {
    let cluster = Cluster::start(&[], &[]);
    let kubeconfig = cluster.kubeconfig();
    let check = |options: &[&str], script: &str, wanted: i32, line: &str| {
        let args = [
            &["--kubeconfig", &kubeconfig, "--image", "rota.dev/host"],
            options,
            &["--", "sh", "-c", script],
        ]
        .concat();
        let (status, out, err) = run(&args);
        assert_eq!(status, Some(wanted), "{script}\n{out}{err}");
        assert!(out.lines().any(|shown| shown.ends_with(line)), "{script}\n{out}{err}");
    };
    check(&[], "echo well", 0, "] well");
    check(
        &["--completions", "3", "--parallelism", "2"],
        "echo again",
        0,
        "] again",
    );
    check(&["--backoff-limit", "0"], "echo ill; exit 3", 3, "] ill");
    check(&["--timeout", "10s"], "echo slow; sleep 60", 124, "] slow");
    // What a run made is gone after it.
    cluster.until("the jobs to go", &["get", "jobs,pods", "-o", "name"], str::is_empty);
}

#[test]
fn without_a_cluster_it_brings_its_own() {
    let (status, out, err) = run(&[
        "--ephemeral",
        "--image",
        "rota.dev/host",
        "--",
        "sh",
        "-c",
        "echo hello",
    ]);
    assert_eq!(status, Some(0), "{out}{err}");
    assert!(out.contains("] hello"), "{out}{err}");
}

#[test]
fn a_cron_job_is_run_once_now() {
    let cluster = Cluster::start(&[], &[Image::Init]);
    let file = manifest("001-cronjob-cron-job.yaml");
    let (status, out, err) = run(&["--kubeconfig", &cluster.kubeconfig(), "-f", &file]);
    assert_eq!(status, Some(0), "{out}{err}");
    assert!(out.contains("init finished"), "{out}{err}");
    let (_, err) = cluster.run_with_stderr(&["get", "cronjobs,jobs"]);
    assert!(err.starts_with("No resources found"), "{err}");
}

#[test]
fn a_daemon_set_is_followed_until_somebody_interrupts() {
    let cluster = Cluster::start(&["--nodes", "2"], &[Image::Fluentd]);
    let file = manifest("004-daemonset-fluentd.yaml");
    let mut child = rota(&["run", "--kubeconfig", &cluster.kubeconfig(), "-f", &file])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("rota");
    let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let ready = |line: &String| line.contains("ready on all 2 eligible nodes");
    let mut lines = stderr.lines().map_while(Result::ok);
    assert!(lines.any(|line| ready(&line)), "it ended before every node was ready");
    kill_process(Pid::from_child(&child), Signal::INT).expect("interrupting");
    // Being interrupted is how this run is meant to end.
    assert_eq!(child.wait().expect("rota").code(), Some(0));
    cluster.until(
        "it and its pods to go",
        &["get", "daemonsets,pods", "-o", "name"],
        str::is_empty,
    );
}
