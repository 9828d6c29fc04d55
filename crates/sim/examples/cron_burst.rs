//! How late Jobs appear when very many CronJobs are due at one instant, and what waiting for that instant costs.
//!
//! ```sh
//! rota up --sim-nodes 100 --ephemeral --listen 127.0.0.1:0 --kubeconfig /tmp/k &
//! cargo run --release -p rota-sim --example cron_burst -- --kubeconfig /tmp/k --count 1000 --pid $!
//! ```
//!
//! The delay of a Job is the time from the instant of the schedule to the arrival of its first event in a watch over HTTPS.
//! Server and watcher share the machine and its clock. Nothing runs in the last seconds before the instant: processor time
//! and memory are those of a server that waits.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use rota_api::{DeleteOptions, Write, resource};
use rota_cluster::{Cluster, EventKind, Selection};
use rota_sim::replay::server;
use serde_json::json;

/// How many CronJobs are created at once.
const CREATED_AT_ONCE: usize = 64;
/// How long the server is watched doing nothing.
const IDLE: Duration = Duration::from_secs(20);
/// How long the last Job is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// The kernel's unit of processor time.
const TICKS_PER_SEC: f64 = 100.0;

/// Measures the start of very many CronJobs at one instant.
#[derive(Parser)]
struct Args {
    /// The kubeconfig of the server.
    #[arg(long)]
    kubeconfig: PathBuf,
    /// How many CronJobs.
    #[arg(long, default_value_t = 1000)]
    count: usize,
    /// The process of the server, for its processor time and memory.
    #[arg(long)]
    pid: Option<u32>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let cluster = server::connect(&args.kubeconfig).await?;
    let namespace = format!("burst-{}", Timestamp::now().as_second());
    let object = json!({"metadata": {"name": namespace}});
    cluster
        .write(Write::create(resource::NAMESPACES, object))
        .await
        .context("creating a namespace")?;
    // Far enough ahead for all to be there, and for a while of idleness.
    let seconds = i64::try_from(args.count / 100).unwrap_or(i64::MAX).max(5) + 30;
    let due = next_minute(Timestamp::now() + SignedDuration::from_secs(seconds));
    create_all(&cluster, &namespace, due, args.count).await?;
    let left = due.duration_since(Timestamp::now());
    println!("{} CronJobs are due in {:.0} s", args.count, left.as_secs_f64());
    if left < SignedDuration::try_from(IDLE)? {
        bail!("creating them took too long: try again, or a smaller count");
    }
    if let Some(pid) = args.pid {
        tell_idle(pid).await?;
    }
    let delays = delays(&cluster, &namespace, due, args.count).await?;
    let at = |percent: usize| delays[(delays.len() * percent / 100).min(delays.len() - 1)];
    println!(
        "{} Jobs: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms behind the instant",
        delays.len(),
        at(50),
        at(99),
        at(100)
    );
    let deleted = Write::delete(resource::NAMESPACES, "", &namespace, DeleteOptions::default());
    cluster.write(deleted).await.context("deleting the namespace")?;
    Ok(())
}

fn next_minute(at: Timestamp) -> Timestamp {
    let second = at.as_second();
    Timestamp::from_second(second + 60 - second.rem_euclid(60)).expect("a time of our century")
}

async fn create_all(cluster: &Arc<dyn Cluster>, namespace: &str, due: Timestamp, count: usize) -> Result<()> {
    let minute = due.as_second().div_euclid(60);
    let schedule = format!(
        "{} {} * * *",
        minute.rem_euclid(60),
        minute.div_euclid(60).rem_euclid(24)
    );
    let created = futures::stream::iter(0..count).map(|number| {
        let object = json!({
            "metadata": {"namespace": namespace, "name": format!("c{number}")},
            "spec": {"schedule": schedule, "jobTemplate": {"spec": {"template": {"spec": {
                "restartPolicy": "Never", "containers": [{"name": "c", "image": "app:1"}]}}}}},
        });
        cluster.write(Write::create(resource::CRON_JOBS, object))
    });
    let results: Vec<_> = created.buffer_unordered(CREATED_AT_ONCE).collect().await;
    for result in results {
        result.context("creating a CronJob")?;
    }
    Ok(())
}

/// Prints what a server costs that waits.
async fn tell_idle(pid: u32) -> Result<()> {
    // The last events of the creations are on their way.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = ticks(pid)?;
    let pause = IDLE - Duration::from_secs(8);
    tokio::time::sleep(pause).await;
    let used = (ticks(pid)? - before) / TICKS_PER_SEC;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    println!(
        "idle: {:.2} % of a core over {} s, {} resident",
        used / pause.as_secs_f64() * 100.0,
        pause.as_secs(),
        resident.unwrap_or("unknown").trim()
    );
    Ok(())
}

/// Processor time of a process so far.
fn ticks(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let number = |at: usize| {
        fields
            .get(at)
            .and_then(|field| field.parse::<f64>().ok())
            .unwrap_or_default()
    };
    Ok(number(11) + number(12))
}

/// The delay of each Job in milliseconds, in order.
async fn delays(cluster: &Arc<dyn Cluster>, namespace: &str, due: Timestamp, count: usize) -> Result<Vec<f64>> {
    let selection = Selection {
        namespace: Some(namespace.to_owned()),
        ..Selection::all()
    };
    let listing = cluster.list(resource::JOBS, &selection).await.context("listing Jobs")?;
    if !listing.items.is_empty() {
        bail!("{} Jobs were there before the instant", listing.items.len());
    }
    let mut watch = cluster
        .watch(resource::JOBS, &selection, listing.revision)
        .await
        .context("watching Jobs")?;
    let mut seen: HashMap<String, f64> = HashMap::new();
    let end = tokio::time::Instant::now() + Duration::try_from(due.duration_since(Timestamp::now()))? + PATIENCE;
    while seen.len() < count {
        let Ok(Some(event)) = tokio::time::timeout_at(end, watch.next()).await else {
            bail!("only {} of {count} Jobs appeared", seen.len());
        };
        let event = event.context("reading the watch")?;
        if event.kind == EventKind::Added {
            let late = Timestamp::now().duration_since(due).as_secs_f64() * 1e3;
            seen.entry(event.object.meta().name.clone()).or_insert(late);
        }
    }
    let mut delays: Vec<f64> = seen.into_values().collect();
    delays.sort_by(f64::total_cmp);
    Ok(delays)
}
