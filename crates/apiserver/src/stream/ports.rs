//! Connections to ports of a pod over SPDY: for each, the client opens one stream for data and one for errors.
//!
//! Source: `spec/api.md` §4.3; kubernetes `kubelet/pkg/cri/streaming/portforward/httpstream.go`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::spdy::{Frame, Reader, Reply, StreamId, Writer};
use crate::node_access::{Connection, ContainerRef, NodeAccess};

/// The protocol's name.
pub(crate) const PROTOCOL: &str = "portforward.k8s.io";
/// The same inside of a WebSocket.
pub(crate) const TUNNEL_PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";

/// How many frames may wait to be written, and pieces to be handed to one port.
const REPLIES_MAX: usize = 64;
const PIECES_MAX: usize = 64;
/// How much is read from a port at once. Unit: bytes.
const PIECE_SIZE: usize = 32 * 1024;

/// The two streams of a connection, as far as they are there.
#[derive(Default)]
struct Pair {
    error: Option<StreamId>,
    data: Option<(StreamId, u16)>,
}

/// Carries connections until the client leaves or the server ends.
pub(crate) async fn forward<C>(
    connection: C,
    nodes: Arc<dyn NodeAccess>,
    container: ContainerRef,
    ending: CancellationToken,
) where
    C: AsyncRead + AsyncWrite + Send + 'static,
{
    let (input, output) = io::split(connection);
    let (replies, mut replying) = mpsc::channel(REPLIES_MAX);
    let writing = tokio::spawn(async move {
        let mut writer = Writer::new(output);
        while let Some(reply) = replying.recv().await {
            if writer.write(reply).await.is_err() {
                return;
            }
        }
        writer.close().await;
    });
    let mut ports = Ports {
        nodes,
        container: Arc::new(container),
        replies,
        pairs: BTreeMap::new(),
        inputs: BTreeMap::new(),
        running: JoinSet::new(),
    };
    tokio::select! {
        () = ports.read(Reader::new(input)) => {}
        () = ending.cancelled() => {}
    }
    // Dropping the ports ends their connections and lets the writer finish.
    drop(ports);
    let _ = writing.await;
}

struct Ports {
    nodes: Arc<dyn NodeAccess>,
    container: Arc<ContainerRef>,
    replies: mpsc::Sender<Reply>,
    pairs: BTreeMap<String, Pair>,
    /// Where the data of a stream go.
    inputs: BTreeMap<StreamId, mpsc::Sender<Bytes>>,
    running: JoinSet<()>,
}

impl Ports {
    async fn read(&mut self, mut reader: Reader<impl AsyncRead + Unpin>) {
        while let Ok(frame) = reader.next().await {
            match frame {
                Frame::Open { stream, headers } => {
                    if self.replies.send(Reply::Accept(stream)).await.is_err() {
                        return;
                    }
                    self.open(stream, &headers);
                }
                Frame::Data { stream, bytes, is_last } => {
                    if let Some(input) = self.inputs.get(&stream)
                        && !bytes.is_empty()
                    {
                        let _ = input.send(bytes).await;
                    }
                    if is_last {
                        self.inputs.remove(&stream);
                    }
                }
                Frame::Reset { stream } => drop(self.inputs.remove(&stream)),
                Frame::Ping(id) => {
                    let _ = self.replies.send(Reply::Ping(id)).await;
                }
                Frame::GoAway => return,
            }
        }
    }

    /// Notes a stream; connects when both of a pair are there.
    fn open(&mut self, stream: StreamId, headers: &BTreeMap<String, String>) {
        let header = |name: &str| headers.get(name).map(String::as_str).unwrap_or_default();
        let request = header("requestid").to_owned();
        let pair = self.pairs.entry(request.clone()).or_default();
        match (header("streamtype"), header("port").parse()) {
            ("error", _) => pair.error = Some(stream),
            ("data", Ok(port)) => pair.data = Some((stream, port)),
            _ => return,
        }
        let (Some(error), Some((data, port))) = (pair.error, pair.data) else {
            return;
        };
        self.pairs.remove(&request);
        // Ended connections make room.
        while self.running.try_join_next().is_some() {}
        let (input, pieces) = mpsc::channel(PIECES_MAX);
        self.inputs.insert(data, input);
        let (nodes, container, replies) = (
            Arc::clone(&self.nodes),
            Arc::clone(&self.container),
            self.replies.clone(),
        );
        self.running.spawn(async move {
            let failure = match nodes.port_forward(&container, port).await {
                Ok(connection) => copy(connection, data, pieces, &replies)
                    .await
                    .err()
                    .map(|error| error.to_string()),
                Err(error) => Some(error.message().to_owned()),
            };
            let failure = failure.map(|why| {
                format!(
                    "error forwarding port {port} to pod {}, uid {}: {why}",
                    container.pod, container.uid
                )
            });
            for (stream, text) in [(data, String::new()), (error, failure.unwrap_or_default())] {
                let end = Reply::Data {
                    stream,
                    bytes: text.into(),
                    is_last: true,
                };
                let _ = replies.send(end).await;
            }
        });
    }
}

/// Copies both ways until the port has said all it has to say.
async fn copy(
    connection: Box<dyn Connection>,
    stream: StreamId,
    mut pieces: mpsc::Receiver<Bytes>,
    replies: &mpsc::Sender<Reply>,
) -> io::Result<()> {
    let (mut from_port, mut to_port) = io::split(connection);
    let sending = async {
        while let Some(piece) = pieces.recv().await {
            if to_port.write_all(&piece).await.is_err() {
                break;
            }
        }
        // The client has nothing more to say; the port may have.
        let _ = to_port.shutdown().await;
        std::future::pending::<()>().await;
    };
    let receiving = async {
        loop {
            let mut buffer = BytesMut::with_capacity(PIECE_SIZE);
            if from_port.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            let data = Reply::Data {
                stream,
                bytes: buffer.freeze(),
                is_last: false,
            };
            if replies.send(data).await.is_err() {
                return Ok(());
            }
        }
    };
    tokio::select! {
        received = receiving => received,
        () = sending => Ok(()),
    }
}
