//! How long a failed pod waits for its replacement.
//!
//! The delay doubles with each failure since the last success. What is known of earlier failures is a shortcut kept in
//! memory; without it the record is made from the finished pods that still exist.
//! Source: `pkg/controller/job/backoff_utils.go`, specification §4.10.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use rota_api::k8s::api::core::v1::ContainerStatus;

use super::limits::{BACKOFF_BASE_SECS, BACKOFF_MAX_SECS};
use super::seen::{Phase, SeenPod};
use crate::conditions::READY;

/// The failures of a Job since its last success: pod uid and finish time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    failures: BTreeMap<String, Timestamp>,
    /// The uids given last time: a pod that has ended is given until it is let go, and entered once.
    entered: BTreeSet<String>,
}

impl Record {
    /// The record of a Job about which nothing is remembered: the failures after the latest success among all its pods.
    /// A pod that is being deleted and was let go says nothing: it may have been stopped by us.
    pub(super) fn of_history<'a>(pods: impl Iterator<Item = SeenPod<'a>>) -> Self {
        let ended: Vec<SeenPod<'a>> = pods.filter(|pod| pod.is_tracked || !pod.is_deleting).collect();
        let mut record = Self::default();
        record.enter(
            ended.iter().filter(|p| p.phase == Phase::Succeeded),
            ended.iter().filter(|p| p.has_failed),
        );
        record
    }

    /// Enters pods that have ended since. A success wipes out what was entered before, and failures that ended before it.
    /// Entering a pod twice changes nothing, so it does not matter whether the plan that counts it is carried out.
    pub(super) fn enter<'a, 'w: 'a>(
        &mut self,
        succeeded: impl Iterator<Item = &'a SeenPod<'w>>,
        failed: impl Iterator<Item = &'a SeenPod<'w>>,
    ) {
        let mut given = BTreeSet::new();
        let mut is_news = |pod: &SeenPod<'_>| {
            given.insert(pod.uid().to_owned());
            !self.entered.contains(pod.uid())
        };
        let success = succeeded.filter(|pod| is_news(pod)).map(finish_time).max();
        let failed: Vec<_> = failed.filter(|pod| is_news(pod)).collect();
        if success.is_some() {
            self.failures.clear();
        }
        for pod in failed {
            let at = finish_time(pod);
            if success.is_none_or(|success| at > success) {
                self.failures.insert(pod.uid().to_owned(), at);
            }
        }
        self.entered = given;
    }

    /// When the next replacement may be created; `None`: at once.
    pub(super) fn until(&self) -> Option<Timestamp> {
        let latest = self.failures.values().max()?;
        Some(after(*latest, self.failures.len()))
    }
}

/// The instant at which a pod may be replaced that is the last of `failures` in a row and ended at `latest`.
pub(super) fn after(latest: Timestamp, failures: usize) -> Timestamp {
    let delay = delay_secs(failures);
    latest
        .checked_add(SignedDuration::from_secs(delay))
        .unwrap_or(Timestamp::MAX)
}

/// 10, 20, 40, … 600 seconds; none without failures.
fn delay_secs(failures: usize) -> i64 {
    match failures {
        0 => 0,
        // Seven doublings are beyond the cap already.
        n => (BACKOFF_BASE_SECS << (n - 1).min(7)).min(BACKOFF_MAX_SECS),
    }
}

/// When the pod ended: its last container, else when it stopped being ready, else when it was told to stop, else when it
/// was created. Unlike upstream, sidecars that have ended say nothing while a regular container runs.
pub(super) fn finish_time(pod: &SeenPod<'_>) -> Timestamp {
    last_container_end(pod)
        .or_else(|| {
            let ready = pod.condition(READY).filter(|c| c.status == "False")?;
            ready.last_transition_time.as_ref().map(|t| t.0)
        })
        .or_else(|| pod.object.meta().deleting.map(|at| before(at, grace_period(pod))))
        .or(pod.object.meta().created)
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

fn grace_period(pod: &SeenPod<'_>) -> SignedDuration {
    SignedDuration::from_secs(pod.grace_period_secs().unwrap_or_default())
}

fn before(at: Timestamp, span: SignedDuration) -> Timestamp {
    at.checked_sub(span).unwrap_or(Timestamp::MIN)
}

fn last_container_end(pod: &SeenPod<'_>) -> Option<Timestamp> {
    let status = pod.status()?;
    let regular = status.container_statuses.iter().flatten();
    let sidecars = status
        .init_container_statuses
        .iter()
        .flatten()
        .filter(|s| pod.is_sidecar(&s.name));
    let mut latest = None;
    for container in regular.chain(sidecars) {
        latest = latest.max(Some(end(container)?));
    }
    latest
}

fn end(container: &ContainerStatus) -> Option<Timestamp> {
    let ended = container.state.as_ref()?.terminated.as_ref()?;
    ended
        .finished_at
        .as_ref()
        .map(|t| t.0)
        .filter(|t| *t > Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_ten_minutes() {
        let delays: Vec<i64> = (0..10).map(delay_secs).collect();
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 320, 600, 600, 600]);
        assert_eq!(delay_secs(usize::MAX), 600);
    }
}
