//! A process the shim started: its exit, and its standard streams on the shim's side.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpgid, kill_process_group, pidfd_open, pidfd_send_signal, waitpid,
};
use rustix::termios::Winsize;

use super::log::Stream;

/// Standard input waiting for a process above which the shim reads no more of it.
const STDIN_PENDING_BYTES_SOFT_MAX: usize = 256 * 1024;
/// Above which it drops the rest: several clients may give the input of one process, and one may close while much is on its way.
const STDIN_PENDING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a process is to the shim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The first process of a container.
    First,
    /// Started later in it, for one connection.
    Additional {
        /// The connection that is told of its exit.
        connection: u64,
        /// The number of the request.
        request: u64,
        /// Whether it is killed when the connection is gone.
        kill_when_left: bool,
    },
}

/// The shim's ends of a process's standard streams.
#[derive(Default)]
pub(crate) struct Streams {
    /// Where its standard input is written.
    pub stdin: Option<OwnedFd>,
    /// Where its standard output is read.
    pub stdout: Option<OwnedFd>,
    /// Where its standard error is read.
    pub stderr: Option<OwnedFd>,
    /// The terminal; then it is also input and output.
    pub terminal: Option<OwnedFd>,
}

/// A process.
pub(crate) struct Process {
    /// The container it is in.
    pub container: String,
    /// What it is.
    pub role: Role,
    /// Its number on the node.
    pub pid: Pid,
    /// Becomes readable when it ends.
    pub pidfd: OwnedFd,
    /// Its streams.
    pub streams: Streams,
    /// Its input outlives those who give it.
    pub stdin_stays: bool,
    stdin_pending: VecDeque<u8>,
    stdin_closing: bool,
}

impl Process {
    /// Takes a child over.
    pub(super) fn new(container: String, role: Role, pid: Pid, streams: Streams) -> io::Result<Self> {
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        for fd in [&streams.stdin, &streams.stdout, &streams.stderr, &streams.terminal]
            .into_iter()
            .flatten()
        {
            let flags = rustix::fs::fcntl_getfl(fd)?;
            rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)?;
        }
        Ok(Self {
            container,
            role,
            pid,
            pidfd,
            streams,
            stdin_stays: false,
            stdin_pending: VecDeque::new(),
            stdin_closing: false,
        })
    }

    /// Kills it, and what it started that stayed in its process group.
    pub(super) fn kill_all(&self) {
        // The runtime makes each process the leader of a session; one that is not yet is alone. Until it is waited for, its
        // number is nobody else's.
        if getpgid(Some(self.pid)) == Ok(self.pid) {
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Its exit code if it has ended: 128 + n after signal n.
    pub(super) fn try_wait(&self) -> Option<i32> {
        let (_, status) = waitpid(Some(self.pid), WaitOptions::NOHANG).ok()??;
        status
            .exit_status()
            .or_else(|| status.terminating_signal().map(|signal| 128 + signal))
    }

    /// Where a stream of output is read.
    pub(super) fn output(&self, stream: Stream) -> Option<&OwnedFd> {
        match stream {
            Stream::Stdout => self.streams.stdout.as_ref().or(self.streams.terminal.as_ref()),
            Stream::Stderr => self.streams.stderr.as_ref(),
        }
    }

    /// Reads some output; `Some(0)` bytes is its end, `None` is nothing yet.
    pub(super) fn read(&mut self, stream: Stream, buffer: &mut [u8]) -> Option<usize> {
        let fd = self.output(stream)?;
        match rustix::io::read(fd, &mut *buffer) {
            Ok(0) => {}
            Ok(n) => return Some(n),
            Err(Errno::AGAIN | Errno::INTR) => return None,
            // A terminal nobody has open any more answers with an I/O error.
            Err(_) => {}
        }
        match stream {
            Stream::Stdout => {
                self.streams.stdout = None;
                self.streams.terminal = None;
            }
            Stream::Stderr => self.streams.stderr = None,
        }
        Some(0)
    }

    /// Queues standard input; nothing closes it.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            self.stdin_closing = true;
            if let Some(terminal) = &self.streams.terminal {
                // End of input on a terminal is a character.
                let _ = rustix::io::write(terminal, &[4]);
            }
        } else if self.stdin().is_some() && self.stdin_pending.len() + bytes.len() <= STDIN_PENDING_BYTES_MAX {
            self.stdin_pending.extend(bytes);
        }
        self.flush_stdin();
    }

    /// Whether so much input waits that no more should be read.
    pub(super) fn is_full(&self) -> bool {
        self.stdin_pending.len() > STDIN_PENDING_BYTES_SOFT_MAX && self.wants_stdin().is_some()
    }

    fn stdin(&self) -> Option<&OwnedFd> {
        self.streams.stdin.as_ref().or(self.streams.terminal.as_ref())
    }

    /// Where standard input is written, while something waits to be.
    pub(super) fn wants_stdin(&self) -> Option<&OwnedFd> {
        self.stdin().filter(|_| !self.stdin_pending.is_empty())
    }

    /// Writes what standard input will take.
    pub(super) fn flush_stdin(&mut self) {
        while let Some(fd) = self.wants_stdin() {
            let (front, back) = self.stdin_pending.as_slices();
            match rustix::io::writev(fd, &[IoSlice::new(front), IoSlice::new(back)]) {
                Ok(n) => drop(self.stdin_pending.drain(..n)),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.stdin_pending.clear();
                    self.streams.stdin = None;
                }
            }
        }
        if self.stdin_closing {
            self.streams.stdin = None;
        }
    }

    /// Sets the size of its terminal.
    pub(super) fn resize(&self, columns: u16, rows: u16) {
        if let Some(terminal) = &self.streams.terminal {
            let size = Winsize {
                ws_row: rows,
                ws_col: columns,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            let _ = rustix::termios::tcsetwinsize(terminal.as_fd(), size);
        }
    }
}
