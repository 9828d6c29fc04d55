//! How the program speaks: errors, the log, colours only on terminals.

use std::io::{ErrorKind, IsTerminal, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::sync::{LazyLock, OnceLock};

use tokio::io::Interest;
use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;

/// Writes `error` and its causes to standard error, for a person, and gives the exit code of a failure.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    let mut text = format!("{error}");
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Some libraries repeat their cause in their own text.
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    let (on, off) = if std::io::stderr().is_terminal() {
        ("\x1b[31m", "\x1b[0m")
    } else {
        ("", "")
    };
    say_error(&format!("{on}error{off}: {text}"));
    ExitCode::FAILURE
}

/// Writes one line to standard error. A closed standard error is no reason to stop.
pub(crate) fn say_error(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Why standard output took no more, such as a full disk.
static LOST: OnceLock<std::io::Error> = OnceLock::new();

/// Cancelled once a line found nobody to read it.
static UNREAD: LazyLock<CancellationToken> = LazyLock::new(CancellationToken::new);

/// Writes one line to standard output. A reader that went away (as in `rota … | head`) is no failure, and a reason to stop only
/// where somebody asks for it ([`unread`]); any other failure is told at the end ([`lost`]).
pub(crate) fn say(line: &str) {
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => UNREAD.cancel(),
        Err(error) => drop(LOST.set(error)),
        Ok(()) => {}
    }
}

/// Waits until nobody reads standard output any more: of a pipe that is known at once, of anything else when a line finds no
/// reader. A terminal that goes away says so by a signal.
pub(crate) async fn unread() {
    let gone = async {
        let stdout = std::io::stdout();
        // Nothing is written by way of the copy: it is the kernel's word that is waited for.
        let copy = stdout.as_fd().try_clone_to_owned();
        match copy.and_then(pipe::Sender::from_owned_fd_unchecked) {
            Ok(watched) if !stdout.is_terminal() => drop(watched.ready(Interest::ERROR).await),
            // A file, which the kernel does not watch.
            Ok(_) | Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = gone => {}
        () = UNREAD.cancelled() => {}
    }
}

/// Why some of what was said to standard output is lost; `None` when nothing is.
pub(crate) fn lost() -> Option<anyhow::Error> {
    let error = LOST.get()?;
    Some(anyhow::anyhow!("standard output is incomplete: {error}"))
}

/// A writer that takes everything, whatever becomes of it: where nobody reads the log (as in `rota … 2>&1 | head`), the work
/// goes on.
struct Unfailing<W>(W);

impl<W: std::io::Write> std::io::Write for Unfailing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

/// Starts the log on standard error: warnings by default, more with `-v`, or as `ROTA_LOG` says.
pub(crate) fn start_log(verbose: u8) {
    let default = match verbose {
        0 => "warn",
        1 => "info,rota=debug",
        2 => "debug",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("ROTA_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Unfailing(std::io::stderr()))
        // What cannot be written cannot be complained about in the same place.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
