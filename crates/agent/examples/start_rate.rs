//! How many containers a second this machine starts and sees end: `start_rate [COUNT] [PARALLEL] [pod|hostnet|same]`.
//!
//! `pod`: each container in a pod of its own with its own network, the whole way from nothing to nothing left.
//! `hostnet`: the same on the node's network. `same`: one pod per worker, containers one after the other in it, which
//! is what a loop over `runc run` measures. Needs root and a static busybox at `/bin/busybox`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use rota_agent::image::build::NewImage;
use rota_agent::oci::{OciConfig, OciRuntime, cleanup, shim};
use rota_agent::runtime::{ContainerSpec, Runtime, SandboxSpec};
use tokio::sync::oneshot;

type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<()>>>>;

#[derive(Clone)]
struct Bench {
    runtime: Arc<OciRuntime>,
    waiting: Waiting,
    logs: std::path::PathBuf,
    host_network: bool,
}

fn main() {
    shim::main_if_shim();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: usize| args.get(index).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (count, parallel) = (number(0, 400), number(1, 16));
    let mode = args.get(2).map_or("pod", String::as_str).to_owned();
    let dir = tempfile::Builder::new()
        .prefix("rota-rate-")
        .tempdir()
        .expect("temporary directory");
    let runtime = tokio::runtime::Runtime::new().expect("async runtime");
    runtime.block_on(measure(dir.path(), count, parallel, &mode));
    drop(runtime);
    cleanup(dir.path()).expect("cleanup");
}

#[expect(clippy::print_stdout, reason = "it is a program that prints")]
async fn measure(dir: &Path, count: usize, parallel: usize, mode: &str) {
    let config = OciConfig {
        data_dir: dir.to_owned(),
        node_name: "bench".to_owned(),
        pod_cidr: "10.214.0.0/20".to_owned(),
        cluster_cidr: None,
        shim_program: None,
    };
    let runtime = OciRuntime::open(config).await.expect("runtime");
    let archive = dir.join("busybox.tar");
    NewImage::busybox("busybox", Path::new("/bin/busybox"))
        .and_then(|image| image.write_archive(&archive))
        .expect("archive");
    runtime.store().import(&archive).expect("import");
    let waiting = Waiting::default();
    let mut exits = runtime.exits();
    let told = Arc::clone(&waiting);
    tokio::spawn(async move {
        while let Some(state) = exits.next().await {
            if let Some(waiter) = told.lock().expect("lock").remove(&state.id) {
                let _ = waiter.send(());
            }
        }
    });
    let bench = Bench {
        runtime,
        waiting,
        logs: dir.join("logs"),
        host_network: mode == "hostnet",
    };
    let started = Instant::now();
    let workers: Vec<_> = (0..parallel)
        .map(|worker| {
            let (bench, same) = (bench.clone(), mode == "same");
            tokio::spawn(async move {
                let runs = (worker..count).step_by(parallel);
                if same {
                    bench.run_in_one_pod(worker, runs.count()).await
                } else {
                    bench.run_in_pods(runs).await
                }
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for worker in workers {
        latencies.extend(worker.await.expect("worker"));
    }
    let elapsed = started.elapsed();
    latencies.sort();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!(
        "{mode}: {count} containers, {parallel} at once: {:.0}/s; sandbox to exit p50 {:.1?} p99 {:.1?}",
        count as f64 / elapsed.as_secs_f64(),
        at(0.5),
        at(0.99)
    );
}

impl Bench {
    async fn run_in_pods(&self, runs: impl Iterator<Item = usize>) -> Vec<Duration> {
        let mut latencies = Vec::new();
        for run in runs {
            let before = Instant::now();
            let sandbox = self.sandbox(&format!("pod-{run}")).await;
            self.run(&sandbox, 0).await;
            latencies.push(before.elapsed());
            self.runtime.remove_sandbox(&sandbox).await.expect("remove");
        }
        latencies
    }

    async fn run_in_one_pod(&self, worker: usize, runs: usize) -> Vec<Duration> {
        let mut latencies = Vec::new();
        let sandbox = self.sandbox(&format!("worker-{worker}")).await;
        for run in 0..runs {
            let before = Instant::now();
            let id = self.run(&sandbox, run).await;
            latencies.push(before.elapsed());
            self.runtime.remove_container(&id).await.expect("remove");
        }
        self.runtime.remove_sandbox(&sandbox).await.expect("remove");
        latencies
    }

    async fn sandbox(&self, uid: &str) -> String {
        let spec = SandboxSpec {
            pod_uid: uid.to_owned(),
            hostname: uid.to_owned(),
            host_network: self.host_network,
            ..SandboxSpec::default()
        };
        self.runtime.run_sandbox(&spec).await.expect("sandbox").id
    }

    async fn run(&self, sandbox: &str, attempt: usize) -> String {
        let spec = ContainerSpec {
            name: "main".to_owned(),
            attempt: u32::try_from(attempt).expect("few"),
            image: "busybox".to_owned(),
            args: vec!["/bin/true".to_owned()],
            log_path: self.logs.join(sandbox).join(format!("{attempt}.log")),
            ..ContainerSpec::default()
        };
        let (sender, ended) = oneshot::channel();
        let state = self.runtime.start_container(sandbox, &spec).await.expect("start");
        self.waiting.lock().expect("lock").insert(state.id.clone(), sender);
        // It may have ended before anyone waited.
        let inventory = self.runtime.container(&state.id);
        if inventory.is_some_and(|state| matches!(state.phase, rota_agent::runtime::ContainerPhase::Exited { .. })) {
            self.waiting.lock().expect("lock").remove(&state.id);
        } else {
            ended.await.expect("exit");
        }
        state.id
    }
}
