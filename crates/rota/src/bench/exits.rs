//! How long after a real process ended its pod is seen to have succeeded.
//!
//! The process tells the time as the last thing that it does, and the client's clock is the same one: a private cluster with
//! a real node.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use rota_api::{Timestamp, Write, resource};
use rota_cluster::{Cluster, Lines, RemoteCluster};
use serde_json::json;

use super::args::ExitsArgs;
use super::figures::Figures;
use super::seen::PodWatch;
use super::site::Site;

/// How long all pods may take.
const ALL_MAX: Duration = Duration::from_secs(600);

/// Measures pods whose processes end at once.
///
/// Errors: the cluster refuses something, or a pod does not succeed.
pub(super) async fn measure(site: &Site, args: &ExitsArgs) -> Result<Figures> {
    let cluster = site.connect().await?;
    let namespace = site.namespace(&cluster).await?;
    let pods = PodWatch::open(&cluster, &namespace).await?;
    let count = args.count as usize;
    let seen = tokio::spawn(ends(pods, count));
    let mut pause = tokio::time::interval(Duration::from_millis(args.every_ms.max(1)));
    for number in 0..args.count {
        pause.tick().await;
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("exit-{number}"), "namespace": namespace},
            "spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "main", "image": "rota.dev/host", "command": ["date", "+%s%N"]}],
            },
        });
        let write = Write::create(resource::PODS, pod);
        cluster.write(write).await.context("creating a pod")?;
    }
    let seen = tokio::time::timeout(ALL_MAX, seen)
        .await
        .context("waiting for the ends of the pods")???;
    let mut late = Vec::with_capacity(count);
    for (name, seen_at) in seen {
        let ended_at = told(&cluster, &namespace, &name).await?;
        late.push(Duration::try_from(seen_at.duration_since(ended_at)).unwrap_or_default());
    }
    let mut figures = Figures::default();
    figures.add_spread(
        [
            "exit to Succeeded in a watch, p50",
            "exit to Succeeded in a watch, p99",
            "exit to Succeeded in a watch, max",
        ],
        late,
    );
    Ok(figures)
}

/// When each of `count` pods was first seen to have succeeded, by name.
async fn ends(mut pods: PodWatch, count: usize) -> Result<BTreeMap<String, Timestamp>> {
    let mut ends = BTreeMap::new();
    while ends.len() < count {
        let pod = pods.next().await?.object;
        if pod.has_succeeded() {
            ends.entry(pod.metadata.name).or_insert_with(Timestamp::now);
        }
    }
    Ok(ends)
}

/// The time that the process of a pod told.
async fn told(cluster: &RemoteCluster, namespace: &str, pod: &str) -> Result<Timestamp> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/log");
    let body = cluster.stream(&path).await.context("reading a log")?;
    let line = Lines::of(body).next().await.context("reading a log")?;
    let line = line.with_context(|| format!("pod {pod} told no time"))?;
    let nanos: i128 = std::str::from_utf8(&line)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .with_context(|| format!("pod {pod} told {:?}, which is no time", String::from_utf8_lossy(&line)))?;
    Ok(Timestamp::from_nanosecond(nanos)?)
}
