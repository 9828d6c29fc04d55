//! Connections to ports of a pod over a WebSocket without tunnel: two channels for each port that the request named.
//!
//! Channel `2i` carries the data of the i-th port, channel `2i + 1` what goes wrong with it; each begins with a message that
//! says the port. There is one connection to each port, and no way to close one of them alone.
//!
//! Source: `spec/api.md` §4.3; kubernetes `kubelet/pkg/cri/streaming/portforward/websocket.go`.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::session::Protocol;
use super::websocket::{self, Kind, Message, Reader};
use crate::node_access::{ContainerRef, NodeAccess};

/// The protocols that are spoken, as clients name them.
pub(crate) const PROTOCOLS: [&str; 2] = ["v4.channel.k8s.io", "v4.base64.channel.k8s.io"];

/// How many messages may wait to be written, and pieces to be handed to one port.
const MESSAGES_MAX: usize = 64;
/// How much is read from a port at once. Unit: bytes.
const PIECE_SIZE: usize = 32 * 1024;

type Messages = mpsc::Sender<(Kind, Vec<u8>)>;

/// Carries a connection to each of `ports` until all of them have ended, the client leaves, or the server ends.
pub(crate) async fn forward<C>(
    connection: C,
    protocol: Protocol,
    ports: Vec<u16>,
    nodes: Arc<dyn NodeAccess>,
    container: ContainerRef,
    ending: CancellationToken,
) where
    C: AsyncRead + AsyncWrite + Send + 'static,
{
    let (input, mut output) = io::split(connection);
    let (messages, mut outgoing) = mpsc::channel(MESSAGES_MAX);
    let container = Arc::new(container);
    let mut inputs = Vec::new();
    let mut running = JoinSet::new();
    for (index, port) in (0_u8..).step_by(2).zip(ports) {
        let (sender, pieces) = mpsc::channel(MESSAGES_MAX);
        inputs.push(sender);
        let channel = Channel {
            protocol,
            data: index,
            port,
            messages: messages.clone(),
        };
        running.spawn(channel.carry(Arc::clone(&nodes), Arc::clone(&container), pieces));
    }
    let gone = CancellationToken::new();
    let reading = tokio::spawn({
        let gone = gone.clone().drop_guard();
        let pongs = messages.downgrade();
        async move {
            let _gone = gone;
            read(Reader::new(input), protocol, inputs, pongs).await;
        }
    });
    // From here on only the ports send.
    drop(messages);
    let writing = async {
        while let Some((kind, message)) = outgoing.recv().await {
            if websocket::write(&mut output, kind, &message).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = writing => {}
        () = gone.cancelled() => {}
        () = ending.cancelled() => {}
    }
    let _ = websocket::write(&mut output, Kind::Close, &1000_u16.to_be_bytes()).await;
    reading.abort();
}

/// Hands on what comes until the client leaves.
async fn read(
    mut reader: Reader<impl AsyncRead + Unpin>,
    protocol: Protocol,
    inputs: Vec<mpsc::Sender<Bytes>>,
    pongs: mpsc::WeakSender<(Kind, Vec<u8>)>,
) {
    loop {
        match reader.next().await {
            Ok(Message::Data(message)) => {
                let Some((channel, content)) = protocol.decode(&message) else {
                    continue;
                };
                let is_data = channel % 2 == 0 && !content.is_empty();
                if let Some(input) = inputs.get(usize::from(channel / 2)).filter(|_| is_data) {
                    // A port that has ended hears nothing more.
                    let _ = input.send(content).await;
                }
            }
            Ok(Message::Ping(content)) => {
                if let Some(pongs) = pongs.upgrade() {
                    // More pings than can be answered need no more answers.
                    let _ = pongs.try_send((Kind::Pong, content.to_vec()));
                }
            }
            Ok(Message::Close) | Err(_) => return,
        }
    }
}

/// The two channels of one port.
struct Channel {
    protocol: Protocol,
    data: u8,
    port: u16,
    messages: Messages,
}

impl Channel {
    async fn carry(self, nodes: Arc<dyn NodeAccess>, container: Arc<ContainerRef>, pieces: mpsc::Receiver<Bytes>) {
        for channel in [self.data, self.data + 1] {
            self.send(channel, &self.port.to_le_bytes()).await;
        }
        let failure = match nodes.port_forward(&container, self.port).await {
            Ok(connection) => self.copy(connection, pieces).await.err().map(|error| error.to_string()),
            Err(error) => Some(error.message().to_owned()),
        };
        if let Some(why) = failure {
            let (port, pod, uid) = (self.port, &container.pod, &container.uid);
            let text = format!("error forwarding port {port} to pod {pod}, uid {uid}: {why}");
            self.send(self.data + 1, text.as_bytes()).await;
        }
    }

    /// Copies both ways until the port has said all it has to say.
    async fn copy(
        &self,
        connection: impl AsyncRead + AsyncWrite + Unpin,
        mut pieces: mpsc::Receiver<Bytes>,
    ) -> io::Result<()> {
        let (mut from_port, mut to_port) = io::split(connection);
        let sending = async {
            while let Some(piece) = pieces.recv().await {
                if to_port.write_all(&piece).await.is_err() || to_port.flush().await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        let receiving = async {
            loop {
                let mut buffer = BytesMut::with_capacity(PIECE_SIZE);
                if from_port.read_buf(&mut buffer).await? == 0 {
                    return Ok(());
                }
                self.send(self.data, &buffer).await;
            }
        };
        tokio::select! {
            received = receiving => received,
            () = sending => Ok(()),
        }
    }

    async fn send(&self, channel: u8, content: &[u8]) {
        // A client that has gone away hears nothing more.
        let _ = self.messages.send(self.protocol.encode(channel, content)).await;
    }
}
