//! The driver of the scheduler: shows it pods and nodes, and makes its decisions true.
//!
//! While a batch of bindings is being committed, further pods arrive; they are the next batch. So the number of commits
//! adapts to the load by itself.

use std::sync::Arc;

use futures::{StreamExt, stream};
use rota_api::{PatchKind, Timestamp, Write, resource};
use rota_reconcile::plan::{NoteKind, Regarding};
use rota_reconcile::{World, WorldChange};
use rota_scheduler::{DEFAULT_SCHEDULER, Decision, PodName, Scheduler};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::events::Recorder;
use crate::events::correlate::Saying;
use crate::port::{Cluster, Selection};
use crate::reflect::{Update, reflect};
use crate::timer::WallTimer;

/// How many watch events may wait for the scheduler before the watches are slowed down.
const UPDATES_MAX: usize = 8192;

/// How many pods are told at the same time that they fit nowhere: together they are few commits.
const REFUSALS_AT_ONCE: usize = 256;

/// Schedules pods of `cluster` until `stop`. `random` decides among equally good nodes.
///
/// Errors: the kernel refuses a timer.
pub async fn schedule(
    cluster: Arc<dyn Cluster>,
    recorder: Recorder,
    mut random: impl FnMut() -> u64 + Send,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let kinds = [resource::NODES, resource::PODS];
    let (sender, mut updates) = mpsc::channel(UPDATES_MAX);
    for kind in kinds {
        tokio::spawn(reflect(
            Arc::clone(&cluster),
            kind,
            Selection::all(),
            sender.clone(),
            stop.clone(),
        ));
    }
    drop(sender);
    let timer = WallTimer::new()?;
    let mut world = World::watching(&kinds, &[]);
    let mut scheduler = Scheduler::new();
    let mut batch: Vec<Update> = Vec::new();
    loop {
        if world.is_synced(&kinds) {
            let decisions = scheduler.decide(Timestamp::now(), random());
            if !decisions.is_empty() {
                carry_out(&*cluster, &world, &mut scheduler, &recorder, decisions).await;
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            count = updates.recv_many(&mut batch, UPDATES_MAX) => {
                if count == 0 {
                    return Ok(());
                }
                for update in batch.drain(..) {
                    for change in update.enter(&mut world) {
                        show(&mut scheduler, &change);
                    }
                }
            }
            () = timer.wait(scheduler.wake()) => {}
        }
    }
}

fn show(scheduler: &mut Scheduler, change: &WorldChange) {
    let is_pod = change.resource() == resource::PODS;
    match &change.new {
        Some(pod) if is_pod => scheduler.apply_pod(pod),
        Some(node) => scheduler.apply_node(node),
        None if is_pod => scheduler.delete_pod(change.latest()),
        None => scheduler.delete_node(change.latest()),
    }
}

async fn carry_out(
    cluster: &dyn Cluster,
    world: &World,
    scheduler: &mut Scheduler,
    recorder: &Recorder,
    decisions: Vec<Decision>,
) {
    let now = Timestamp::now();
    let mut bindings = Vec::new();
    let mut refusals = Vec::new();
    for decision in decisions {
        match decision {
            Decision::Bind { pod, node } => bindings.push((pod, node)),
            Decision::Unschedulable { pod, message, .. } => refusals.push((pod, message)),
        }
    }
    bind(cluster, scheduler, recorder, bindings).await;
    let told = stream::iter(refusals).map(|(pod, message)| async move {
        let generation = world
            .get(resource::PODS, &pod.namespace, &pod.name)
            .map_or(0, |pod| pod.meta().generation);
        if let Err(error) = cluster.write(unschedulable(&pod, generation, &message, now)).await {
            tracing::debug!(pod = %pod.name, %error, "the pod is gone or changing");
        }
        (pod, message)
    });
    for (pod, message) in told.buffered(REFUSALS_AT_ONCE).collect::<Vec<_>>().await {
        recorder.record(saying(&pod, NoteKind::Warning, "FailedScheduling", message));
    }
}

/// Binds all of them: in one transaction where that is possible, without those that are refused.
async fn bind(
    cluster: &dyn Cluster,
    scheduler: &mut Scheduler,
    recorder: &Recorder,
    mut bindings: Vec<(PodName, String)>,
) {
    while !bindings.is_empty() {
        let writes: Vec<Write> = bindings.iter().map(|(pod, node)| binding(pod, node)).collect();
        let done = match cluster.transact(&writes.iter().collect::<Vec<_>>()).await {
            Ok(_) => bindings.len(),
            Err(refusal) => {
                let (pod, node) = bindings.remove(refusal.at.min(bindings.len() - 1));
                tracing::debug!(pod = %pod.name, %node, error = %refusal.error, "the binding was refused");
                scheduler.binding_failed(&pod.uid);
                // Without transactions the ones before it have been bound.
                if cluster.is_transactional() { 0 } else { refusal.at }
            }
        };
        for (pod, node) in bindings.drain(..done) {
            let message = format!("Successfully assigned {}/{} to {node}", pod.namespace, pod.name);
            recorder.record(saying(&pod, NoteKind::Normal, "Scheduled", message));
        }
    }
}

fn binding(pod: &PodName, node: &str) -> Write {
    let body = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    Write::post(resource::PODS, &pod.namespace, &pod.name, "binding", body).if_uid(&pod.uid)
}

fn unschedulable(pod: &PodName, generation: i64, message: &str, now: Timestamp) -> Write {
    let condition = json!({
        "type": "PodScheduled", "status": "False", "reason": rota_scheduler::decision::UNSCHEDULABLE, "message": message,
        "observedGeneration": generation, "lastProbeTime": null, "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    let patch = json!({"status": {"conditions": [condition]}});
    Write::patch(
        resource::PODS,
        &pod.namespace,
        &pod.name,
        PatchKind::Strategic,
        patch,
        Some("status"),
    )
    .if_uid(&pod.uid)
}

fn saying(pod: &PodName, kind: NoteKind, reason: &str, message: String) -> Saying {
    Saying {
        source: DEFAULT_SCHEDULER.to_owned(),
        host: String::new(),
        kind,
        regarding: Regarding {
            resource: resource::PODS,
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            field_path: String::new(),
        },
        reason: reason.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_api::Change;

    #[test]
    fn a_pod_that_fits_nowhere_learns_which_of_its_generations_was_looked_at() {
        let pod = PodName {
            namespace: "ns".to_owned(),
            name: "p".to_owned(),
            uid: "u".to_owned(),
        };
        let write = unschedulable(&pod, 3, "no room", "2026-03-01T12:00:00Z".parse().expect("a time"));
        let Change::Patch { patch, .. } = write.change else {
            panic!("a patch");
        };
        assert_eq!(
            patch["status"]["conditions"],
            json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no room",
                    "observedGeneration": 3, "lastProbeTime": null, "lastTransitionTime": "2026-03-01T12:00:00Z"}])
        );
    }
}
