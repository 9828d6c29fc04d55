//! One connection to a shim: bytes in, frames out, never blocking.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use serde::Serialize;

use crate::oci::protocol::{FrameKind, Frames, put_frame, put_message};

/// Output waiting for a reader above which what produces it is not read any more.
const PENDING_BYTES_SOFT_MAX: usize = 256 * 1024;
/// Output waiting for a reader above which the reader is given up.
const PENDING_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Pieces read from one connection before the others get their turn.
const PIECES_PER_TURN_MAX: usize = 16;

/// A connection.
pub(crate) struct Connection {
    /// Its socket, not blocking.
    pub stream: UnixStream,
    /// The process it is bound to, by `Exec` or `Attach`.
    pub process: Option<u64>,
    /// Whether it wants to know of exits.
    pub wants_exits: bool,
    frames: Frames,
    pending: Vec<u8>,
    written: usize,
    broken: bool,
}

impl Connection {
    /// Takes a socket over.
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            process: None,
            wants_exits: false,
            frames: Frames::default(),
            pending: Vec::new(),
            written: 0,
            broken: false,
        })
    }

    /// Queues a message.
    pub(super) fn send<T: Serialize>(&mut self, id: u64, message: T) {
        put_message(&mut self.pending, id, message);
        self.flush();
    }

    /// Queues stream data.
    pub(super) fn send_bytes(&mut self, kind: FrameKind, bytes: &[u8]) {
        if self.broken {
            return;
        }
        put_frame(&mut self.pending, kind, bytes);
        self.flush();
    }

    /// Reads what has arrived, or some of it.
    pub(super) fn receive(&mut self) {
        let mut buffer = [0; 16 * 1024];
        for _ in 0..PIECES_PER_TURN_MAX {
            match self.stream.read(&mut buffer) {
                Ok(0) => return self.broken = true,
                Ok(n) => self.frames.push(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.broken = true,
            }
        }
    }

    /// The next frame that arrived; a stranger's bytes break the connection.
    pub(super) fn next_frame(&mut self) -> Option<(FrameKind, Vec<u8>)> {
        match self.frames.next() {
            Ok(frame) => frame,
            Err(_) => {
                self.broken = true;
                None
            }
        }
    }

    /// Writes what the reader will take.
    pub(super) fn flush(&mut self) {
        while self.wants_to_write() && !self.broken {
            match self.stream.write(&self.pending[self.written..]) {
                Ok(n) => self.written += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.broken = true,
            }
        }
        if !self.wants_to_write() {
            self.pending.clear();
            self.written = 0;
        } else if self.pending.len() - self.written > PENDING_BYTES_MAX {
            self.broken = true;
        }
    }

    /// Whether something waits for the reader.
    pub(super) fn wants_to_write(&self) -> bool {
        self.written < self.pending.len()
    }

    /// Whether so much waits that no more should be produced.
    pub(super) fn is_full(&self) -> bool {
        self.pending.len() - self.written > PENDING_BYTES_SOFT_MAX
    }

    /// Whether the peer is gone.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }
}
