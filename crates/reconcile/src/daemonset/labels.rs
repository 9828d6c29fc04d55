//! Labels and annotations by which a DaemonSet, its pods and its revisions know each other.
//!
//! Source: specification §2; `staging/src/k8s.io/api/apps/v1/types.go`.

/// On pods and revisions: the hash of the template.
pub const REVISION_HASH: &str = "controller-revision-hash";
/// On pods: the template generation they were made from.
pub const TEMPLATE_GENERATION_LABEL: &str = "pod-template-generation";
/// On DaemonSets: how often the template was changed.
pub const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";
/// On pods that replace failed ones: how many failed in a row on the node, so that a restart does not forget a long wait.
pub const FAILURES: &str = "rota.dev/daemon-pod-failures";
