//! The conditions of pods that several controllers read or write.
//!
//! Source: kubernetes `api/core/v1/types.go` (`PodConditionType`).

use rota_api::Timestamp;
use rota_api::k8s::api::core::v1::Pod;

/// The pod serves; of a node: it takes part.
pub(crate) const READY: &str = "Ready";
/// The pod ends for a reason that is not its own.
pub(crate) const DISRUPTION_TARGET: &str = "DisruptionTarget";

/// Since when a pod is ready. Ready since an unknown time is `Some(None)`.
pub(crate) fn ready_since(pod: &Pod) -> Option<Option<Timestamp>> {
    let mut conditions = pod.status.as_ref()?.conditions.iter().flatten();
    let ready = conditions.find(|condition| condition.type_ == READY && condition.status == "True")?;
    Some(ready.last_transition_time.as_ref().map(|time| time.0))
}
