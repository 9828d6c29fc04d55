//! The names on Jobs and their pods that mean something to the Job controller.
//!
//! Source: `staging/src/k8s.io/api/batch/v1/types.go`.

/// The finalizer that keeps a pod until it was counted.
pub const TRACKING_FINALIZER: &str = "batch.kubernetes.io/job-tracking";

/// Annotation and label of a pod of an Indexed Job: its index. Decisions read the annotation; the label feeds the
/// `JOB_COMPLETION_INDEX` variable.
pub const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// Annotation of a pod of a Job with `backoffLimitPerIndex`: counted failures of this index before this pod.
pub const INDEX_FAILURE_COUNT: &str = "batch.kubernetes.io/job-index-failure-count";

/// Annotation like [`INDEX_FAILURE_COUNT`], of the failures that the pod failure policy ignored; absent for none.
pub const INDEX_IGNORED_FAILURE_COUNT: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// Label of a pod: the uid of its Job.
pub const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";

/// [`CONTROLLER_UID`] as Jobs of older servers select by it.
pub const LEGACY_CONTROLLER_UID: &str = "controller-uid";

/// The environment variable that tells a container its index.
pub(super) const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// The value of `spec.managedBy` that means this controller, as does its absence.
pub(super) const MANAGED_BY_US: &str = "kubernetes.io/job-controller";
