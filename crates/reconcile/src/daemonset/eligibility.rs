//! Whether a node may have a pod of a DaemonSet.
//!
//! Looks at labels, name and taints only.
//! Source: specification §6.

use rota_api::Object;
use rota_api::k8s::api::core::v1::Node;
use rota_api::placement::{self, NodeLabels};

use super::seen::SeenDaemonSet;

/// Whether a pod should be started on a node, and whether one that is there may stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Eligibility {
    /// A missing pod is created.
    pub(super) should_run: bool,
    /// A pod that is there stays.
    pub(super) should_continue: bool,
}

/// Judges one node.
pub(super) fn eligibility(set: &SeenDaemonSet<'_>, node: &Object) -> Eligibility {
    let spec = set.pod_spec();
    let meta = node.meta();
    let elsewhere = spec
        .node_name
        .as_ref()
        .is_some_and(|name| !name.is_empty() && *name != meta.name);
    let labels = NodeLabels {
        name: &meta.name,
        labels: &meta.labels,
    };
    if elsewhere || !placement::fits_node(spec, labels) {
        return Eligibility::default();
    }
    let Ok(node) = node.view::<Node>() else {
        return Eligibility::default();
    };
    let taints = node.spec.as_ref().and_then(|s| s.taints.as_deref()).unwrap_or_default();
    let repelled = |effects: &[&str]| placement::untolerated(taints, &set.tolerations, effects).is_some();
    Eligibility {
        should_run: !repelled(&["NoSchedule", "NoExecute"]),
        should_continue: !repelled(&["NoExecute"]),
    }
}
