//! The fence around a leader's connections: nothing goes out once its lease may be another's.
//!
//! A leader writes only while its lease holds. A process that is stopped cannot notice that time passes, so asking before
//! a request is made is not enough: the request may wait in a queue, be encrypted, and leave seconds later. The fence is
//! therefore asked where bytes are handed to the kernel, by [`remote`](crate::remote)'s connections, for each of them. What
//! the kernel had before the lease ran out leaves at once, stopped process or not, and long before anybody else may begin:
//! a lease is held for longer than it is renewed for.
//!
//! Once passed, the deadline closes the fence for good. Who leads again begins with a fence, connections and caches of its
//! own, so nothing that was decided earlier can leave later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// An instant of the clock that goes on while the machine sleeps and that nobody can set, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootTime(u64);

impl BootTime {
    /// Now.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let secs = u64::try_from(now.tv_sec).unwrap_or_default();
        let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
        Self(secs.saturating_mul(1_000_000_000).saturating_add(nanos))
    }

    /// Nanoseconds since the machine started.
    pub fn nanos(self) -> u64 {
        self.0
    }

    /// The instant `after` later.
    #[must_use]
    pub fn plus(self, after: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// How long ago `earlier` was; zero if it is to come.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The fence. Clones share it.
#[derive(Clone, Debug)]
pub struct Fence {
    /// Until when it is open; 0 is closed for good.
    until: Arc<AtomicU64>,
}

impl Fence {
    /// A fence that stays open: for whoever needs no lease.
    pub fn none() -> Self {
        Self::until(BootTime(u64::MAX))
    }

    /// A fence that is open until then.
    pub fn until(at: BootTime) -> Self {
        Self {
            until: Arc::new(AtomicU64::new(at.0)),
        }
    }

    /// Keeps it open until `at`. False when it had closed before `now`: then it stays closed.
    pub fn extend(&self, now: BootTime, at: BootTime) -> bool {
        let moved = self.until.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |until| {
            (until > now.0).then_some(until.max(at.0))
        });
        moved.is_ok()
    }

    /// Closes it for good.
    pub fn close(&self) {
        self.until.store(0, Ordering::SeqCst);
    }

    /// True while something may go out.
    pub fn is_open(&self) -> bool {
        let until = self.until.load(Ordering::SeqCst);
        until == u64::MAX || BootTime::now().0 < until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_that_was_passed_stays_closed() {
        let now = BootTime::now();
        let fence = Fence::until(now);
        assert!(!fence.is_open());
        assert!(!fence.extend(now, now.plus(Duration::from_secs(60))));
        assert!(!fence.is_open());
    }

    #[test]
    fn a_lease_that_is_renewed_in_time_keeps_it_open() {
        let now = BootTime::now();
        let fence = Fence::until(now.plus(Duration::from_secs(60)));
        assert!(fence.extend(now, now.plus(Duration::from_secs(120))));
        assert!(fence.is_open());
        fence.close();
        assert!(!fence.is_open());
        assert!(!fence.extend(now, now.plus(Duration::from_secs(240))));
    }
}
