//! Ctrl-C, SIGTERM and SIGHUP, and readers that go away, for commands that clean up before they end.

use std::future::Future;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use crate::output;

/// The exit status after an interrupt, as shells report it.
const EXIT_INTERRUPTED: u8 = 130;
/// The same for a request to end, such as that of `timeout(1)`.
const EXIT_TERMINATED: u8 = 143;
/// The same when the terminal has gone away.
const EXIT_HUNG_UP: u8 = 129;
/// The same when nobody reads the output any more, of which other programs die by SIGPIPE.
const EXIT_UNREAD: u8 = 141;

/// Why a command ends before its work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Early {
    /// Somebody asked for it by a signal; the exit status says by which.
    Interrupted(u8),
    /// Nobody reads the output any more.
    Unread,
}

impl Early {
    /// From now on none of these things ends the program by itself; the future gives the first that happens.
    ///
    /// Errors: the kernel does not let us listen.
    pub(crate) fn next() -> Result<impl Future<Output = Self>> {
        let interrupted = interrupted()?;
        Ok(async move {
            tokio::select! {
                code = interrupted => Self::Interrupted(code),
                () = output::unread() => Self::Unread,
            }
        })
    }

    /// The exit status, as shells report it.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Interrupted(code) => code,
            Self::Unread => EXIT_UNREAD,
        }
    }
}

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
