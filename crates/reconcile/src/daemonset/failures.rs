//! The brake on pods that come to an end again and again on one node.
//!
//! A failed pod is deleted, and so replaced, at once; the next not before 1 s has passed since, then 2 s, 4 s … up to 15
//! minutes. A node refuses pods by failing them, so without a brake the controller would spin. Pods that end well are
//! replaced at once a few times in a row, then braked alike; upstream replaces these without end.
//!
//! The count is remembered per node. Once the wait is long enough to matter it is also written on the replacement, where a
//! controller that has lost its memory finds it; upstream starts over after a restart.
//! Source: specification §9.2, §23.2; kubernetes `util/flowcontrol/backoff.go`.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use rota_api::Timestamp;
use rota_api::k8s::api::core::v1::Pod;

use super::labels::FAILURES;
use super::limits::{BACKOFF_FIRST, BACKOFF_FORGET, BACKOFF_MAX, SUCCESSES_FREE};
use super::placed::Name;
use super::seen::{Ending, SeenDaemonSet, SeenPod};
use crate::Key;

/// Failures of all DaemonSets.
#[derive(Clone, Default)]
pub(super) struct Failures(BTreeMap<Key, NodeFailures>);

/// Failures of one DaemonSet, by node.
#[derive(Clone, Default)]
pub(super) struct NodeFailures {
    uid: String,
    /// A new generation that was observed starts over: its pods may be better.
    generation: i64,
    nodes: BTreeMap<(Name, Ending), Series>,
}

#[derive(Clone, Copy)]
struct Series {
    count: u32,
    last: Timestamp,
}

/// What to do about a pod that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Delete it now.
    Delete,
    /// Leave it until then.
    Wait(Timestamp),
}

impl Failures {
    /// The failures of a DaemonSet, and whether they start over: whatever waited need wait no longer.
    pub(super) fn of(&mut self, key: &Key, set: &SeenDaemonSet<'_>) -> (&mut NodeFailures, bool) {
        let failures = self.0.entry(key.clone()).or_default();
        let uid = &set.object.meta().uid;
        let starts_over = failures.uid != *uid || failures.generation != set.observed_generation();
        if starts_over {
            *failures = NodeFailures {
                uid: uid.clone(),
                generation: set.observed_generation(),
                nodes: BTreeMap::new(),
            };
        }
        (failures, starts_over)
    }

    /// A DaemonSet is gone.
    pub(super) fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }
}

impl NodeFailures {
    /// Judges a pod that has ended, and counts it when it is to go.
    pub(super) fn judge(&mut self, node: &Name, pod: &SeenPod, ending: Ending, now: Timestamp) -> Verdict {
        let written = || (ending == Ending::Failed).then(|| written_on(pod)).flatten();
        let series = self.series(node, ending, now).or_else(written);
        if let Some(series) = series {
            let until = series.last.saturating_add(wait(ending, series.count)).unwrap_or(now);
            if until > now {
                return Verdict::Wait(until);
            }
        }
        let count = series.map_or(0, |s| s.count).saturating_add(1);
        self.nodes
            .insert((Name::clone(node), ending), Series { count, last: now });
        Verdict::Delete
    }

    /// How many pods failed in a row on the node.
    pub(super) fn count(&self, node: &Name, now: Timestamp) -> u32 {
        self.series(node, Ending::Failed, now).map_or(0, |series| series.count)
    }

    fn series(&self, node: &Name, ending: Ending, now: Timestamp) -> Option<Series> {
        let series = self.nodes.get(&(Name::clone(node), ending)).copied()?;
        (now.duration_since(series.last) <= BACKOFF_FORGET).then_some(series)
    }
}

/// The wait after so many pods in a row that ended so.
fn wait(ending: Ending, count: u32) -> SignedDuration {
    let braked = match ending {
        Ending::Failed => count,
        Ending::Succeeded => count.saturating_sub(SUCCESSES_FREE),
    };
    if braked == 0 {
        return SignedDuration::ZERO;
    }
    let doublings = (braked - 1).min(16);
    BACKOFF_FIRST.saturating_mul(1 << doublings).min(BACKOFF_MAX)
}

/// What the pod says of its predecessors. It was created right when the last of them was deleted.
fn written_on(pod: &SeenPod) -> Option<Series> {
    if !pod.is_updated {
        return None;
    }
    let view = pod.object.view::<Pod>().ok()?;
    let count = view.metadata.annotations.as_ref()?.get(FAILURES)?.parse().ok()?;
    Some(Series {
        count,
        last: pod.object.meta().created?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_quarter_of_an_hour() {
        let secs = |ending, counts: [u32; 7]| counts.map(|count| wait(ending, count).as_secs());
        let failed = secs(Ending::Failed, [1, 2, 3, 4, 10, 11, 40]);
        assert_eq!(failed, [1, 2, 4, 8, 512, 900, 900]);
        let succeeded = secs(Ending::Succeeded, [1, 2, 5, 6, 7, 15, 40]);
        assert_eq!(succeeded, [0, 0, 0, 1, 2, 512, 900]);
    }
}
