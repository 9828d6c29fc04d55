//! A timer on absolute wall time that also fires when the clock is set or the machine wakes from sleep.

use std::io;
use std::os::fd::OwnedFd;

use rota_api::Timestamp;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The timer. One serves any number of waits, one after another.
#[derive(Debug)]
pub struct WallTimer {
    fd: AsyncFd<OwnedFd>,
}

impl WallTimer {
    /// A new timer, set to nothing.
    ///
    /// Errors: the kernel has no descriptors left.
    pub fn new() -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self { fd: register(fd)? })
    }

    /// Waits until the wall clock shows `at` or the clock is set; `None` waits for ever. The caller looks at the clock
    /// afterwards: returning early is allowed, returning late is not.
    pub async fn wait(&self, at: Option<Timestamp>) {
        let Some(at) = at else {
            return std::future::pending().await;
        };
        // A time of zero would disarm the timer.
        let value = Timespec {
            tv_sec: at.as_second().max(0),
            tv_nsec: i64::from(at.subsec_nanosecond()).max(1),
        };
        let spec = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: value,
        };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        if let Err(error) = timerfd_settime(self.fd.get_ref(), flags, &spec) {
            // Only an invalid time can be refused: look again at once rather than never.
            tracing::warn!(%error, %at, "the kernel refused a wake-up time");
            return;
        }
        let Ok(mut ready) = self.fd.readable().await else {
            return;
        };
        let mut count = [0_u8; 8];
        // Both an expiry and ECANCELED (the clock was set) end the wait; either is read away here.
        let _ = rustix::io::read(self.fd.get_ref(), &mut count);
        ready.clear_ready();
    }
}

#[expect(
    deprecated,
    reason = "the replacement is unsafe; an OwnedFd stays open for as long as it is registered"
)]
fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}
