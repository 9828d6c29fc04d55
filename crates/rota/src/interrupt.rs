//! Ctrl-C, SIGTERM and SIGHUP, for commands that clean up before they end.

use std::future::Future;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

/// The exit status after an interrupt, as shells report it.
const EXIT_INTERRUPTED: u8 = 130;
/// The same for a request to end, such as that of `timeout(1)`.
const EXIT_TERMINATED: u8 = 143;

/// The same when the terminal has gone away.
const EXIT_HUNG_UP: u8 = 129;

/// From now on none of these signals ends the program by itself; the future gives the exit status for the first that comes.
///
/// Errors: the kernel does not let us listen.
pub(crate) fn interrupted() -> Result<impl Future<Output = u8>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => EXIT_INTERRUPTED,
            _ = terminate.recv() => EXIT_TERMINATED,
            _ = hangup.recv() => EXIT_HUNG_UP,
        }
    })
}
