//! The port to the nodes: logs of containers, commands in them, connections to pods.
//!
//! The server finds pod, container and node and checks the options; whoever implements the port only has to reach the
//! container. The binary wires it to the agents.

use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use rota_api::{ApiError, Timestamp};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// A container of a pod that is bound to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRef {
    /// The node the pod is bound to.
    pub node: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid; empty where only its name is known.
    pub uid: String,
    /// The container's name.
    pub container: String,
}

/// Which part of a log is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on with what is written from now on, until the container ends.
    pub follow: bool,
    /// The container before the last restart.
    pub previous: bool,
    /// Put the time in front of each line.
    pub timestamps: bool,
    /// Only lines from then on.
    pub since: Option<Timestamp>,
    /// Only so many lines from the end.
    pub tail_lines: Option<u64>,
    /// At most so much. Unit: bytes.
    pub limit_bytes: Option<u64>,
    /// Only one of the two streams.
    pub stream: LogStream,
}

/// Which output of a container is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogStream {
    /// Both, as they were written.
    #[default]
    All,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Pieces of a log; ends with the log, or early when the node cannot go on.
pub type ByteStream = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// A duplex connection.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// What is to be run or attached to, and what of it is connected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionOptions {
    /// The command and its arguments; empty to attach to the container's own process.
    pub command: Vec<String>,
    /// Connect standard input.
    pub stdin: bool,
    /// Connect standard output.
    pub stdout: bool,
    /// Connect standard error.
    pub stderr: bool,
    /// Give it a terminal; standard error then is part of standard output.
    pub tty: bool,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// Something that is run or attached to. Dropping it lets go of it.
pub struct Session {
    /// Where input goes; dropping the sender closes it. Present when asked for.
    pub stdin: Option<mpsc::Sender<Bytes>>,
    /// Output as it comes, until both streams have ended.
    pub output: mpsc::Receiver<Output>,
    /// Where new sizes of the terminal go.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// How it ended: the exit code, or why it could not be run or watched to its end.
    pub exit: tokio::sync::oneshot::Receiver<Result<i32, ApiError>>,
}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// From standard output.
    Stdout(Bytes),
    /// From standard error.
    Stderr(Bytes),
}

/// Reaches containers on nodes.
#[async_trait]
pub trait NodeAccess: Send + Sync + 'static {
    /// The log of a container.
    ///
    /// Errors: there is no such log, or the node cannot be reached.
    async fn logs(&self, container: &ContainerRef, options: LogOptions) -> Result<ByteStream, ApiError>;

    /// Runs a command in a container.
    ///
    /// Errors: the container does not run, or the node cannot be reached.
    async fn exec(&self, container: &ContainerRef, options: SessionOptions) -> Result<Session, ApiError>;

    /// Connects to the process of a container.
    ///
    /// Errors: as for `exec`.
    async fn attach(&self, container: &ContainerRef, options: SessionOptions) -> Result<Session, ApiError>;

    /// Connects to a port of a pod; `container` names any of its containers.
    ///
    /// Errors: nobody listens there, or the node cannot be reached.
    async fn port_forward(&self, container: &ContainerRef, port: u16) -> Result<Box<dyn Connection>, ApiError>;

    /// Connects to the HTTP endpoint of a node that answers for itself, as the API server; `None` for the others, for which
    /// the server answers.
    ///
    /// Errors: the node cannot be reached.
    async fn endpoint(&self, node: &str) -> Result<Option<Box<dyn Connection>>, ApiError> {
        let _ = node;
        Ok(None)
    }
}

/// No nodes at all: every call is refused.
pub struct NoNodes;

fn unreachable(container: &ContainerRef) -> ApiError {
    ApiError::new(
        rota_api::Reason::ServiceUnavailable,
        format!("node {:?} cannot be reached", container.node),
    )
}

#[async_trait]
impl NodeAccess for NoNodes {
    async fn logs(&self, container: &ContainerRef, _: LogOptions) -> Result<ByteStream, ApiError> {
        Err(unreachable(container))
    }

    async fn exec(&self, container: &ContainerRef, _: SessionOptions) -> Result<Session, ApiError> {
        Err(unreachable(container))
    }

    async fn attach(&self, container: &ContainerRef, _: SessionOptions) -> Result<Session, ApiError> {
        Err(unreachable(container))
    }

    async fn port_forward(&self, container: &ContainerRef, _: u16) -> Result<Box<dyn Connection>, ApiError> {
        Err(unreachable(container))
    }
}
