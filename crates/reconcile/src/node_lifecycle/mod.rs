//! The node lifecycle: nodes that fall silent, and what taints say about the state of nodes.
//!
//! ```text
//! lease, Ready condition ─► heartbeats ─► silent? ─► conditions Unknown, pods not ready
//! conditions, unschedulable ─► taints NoSchedule, at once
//! Ready False or Unknown ─► zones: how fast? ─► taint NoExecute
//! ```
//!
//! Silence is measured by our own clock: what a node writes as the time of its heartbeat is only compared with what it
//! wrote before. Otherwise than upstream, who was not awake when the time was over gives the node its whole time again: on a
//! machine that slept, its nodes slept as well. Evicting pods is the business of [`crate::taint_eviction`].
//! Source: `pkg/controller/nodelifecycle`, specification of nodes and pods §3.

mod heartbeats;
mod labels;
mod node;
mod pods;
mod silence;
mod taints;
mod zones;

use std::sync::Arc;

use rota_api::{Object, PatchKind, Resource, Timestamp, Write, resource};
use serde_json::{Value, json};

use crate::conditions::READY;
use crate::plan::Regarding;
use crate::{Controller, Index, Key, Note, NoteKind, Plan, World, WorldChange};
use heartbeats::Heartbeats;
use node::NodeView;
use zones::{Allowance, Zones};

/// Seconds of silence after which a node is not ready any more, unless told otherwise.
pub const GRACE_SECS: i64 = 50;

/// Seconds after which a verdict comes too late: a node that lives has renewed its lease by then.
const OVERDUE_SECS: i64 = 10;

/// The namespace in which nodes renew their leases.
const LEASE_NAMESPACE: &str = "kube-node-lease";

static WATCHED: [&Resource; 3] = [resource::NODES, resource::LEASES, resource::PODS];

/// Tells by conditions and taints which nodes are silent, not ready or under pressure.
pub struct NodeLifecycleController {
    heartbeats: Heartbeats,
    zones: Zones,
}

impl NodeLifecycleController {
    /// `grace_secs`: seconds of silence after which a node is not ready any more.
    pub fn new(grace_secs: i64) -> Self {
        Self {
            heartbeats: Heartbeats::new(grace_secs),
            zones: Zones::default(),
        }
    }
}

impl Default for NodeLifecycleController {
    fn default() -> Self {
        Self::new(GRACE_SECS)
    }
}

impl Controller for NodeLifecycleController {
    fn name(&self) -> &'static str {
        "node-lifecycle"
    }

    fn event_source(&self) -> &'static str {
        "node-controller"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &WATCHED
    }

    fn indexes(&self) -> Vec<Index> {
        vec![zones::READINESS]
    }

    fn touched(&mut self, change: &WorldChange, world: &World) -> Vec<Key> {
        let kind = change.resource();
        let meta = change.latest().meta();
        if kind == resource::NODES {
            return self.touched_by_node(change, world);
        }
        if kind == resource::LEASES {
            let is_heartbeat = meta.namespace == LEASE_NAMESPACE && !change.is_deleted();
            return is_heartbeat.then(|| Key::new("", &meta.name)).into_iter().collect();
        }
        let is_bound_now = !change.is_deleted()
            && !meta.node.is_empty()
            && change.old.as_ref().is_none_or(|old| old.meta().node != meta.node);
        let is_touched = is_bound_now && pods::is_on_unready_node(change.latest(), world);
        is_touched.then(|| change.key()).into_iter().collect()
    }

    /// The key of a node has no namespace; one with a namespace stands for a pod that was bound to a node that is not
    /// ready.
    fn reconcile(&mut self, key: &Key, world: &World, now: Timestamp) -> Plan {
        if !key.namespace.is_empty() {
            return reconcile_pod(key, world, now);
        }
        match world.get(resource::NODES, "", &key.name) {
            Some(node) => self.reconcile_node(node, world, now),
            None => self.forget(&key.name),
        }
    }
}

impl NodeLifecycleController {
    /// The node itself, and those to which its readiness makes a difference.
    fn touched_by_node(&mut self, change: &WorldChange, world: &World) -> Vec<Key> {
        let shift = self.zones.shift(change, world);
        if shift.restarts_clocks {
            self.heartbeats.restart();
        }
        let mut keys = shift.touched;
        keys.push(change.key());
        keys
    }

    fn reconcile_node(&mut self, object: &Arc<Object>, world: &World, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        let Some(node) = NodeView::of(object) else { return plan };
        let lease = world.get(resource::LEASES, LEASE_NAMESPACE, node.name());
        let heard = self.heartbeats.hear(&node, lease.map(Arc::as_ref), now);
        if heard.is_new {
            let message = format!("Node {0} event: Registered Node {0} in Controller", node.name());
            plan.note(NoteKind::Normal, object, "RegisteredNode", message);
        }
        let mut unknown = Vec::new();
        if now >= heard.silent_at {
            unknown = silence::unknown_conditions(&node, now);
        } else {
            plan.wake_at(heard.silent_at);
        }
        let overdue_secs = now.duration_since(heard.silent_at).as_secs();
        if !unknown.is_empty() && overdue_secs >= OVERDUE_SECS {
            // Nobody was listening: the machine slept, or had too much to do. What the node says now is yet to be heard.
            unknown.clear();
            plan.wake_at(self.heartbeats.forgive(node.name(), now));
        }
        let wanted = taints::Wanted {
            no_schedule: taints::no_schedule(&node, &unknown),
            no_execute: self.no_execute(&mut plan, &node, world, now),
        };
        write_node(&mut plan, &node, &wanted, now);
        if !unknown.is_empty() {
            write_silence(&mut plan, &node, &unknown, world, now);
        }
        plan
    }

    /// The key of the `NoExecute` taint that the node should have now. Judged by the conditions that the node already
    /// has: that it is silent is told first, so that it can be seen how many are.
    fn no_execute(
        &mut self,
        plan: &mut Plan,
        node: &NodeView<'_>,
        world: &World,
        now: Timestamp,
    ) -> Option<&'static str> {
        let key = taints::no_execute(node)?;
        if zones::is_blackout(world) {
            return None;
        }
        if taints::has_no_execute(node) {
            return Some(key);
        }
        match self.zones.allow(node, world, now) {
            Allowance::Now => {
                self.zones.spend(node, now);
                Some(key)
            }
            Allowance::At(at) => {
                plan.wake_at(at);
                None
            }
            Allowance::Never => None,
        }
    }

    fn forget(&mut self, name: &str) -> Plan {
        let mut plan = Plan::default();
        if let Some(uid) = self.heartbeats.forget(name) {
            plan.notes.push(Note {
                kind: NoteKind::Normal,
                regarding: Regarding {
                    resource: resource::NODES,
                    namespace: String::new(),
                    name: name.to_owned(),
                    uid,
                    field_path: String::new(),
                },
                reason: "RemovingNode".into(),
                message: format!("Node {name} event: Removing Node {name} from Controller"),
                after: None,
                source: None,
            });
        }
        plan
    }
}

/// Writes labels and taints that are not as they should be. The revision refuses to overwrite taints of others.
fn write_node(plan: &mut Plan, node: &NodeView<'_>, wanted: &taints::Wanted, now: Timestamp) {
    let mut patch = json!({});
    if let Some(taints) = wanted.replacing(node, now) {
        patch["spec"] = json!({"taints": taints});
    }
    if let Some(labels) = labels::missing(node) {
        patch["metadata"] = json!({"labels": labels});
    }
    if patch.as_object().is_some_and(|patch| !patch.is_empty()) {
        let write = Write::merge(resource::NODES, "", node.name(), patch);
        let guarded = write.if_uid(node.uid()).if_revision(node.revision());
        plan.act(guarded, "its taints and labels follow its state");
    }
}

/// Writes that the node is silent. Its pods come first: after a crash in between they are found to be marked.
fn write_silence(plan: &mut Plan, node: &NodeView<'_>, unknown: &[Value], world: &World, now: Timestamp) {
    let is_first_write = plan.actions.is_empty();
    let was_ready = node.status_of(READY) == Some("True");
    if was_ready {
        for pod in world.on_node(node.name()) {
            pods::mark_not_ready(plan, pod, now);
        }
    }
    let patch = json!({"status": {"conditions": unknown}});
    let kind = PatchKind::Strategic;
    let mut write = Write::patch(resource::NODES, "", node.name(), kind, patch, Some("status")).if_uid(node.uid());
    if is_first_write {
        // A heartbeat that has come in since makes it untrue. Otherwise the write of the taints guards against that.
        write = write.if_revision(node.revision());
    }
    let written = plan.then(write, "nothing has been heard of it for too long");
    if was_ready {
        let message = format!("Node {} status is now: NodeNotReady", node.name());
        plan.note_after(written, NoteKind::Normal, node.object(), "NodeNotReady", message);
    }
}

fn reconcile_pod(key: &Key, world: &World, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let pod = world.get(resource::PODS, &key.namespace, &key.name);
    if let Some(pod) = pod.filter(|pod| pods::is_on_unready_node(pod, world)) {
        pods::mark_not_ready(&mut plan, pod, now);
    }
    plan
}

#[cfg(test)]
mod tests;
