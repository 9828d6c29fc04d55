//! Pod garbage collection: pods that no node agent will ever end.
//!
//! | pod | what happens |
//! | --- | --- |
//! | bound to a node that has been gone for a while | marked Failed and disrupted, deleted at once |
//! | being deleted, on a node that is down and out of service | marked Failed, deleted at once |
//! | being deleted, never bound | marked Failed, deleted at once |
//! | ended, beyond the number that is kept | deleted at once, evicted ones and the oldest first |
//!
//! A finalizer keeps a pod as ever; the mark lets a Job count it. Where upstream looks every 20 seconds, this looks when
//! a pod or node changes, or a grace time is over; through the ended ones once a second.
//! Source: `pkg/controller/podgc`, specification of nodes and pods §5.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use rota_api::k8s::api::core::v1::{Node, Pod};
use rota_api::taints::OUT_OF_SERVICE;
use rota_api::{DeleteOptions, Object, PatchKind, Resource, Timestamp, Write, resource};
use serde_json::{Value, json};

use crate::conditions::{DISRUPTION_TARGET, READY};
use crate::json::time;
use crate::{Controller, Index, Key, Plan, World, WorldChange};

/// Seconds that a node must have been gone before its pods are: it may be coming back under its name.
const NODE_GONE_SECS: i64 = 40;

/// Ended pods that are kept.
const ENDED_PODS_MAX: usize = 12_500;

/// Ended pods deleted by one plan.
const DELETIONS_PER_PLAN_MAX: usize = 500;

/// How long the ended pods are not looked through again once as many are left as are kept: each look is at all of them.
const LOOKS_APART: SignedDuration = SignedDuration::from_secs(1);

static WATCHED: [&Resource; 2] = [resource::PODS, resource::NODES];

/// All ended pods, under one entry.
const ENDED: Index = Index {
    name: "pod-gc-ended",
    resource: resource::PODS,
    keys: |pod| {
        if has_ended(pod) {
            vec![String::new()]
        } else {
            Vec::new()
        }
    },
};

/// Deletes pods that no node agent will ever end.
#[derive(Default)]
pub struct PodGc {
    /// Since when nodes with pods have been seen to be gone; a node without pods is not remembered. Forgetting it starts the wait anew.
    gone_since: BTreeMap<String, Timestamp>,
    /// When the ended pods may be looked through again. Forgetting it costs one look.
    next_look: Option<Timestamp>,
}

impl Controller for PodGc {
    fn name(&self) -> &'static str {
        "pod-garbage-collector"
    }

    fn event_source(&self) -> &'static str {
        "pod-garbage-collector"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &WATCHED
    }

    fn indexes(&self) -> Vec<Index> {
        vec![ENDED]
    }

    fn touched(&mut self, change: &WorldChange, world: &World) -> Vec<Key> {
        if change.resource() == resource::NODES {
            return self.touched_by_node(change, world);
        }
        if change.is_deleted() {
            let node = &change.latest().meta().node;
            if world.on_node(node).next().is_none() {
                self.gone_since.remove(node);
            }
        }
        let mut keys = Vec::new();
        if let Some(pod) = &change.new
            && Lot::of(pod, world) != Lot::Kept
        {
            keys.push(Key::of(pod));
        }
        if change.new.as_ref().is_none_or(|pod| has_ended(pod))
            && world.count_of(resource::PODS, ENDED.name, "") > ENDED_PODS_MAX
        {
            keys.push(all_ended());
        }
        keys
    }

    fn reconcile(&mut self, key: &Key, world: &World, now: Timestamp) -> Plan {
        if *key == all_ended() {
            return self.delete_surplus(world, now);
        }
        let mut plan = Plan::default();
        let Some(pod) = world.get(resource::PODS, &key.namespace, &key.name) else {
            return plan;
        };
        match Lot::of(pod, world) {
            Lot::Kept => {}
            Lot::NeverBound => force_out(
                &mut plan,
                pod,
                None,
                "it is being deleted and was never bound to a node",
            ),
            Lot::OutOfService => force_out(&mut plan, pod, None, "its node is out of service"),
            Lot::NodeGone => {
                let since = *self.gone_since.entry(pod.meta().node.clone()).or_insert(now);
                let due = since
                    .checked_add(SignedDuration::from_secs(NODE_GONE_SECS))
                    .unwrap_or(Timestamp::MAX);
                if now >= due {
                    force_out(&mut plan, pod, Some(node_gone(now)), "its node no longer exists");
                } else {
                    plan.wake_at(due);
                }
            }
        }
        plan
    }
}

impl PodGc {
    fn touched_by_node(&mut self, change: &WorldChange, world: &World) -> Vec<Key> {
        let node = change.latest();
        if !change.is_deleted() {
            self.gone_since.remove(&node.meta().name);
            if !is_out_of_service(node) {
                return Vec::new();
            }
        }
        world.on_node(&node.meta().name).map(|pod| Key::of(pod)).collect()
    }

    /// Deletes the ended pods beyond the number kept.
    fn delete_surplus(&mut self, world: &World, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        let surplus = world
            .count_of(resource::PODS, ENDED.name, "")
            .saturating_sub(ENDED_PODS_MAX);
        if surplus == 0 {
            return plan;
        }
        if let Some(next) = self
            .next_look
            .filter(|next| now < *next && next.duration_since(now) <= LOOKS_APART)
        {
            plan.wake_at(next);
            return plan;
        }
        let ended = world
            .find(resource::PODS, ENDED.name, "")
            .filter(|pod| pod.meta().deleting.is_none());
        let mut ended: Vec<_> = ended.collect();
        ended.sort_by_cached_key(|pod| (!was_evicted(pod), pod.meta().created));
        let deleted = surplus.min(DELETIONS_PER_PLAN_MAX);
        for pod in ended.into_iter().take(deleted) {
            plan.act(deletion(pod), "more ended pods than are kept");
        }
        self.next_look = (deleted == surplus).then(|| now.checked_add(LOOKS_APART).unwrap_or(Timestamp::MAX));
        plan
    }
}

/// The key that stands for the number of ended pods; no pod is without namespace.
fn all_ended() -> Key {
    Key::new("", "ended")
}

/// What becomes of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lot {
    Kept,
    NeverBound,
    NodeGone,
    OutOfService,
}

impl Lot {
    fn of(pod: &Object, world: &World) -> Self {
        let meta = pod.meta();
        if meta.node.is_empty() {
            return if meta.deleting.is_some() {
                Self::NeverBound
            } else {
                Self::Kept
            };
        }
        match world.get(resource::NODES, "", &meta.node) {
            None => Self::NodeGone,
            Some(node) if meta.deleting.is_some() && is_out_of_service(node) => Self::OutOfService,
            Some(_) => Self::Kept,
        }
    }
}

/// True for a node that is not ready and that somebody has declared out of service.
fn is_out_of_service(node: &Object) -> bool {
    let Ok(node) = node.view::<Node>() else { return false };
    let taints = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default();
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let is_ready = conditions.iter().any(|c| c.type_ == READY && c.status == "True");
    !is_ready && taints.iter().any(|taint| taint.key == OUT_OF_SERVICE)
}

fn has_ended(pod: &Object) -> bool {
    matches!(pod.meta().phase.as_str(), "Succeeded" | "Failed")
}

fn node_gone(now: Timestamp) -> Value {
    json!([{
        "type": DISRUPTION_TARGET,
        "status": "True",
        "reason": "DeletionByPodGC",
        "message": "PodGC: node no longer exists",
        "lastTransitionTime": time(now),
    }])
}

/// Marks a pod Failed unless it has ended, then deletes it without grace. A crash between both leaves a failed pod that is
/// deleted next time.
fn force_out(plan: &mut Plan, pod: &Object, conditions: Option<Value>, why: &'static str) {
    let meta = pod.meta();
    if !has_ended(pod) {
        let mut status = json!({"phase": "Failed"});
        if let Some(conditions) = conditions {
            status["conditions"] = conditions;
        }
        let patch = json!({"status": status});
        let mark = Write::patch(
            resource::PODS,
            &meta.namespace,
            &meta.name,
            PatchKind::Strategic,
            patch,
            Some("status"),
        );
        plan.then(mark.if_uid(&meta.uid), why);
    }
    if !is_being_deleted_at_once(pod) {
        plan.then(deletion(pod), why);
    }
}

fn is_being_deleted_at_once(pod: &Object) -> bool {
    let grace = pod
        .view::<Pod>()
        .ok()
        .and_then(|pod| pod.metadata.deletion_grace_period_seconds);
    pod.meta().deleting.is_some() && grace == Some(0)
}

fn deletion(pod: &Object) -> Write {
    let meta = pod.meta();
    let options = DeleteOptions {
        grace_period_secs: Some(0),
        ..DeleteOptions::default()
    };
    Write::delete(resource::PODS, &meta.namespace, &meta.name, options).if_uid(&meta.uid)
}

fn was_evicted(pod: &Object) -> bool {
    pod.meta().phase == "Failed"
        && pod
            .view::<Pod>()
            .is_ok_and(|pod| pod.status.as_ref().and_then(|s| s.reason.as_deref()) == Some("Evicted"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn world(objects: &[(&'static Resource, Value)]) -> World {
        let mut world = World::watching(&WATCHED, &[ENDED]);
        for (resource, value) in objects {
            world.apply(Arc::new(Object::from_value(resource, value.clone())));
        }
        world
    }

    fn pod(node: &str, phase: &str, deleting: bool) -> (&'static Resource, Value) {
        let mut pod = json!({"metadata": {"namespace": "d", "name": "p", "uid": "u"},
            "spec": {"nodeName": node, "containers": []}, "status": {"phase": phase}});
        if deleting {
            pod["metadata"]["deletionTimestamp"] = NOW.into();
            pod["metadata"]["deletionGracePeriodSeconds"] = 30.into();
        }
        (resource::PODS, pod)
    }

    fn node(ready: &str, taint: Option<&str>) -> (&'static Resource, Value) {
        let taints: Vec<Value> = taint
            .iter()
            .map(|key| json!({"key": key, "effect": "NoExecute"}))
            .collect();
        let conditions = json!([{"type": "Ready", "status": ready}]);
        let node = json!({"metadata": {"name": "n"}, "spec": {"taints": taints}, "status": {"conditions": conditions}});
        (resource::NODES, node)
    }

    fn check(objects: &[(&'static Resource, Value)], secs_later: i64, expected: &[&str]) {
        let world = world(objects);
        let mut gc = PodGc::default();
        let now: Timestamp = NOW.parse().expect("a time");
        let key = Key::new("d", "p");
        gc.reconcile(&key, &world, now);
        let plan = gc
            .reconcile(&key, &world, now + SignedDuration::from_secs(secs_later))
            .explain();
        assert_eq!(plan.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn pods_of_a_vanished_node_go_after_40_seconds() {
        check(&[pod("n", "Running", false)], 39, &["wake 2026-01-01T00:00:40Z"]);
        let gone = [
            "0 patch Pod/status d/p (its node no longer exists)",
            "1 delete Pod d/p (its node no longer exists)",
        ];
        check(&[pod("n", "Running", false)], 40, &gone);
        check(
            &[pod("n", "Succeeded", false)],
            40,
            &["0 delete Pod d/p (its node no longer exists)"],
        );
        check(&[pod("n", "Running", false), node("True", None)], 40, &[]);
    }

    #[test]
    fn a_pod_being_deleted_on_a_node_out_of_service_is_forced_out() {
        let forced = [
            "0 patch Pod/status d/p (its node is out of service)",
            "1 delete Pod d/p (its node is out of service)",
        ];
        check(
            &[pod("n", "Running", true), node("False", Some(OUT_OF_SERVICE))],
            0,
            &forced,
        );
        check(&[pod("n", "Running", true), node("True", Some(OUT_OF_SERVICE))], 0, &[]);
        check(
            &[pod("n", "Running", false), node("False", Some(OUT_OF_SERVICE))],
            0,
            &[],
        );
        check(&[pod("n", "Running", true), node("False", None)], 0, &[]);
    }

    #[test]
    fn a_pod_deleted_before_it_was_bound_fails() {
        let why = "(it is being deleted and was never bound to a node)";
        let forced = [
            format!("0 patch Pod/status d/p {why}"),
            format!("1 delete Pod d/p {why}"),
        ];
        check(&[pod("", "Pending", true)], 0, &[&forced[0], &forced[1]]);
        check(&[pod("", "Pending", false)], 0, &[]);
    }

    #[test]
    fn a_node_that_comes_back_in_time_keeps_its_pods() {
        let mut world = world(&[pod("n", "Running", false)]);
        let mut gc = PodGc::default();
        let now: Timestamp = NOW.parse().expect("a time");
        let key = Key::new("d", "p");
        gc.reconcile(&key, &world, now);
        let back = world
            .apply(Arc::new(Object::from_value(resource::NODES, node("True", None).1)))
            .expect("news");
        gc.touched(&back, &world);
        let gone = world
            .delete(&Object::from_value(resource::NODES, node("True", None).1))
            .expect("news");
        assert_eq!(gc.touched(&gone, &world), std::slice::from_ref(&key));
        let later = now + SignedDuration::from_secs(NODE_GONE_SECS);
        assert!(gc.reconcile(&key, &world, later).is_empty(), "the wait starts anew");
    }

    #[test]
    fn ended_pods_beyond_the_limit_go_evicted_and_oldest_first() {
        let ended = |at: usize, reason: Option<&str>| {
            let name = format!("p{at:05}");
            let created = Timestamp::from_second(at as i64).expect("a time").to_string();
            let pod = json!({"metadata": {"namespace": "d", "name": name, "uid": name, "creationTimestamp": created},
                "status": {"phase": "Failed", "reason": reason}});
            (resource::PODS, pod)
        };
        let mut pods: Vec<_> = (0..ENDED_PODS_MAX + 1).map(|at| ended(at, None)).collect();
        pods.push(ended(99_999, Some("Evicted")));
        let world = world(&pods);
        let mut gc = PodGc::default();
        let change = WorldChange {
            old: None,
            new: world.get(resource::PODS, "d", "p00000").cloned(),
        };
        assert!(gc.touched(&change, &world).contains(&all_ended()));
        let plan = gc.reconcile(&all_ended(), &world, NOW.parse().expect("a time"));
        let names: Vec<_> = plan.actions.iter().map(|action| action.write.name.as_str()).collect();
        assert_eq!(names, ["p99999", "p00000"]);
        let again = gc.reconcile(&all_ended(), &world, NOW.parse().expect("a time"));
        assert_eq!(
            again.explain().trim_end(),
            "wake 2026-01-01T00:00:01Z",
            "then not all is looked through for a second"
        );
    }
}
