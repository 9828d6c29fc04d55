//! A private cluster's start, and what it costs while nothing happens.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rota_api::{Write, resource};
use rota_cluster::{Cluster, Selection};
use serde_json::json;

use super::args::StartArgs;
use super::figures::Figures;
use super::seen::until;
use super::site::Site;

/// How long the first pod may take.
const POD_MAX: Duration = Duration::from_secs(60);

/// Measures a cluster that was started at `began`.
///
/// Errors: the cluster refuses something.
pub(super) async fn measure(site: &Site, args: &StartArgs, began: Instant) -> Result<Figures> {
    let cluster = site.connect().await?;
    let namespace = site.namespace(&cluster).await?;
    let mut figures = Figures::default();
    if let Some(ready) = site.ready() {
        figures.add_ms("exec to ready", ready);
    }
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "first", "namespace": namespace},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": "rota.dev/host", "command": ["sleep", "infinity"]}],
        },
    });
    cluster
        .write(Write::create(resource::PODS, pod))
        .await
        .context("creating a pod")?;
    let selection = Selection {
        namespace: Some(namespace.clone()),
        ..Selection::default()
    };
    let running = until(&cluster, resource::PODS, &selection, POD_MAX, |seen| {
        seen.values().any(|pod| pod.meta().phase == "Running")
    })
    .await
    .context("waiting for the first pod")?;
    figures.add_ms("exec to first pod running", running - began);

    let from = cluster.list(resource::CONFIG_MAPS, &selection).await?.revision;
    let before = site.usage();
    let span = Duration::from_secs(args.idle_secs.into());
    tokio::time::sleep(span).await;
    let after = site.usage();
    let to = cluster.list(resource::CONFIG_MAPS, &selection).await?.revision;
    if let (Some(before), Some(after)) = (before, after) {
        let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64() / span.as_secs_f64();
        figures.add("idle CPU", cpu * 100.0, "%");
        #[expect(clippy::cast_precision_loss, reason = "memory of a machine has few enough bytes")]
        figures.add("resident memory", after.resident as f64 / f64::from(1 << 20), "MiB");
    }
    #[expect(clippy::cast_precision_loss, reason = "revisions of a run are few enough")]
    figures.add("idle writes", (to.0 - from.0) as f64 / span.as_secs_f64(), "/s");
    Ok(figures)
}
