//! The ReplicaSet controller: keeps so many pods of one template running.
//!
//! | step | question | chapter |
//! | --- | --- | --- |
//! | adopt | which pods are the ReplicaSet's? | [`claim`] |
//! | size | how many are missing, which are too many? | [`victims`], [`pods`] |
//! | report | what does the status say? | [`status`] |
//!
//! Pods that have ended or are being deleted count as missing. A ReplicaSet being deleted adopts, creates and deletes
//! nothing. The status tells what was seen before the plan; what the plan does is told when it is seen. That a creation was
//! refused is told by the condition ReplicaFailure, as long as pods are missing.
//! Source: `pkg/controller/replicaset` of Kubernetes v1.36; specification of nodes and pods §25.

mod claim;
mod pods;
mod seen;
mod status;
#[cfg(test)]
mod tests;
mod touched;
mod victims;

use rota_api::{DeleteOptions, Resource, Timestamp, Write, resource};

use crate::{Controller, IfRefused, Index, Key, NoteKind, Plan, World, WorldChange};
use claim::{Claimed, claim};
use seen::{SeenPod, SeenReplicaSet};

/// Pods created or deleted by one plan.
const BURST_MAX: usize = 500;
/// The first creations that run at the same time; each batch is twice the one before, so that a quota that refuses them
/// is asked a few times only.
const FIRST_BATCH: usize = 1;

static WATCHED: [&Resource; 2] = [resource::REPLICA_SETS, resource::PODS];

/// The ReplicaSet controller.
#[derive(Default)]
pub struct ReplicaSetController;

impl Controller for ReplicaSetController {
    fn name(&self) -> &'static str {
        "replicaset"
    }

    fn event_source(&self) -> &'static str {
        "replicaset-controller"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &WATCHED
    }

    fn indexes(&self) -> Vec<Index> {
        vec![claim::ORPHANS]
    }

    fn touched(&mut self, change: &WorldChange, world: &World) -> Vec<Key> {
        touched::touched(change, world)
    }

    fn reconcile(&mut self, key: &Key, world: &World, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        let object = world.get(resource::REPLICA_SETS, &key.namespace, &key.name);
        let Some(set) = object.and_then(SeenReplicaSet::of) else {
            return plan;
        };
        let claimed = claim(&set, world);
        claimed.carry_out(&set, &mut plan);
        let is_short = claimed.active.len() < set.replicas && !set.is_deleting;
        if let Some(write) = status::write(&set, &claimed, is_short, now) {
            plan.act(write, "the status says something else");
        }
        if let Some(at) = status::next_available(&set, &claimed, now) {
            plan.wake_at(at);
        }
        if !set.is_deleting {
            size(&mut plan, &set, &claimed, world, now);
        }
        plan
    }
}

/// Creates what is missing, deletes what is too many.
fn size(plan: &mut Plan, set: &SeenReplicaSet<'_>, claimed: &Claimed<'_>, world: &World, now: Timestamp) {
    let missing = set.replicas.saturating_sub(claimed.active.len()).min(BURST_MAX);
    let surplus = claimed.active.len().saturating_sub(set.replicas).min(BURST_MAX);
    create(plan, set, missing, now);
    for (position, pod) in victims::victims(set, &claimed.active, surplus, world, now).enumerate() {
        delete(plan, set, pod, position == 0);
    }
}

fn create(plan: &mut Plan, set: &SeenReplicaSet<'_>, count: usize, now: Timestamp) {
    if count == 0 {
        return;
    }
    let pod = pods::from_template(set);
    let first = plan.actions.len();
    let (mut batch, mut left_in_batch) = (FIRST_BATCH, 0);
    for _ in 0..count {
        let write = Write::create(resource::PODS, pod.clone());
        let why = "fewer pods than wanted";
        let created = if left_in_batch == 0 {
            (left_in_batch, batch) = (batch, batch * 2);
            plan.then(write, why)
        } else {
            plan.act(write, why)
        };
        left_in_batch -= 1;
        let message = format!("Created pod: {{created:{created}}}");
        plan.note_after(created, NoteKind::Normal, set.object, "SuccessfulCreate", message);
    }
    if let Some((write, pointer)) = status::failure(set, now) {
        plan.then(write, "a pod could not be created");
        plan.if_refused(IfRefused::Tell {
            pointer,
            creations: first..first + count,
        });
    }
}

fn delete(plan: &mut Plan, set: &SeenReplicaSet<'_>, pod: &SeenPod<'_>, is_first: bool) {
    let meta = pod.object.meta();
    let write = Write::delete(resource::PODS, &meta.namespace, &meta.name, DeleteOptions::default()).if_uid(&meta.uid);
    let why = "more pods than wanted";
    let deleted = if is_first {
        plan.then(write, why)
    } else {
        plan.act(write, why)
    };
    let message = format!("Deleted pod: {}", meta.name);
    plan.note_after(deleted, NoteKind::Normal, set.object, "SuccessfulDelete", message);
}
