//! What a benchmark sees of a cluster: pods as they come, and objects until something holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use http::Method;
use rota_api::{Object, Resource};
use rota_cluster::{Cluster, EventKind, Lines, RemoteCluster, Selection};
use serde::Deserialize;
use serde_json::Value;

/// Watches the selected objects until `holds` says so of all there are, by name; returns when that was seen.
///
/// Errors: it did not hold within `limit`, or the cluster refused.
pub(super) async fn until(
    cluster: &RemoteCluster,
    resource: &'static Resource,
    selection: &Selection,
    limit: Duration,
    mut holds: impl FnMut(&BTreeMap<String, Arc<Object>>) -> bool,
) -> Result<Instant> {
    let work = async {
        loop {
            let listing = cluster.list(resource, selection).await?;
            let mut seen: BTreeMap<String, Arc<Object>> = listing
                .items
                .into_iter()
                .map(|object| (object.meta().name.clone(), object))
                .collect();
            if holds(&seen) {
                return Ok(Instant::now());
            }
            let mut watch = cluster.watch(resource, selection, listing.revision).await?;
            while let Some(Ok(event)) = watch.next().await {
                let name = event.object.meta().name.clone();
                match event.kind {
                    EventKind::Deleted => drop(seen.remove(&name)),
                    EventKind::Added | EventKind::Modified => drop(seen.insert(name, event.object)),
                }
                if holds(&seen) {
                    return Ok(Instant::now());
                }
            }
        }
    };
    match tokio::time::timeout(limit, work).await {
        Ok(seen) => seen,
        Err(_) => bail!("not within {} s", limit.as_secs()),
    }
}

/// The pods of a namespace from the moment this was opened. Reads only the fields that laws are about: reading is part of
/// what the machine has to do while it is measured.
pub(super) struct PodWatch {
    lines: Lines,
}

/// What happened to a pod.
#[derive(Debug, Deserialize)]
pub(super) struct PodEvent {
    #[serde(rename = "type")]
    kind: String,
    /// The pod as it is, or as it last was.
    pub(super) object: SeenPod,
}

/// A pod, as far as laws are about it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct SeenPod {
    /// Its metadata.
    #[serde(default)]
    pub(super) metadata: SeenMetadata,
    #[serde(default)]
    spec: SeenSpec,
    #[serde(default)]
    status: SeenStatus,
}

/// Of a pod's metadata.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SeenMetadata {
    /// Its name.
    pub(super) name: String,
    /// Its uid.
    pub(super) uid: String,
    deletion_timestamp: Option<String>,
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SeenSpec {
    node_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SeenStatus {
    phase: String,
    conditions: Vec<SeenCondition>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SeenCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

impl PodWatch {
    /// The pods of `namespace` from now on.
    ///
    /// Errors: the cluster refuses.
    pub(super) async fn open(cluster: &RemoteCluster, namespace: &str) -> Result<Self> {
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let list = cluster
            .request(Method::GET, &format!("{path}?limit=1"), "", &Value::Null)
            .await
            .context("listing pods")?;
        let from = list["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let body = cluster
            .stream(&format!("{path}?watch=true&resourceVersion={from}&timeoutSeconds=3600"))
            .await
            .context("watching pods")?;
        Ok(Self { lines: Lines::of(body) })
    }

    /// What happens next.
    ///
    /// Errors: the watch ended; a benchmark that missed something says nothing about laws.
    pub(super) async fn next(&mut self) -> Result<PodEvent> {
        let Some(line) = self.lines.next().await.context("watching pods")? else {
            bail!("the server ended the watch of pods");
        };
        let event: PodEvent = serde_json::from_slice(&line).context("reading the watch of pods")?;
        if event.kind == "ERROR" {
            bail!("the watch of pods was cut off: {}", String::from_utf8_lossy(&line));
        }
        Ok(event)
    }
}

impl PodEvent {
    /// The pod is gone.
    pub(super) fn is_deleted(&self) -> bool {
        self.kind == "DELETED"
    }
}

impl SeenPod {
    /// It ended well.
    pub(super) fn has_succeeded(&self) -> bool {
        self.status.phase == "Succeeded"
    }

    /// It is neither over nor being deleted.
    pub(super) fn is_active(&self) -> bool {
        !matches!(self.status.phase.as_str(), "Succeeded" | "Failed") && self.metadata.deletion_timestamp.is_none()
    }

    /// It serves.
    pub(super) fn is_ready(&self) -> bool {
        let ready = |condition: &SeenCondition| condition.type_ == "Ready" && condition.status == "True";
        self.status.conditions.iter().any(ready)
    }

    /// The node it is bound to; empty while it is not.
    pub(super) fn node(&self) -> &str {
        &self.spec.node_name
    }

    /// The completion index of a pod of an Indexed Job.
    pub(super) fn index(&self) -> Option<&str> {
        self.metadata
            .annotations
            .get("batch.kubernetes.io/job-completion-index")
            .map(String::as_str)
    }
}
