//! Whether a node may have a pod of a DaemonSet.
//!
//! Looks at labels, name and taints only, by the same predicate as the scheduler's filters ([`rota_api::placement`]).
//! Source: specification §6.

use rota_api::Object;
use rota_api::k8s::api::core::v1::{Node, Taint};
use rota_api::placement::{self, NodeLabels};
use rota_api::taints::{NO_EXECUTE, NO_SCHEDULE, UNREACHABLE};

use super::seen::SeenDaemonSet;
use crate::WorldChange;

/// Whether a pod should be started on a node, and whether one that is there may stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Eligibility {
    /// A missing pod is created.
    pub(super) should_run: bool,
    /// A pod that is there stays.
    pub(super) should_continue: bool,
    /// Nobody hears of the node: nothing that is asked of it happens. Only said of nodes that get no pod.
    pub(super) is_lost: bool,
}

/// Judges one node.
pub(super) fn eligibility(set: &SeenDaemonSet<'_>, node: &Object) -> Eligibility {
    let spec = set.pod_spec();
    let meta = node.meta();
    let Ok(view) = node.view::<Node>() else {
        return Eligibility::default();
    };
    let taints = taints(&view);
    let is_silent = taints.iter().any(|taint| taint.key == UNREACHABLE);
    let elsewhere = spec
        .node_name
        .as_ref()
        .is_some_and(|name| !name.is_empty() && *name != meta.name);
    let labels = NodeLabels {
        name: &meta.name,
        labels: &meta.labels,
    };
    let repelled = |effects: &[&str]| placement::untolerated(taints, &set.tolerations, effects).is_some();
    let fits = !elsewhere && placement::fits_node(spec, labels);
    let should_run = fits && !repelled(&[NO_SCHEDULE, NO_EXECUTE]);
    Eligibility {
        should_run,
        should_continue: fits && !repelled(&[NO_EXECUTE]),
        is_lost: is_silent && !should_run,
    }
}

/// Whether a change of a node may change what any DaemonSet thinks of it: it came, it went, or its labels or taints are
/// others. A heartbeat is none of these.
pub(super) fn may_change(change: &WorldChange) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else {
        return true;
    };
    if old.meta().uid != new.meta().uid || old.meta().labels != new.meta().labels {
        return true;
    }
    match (old.view::<Node>(), new.view::<Node>()) {
        (Ok(old), Ok(new)) => taints(&old) != taints(&new),
        _ => true,
    }
}

fn taints(node: &Node) -> &[Taint] {
    let spec = node.spec.as_ref();
    spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}
