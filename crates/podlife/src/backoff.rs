//! How long to wait before trying again: doubling, capped, forgotten after a long good run.
//!
//! Source: `spec/node-and-pod.md` §12.3; kubernetes `staging/src/k8s.io/client-go/util/flowcontrol/backoff.go`.

use std::time::Duration;

use rota_api::Timestamp;

/// Limits of a node's waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffLimits {
    /// The first wait.
    pub initial: Duration,
    /// The longest wait; after twice this span without trouble the count starts again.
    pub max: Duration,
}

impl Default for BackoffLimits {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(10),
            max: Duration::from_secs(300),
        }
    }
}

/// The wait of one thing that fails again and again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    last: Option<(Duration, Timestamp)>,
}

impl Backoff {
    /// Until when to wait after a failure at `failed`, and how long that is; `None`: try at once.
    pub(crate) fn until(self, limits: BackoffLimits, failed: Timestamp) -> Option<(Timestamp, Duration)> {
        let (wait, updated) = self.last?;
        (!is_forgotten(limits, updated, failed)).then(|| (later(failed, wait), wait))
    }

    /// Counts an attempt at `now` after a failure at `failed`: the wait after the next failure is longer.
    pub(crate) fn count(&mut self, limits: BackoffLimits, failed: Timestamp, now: Timestamp) {
        let wait = match self.last {
            Some((wait, updated)) if !is_forgotten(limits, updated, failed) => (wait * 2).min(limits.max),
            _ => limits.initial,
        };
        self.last = Some((wait, now));
    }
}

/// So much later; the end of time where that is beyond it. What a status says of times was written by others.
pub(crate) fn later(at: Timestamp, wait: Duration) -> Timestamp {
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}

fn is_forgotten(limits: BackoffLimits, updated: Timestamp, failed: Timestamp) -> bool {
    Duration::try_from(failed.duration_since(updated)).is_ok_and(|quiet| quiet > limits.max * 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_wait_ends_with_time_itself() {
        let mut backoff = Backoff::default();
        let limits = BackoffLimits::default();
        backoff.count(limits, Timestamp::MAX, Timestamp::MAX);
        assert_eq!(
            backoff.until(limits, Timestamp::MAX),
            Some((Timestamp::MAX, limits.initial))
        );
    }

    /// Runs of `lengths` seconds, each restarted as soon as allowed: the waits between them.
    fn waits(lengths: &[i64]) -> Vec<i64> {
        let limits = BackoffLimits::default();
        let mut backoff = Backoff::default();
        let mut now = at(0);
        let mut waits = Vec::new();
        for length in lengths {
            let failed = now + Duration::from_secs(length.unsigned_abs());
            now = backoff.until(limits, failed).map_or(failed, |(until, _)| until);
            backoff.count(limits, failed, now);
            waits.push(now.as_second() - failed.as_second());
        }
        waits
    }

    #[test]
    fn the_first_restart_is_immediate_and_later_ones_wait_twice_as_long_up_to_five_minutes() {
        assert_eq!(waits(&[1; 8]), [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_run_of_more_than_ten_minutes_starts_the_count_again() {
        assert_eq!(waits(&[1, 1, 1, 601, 1, 1]), [0, 10, 20, 0, 10, 20]);
    }

    #[test]
    fn a_run_of_ten_minutes_does_not() {
        assert_eq!(waits(&[1, 1, 600, 1]), [0, 10, 20, 40]);
    }
}
