//! Registers simulated nodes and keeps them alive: a slice of them at a time, each slice one transaction.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rota_api::{ApiError, Reason, Timestamp, Write, resource};
use rota_cluster::{Cluster, Selection, Written};
use serde_json::json;
use tracing::warn;

use super::RETRY;
use crate::node::{self, LEASE_RENEWAL, NodeFacts, Readiness, STATUS_REPORT};
use crate::writer::settle;

/// Most slices in which all Leases are renewed within one period.
const SLICES_MAX: u32 = 10;

struct Beating {
    facts: NodeFacts,
    /// The uid of the Node; empty until it is registered.
    uid: String,
    status: serde_json::Value,
}

/// Registers `nodes`, says so on `ready`, then renews their Leases and statuses for ever.
pub(super) async fn run(nodes: Vec<NodeFacts>, cluster: Arc<dyn Cluster>, ready: tokio::sync::watch::Sender<bool>) {
    let mut nodes = loop {
        match register(&nodes, &*cluster).await {
            Ok(nodes) => break nodes,
            Err(error) => {
                warn!(%error, "simulated nodes: registering failed, trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    let slices = SLICES_MAX.min(u32::try_from(nodes.len()).unwrap_or(SLICES_MAX)).max(1);
    // Each node has its Lease from the start; from then on they are renewed in turn.
    let now = Timestamp::now();
    for slice in 0..slices as usize {
        renew(&mut nodes, slice, slices as usize, &*cluster, now).await;
    }
    let _ = ready.send(true);
    let mut tick = tokio::time::interval(LEASE_RENEWAL / slices);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let ticks_per_report = tick_count(STATUS_REPORT, LEASE_RENEWAL / slices);
    let mut turn: u64 = 0;
    loop {
        tick.tick().await;
        let now = Timestamp::now();
        let slice = usize::try_from(turn % u64::from(slices)).unwrap_or_default();
        renew(&mut nodes, slice, slices as usize, &*cluster, now).await;
        if turn > 0 && turn % ticks_per_report < u64::from(slices) {
            report(&mut nodes, slice, slices as usize, &*cluster, now).await;
        }
        turn += 1;
    }
}

fn tick_count(period: Duration, tick: Duration) -> u64 {
    u64::try_from(period.as_millis() / tick.as_millis().max(1)).unwrap_or(u64::MAX)
}

/// Creates the nodes that are not there, and makes those that are Ready again.
async fn register(nodes: &[NodeFacts], cluster: &dyn Cluster) -> Result<Vec<Beating>, ApiError> {
    let listed = cluster.list(resource::NODES, &Selection::all()).await?;
    let there: BTreeSet<&str> = listed.items.iter().map(|n| n.meta().name.as_str()).collect();
    let now = Timestamp::now();
    let writes = nodes.iter().map(|facts| {
        if there.contains(facts.name.as_str()) {
            let status = facts.status(&Readiness::Ready, None, now);
            Write::merge_status(resource::NODES, "", &facts.name, json!({"status": status}))
        } else {
            Write::create(resource::NODES, facts.object(&Readiness::Ready, now))
        }
    });
    let outcomes = settle(cluster, writes.collect()).await;
    let mut beating = Vec::with_capacity(nodes.len());
    for (facts, outcome) in nodes.iter().zip(outcomes) {
        beating.push(Beating {
            facts: facts.clone(),
            uid: outcome?.object().meta().uid.clone(),
            status: facts.status(&Readiness::Ready, None, now),
        });
    }
    Ok(beating)
}

/// Renews the Leases of every `of`-th node, and creates those that are missing. A node whose object was deleted is
/// forgotten: an agent registers only when it starts.
async fn renew(nodes: &mut Vec<Beating>, slice: usize, of: usize, cluster: &dyn Cluster, now: Timestamp) {
    let turn: Vec<usize> = (slice..nodes.len()).step_by(of).collect();
    let writes = turn.iter().map(|i| node::renewal(&nodes[*i].facts.name, now)).collect();
    let mut missing = Vec::new();
    for (index, outcome) in turn.into_iter().zip(settle(cluster, writes).await) {
        match outcome {
            Err(error) if error.is_not_found() => missing.push(index),
            Err(error) => warn!(%error, node = nodes[index].facts.name, "renewing a lease failed"),
            Ok(_) => {}
        }
    }
    let mut deleted = Vec::new();
    let mut creates = Vec::new();
    for index in missing {
        let Beating { facts, uid, .. } = &nodes[index];
        match cluster.get(resource::NODES, "", &facts.name).await {
            Ok(node) if node.meta().uid == *uid => creates.push(Write::create(resource::LEASES, facts.lease(uid, now))),
            Ok(_) => deleted.push(index),
            Err(error) if error.is_not_found() => deleted.push(index),
            Err(error) => warn!(%error, node = facts.name, "reading a node failed"),
        }
    }
    for error in settle(cluster, creates).await.into_iter().filter_map(Result::err) {
        if error.reason() != Reason::AlreadyExists {
            warn!(%error, "creating the lease of a node failed");
        }
    }
    for index in deleted.into_iter().rev() {
        nodes.swap_remove(index);
    }
}

/// Reports the statuses of every `of`-th node, unchanged but for the time.
async fn report(nodes: &mut [Beating], slice: usize, of: usize, cluster: &dyn Cluster, now: Timestamp) {
    let mut writes = Vec::new();
    for node in nodes.iter_mut().skip(slice).step_by(of) {
        node.status = node.facts.status(&Readiness::Ready, Some(&node.status), now);
        let patch = json!({"status": {"conditions": node.status["conditions"]}});
        writes.push(
            Write::patch(
                resource::NODES,
                "",
                &node.facts.name,
                rota_api::PatchKind::Strategic,
                patch,
                Some("status"),
            )
            .if_uid(node.uid.as_str()),
        );
    }
    let failed = settle(cluster, writes)
        .await
        .into_iter()
        .filter_map(|outcome: Result<Written, ApiError>| outcome.err());
    for error in failed {
        warn!(%error, "reporting the status of a node failed");
    }
}
