//! Pods on nodes that are not ready: they must not get traffic.
//!
//! Marked once, when the node falls silent or the pod is bound: a node that still talks may mark its pods ready again.
//! Source: specification of nodes and pods §3.1.

use rota_api::k8s::api::core::v1::Pod;
use rota_api::{Object, PatchKind, Timestamp, Write, resource};
use serde_json::json;

use super::node::NodeView;
use crate::conditions::READY;
use crate::json::time;
use crate::{NoteKind, Plan, World};

/// True when the node to which the pod is bound says, or is said, not to be ready.
pub(super) fn is_on_unready_node(pod: &Object, world: &World) -> bool {
    let node = world.get(resource::NODES, "", &pod.meta().node);
    node.and_then(|node| NodeView::of(node))
        .is_some_and(|node| node.status_of(READY).is_some_and(|status| status != "True"))
}

/// Sets the Ready condition of a pod to False. A pod without one has not begun, and needs none.
pub(super) fn mark_not_ready(plan: &mut Plan, pod: &Object, now: Timestamp) {
    if !counts_as_ready(pod) {
        return;
    }
    let meta = pod.meta();
    let condition = json!({"type": READY, "status": "False", "lastTransitionTime": time(now)});
    let patch = json!({"status": {"conditions": [condition]}});
    let kind = PatchKind::Strategic;
    let write = Write::patch(resource::PODS, &meta.namespace, &meta.name, kind, patch, Some("status"));
    let marked = plan.act(write.if_uid(&meta.uid), "its node is not ready");
    plan.note_after(marked, NoteKind::Warning, pod, "NodeNotReady", "Node is not ready");
}

fn counts_as_ready(pod: &Object) -> bool {
    let Ok(pod) = pod.view::<Pod>() else { return false };
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut ready = conditions.filter(|condition| condition.type_ == READY);
    ready.any(|condition| condition.status != "False")
}
