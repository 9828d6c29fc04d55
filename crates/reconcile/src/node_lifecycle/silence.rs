//! The conditions of a node of which nothing is heard.
//!
//! Source: specification of nodes and pods §3.1.

use rota_api::Timestamp;
use serde_json::{Value, json};

use super::node::NodeView;
use crate::conditions::READY;
use crate::json::time;

/// The conditions that only the node itself can know.
const OWN_CONDITIONS: [&str; 4] = [READY, "MemoryPressure", "DiskPressure", "PIDPressure"];

/// The conditions to be set to Unknown, as entries of a strategic merge patch; those that are Unknown already stay as
/// they are. The time of the last heartbeat is kept.
pub(super) fn unknown_conditions(node: &NodeView<'_>, now: Timestamp) -> Vec<Value> {
    let unknown = |type_| {
        let mut condition = json!({"type": type_, "status": "Unknown", "lastTransitionTime": time(now)});
        match node.status_of(type_) {
            Some("Unknown") => return None,
            Some(_) => {
                condition["reason"] = "NodeStatusUnknown".into();
                condition["message"] = "Kubelet stopped posting node status.".into();
            }
            None => {
                condition["reason"] = "NodeStatusNeverUpdated".into();
                condition["message"] = "Kubelet never posted node status.".into();
                if let Some(created) = node.created() {
                    condition["lastHeartbeatTime"] = time(created).into();
                }
            }
        }
        Some(condition)
    };
    OWN_CONDITIONS.into_iter().filter_map(unknown).collect()
}
