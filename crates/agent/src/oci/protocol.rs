//! What the agent and a shim say to each other over the shim's unix socket.
//!
//! A connection carries frames: one byte of kind, four bytes of length (little endian), the payload. Kind
//! [`FrameKind::Message`] is JSON; the others are bytes of a standard stream of the one process an `Exec` or `Attach`
//! request bound the connection to. Nothing here knows about sockets: [`Frames`] turns bytes into frames and back.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::runtime::{ContainerSpec, ContainerState, SandboxSpec};

/// Longest payload of a frame; a peer that announces more is not speaking this protocol.
pub(crate) const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of stream data put into one frame.
pub(crate) const CHUNK_BYTES: usize = 32 * 1024;

/// What the payload of a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// JSON: an [`Envelope`] of a [`Request`] or a [`Reply`].
    Message,
    /// Bytes for standard input; an empty payload closes it.
    Stdin,
    /// Bytes of standard output.
    Stdout,
    /// Bytes of standard error.
    Stderr,
}

impl FrameKind {
    fn byte(self) -> u8 {
        match self {
            Self::Message => 0,
            Self::Stdin => 1,
            Self::Stdout => 2,
            Self::Stderr => 3,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Message, Self::Stdin, Self::Stdout, Self::Stderr]
            .into_iter()
            .find(|kind| kind.byte() == byte)
    }
}

/// A message with the number that ties an answer to its question; events carry 0.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope<T> {
    /// The request's number.
    pub id: u64,
    /// The message.
    pub body: T,
}

/// What the agent asks.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// First message on the connection a shim is born with: become this sandbox.
    Setup(Box<Setup>),
    /// First message on a later control connection: tell all containers, then every exit.
    Hello,
    /// Create and start a container.
    Start(Box<Start>),
    /// Ask a container to end; kill it after the grace.
    Stop {
        /// The container.
        container: String,
        /// Milliseconds between the signal and the kill.
        grace_ms: u64,
    },
    /// Forget an ended container and delete its writable layer.
    Remove {
        /// The container.
        container: String,
    },
    /// Start another process in a container and bind this connection to it.
    Exec {
        /// The container.
        container: String,
        /// The command.
        args: Vec<String>,
        /// Keep standard input open.
        stdin: bool,
        /// Give it a terminal.
        tty: bool,
        /// Kill it, and what it started, when this connection is gone.
        #[serde(default)]
        kill_when_left: bool,
    },
    /// Bind this connection to the standard streams of a container's first process.
    Attach {
        /// The container.
        container: String,
    },
    /// Tell the terminal bound to this connection its size.
    Resize {
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
    /// Kill everything in the sandbox, give up its namespaces and exit.
    Shutdown,
}

/// What a shim needs to become a sandbox.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// The sandbox's id.
    pub id: String,
    /// What the pod asked for.
    pub spec: SandboxSpec,
    /// Its network, unless it uses the node's.
    pub network: Option<PodNetwork>,
    /// The pod's cgroup, relative to each hierarchy.
    pub cgroup: String,
}

/// The wiring of one pod's network namespace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PodNetwork {
    /// The pod's address.
    pub address: std::net::Ipv4Addr,
    /// Length of the node's pod prefix.
    pub prefix_len: u8,
    /// The bridge's address, next hop of the default route.
    pub gateway: std::net::Ipv4Addr,
    /// Index of the node's bridge.
    pub bridge_index: u32,
    /// Name of the node's end of the pair.
    pub host_link: String,
}

/// What a shim needs to start a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    /// The container's id.
    pub id: String,
    /// What the pod asked for.
    pub spec: ContainerSpec,
    /// What its root is made of.
    pub root: RootSource,
    /// The image's digest.
    pub image_id: String,
    /// User the image brings, as written.
    pub image_user: String,
    /// Working directory the image brings.
    pub image_working_dir: String,
    /// Signal that asks it to end; empty is `SIGTERM`.
    pub stop_signal: String,
}

/// What a container's root is made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum RootSource {
    /// Unpacked layers.
    Layers {
        /// The directory they are in.
        dir: PathBuf,
        /// Their names in it, uppermost first.
        names: Vec<String>,
    },
    /// The programs of the host.
    Host,
}

/// What a shim answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The sandbox stands.
    Ready {
        /// The shim's process.
        pid: u32,
    },
    /// Answer to `Hello`.
    Containers(Vec<ContainerState>),
    /// The container runs; or it has ended already.
    Started(Box<ContainerState>),
    /// Done, or nothing was to do.
    Done,
    /// It could not be done.
    Failed(Failure),
    /// Event: a container has ended. It is on disk before it is told.
    Exited(Box<ContainerState>),
    /// The input that came over this connection has ended, and that of the process has not: what is between them is over.
    Left,
    /// The process bound to this connection has ended.
    ProcessExited {
        /// Its exit code.
        code: i32,
    },
}

/// Why something could not be done, and whose fault it is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// Whose fault.
    pub fault: Fault,
    /// What failed, for a person.
    pub message: String,
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fault {
    /// What was asked cannot be done: a command that is not there, a user that does not exist.
    Asker,
    /// What was named does not exist.
    Gone,
    /// The node.
    Node,
}

impl Failure {
    /// The asker's fault.
    pub(crate) fn asker(message: impl Into<String>) -> Self {
        Self {
            fault: Fault::Asker,
            message: message.into(),
        }
    }

    /// The node's fault: what was attempted, and the cause.
    pub(crate) fn node(what: impl std::fmt::Display, cause: impl std::fmt::Display) -> Self {
        Self {
            fault: Fault::Node,
            message: format!("{what}: {cause}"),
        }
    }

    /// What was named does not exist.
    pub(crate) fn gone(what: &str) -> Self {
        Self {
            fault: Fault::Gone,
            message: what.to_owned(),
        }
    }
}

/// Appends a frame to `out`.
pub(crate) fn put_frame(out: &mut Vec<u8>, kind: FrameKind, payload: &[u8]) {
    let len = u32::try_from(payload.len()).expect("payloads are chunked far below 4 GiB by every caller");
    out.push(kind.byte());
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(payload);
}

/// Appends a message frame to `out`.
pub(crate) fn put_message<T: Serialize>(out: &mut Vec<u8>, id: u64, body: T) {
    let json = serde_json::to_vec(&Envelope { id, body }).expect("messages are plain data with string keys");
    put_frame(out, FrameKind::Message, &json);
}

/// Cuts a stream of bytes into frames.
#[derive(Default)]
pub(crate) struct Frames {
    buffer: Vec<u8>,
    start: usize,
}

impl Frames {
    /// Takes bytes in.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame; `None` while it is incomplete.
    ///
    /// Errors: the bytes are not this protocol.
    pub(super) fn next(&mut self) -> Result<Option<(FrameKind, Vec<u8>)>, std::io::Error> {
        let bytes = &self.buffer[self.start..];
        let Some((header, rest)) = bytes.split_first_chunk::<5>() else {
            return Ok(None);
        };
        let [kind, length @ ..] = *header;
        let length = u32::from_le_bytes(length) as usize;
        let kind = FrameKind::from_byte(kind).filter(|_| length <= FRAME_BYTES_MAX);
        let Some(kind) = kind else {
            return Err(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                "not a frame of the shim protocol",
            ));
        };
        let Some(payload) = rest.get(..length) else {
            return Ok(None);
        };
        let payload = payload.to_vec();
        self.start += 5 + length;
        Ok(Some((kind, payload)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_being_cut_anywhere() {
        let mut bytes = Vec::new();
        put_message(&mut bytes, 7, Reply::Done);
        put_frame(&mut bytes, FrameKind::Stdout, b"hello");
        put_frame(&mut bytes, FrameKind::Stdin, b"");
        for cut in 0..bytes.len() {
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                frames.push(part);
                while let Some((kind, payload)) = frames.next().expect("own frames are well formed") {
                    seen.push((kind, payload.len()));
                }
            }
            let kinds: Vec<FrameKind> = seen.iter().map(|(kind, _)| *kind).collect();
            assert_eq!(
                kinds,
                [FrameKind::Message, FrameKind::Stdout, FrameKind::Stdin],
                "cut at {cut}"
            );
            assert_eq!(seen[1].1, 5);
        }
    }

    #[test]
    fn a_stranger_is_refused() {
        let mut frames = Frames::default();
        frames.push(b"GET / HTTP/1.1\r\n");
        assert!(frames.next().is_err());
    }
}
