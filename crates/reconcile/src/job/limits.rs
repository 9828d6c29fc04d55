//! The numbers of the Job controller, with unit, reason and source (`pkg/controller/job/job_controller.go`).

use jiff::SignedDuration;

/// Pods and indexes that may be between "recorded in the status" and "finalizer gone" at one time. Keeps the status of a
/// Job with many pods at a size that can be written.
pub(super) const UNCOUNTED_MAX: usize = 500;

/// Pods created or deleted by one plan, so that a Job of 100,000 pods is not one transaction. Not applied where a Job is
/// suspended or ends: then every pod has to go.
pub(super) const PODS_PER_PLAN_MAX: u32 = 500;

/// Pods in the first batch of creations; each batch is twice the one before, so that a server that refuses pods (a quota,
/// an admission rule) is asked a few times, not hundreds of times.
pub(super) const FIRST_BATCH: u32 = 1;

/// Seconds before the first replacement of a failed pod; doubles with each failure in a row.
pub(super) const BACKOFF_BASE_SECS: i64 = 10;

/// Seconds before a replacement at most.
pub(super) const BACKOFF_MAX_SECS: i64 = 600;

/// Longest `metadata.generateName` that the server does not cut: 63 less the five random characters.
pub(super) const GENERATE_NAME_BYTES_MAX: usize = 58;

/// An `activeDeadlineSeconds` beyond this overflows a count of nanoseconds in 64 bits; it stands for "no deadline".
pub(super) const DEADLINE_SECS_MAX: i64 = 9_223_372_036;

/// How long changes of pods may wait for further ones before their Job is looked at.
pub(super) const POD_CHANGES_SETTLE: SignedDuration = SignedDuration::from_millis(10);

/// How long a Job waits for more pods to end once one has failed: pods that end in one moment are judged together, or the
/// order in which their nodes report would decide how the Job ends. It delays no replacement, which waits longer for its
/// backoff. Upstream lets every pod change wait so long.
pub(super) const ENDS_GATHER: SignedDuration = SignedDuration::from_secs(1);

/// The pause before refused creations are tried again, doubled each time.
pub(super) const PAUSE_AFTER_REFUSAL: SignedDuration = SignedDuration::from_secs(1);
