//! Nodes that do not exist: their pods start, run and end on paper.
//!
//! Any number of nodes in one task with one watch: a pod bound to one of them becomes Running after a while, then
//! Succeeded or Failed where its restart policy lets it end; deletions are confirmed. What happens to a pod and when is
//! decided in `fleet`, what its status then says in `status`; here they are given events, time and a cluster to write to.
//!
//! Annotations of a pod say what its containers do, so that tests and people can script it:
//!
//! | Annotation | Meaning | Default |
//! | --- | --- | --- |
//! | `rota.dev/sim-start-ms` | milliseconds from the binding to Running | [`SimulatedConfig::start`] |
//! | `rota.dev/sim-run-ms` | milliseconds from Running to the end | [`SimulatedConfig::run`]; with restart policy Always: for ever |
//! | `rota.dev/sim-exit-code` | exit codes of the runs, in order, the last one for all further runs: `0`, `1`, `1,1,0` | `0` |
//! | `rota.dev/sim-fail-indexes` | completion indexes of an Indexed Job whose pods exit as above; the others exit 0: `1,3` | all |
//! | `rota.dev/sim-stop-ms` | milliseconds from the deletion to the end of a running pod | `0` |

mod fleet;
mod heartbeats;
mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use rota_api::{ApiError, Timestamp, resource};
use rota_cluster::{Cluster, Selection, Watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::node::{Capacity, Machine, NodeFacts, Taint};
use crate::writer;
use fleet::{Fleet, Pace};

/// How long to wait before asking again a server that does not answer.
const RETRY: Duration = Duration::from_millis(500);

/// Most watch events taken in before what they led to is written.
const EVENTS_MAX: usize = 2048;

/// Which nodes to simulate, and how fast their pods are.
#[derive(Clone, Debug)]
pub struct SimulatedConfig {
    /// How many nodes.
    pub count: u32,
    /// What their names begin with; a number follows.
    pub name_prefix: String,
    /// Labels of every node, beyond those each node has.
    pub labels: BTreeMap<String, String>,
    /// Taints of every node.
    pub taints: Vec<Taint>,
    /// What each node offers.
    pub capacity: Capacity,
    /// From the binding of a pod to Running.
    pub start: Duration,
    /// From Running to the end, for pods that end.
    pub run: Duration,
}

impl Default for SimulatedConfig {
    fn default() -> Self {
        Self {
            count: 1,
            name_prefix: "sim-".to_owned(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            capacity: Capacity {
                cpu_millis: 32_000,
                memory_bytes: 256 << 30,
                storage_bytes: 1 << 40,
                pods: 110,
                extended: BTreeMap::new(),
            },
            start: Duration::ZERO,
            run: Duration::ZERO,
        }
    }
}

impl SimulatedConfig {
    fn node(&self, index: u32) -> NodeFacts {
        let mut labels = self.labels.clone();
        labels.insert("rota.dev/simulated".to_owned(), "true".to_owned());
        NodeFacts {
            name: format!("{}{index}", self.name_prefix),
            labels,
            taints: self.taints.clone(),
            addresses: vec![node_address(index)],
            pod_cidr: String::new(),
            capacity: self.capacity.clone(),
            machine: Machine {
                runtime_version: "simulated://1".to_owned(),
                os_image: "simulated".to_owned(),
                architecture: "amd64".to_owned(),
                ..Machine::default()
            },
            port: 0,
        }
    }
}

/// The address of a simulated node, from the range set aside for benchmarks (RFC 2544).
fn node_address(index: u32) -> IpAddr {
    const BENCHMARKS: u32 = u32::from_be_bytes([198, 18, 0, 0]);
    Ipv4Addr::from(BENCHMARKS + (index + 1) % (1 << 17)).into()
}

/// The simulated nodes of a cluster; they vanish from its sight, as if all had lost power, when this is dropped.
pub struct SimulatedNodes {
    stop: CancellationToken,
    registered: tokio::sync::watch::Receiver<bool>,
}

impl SimulatedNodes {
    /// Registers the nodes and runs what is bound to them.
    pub fn start(config: &SimulatedConfig, cluster: &Arc<dyn Cluster>) -> Self {
        let stop = CancellationToken::new();
        let nodes: Vec<NodeFacts> = (0..config.count).map(|index| config.node(index)).collect();
        let pace = Pace {
            start: config.start,
            run: config.run,
        };
        let fleet = Fleet::new(nodes.iter().map(|n| (n.name.clone(), n.addresses[0])), pace);
        let (ready, registered) = tokio::sync::watch::channel(false);
        tokio::spawn(
            stop.clone()
                .run_until_cancelled_owned(heartbeats::run(nodes, Arc::clone(cluster), ready)),
        );
        tokio::spawn(
            stop.clone()
                .run_until_cancelled_owned(run_pods(fleet, Arc::clone(cluster))),
        );
        Self { stop, registered }
    }

    /// Waits until every node is registered and Ready.
    pub async fn registered(&mut self) {
        // Refused only when the nodes were stopped: then nothing is left to wait for.
        let _ = self.registered.wait_for(|ready| *ready).await;
    }

    /// Cuts the power: no more heartbeats, and pods stay as they are.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

impl Drop for SimulatedNodes {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Follows the pods of all nodes and writes what becomes of them.
async fn run_pods(mut fleet: Fleet, cluster: Arc<dyn Cluster>) {
    loop {
        let error = match watch_pods(&mut fleet, &*cluster).await {
            Ok(events) => follow(&mut fleet, &*cluster, events).await,
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            warn!(%error, "simulated nodes: watching pods failed, listing again");
            tokio::time::sleep(RETRY).await;
        }
    }
}

async fn watch_pods(fleet: &mut Fleet, cluster: &dyn Cluster) -> Result<Watch, ApiError> {
    let listing = cluster.list(resource::PODS, &Selection::all()).await?;
    fleet.reset(&listing.items, Timestamp::now());
    cluster.watch(resource::PODS, &Selection::all(), listing.revision).await
}

/// Until the watch ends: takes events in, and writes whatever is due.
async fn follow(fleet: &mut Fleet, cluster: &dyn Cluster, events: Watch) -> Option<ApiError> {
    let mut events = events.ready_chunks(EVENTS_MAX);
    loop {
        let now = Timestamp::now();
        let due = fleet.take_due(now, writer::TRANSACTION_WRITES_MAX);
        if !due.is_empty() {
            let (uids, writes): (Vec<_>, Vec<_>) = due.into_iter().map(|d| (d.uid, d.write)).unzip();
            let outcomes = writer::settle(cluster, writes).await;
            for (uid, outcome) in uids.iter().zip(outcomes) {
                if let Err(error) = outcome {
                    fleet.refused(uid, &error, Timestamp::now());
                }
            }
        }
        let wait = fleet
            .next_due()
            .map(|at| at.duration_since(Timestamp::now()).try_into().unwrap_or(Duration::ZERO));
        let timer = async {
            match wait {
                Some(wait) if wait.is_zero() => {}
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // What is due is not held up by a flood of events, nor events by a flood of what is due: both are taken in
            // bounded portions, events first because they may take pods away.
            biased;
            chunk = events.next() => {
                for event in chunk? {
                    match event {
                        Ok(event) => fleet.observe(&event, Timestamp::now()),
                        Err(error) => return Some(error),
                    }
                }
            }
            () = timer => {}
        }
    }
}
