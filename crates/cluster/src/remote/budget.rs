//! How often the server may be asked: a bucket of tokens that refills at a steady rate.
//!
//! Source: client-go `util/flowcontrol` (`--kube-api-qps`, `--kube-api-burst`).

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

/// The budget. Without a rate it never waits.
#[derive(Debug)]
pub struct Budget {
    qps: f64,
    burst: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// May be negative: what has been promised to those who wait.
    tokens: f64,
    at: Instant,
}

impl Budget {
    /// No limit.
    pub fn none() -> Self {
        Self::new(0.0, 0)
    }

    /// So many requests a second in the long run, and so many at once after a rest. A rate of 0 is no limit.
    pub fn new(qps: f64, burst: u32) -> Self {
        let burst = f64::from(burst.max(1));
        Self {
            qps,
            burst,
            state: Mutex::new(State {
                tokens: burst,
                at: Instant::now(),
            }),
        }
    }

    /// Waits until one more request may be made. Those who wait go in the order in which they came.
    pub async fn spend(&self) {
        let wait = self.take(Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes a token; how long until it is there.
    fn take(&self, now: Instant) -> Duration {
        if self.qps <= 0.0 {
            return Duration::ZERO;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let gained = now.saturating_duration_since(state.at).as_secs_f64() * self.qps;
        state.tokens = (state.tokens + gained).min(self.burst) - 1.0;
        state.at = now;
        Duration::from_secs_f64((-state.tokens).max(0.0) / self.qps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_then_the_rate_holds() {
        let budget = Budget::new(10.0, 2);
        let now = Instant::now();
        assert_eq!(budget.take(now), Duration::ZERO);
        assert_eq!(budget.take(now), Duration::ZERO);
        assert_eq!(budget.take(now), Duration::from_millis(100));
        assert_eq!(budget.take(now), Duration::from_millis(200));
        assert_eq!(budget.take(now + Duration::from_secs(1)), Duration::ZERO);
    }

    #[test]
    fn no_rate_is_no_limit() {
        let budget = Budget::none();
        assert!((0..1000).all(|_| budget.take(Instant::now()).is_zero()));
    }
}
