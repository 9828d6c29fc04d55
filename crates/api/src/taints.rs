//! The taints that say what is wrong with a node: their keys, and what they do.
//!
//! One controller puts them on, and others go by them: the two must not spell them differently.
//! Source: kubernetes `api/core/v1/well_known_taints.go`.

/// The node is not ready, or was not seen to be ready yet.
pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// Nothing is heard of the node.
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// `spec.unschedulable`.
pub const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// The node is short of memory.
pub const MEMORY_PRESSURE: &str = "node.kubernetes.io/memory-pressure";
/// The node is short of disk space.
pub const DISK_PRESSURE: &str = "node.kubernetes.io/disk-pressure";
/// The node is short of process ids.
pub const PID_PRESSURE: &str = "node.kubernetes.io/pid-pressure";
/// The node has no network for pods.
pub const NETWORK_UNAVAILABLE: &str = "node.kubernetes.io/network-unavailable";
/// Somebody has declared that the node will not come back as it was.
pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// The effect that keeps new pods away.
pub const NO_SCHEDULE: &str = "NoSchedule";
/// The effect that also drives running pods off.
pub const NO_EXECUTE: &str = "NoExecute";
