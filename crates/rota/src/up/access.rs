//! The way from the API server to containers: on nodes of this process directly, on others through their endpoints.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use rota_agent::AgentHandle;
use rota_agent::logs;
use rota_agent::runtime::{ExecSpec, Streams};
use rota_api::{ApiError, Reason, resource};
use rota_apiserver::NodeAccess;
use rota_apiserver::kubelet::client::RemoteNodes;
use rota_apiserver::node_access::{
    ByteStream, Connection, ContainerRef, LogOptions, LogStream, Output, Session, SessionOptions, TerminalSize,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};

/// How many pieces of a stream may wait for a slow reader.
const PIECES_MAX: usize = 64;
/// The largest piece of a stream.
const PIECE_BYTES: usize = 32 * 1024;

/// The agents of this process, by node.
#[derive(Default)]
pub(crate) struct LocalNodes {
    agents: RwLock<BTreeMap<String, Arc<AgentHandle>>>,
}

impl LocalNodes {
    /// Adds an agent.
    pub(crate) fn add(&self, agent: AgentHandle) {
        let name = agent.node().to_owned();
        self.agents
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, Arc::new(agent));
    }

    /// Stops all agents.
    pub(crate) fn stop(&self) {
        for agent in self.agents.read().unwrap_or_else(PoisonError::into_inner).values() {
            agent.stop();
        }
    }

    fn has(&self, node: &str) -> bool {
        let agents = self.agents.read().unwrap_or_else(PoisonError::into_inner);
        agents.contains_key(node)
    }

    /// The agent of the container's node, and the uid of its pod.
    fn find(&self, container: &ContainerRef) -> Result<(Arc<AgentHandle>, String), ApiError> {
        let agents = self.agents.read().unwrap_or_else(PoisonError::into_inner);
        let agent = agents.get(&container.node).cloned().ok_or_else(|| {
            ApiError::new(
                Reason::ServiceUnavailable,
                format!(
                    "node {:?} of pod {:?} cannot be reached from here",
                    container.node, container.pod
                ),
            )
        })?;
        if !container.uid.is_empty() {
            return Ok((agent, container.uid.clone()));
        }
        let uid = agent
            .uid_of(&container.namespace, &container.pod)
            .ok_or_else(|| ApiError::not_found(resource::PODS, &container.pod))?;
        Ok((agent, uid))
    }
}

/// All nodes of a cluster: those of this process, and those that joined.
pub(crate) struct AllNodes {
    /// Those of this process.
    pub(crate) local: Arc<LocalNodes>,
    /// All others.
    pub(crate) remote: RemoteNodes,
}

impl AllNodes {
    fn of(&self, container: &ContainerRef) -> &dyn NodeAccess {
        match self.local.has(&container.node) {
            true => &*self.local,
            false => &self.remote,
        }
    }
}

#[async_trait]
impl NodeAccess for AllNodes {
    async fn logs(&self, container: &ContainerRef, options: LogOptions) -> Result<ByteStream, ApiError> {
        self.of(container).logs(container, options).await
    }

    async fn exec(&self, container: &ContainerRef, options: SessionOptions) -> Result<Session, ApiError> {
        self.of(container).exec(container, options).await
    }

    async fn attach(&self, container: &ContainerRef, options: SessionOptions) -> Result<Session, ApiError> {
        self.of(container).attach(container, options).await
    }

    async fn port_forward(&self, container: &ContainerRef, port: u16) -> Result<Box<dyn Connection>, ApiError> {
        self.of(container).port_forward(container, port).await
    }

    async fn endpoint(&self, node: &str) -> Result<Option<Box<dyn Connection>>, ApiError> {
        match self.local.has(node) {
            true => Ok(None),
            false => self.remote.endpoint(node).await,
        }
    }
}

#[async_trait]
impl NodeAccess for LocalNodes {
    async fn logs(&self, container: &ContainerRef, options: LogOptions) -> Result<ByteStream, ApiError> {
        let options = logs::LogOptions {
            follow: options.follow,
            previous: options.previous,
            timestamps: options.timestamps,
            since: options.since,
            tail_lines: options.tail_lines,
            limit_bytes: options.limit_bytes,
            output: match options.stream {
                LogStream::All => logs::Output::All,
                LogStream::Stdout => logs::Output::Stdout,
                LogStream::Stderr => logs::Output::Stderr,
            },
        };
        let (agent, uid) = self.find(container)?;
        agent.logs(&uid, &container.container, &options)
    }

    async fn exec(&self, container: &ContainerRef, options: SessionOptions) -> Result<Session, ApiError> {
        let spec = ExecSpec {
            args: options.command.clone(),
            stdin: options.stdin,
            tty: options.tty,
            kill_when_left: false,
        };
        let (agent, uid) = self.find(container)?;
        let streams = agent.exec(&uid, &container.container, &spec).await?;
        Ok(session(streams, &options, |code| code))
    }

    async fn attach(&self, container: &ContainerRef, options: SessionOptions) -> Result<Session, ApiError> {
        let (agent, uid) = self.find(container)?;
        let streams = agent.attach(&uid, &container.container, options.stdin).await?;
        // Who looked on learns that it is over; how the container ended is its status's to tell, as with a kubelet.
        Ok(session(streams, &options, |_| 0))
    }

    async fn port_forward(&self, container: &ContainerRef, port: u16) -> Result<Box<dyn Connection>, ApiError> {
        let (agent, uid) = self.find(container)?;
        Ok(Box::new(agent.port_forward(&uid, port).await?))
    }
}

/// Connects the streams of a process to a session, which is told `told` of its exit code.
fn session(streams: Streams, options: &SessionOptions, told: fn(i32) -> i32) -> Session {
    let (output_sender, output) = mpsc::channel(PIECES_MAX);
    if let Some(stdout) = streams.stdout.filter(|_| options.stdout) {
        tokio::spawn(read(stdout, output_sender.clone(), Output::Stdout));
    }
    if let Some(stderr) = streams.stderr.filter(|_| options.stderr) {
        tokio::spawn(read(stderr, output_sender, Output::Stderr));
    }
    let stdin = streams.stdin.map(|stdin| {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        tokio::spawn(write(pieces, stdin));
        sender
    });
    let resize = streams.resize.map(|sizes| {
        let (sender, mut wanted) = mpsc::channel::<TerminalSize>(1);
        tokio::spawn(async move {
            while let Some(size) = wanted.recv().await {
                if sizes.send((size.width, size.height)).await.is_err() {
                    return;
                }
            }
        });
        sender
    });
    let (mut exit_sender, exit) = oneshot::channel();
    tokio::spawn(async move {
        let ended = tokio::select! {
            ended = streams.exit => ended,
            // A client that has gone away does not want to know; dropping the rest lets go of the process.
            () = exit_sender.closed() => return,
        };
        let code = ended.map_err(|_| ApiError::internal("the container's supervisor went away"));
        let _ = exit_sender.send(code.map(told));
    });
    Session {
        stdin,
        output,
        resize,
        exit,
    }
}

async fn read(
    mut from: Pin<Box<dyn AsyncRead + Send>>,
    to: mpsc::Sender<Output>,
    wrap: impl Fn(Bytes) -> Output + Send,
) {
    let mut buffer = vec![0_u8; PIECE_BYTES];
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 || to.send(wrap(Bytes::copy_from_slice(&buffer[..count]))).await.is_err() {
            return;
        }
    }
}

async fn write(mut from: mpsc::Receiver<Bytes>, mut to: Pin<Box<dyn AsyncWrite + Send>>) {
    while let Some(piece) = from.recv().await {
        if to.write_all(&piece).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
