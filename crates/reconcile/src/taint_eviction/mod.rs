//! Taint-based eviction: pods that do not tolerate a `NoExecute` taint of their node leave it.
//!
//! | taints of the node against the tolerations of the pod | what happens |
//! | --- | --- |
//! | one is not tolerated | marked as disrupted and deleted, with its grace |
//! | all are tolerated, some for a time only | the same when the shortest such time is over |
//! | all are tolerated without limit, or there is none | it stays; a wait that was running is over |
//!
//! A running wait is not changed by other taints or tolerations, nor by the end of the node: it is over when the pod goes,
//! when every taint is tolerated again, or when one is not tolerated at all. Who taints nodes is not known here.
//! Source: `pkg/controller/tainteviction`, specification of nodes and pods §4.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use rota_api::k8s::api::core::v1::{Node, Pod, PodCondition, Taint, Toleration};
use rota_api::taints::NO_EXECUTE;
use rota_api::{DeleteOptions, Object, PatchKind, Resource, Timestamp, Write, placement, resource};
use serde_json::json;

use crate::conditions::DISRUPTION_TARGET;
use crate::json::time;
use crate::plan::{Note, Regarding};
use crate::{Controller, Key, NoteKind, Plan, World, WorldChange};

static WATCHED: [&Resource; 2] = [resource::PODS, resource::NODES];

/// The reason of the condition by which evicted pods are known.
const REASON: &str = "DeletionByTaintManager";

/// Evicts pods from tainted nodes.
#[derive(Default)]
pub struct TaintEvictionController {
    /// Pods that have to leave, and when. A wait that was forgotten starts anew.
    waits: BTreeMap<Key, Wait>,
}

struct Wait {
    /// The uid of the pod.
    uid: String,
    /// When it has to leave.
    until: Timestamp,
}

impl Controller for TaintEvictionController {
    fn name(&self) -> &'static str {
        "taint-eviction"
    }

    fn event_source(&self) -> &'static str {
        "taint-eviction-controller"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &WATCHED
    }

    fn touched(&mut self, change: &WorldChange, world: &World) -> Vec<Key> {
        if change.resource() == resource::NODES {
            let taints = |node: &Option<_>| node.as_deref().map(no_execute_taints).unwrap_or_default();
            if taints(&change.old) == taints(&change.new) {
                return Vec::new();
            }
            let node = &change.latest().meta().name;
            return world.on_node(node).map(|pod| Key::of(pod)).collect();
        }
        let key = change.key();
        let concerns = self.waits.contains_key(&key)
            || change
                .new
                .as_deref()
                .is_some_and(|pod| !taints_of_node(pod, world).is_empty());
        if concerns { vec![key] } else { Vec::new() }
    }

    fn reconcile(&mut self, key: &Key, world: &World, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        let pod = world.get(resource::PODS, &key.namespace, &key.name);
        let Some(pod) = pod else {
            self.cancel(&mut plan, key, now);
            return plan;
        };
        if has_been_evicted(pod) {
            self.waits.remove(key);
            return plan;
        }
        if self.waits.get(key).is_some_and(|wait| wait.uid != pod.meta().uid) {
            self.cancel(&mut plan, key, now);
        }
        match Stay::of(pod, world) {
            None => match self.waits.get(key) {
                Some(wait) if wait.until <= now => evict(&mut plan, pod, now),
                Some(wait) => plan.wake_at(wait.until),
                None => {}
            },
            Some(Stay::Forever) => self.cancel(&mut plan, key, now),
            Some(Stay::Seconds(secs)) if secs <= 0 => {
                self.cancel(&mut plan, key, now);
                evict(&mut plan, pod, now);
            }
            Some(Stay::Seconds(secs)) => {
                let wait = self.waits.entry(key.clone()).or_insert_with(|| Wait {
                    uid: pod.meta().uid.clone(),
                    until: now
                        .checked_add(SignedDuration::from_secs(secs))
                        .unwrap_or(Timestamp::MAX),
                });
                if wait.until <= now {
                    evict(&mut plan, pod, now);
                } else {
                    plan.wake_at(wait.until);
                }
            }
        }
        plan
    }
}

impl TaintEvictionController {
    /// Ends the wait of a pod that need not leave, or leaves for another reason; what was to happen is taken back in words.
    fn cancel(&mut self, plan: &mut Plan, key: &Key, now: Timestamp) {
        if self.waits.remove(key).is_some_and(|wait| wait.until > now) {
            note(plan, key, format!("Cancelling deletion of Pod {key}"), None);
        }
    }
}

/// Says something about a pod, which is named without its uid: it may be gone.
fn note(plan: &mut Plan, pod: &Key, message: String, after: Option<usize>) {
    plan.notes.push(Note {
        kind: NoteKind::Normal,
        regarding: Regarding {
            resource: resource::PODS,
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: String::new(),
            field_path: String::new(),
        },
        reason: "TaintManagerEviction".into(),
        message,
        after,
        source: None,
    });
}

/// How long a pod may stay on its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stay {
    Forever,
    /// So many seconds from when that became known; 0 or less: it has to leave now.
    Seconds(i64),
}

impl Stay {
    /// `None`: its node does not exist.
    fn of(pod: &Object, world: &World) -> Option<Self> {
        let node = &pod.meta().node;
        if !node.is_empty() {
            world.get(resource::NODES, "", node)?;
        }
        let taints = taints_of_node(pod, world);
        if taints.is_empty() {
            return Some(Self::Forever);
        }
        let view = pod.view::<Pod>().ok();
        let spec = view.as_deref().and_then(|pod| pod.spec.as_ref());
        let tolerations = spec.and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
        Some(Self::under(&taints, tolerations))
    }

    /// For each taint the first toleration that covers it counts; the shortest time of those decides.
    fn under(taints: &[Taint], tolerations: &[Toleration]) -> Self {
        let mut stay = Self::Forever;
        for taint in taints {
            let Some(used) = tolerations.iter().find(|t| placement::tolerates(t, taint)) else {
                return Self::Seconds(0);
            };
            stay = match (stay, used.toleration_seconds) {
                (stay, None) => stay,
                (Self::Forever, Some(secs)) => Self::Seconds(secs),
                (Self::Seconds(least), Some(secs)) => Self::Seconds(least.min(secs)),
            };
        }
        stay
    }
}

fn taints_of_node(pod: &Object, world: &World) -> Vec<Taint> {
    let node = &pod.meta().node;
    if node.is_empty() {
        return Vec::new();
    }
    world
        .get(resource::NODES, "", node)
        .map(|node| no_execute_taints(node))
        .unwrap_or_default()
}

fn no_execute_taints(node: &Object) -> Vec<Taint> {
    let Ok(node) = node.view::<Node>() else {
        return Vec::new();
    };
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.filter(|taint| taint.effect == NO_EXECUTE).cloned().collect()
}

/// True for a pod that is going and marked. One that goes for another reason is still to be marked.
fn has_been_evicted(pod: &Object) -> bool {
    let is_mark = |condition: &PodCondition| {
        condition.type_ == DISRUPTION_TARGET
            && condition.status == "True"
            && condition.reason.as_deref() == Some(REASON)
    };
    let is_marked = |pod: &Pod| {
        let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.any(is_mark)
    };
    pod.meta().deleting.is_some() && pod.view::<Pod>().is_ok_and(|pod| is_marked(&pod))
}

/// Marks the pod as disrupted, then deletes it. The wait is forgotten when the pod is seen to be going.
fn evict(plan: &mut Plan, pod: &Object, now: Timestamp) {
    let meta = pod.meta();
    let why = "it does not tolerate a taint of its node any longer";
    let condition = json!({"status": {"conditions": [{
        "type": DISRUPTION_TARGET,
        "status": "True",
        "reason": REASON,
        "message": "Taint manager: deleting due to NoExecute taint",
        "lastTransitionTime": time(now),
    }]}});
    let kind = PatchKind::Strategic;
    let mark = Write::patch(
        resource::PODS,
        &meta.namespace,
        &meta.name,
        kind,
        condition,
        Some("status"),
    );
    let mut last = plan.then(mark.if_uid(&meta.uid), why);
    if meta.deleting.is_none() {
        let delete = Write::delete(resource::PODS, &meta.namespace, &meta.name, DeleteOptions::default());
        last = plan.then(delete.if_uid(&meta.uid), why);
    }
    let key = Key::of(pod);
    note(plan, &key, format!("Marking for deletion Pod {key}"), Some(last));
}

#[cfg(test)]
mod tests;
