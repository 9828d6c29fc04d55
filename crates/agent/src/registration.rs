//! Registers a node and keeps it alive: the Node once, its Lease every ten seconds, its status when the cluster has another.
//!
//! Who takes a node for dead says so in the node's status. The agent watches its Node and contradicts at once.
//!
//! Source: `spec/node-and-pod.md` §1.1, §2.1; kubernetes `pkg/kubelet/kubelet_node_status.go`.

use std::sync::Arc;
use std::time::Duration;

use rota_api::{ApiError, Object, PatchKind, Reason, Timestamp, Write, resource};
use rota_cluster::reflect::{Update, reflect};
use rota_cluster::{EventKind, Selection};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::context::Context;
use crate::node::{LEASE_RENEWAL, NodeFacts, Readiness, STATUS_REPORT, renewal};

/// The first wait after a failed registration, and the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(7);

/// How many changes of the Node may wait to be seen.
const CHANGES_MAX: usize = 16;

/// Registers the node, not Ready yet. Tries until it is done.
pub(crate) async fn register(context: &Context) -> Arc<Object> {
    let mut pause = PAUSE_FIRST;
    loop {
        match try_register(context).await {
            Ok(node) => return node,
            Err(error) => warn!(%error, "registering the node failed, trying again"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn try_register(context: &Context) -> Result<Arc<Object>, ApiError> {
    let facts = &context.config.node;
    let starting = Readiness::NotReady("the node agent is starting".to_owned());
    let object = facts.object(&starting, context.now());
    match context.cluster.write(Write::create(resource::NODES, object)).await {
        Ok(written) => Ok(Arc::clone(written.object())),
        Err(error) if error.reason() == Reason::AlreadyExists => {
            // Foreign labels and taints stay; what the agent owns is brought up to date.
            let labels = json!({"metadata": {"labels": facts.all_labels()}});
            let written = context
                .cluster
                .write(Write::merge(resource::NODES, "", &facts.name, labels))
                .await?;
            Ok(Arc::clone(written.object()))
        }
        Err(error) => Err(error),
    }
}

/// Keeps the node alive for ever. `ready` is told once the cluster knows that the node is Ready.
pub(crate) async fn keep_alive(context: Arc<Context>, node: Arc<Object>, ready: tokio::sync::watch::Sender<bool>) {
    let mut known = node;
    let mut reported: Option<Timestamp> = None;
    let (sender, mut changes) = mpsc::channel(CHANGES_MAX);
    let stop = CancellationToken::new();
    let selection = Selection {
        fields: format!("metadata.name={}", context.config.node.name),
        ..Selection::default()
    };
    let cluster = Arc::clone(&context.cluster);
    tokio::spawn(reflect(cluster, resource::NODES, selection, sender, stop.clone()));
    let _stop = stop.drop_guard();
    let mut tick = tokio::time::interval(LEASE_RENEWAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Once between two renewals: whoever insists on another status is not fought without rest.
    let mut may_contradict = false;
    loop {
        let is_renewal = tokio::select! {
            _ = tick.tick() => true,
            Some(update) = changes.recv() => {
                if let Some(latest) = latest(update).filter(|latest| latest.revision() > known.revision()) {
                    known = latest;
                }
                false
            }
        };
        let now = context.now();
        // Somebody may have deleted the Node and made it again.
        let uid = known.meta().uid.clone();
        if is_renewal && let Err(error) = renew(&context, &uid, now).await {
            warn!(%error, "renewing the lease of the node failed");
        }
        let status = known.to_value()["status"].take();
        let is_old =
            reported.is_none_or(|at| Duration::try_from(now.duration_since(at)).is_ok_and(|age| age >= STATUS_REPORT));
        let is_wrong = (is_renewal || may_contradict) && !context.config.node.is_told(&Readiness::Ready, &status);
        may_contradict = (is_renewal || may_contradict) && !is_wrong;
        if !(is_wrong || is_renewal && is_old) {
            continue;
        }
        match report(&context, &uid, &status, now).await {
            Ok(fresh) => {
                known = fresh;
                reported = Some(now);
                // Nobody may be waiting.
                let _ = ready.send(true);
            }
            Err(error) => warn!(%error, "reporting the status of the node failed"),
        }
    }
}

/// The Node as an update has it; none when it is gone.
fn latest(update: Update) -> Option<Arc<Object>> {
    match update {
        Update::Reset(_, mut nodes, _) => nodes.pop(),
        Update::Event(event) if event.kind == EventKind::Deleted => None,
        Update::Event(event) => Some(event.object),
    }
}

async fn renew(context: &Context, uid: &str, now: Timestamp) -> Result<(), ApiError> {
    let facts: &NodeFacts = &context.config.node;
    match context.cluster.write(renewal(&facts.name, now)).await {
        Err(error) if error.is_not_found() => {
            let lease = Write::create(resource::LEASES, facts.lease(uid, now));
            context.cluster.write(lease).await.map(drop)
        }
        outcome => outcome.map(drop),
    }
}

async fn report(context: &Context, uid: &str, old: &Value, now: Timestamp) -> Result<Arc<Object>, ApiError> {
    let facts = &context.config.node;
    let status = facts.status(&Readiness::Ready, Some(old), now);
    let patch = json!({"status": status});
    let write = Write::patch(
        resource::NODES,
        "",
        &facts.name,
        PatchKind::Strategic,
        patch,
        Some("status"),
    );
    let written = context.cluster.write(write.if_uid(uid)).await?;
    Ok(Arc::clone(written.object()))
}
