//! How many requests may be under way at once: as many as the server takes without pushing back.
//!
//! Begins wide open. Each time the server says "later" the width is halved; each request that is served widens it a little,
//! so that it comes back after as many good answers as it is wide.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// The widest: hundreds of creates at once.
const WIDTH_MAX: f64 = 256.0;
/// The narrowest.
const WIDTH_MIN: f64 = 4.0;

/// The valve.
#[derive(Debug)]
pub(super) struct Pressure {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug)]
struct State {
    width: f64,
    used: u32,
}

/// One request under way; leaves its place when dropped.
#[derive(Debug)]
pub(super) struct Place<'p>(&'p Pressure);

impl Default for Pressure {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                width: WIDTH_MAX,
                used: 0,
            }),
            freed: Notify::new(),
        }
    }
}

impl Pressure {
    /// Waits for a place.
    pub(super) async fn enter(&self) -> Place<'_> {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // Registered before looking: a place that is left in between is not missed.
            freed.as_mut().enable();
            if self.try_enter() {
                return Place(self);
            }
            freed.await;
        }
    }

    fn try_enter(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = f64::from(state.used) < state.width;
        state.used += u32::from(is_free);
        is_free
    }

    /// How many requests are under way.
    pub(super) fn used(&self) -> u32 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).used
    }

    /// The server said "later".
    pub(super) fn pushed_back(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.width = (state.width / 2.0).max(WIDTH_MIN);
    }

    /// The server answered as usual.
    pub(super) fn served(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.width = (state.width + 1.0 / state.width).min(WIDTH_MAX);
    }

    fn leave(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).used -= 1;
        self.freed.notify_one();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hundreds_are_under_way_until_the_server_pushes_back() {
        let pressure = Pressure::default();
        let entered = (0..1000).filter(|_| pressure.try_enter()).count();
        assert_eq!(entered, 256);
        (0..entered).for_each(|_| pressure.leave());
        (0..20).for_each(|_| pressure.pushed_back());
        assert_eq!((0..1000).filter(|_| pressure.try_enter()).count(), 4);
        pressure.leave();
        (0..100_000).for_each(|_| pressure.served());
        assert_eq!((0..1000).filter(|_| pressure.try_enter()).count(), 256 - 3);
    }
}
