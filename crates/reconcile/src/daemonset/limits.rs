//! Limits of the DaemonSet controller.
//!
//! Source: specification §2.

use jiff::SignedDuration;

/// Creations, and separately deletions, in one plan. Bounds the size of one transaction; upstream stops at 250.
pub(super) const BURST_MAX: usize = 1000;
/// Creations of the first batch; each next one is twice as large, so that a refusal (a quota) stops the rest early.
pub(super) const FIRST_BATCH: usize = 1;
/// The wait after the first failed pod on a node; each next one is twice as long.
pub(super) const BACKOFF_FIRST: SignedDuration = SignedDuration::from_secs(1);
/// The longest wait between failed pods on a node.
pub(super) const BACKOFF_MAX: SignedDuration = SignedDuration::from_mins(15);
/// A node on which nothing failed for so long starts over.
pub(super) const BACKOFF_FORGET: SignedDuration = SignedDuration::from_mins(30);
/// From so many failures on (a wait of 32 s) the count is written on the pod. Upstream's pods never carry it: a pod that
/// starts at last, after a few attempts, looks like any other.
pub(super) const FAILURES_WRITTEN_MIN: u32 = 6;
/// So many pods in a row that end well are replaced at once on a node, as upstream does it without end.
pub(super) const SUCCESSES_FREE: u32 = 5;
/// Old revisions kept when the DaemonSet does not say.
pub(super) const HISTORY_DEFAULT: i32 = 10;
/// The longest name of an object.
pub(super) const NAME_BYTES_MAX: usize = 253;
