//! A DaemonSet on every node: creation, then a rolling update.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rota_api::k8s::api::apps::v1::DaemonSet;
use rota_api::{DeleteOptions, PatchKind, Write, resource};
use rota_cluster::{Cluster, RemoteCluster, Selection};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::args::DaemonsetArgs;
use super::figures::Figures;
use super::seen::{PodEvent, PodWatch, until};
use super::site::Site;

/// How long each part may take.
const PART_MAX: Duration = Duration::from_secs(3600);
/// How long a new node may wait for its pod.
const JOIN_MAX: Duration = Duration::from_secs(60);
/// The name of the DaemonSet.
const NAME: &str = "daemon";

/// Measures a DaemonSet from its creation until all pods are ready, and a rolling update of its template.
///
/// Errors: the cluster refuses something, or more nodes were without a ready pod, or with a second one, than the strategy
/// allows: the run is void then.
pub(super) async fn measure(site: &Site, args: &DaemonsetArgs) -> Result<Figures> {
    let cluster = site.connect().await?;
    let namespace = site.namespace(&cluster).await?;
    let selection = Selection {
        namespace: Some(namespace.clone()),
        fields: format!("metadata.name={NAME}"),
        ..Selection::default()
    };
    let (stop, stopped) = watch::channel(false);
    let pods = tokio::spawn(observe(PodWatch::open(&cluster, &namespace).await?, stopped));
    let started = site.usage();
    let began = Instant::now();
    cluster
        .write(Write::create(resource::DAEMON_SETS, daemon_set(&namespace, args)))
        .await
        .context("creating the DaemonSet")?;
    let (ready_at, nodes) = rolled_out(&cluster, &selection)
        .await
        .context("waiting until every pod is ready")?;
    let created = site.usage();

    let change = json!({"spec": {"template": {"metadata": {"annotations": {"rota.dev/bench": "2"}}}}});
    let update_began = Instant::now();
    cluster
        .write(Write::patch(
            resource::DAEMON_SETS,
            &namespace,
            NAME,
            PatchKind::Merge,
            change,
            None,
        ))
        .await
        .context("changing the template")?;
    let (updated_at, _) = rolled_out(&cluster, &selection)
        .await
        .context("waiting for the end of the update")?;
    let updated = site.usage();
    // Nobody listens any more where the watch of pods broke; its own error is the one to tell.
    let _ = stop.send(true);
    let peaks = pods.await??;
    peaks.check(nodes, args)?;
    let joined = node_joins(site, &cluster, &namespace).await?;

    let count = f64::from(nodes);
    let mut figures = Figures::default();
    figures.add("nodes", count, "");
    figures.add("create to all ready", (ready_at - began).as_secs_f64(), "s");
    figures.add("rolling update", (updated_at - update_began).as_secs_f64(), "s");
    figures.add_ms("one node joins, until its pod is bound", joined);
    #[expect(clippy::cast_precision_loss, reason = "nodes are few enough")]
    figures.add("most nodes without a ready pod", peaks.unready as f64, "");
    if let (Some(started), Some(created), Some(updated)) = (started, created, updated) {
        let per_node = |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64() * 1e6 / count;
        figures.add("server CPU per node, create", per_node(started.cpu, created.cpu), "us");
        figures.add("server CPU per node, update", per_node(created.cpu, updated.cpu), "us");
    }
    Ok(figures)
}

/// Adds a node that nobody runs, and takes it away again; tells how long it took until a pod was bound to it.
async fn node_joins(site: &Site, cluster: &RemoteCluster, namespace: &str) -> Result<Duration> {
    let name = format!("rota-bench-{:08x}", getrandom::u32()?);
    let mut pods = PodWatch::open(cluster, namespace).await?;
    site.will_remove(resource::NODES, &name);
    let began = Instant::now();
    cluster
        .write(Write::create(resource::NODES, ready_node(&name)))
        .await
        .context("adding a node")?;
    let bound = async {
        loop {
            if pods.next().await?.object.node() == name {
                return Ok::<Instant, anyhow::Error>(Instant::now());
            }
        }
    };
    let bound = tokio::time::timeout(JOIN_MAX, bound)
        .await
        .with_context(|| format!("no pod was bound to the new node within {} s", JOIN_MAX.as_secs()))??;
    cluster
        .write(Write::delete(resource::NODES, "", &name, DeleteOptions::default()))
        .await
        .context("taking the node away")?;
    Ok(bound - began)
}

fn ready_node(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {
            "capacity": {"cpu": "1", "memory": "1Gi", "pods": "10"},
            "allocatable": {"cpu": "1", "memory": "1Gi", "pods": "10"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        },
    })
}

fn daemon_set(namespace: &str, args: &DaemonsetArgs) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": NAME, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": {"app": NAME}},
            "updateStrategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {
                    "maxUnavailable": int_or_percent(&args.max_unavailable),
                    "maxSurge": int_or_percent(&args.max_surge),
                },
            },
            "template": {
                "metadata": {"labels": {"app": NAME}, "annotations": {"rota.dev/bench": "1"}},
                "spec": {"containers": [{"name": "main", "image": "rota.dev/host", "command": ["sleep", "infinity"]}]},
            },
        },
    })
}

fn int_or_percent(text: &str) -> Value {
    text.parse::<u32>().map_or_else(|_| text.into(), Value::from)
}

/// Waits until every node that should have a pod has a ready one of the latest template; tells how many nodes that are.
async fn rolled_out(cluster: &RemoteCluster, selection: &Selection) -> Result<(Instant, u32)> {
    let mut nodes = 0;
    let at = until(cluster, resource::DAEMON_SETS, selection, PART_MAX, |seen| {
        let Some(set) = seen.get(NAME).and_then(|set| set.view::<DaemonSet>().ok()) else {
            return false;
        };
        let Some(status) = &set.status else { return false };
        nodes = status.desired_number_scheduled;
        nodes > 0
            && status.observed_generation == set.metadata.generation
            && status.updated_number_scheduled == Some(nodes)
            && status.number_available == Some(nodes)
    })
    .await?;
    Ok((at, u32::try_from(nodes).unwrap_or_default()))
}

/// What was seen of the pods of all nodes.
#[derive(Debug, Default)]
struct Peaks {
    /// By node and uid: is the pod ready.
    pods: HashMap<String, BTreeMap<String, bool>>,
    places: HashMap<String, String>,
    ready_nodes: usize,
    /// The most nodes that had no ready pod after all had had one.
    unready: usize,
    /// The most nodes that had two pods, neither being deleted.
    doubled: usize,
    doubled_now: usize,
    all: usize,
}

impl Peaks {
    fn see(&mut self, event: &PodEvent) {
        let pod = &event.object;
        let uid = pod.metadata.uid.clone();
        let node = if pod.node().is_empty() {
            self.places.get(&uid).cloned().unwrap_or_default()
        } else {
            self.places.insert(uid.clone(), pod.node().to_owned());
            pod.node().to_owned()
        };
        if node.is_empty() {
            return;
        }
        let (had_ready, had_two) = self.of(&node);
        let there = self.pods.entry(node.clone()).or_default();
        if event.is_deleted() || !pod.is_active() {
            there.remove(&uid);
        } else {
            there.insert(uid, pod.is_ready());
        }
        let (has_ready, has_two) = self.of(&node);
        self.ready_nodes = self.ready_nodes + usize::from(has_ready) - usize::from(had_ready);
        self.doubled_now = self.doubled_now + usize::from(has_two) - usize::from(had_two);
        self.doubled = self.doubled.max(self.doubled_now);
        self.all = self.all.max(self.ready_nodes);
        if self.all == self.pods.len() {
            self.unready = self.unready.max(self.all - self.ready_nodes);
        }
    }

    fn of(&self, node: &str) -> (bool, bool) {
        let Some(there) = self.pods.get(node) else {
            return (false, false);
        };
        (there.values().any(|ready| *ready), there.len() > 1)
    }

    /// Errors: what was broken.
    fn check(&self, nodes: u32, args: &DaemonsetArgs) -> Result<()> {
        let unavailable_max = share(&args.max_unavailable, nodes);
        let surge_max = share(&args.max_surge, nodes);
        if self.unready > unavailable_max {
            bail!(
                "the run is void: {} nodes were without a ready pod, {unavailable_max} may be",
                self.unready
            );
        }
        if self.doubled > surge_max {
            bail!(
                "the run is void: {} nodes had two pods, {surge_max} may have",
                self.doubled
            );
        }
        Ok(())
    }
}

/// A number, or a percentage of `nodes`, rounded up as upstream does.
fn share(text: &str, nodes: u32) -> usize {
    match text.strip_suffix('%').map(str::parse::<u32>) {
        Some(Ok(percent)) => (nodes * percent).div_ceil(100) as usize,
        _ => text.parse().unwrap_or_default(),
    }
}

async fn observe(mut pods: PodWatch, mut stopped: watch::Receiver<bool>) -> Result<Peaks> {
    let mut peaks = Peaks::default();
    loop {
        tokio::select! {
            biased;
            event = pods.next() => peaks.see(&event?),
            _ = stopped.changed() => return Ok(peaks),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, uid: &str, node: &str, ready: bool) -> PodEvent {
        let status = if ready { "True" } else { "False" };
        serde_json::from_value(json!({"type": kind, "object": {
            "metadata": {"uid": uid}, "spec": {"nodeName": node},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status}]},
        }}))
        .unwrap()
    }

    fn args(max_unavailable: &str, max_surge: &str) -> DaemonsetArgs {
        DaemonsetArgs {
            max_unavailable: max_unavailable.to_owned(),
            max_surge: max_surge.to_owned(),
        }
    }

    #[test]
    fn nodes_that_lose_their_ready_pod_count_once_all_had_one() {
        let mut peaks = Peaks::default();
        for node in ["a", "b", "c"] {
            peaks.see(&event("ADDED", node, node, true));
        }
        peaks.see(&event("DELETED", "a", "a", true));
        peaks.see(&event("DELETED", "b", "b", true));
        assert!(peaks.check(3, &args("1", "0")).is_err());
        peaks.check(3, &args("2", "0")).unwrap();
    }

    #[test]
    fn nodes_with_two_pods_count_as_surge() {
        let mut peaks = Peaks::default();
        peaks.see(&event("ADDED", "old", "a", true));
        peaks.see(&event("ADDED", "new", "a", false));
        assert!(peaks.check(1, &args("0", "0")).is_err());
        peaks.check(1, &args("0", "100%")).unwrap();
    }
}
