//! The API server's way to containers on other machines.
//!
//! Where a node is reached stands in its status. A node of ours shows a certificate of the cluster's authority for its own
//! name; the certificates of other kubelets are usually made by themselves and are not checked, as upstream has it unless it
//! is told of an authority.
//!
//! Source: `spec/api.md` §4.4; kubernetes `pkg/kubelet/client/kubelet_client.go`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use futures::StreamExt;
use http::header::{CONNECTION, HOST, UPGRADE};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, BodyStream, Empty, Limited};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rota_api::{ApiError, Reason, resource};
use rota_registry::Registry;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::{API_SERVER, API_SERVER_GROUP, escape, query};
use crate::node_access::{
    ByteStream, Connection, ContainerRef, LogOptions, LogStream, NodeAccess, Output, Session, SessionOptions,
};
use crate::pki::{Pki, tls};
use crate::server::BindError;
use crate::stream::spdy::{Frame, Reader, Reply, StreamId, Writer};
use crate::stream::{SPDY, STREAM_PROTOCOL, ports};

/// How long connecting to a node may take, and its answer to the request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How much is read of an answer that is a refusal. Unit: bytes.
const REFUSAL_SIZE_MAX: usize = 64 * 1024;
/// How many pieces of a stream may wait for a slow reader.
const PIECES_MAX: usize = 64;
/// The protocol of sessions, in which the end is told as a `Status`.
const SESSION_PROTOCOL: &str = "v4.channel.k8s.io";

/// What the runtime of a node of ours is called.
const OUR_RUNTIME: &str = "rota://";

/// How addresses are preferred. Upstream begins with host names; ours need not resolve on this machine.
const ADDRESS_TYPES: [&str; 5] = ["InternalIP", "Hostname", "InternalDNS", "ExternalDNS", "ExternalIP"];

/// Reaches nodes by what the registry says of them.
pub struct RemoteNodes {
    registry: Arc<Registry>,
    ours: TlsConnector,
    foreign: TlsConnector,
}

impl RemoteNodes {
    /// Reaches the nodes in the registry as the API server, which `pki` proves.
    ///
    /// Errors: the certificate of the API server cannot be made.
    pub fn new(registry: Arc<Registry>, pki: &Pki) -> Result<Self, BindError> {
        let identity = pki.client(API_SERVER, Some(API_SERVER_GROUP), registry.env().now())?;
        Ok(Self {
            registry,
            ours: tls::client(pki.ca_pem(), &identity)?.into(),
            foreign: tls::client_of_anybody(&identity)?.into(),
        })
    }

    /// Connects to a node's endpoint.
    async fn connect(&self, node: &str, endpoint: &Endpoint) -> Result<TlsStream<TcpStream>, ApiError> {
        let connecting = async {
            let socket = TcpStream::connect((endpoint.host(), endpoint.port)).await?;
            // Keys that are typed must not wait for the next one.
            socket.set_nodelay(true)?;
            let connector = if endpoint.is_ours { &self.ours } else { &self.foreign };
            connector.connect(endpoint.name.clone(), socket).await
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| endpoint.failure(node, "no answer in time"))?
            .map_err(|error| endpoint.failure(node, error))
    }

    /// Connects to a node's endpoint and sends a request.
    async fn send(
        &self,
        container: &ContainerRef,
        request: http::request::Builder,
        path: &str,
    ) -> Result<http::Response<Incoming>, ApiError> {
        let node = &container.node;
        let endpoint = self.endpoint_of(node)?;
        let stream = self.connect(node, &endpoint).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| endpoint.failure(node, error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "the connection to a node ended early");
            }
        });
        let request = request
            .uri(path)
            .header(HOST, format!("{}:{}", endpoint.address, endpoint.port))
            .body(Empty::<Bytes>::new())
            .map_err(ApiError::internal)?;
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, sender.send_request(request))
            .await
            .map_err(|_| endpoint.failure(node, "no answer in time"))?
            .map_err(|error| endpoint.failure(node, error))?;
        Ok(answer)
    }

    fn endpoint_of(&self, name: &str) -> Result<Endpoint, ApiError> {
        let node = self.registry.get(resource::NODES, "", name)?.to_value();
        Endpoint::of(name, &node).ok_or_else(|| {
            let message = format!("node {name:?} has no endpoint by which its containers could be reached");
            ApiError::new(Reason::ServiceUnavailable, message)
        })
    }

    /// Opens a connection that goes on in SPDY.
    async fn upgrade(
        &self,
        container: &ContainerRef,
        path: &str,
        protocol: &str,
    ) -> Result<TokioIo<Upgraded>, ApiError> {
        let request = http::Request::builder()
            .method(Method::POST)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, SPDY)
            .header(STREAM_PROTOCOL, protocol);
        let answer = self.send(container, request, path).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refusal(answer).await);
        }
        let upgraded = hyper::upgrade::on(answer).await.map_err(ApiError::internal)?;
        Ok(TokioIo::new(upgraded))
    }

    async fn session(
        &self,
        verb: &str,
        container: &ContainerRef,
        options: &SessionOptions,
    ) -> Result<Session, ApiError> {
        let flags = [
            ("input", options.stdin),
            ("output", options.stdout),
            ("error", options.stderr),
            ("tty", options.tty),
        ];
        let command = options.command.iter().map(|word| ("command", word.clone()));
        let set = flags
            .iter()
            .filter(|(_, set)| *set)
            .map(|(name, _)| (*name, "1".to_owned()));
        let path = format!("/{verb}/{}?{}", place(container, true), query(command.chain(set)));
        let connection = self.upgrade(container, &path, SESSION_PROTOCOL).await?;
        open_session(connection, options).await.map_err(ApiError::internal)
    }
}

/// Where a node is reached.
struct Endpoint {
    address: String,
    port: u16,
    /// The name that its certificate must bear.
    name: ServerName<'static>,
    is_ours: bool,
}

impl Endpoint {
    fn of(name: &str, node: &Value) -> Option<Self> {
        let status = &node["status"];
        let port = status["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64()?;
        let addresses = status["addresses"].as_array()?;
        let address = ADDRESS_TYPES.iter().find_map(|kind| {
            let found = addresses.iter().find(|address| address["type"] == *kind)?;
            found["address"].as_str()
        })?;
        let runtime = status["nodeInfo"]["containerRuntimeVersion"]
            .as_str()
            .unwrap_or_default();
        Some(Self {
            address: address.to_owned(),
            port: u16::try_from(port).ok().filter(|port| *port != 0)?,
            name: ServerName::try_from(name.to_owned()).ok()?,
            is_ours: runtime.starts_with(OUR_RUNTIME),
        })
    }

    /// What is told of a node that cannot be reached.
    fn failure(&self, node: &str, why: impl std::fmt::Display) -> ApiError {
        let message = format!("error dialing backend: {} of node {node:?}: {why}", self.address);
        ApiError::new(Reason::InternalError, message)
    }

    /// The address as names are resolved.
    fn host(&self) -> &str {
        self.address.trim_start_matches('[').trim_end_matches(']')
    }
}

/// The part of a path that says which container.
fn place(container: &ContainerRef, with_container: bool) -> String {
    let mut words = vec![&container.namespace, &container.pod];
    if with_container {
        words.push(&container.container);
    }
    let words: Vec<String> = words.into_iter().map(|word| escape(word)).collect();
    words.join("/")
}

/// What a node says instead of doing what it was asked.
async fn refusal(answer: http::Response<Incoming>) -> ApiError {
    let code = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), REFUSAL_SIZE_MAX).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    if let Ok(status) = serde_json::from_slice::<Value>(&body)
        && status["kind"] == "Status"
    {
        return ApiError::from_status(&status, code);
    }
    let text = String::from_utf8_lossy(&body).trim().to_owned();
    match code {
        500.. => ApiError::internal(text),
        _ => ApiError::from_status(&json!({"message": text}), code),
    }
}

#[async_trait]
impl NodeAccess for RemoteNodes {
    async fn logs(&self, container: &ContainerRef, options: LogOptions) -> Result<ByteStream, ApiError> {
        let mut pairs = Vec::new();
        let flags = [
            ("follow", options.follow),
            ("previous", options.previous),
            ("timestamps", options.timestamps),
        ];
        pairs.extend(
            flags
                .iter()
                .filter(|(_, set)| *set)
                .map(|(name, _)| (*name, "true".to_owned())),
        );
        pairs.extend(options.since.map(|since| ("sinceTime", since.to_string())));
        pairs.extend(options.tail_lines.map(|lines| ("tailLines", lines.to_string())));
        pairs.extend(options.limit_bytes.map(|bytes| ("limitBytes", bytes.to_string())));
        match options.stream {
            LogStream::All => {}
            LogStream::Stdout => pairs.push(("stream", "Stdout".to_owned())),
            LogStream::Stderr => pairs.push(("stream", "Stderr".to_owned())),
        }
        let path = format!("/containerLogs/{}?{}", place(container, true), query(pairs));
        let answer = self
            .send(container, http::Request::builder().method(Method::GET), &path)
            .await?;
        if !answer.status().is_success() {
            return Err(refusal(answer).await);
        }
        // A connection that breaks ends the log: whoever follows it asks again.
        let pieces = BodyStream::new(answer.into_body())
            .take_while(|frame| std::future::ready(frame.is_ok()))
            .filter_map(|frame| std::future::ready(frame.ok().and_then(|frame| frame.into_data().ok())));
        Ok(Box::pin(pieces))
    }

    async fn exec(&self, container: &ContainerRef, options: SessionOptions) -> Result<Session, ApiError> {
        self.session("exec", container, &options).await
    }

    async fn attach(&self, container: &ContainerRef, options: SessionOptions) -> Result<Session, ApiError> {
        self.session("attach", container, &options).await
    }

    async fn port_forward(&self, container: &ContainerRef, port: u16) -> Result<Box<dyn Connection>, ApiError> {
        let path = format!("/portForward/{}?port={port}", place(container, false));
        let connection = self.upgrade(container, &path, ports::PROTOCOL).await?;
        let connected = open_port(connection, port).await.map_err(ApiError::internal)?;
        Ok(Box::new(connected))
    }

    async fn endpoint(&self, node: &str) -> Result<Option<Box<dyn Connection>>, ApiError> {
        match self.endpoint_of(node) {
            Ok(endpoint) if !endpoint.is_ours => Ok(Some(Box::new(self.connect(node, &endpoint).await?))),
            _ => Ok(None),
        }
    }
}

/// The streams of a session, in the order in which they are opened.
const STREAMS: [(&str, StreamId); 5] = [("error", 1), ("stdin", 3), ("stdout", 5), ("stderr", 7), ("resize", 9)];
const ERROR: StreamId = 1;
const STDIN: StreamId = 3;
const STDOUT: StreamId = 5;
const STDERR: StreamId = 7;
const RESIZE: StreamId = 9;

/// Opens the streams of a session and carries it in the background.
async fn open_session(
    connection: impl AsyncRead + AsyncWrite + Send + 'static,
    options: &SessionOptions,
) -> io::Result<Session> {
    let (input, output) = tokio::io::split(connection);
    let mut writer = Writer::new(output);
    let is_wanted = |stream| match stream {
        STDIN => options.stdin,
        STDOUT => options.stdout,
        STDERR => options.stderr,
        RESIZE => options.tty,
        _ => true,
    };
    for (kind, stream) in STREAMS.into_iter().filter(|(_, stream)| is_wanted(*stream)) {
        let headers = vec![("streamtype", kind.to_owned())];
        writer.write(Reply::Open { stream, headers }).await?;
    }
    let (frames, outgoing) = mpsc::channel(PIECES_MAX);
    let over = CancellationToken::new();
    tokio::spawn(write_frames(writer, outgoing, over.clone()));
    let stdin = options.stdin.then(|| {
        let (sender, mut pieces) = mpsc::channel::<Bytes>(PIECES_MAX);
        let frames = frames.clone();
        tokio::spawn(async move {
            while let Some(bytes) = pieces.recv().await {
                if frames.send(data(STDIN, bytes, false)).await.is_err() {
                    return;
                }
            }
            let _ = frames.send(data(STDIN, Bytes::new(), true)).await;
        });
        sender
    });
    let resize = options.tty.then(|| {
        let (sender, mut sizes) = mpsc::channel::<crate::node_access::TerminalSize>(1);
        let frames = frames.clone();
        tokio::spawn(async move {
            while let Some(size) = sizes.recv().await {
                let text = format!("{}\n", json!({"Width": size.width, "Height": size.height}));
                if frames.send(data(RESIZE, text.into(), false)).await.is_err() {
                    return;
                }
            }
        });
        sender
    });
    let (outputs, output) = mpsc::channel(PIECES_MAX);
    let (exit_sender, exit) = oneshot::channel();
    tokio::spawn(async move {
        let over = over.drop_guard();
        let ended = read_session(Reader::new(input), &outputs, &frames).await;
        drop((outputs, over));
        // Nobody may be waiting any more.
        let _ = exit_sender.send(ended);
    });
    Ok(Session {
        stdin,
        output,
        resize,
        exit,
    })
}

fn data(stream: StreamId, bytes: Bytes, is_last: bool) -> Reply {
    Reply::Data { stream, bytes, is_last }
}

/// Writes frames until nobody has any more, or all is over.
async fn write_frames(
    mut writer: Writer<impl AsyncWrite + Unpin>,
    mut frames: mpsc::Receiver<Reply>,
    over: CancellationToken,
) {
    loop {
        let frame = tokio::select! {
            frame = frames.recv() => frame,
            () = over.cancelled() => None,
        };
        let Some(frame) = frame else { break };
        if writer.write(frame).await.is_err() {
            return;
        }
    }
    writer.close().await;
}

/// Hands on output until all streams have ended; returns how the process ended.
async fn read_session(
    mut reader: Reader<impl AsyncRead + Unpin>,
    outputs: &mpsc::Sender<Output>,
    frames: &mpsc::Sender<Reply>,
) -> Result<i32, ApiError> {
    let mut told: Vec<u8> = Vec::new();
    let mut has_ended = false;
    while !has_ended {
        let frame = tokio::select! {
            frame = reader.next() => frame,
            // A silent process would keep the connection for as long as it likes.
            () = outputs.closed() => return Err(left()),
        };
        match frame {
            Ok(Frame::Data { stream, bytes, is_last }) => {
                let handed_on = match stream {
                    STDOUT if !bytes.is_empty() => outputs.send(Output::Stdout(bytes)).await,
                    STDERR if !bytes.is_empty() => outputs.send(Output::Stderr(bytes)).await,
                    ERROR => {
                        told.extend_from_slice(bytes.get(..REFUSAL_SIZE_MAX.min(bytes.len())).unwrap_or_default());
                        has_ended = is_last || told.len() > REFUSAL_SIZE_MAX;
                        Ok(())
                    }
                    _ => Ok(()),
                };
                if handed_on.is_err() {
                    return Err(left());
                }
            }
            Ok(Frame::Ping(id)) => drop(frames.send(Reply::Ping(id)).await),
            Ok(Frame::Reset { stream: ERROR } | Frame::GoAway) | Err(_) => has_ended = true,
            Ok(Frame::Open { .. } | Frame::Reset { .. }) => {}
        }
    }
    ended(&told)
}

/// How a session ends whose client has left.
fn left() -> ApiError {
    ApiError::internal("nobody listens to the session any more")
}

/// How a process ended, as a node tells it.
fn ended(told: &[u8]) -> Result<i32, ApiError> {
    let Ok(status) = serde_json::from_slice::<Value>(told) else {
        return Err(ApiError::internal(match told {
            [] => "the node ended the session without saying how the process ended".to_owned(),
            text => String::from_utf8_lossy(text).into_owned(),
        }));
    };
    if status["status"] == "Success" {
        return Ok(0);
    }
    let causes = status["details"]["causes"].as_array().into_iter().flatten();
    let code = causes
        .filter(|cause| cause["reason"] == "ExitCode")
        .find_map(|cause| cause["message"].as_str()?.parse().ok());
    match code {
        Some(code) if status["reason"] == "NonZeroExitCode" => Ok(code),
        _ => {
            let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok());
            Err(ApiError::from_status(&status, code.unwrap_or(500)))
        }
    }
}

/// Opens the two streams of a connection to a port and carries it in the background.
async fn open_port(
    connection: impl AsyncRead + AsyncWrite + Send + 'static,
    port: u16,
) -> io::Result<impl Connection + 'static> {
    const DATA: StreamId = 3;
    let (input, output) = tokio::io::split(connection);
    let mut writer = Writer::new(output);
    for (kind, stream) in [("error", ERROR), ("data", DATA)] {
        let headers = vec![
            ("streamtype", kind.to_owned()),
            ("port", port.to_string()),
            ("requestid", "0".to_owned()),
        ];
        writer.write(Reply::Open { stream, headers }).await?;
    }
    let (frames, outgoing) = mpsc::channel(PIECES_MAX);
    let over = CancellationToken::new();
    tokio::spawn(write_frames(writer, outgoing, over.clone()));
    let (ours, mut theirs) = tokio::io::duplex(PIECE_SIZE);
    tokio::spawn({
        let frames = frames.clone();
        async move {
            loop {
                let mut piece = bytes::BytesMut::with_capacity(PIECE_SIZE);
                let is_last = !matches!(theirs.read_buf(&mut piece).await, Ok(1..));
                if frames.send(data(DATA, piece.freeze(), is_last)).await.is_err() || is_last {
                    return;
                }
            }
        }
    });
    let (pieces, received) = mpsc::channel::<io::Result<Bytes>>(PIECES_MAX);
    tokio::spawn(async move {
        let _over = over.drop_guard();
        let mut reader = Reader::new(input);
        let mut wrong: Vec<u8> = Vec::new();
        let (mut data_ended, mut error_ended) = (false, false);
        while !(data_ended && error_ended) {
            let frame = tokio::select! {
                frame = reader.next() => frame,
                () = pieces.closed() => return,
            };
            match frame {
                Ok(Frame::Data { stream, bytes, is_last }) if stream == DATA => {
                    data_ended |= is_last;
                    if !bytes.is_empty() && pieces.send(Ok(bytes)).await.is_err() {
                        return;
                    }
                }
                Ok(Frame::Data { stream, bytes, is_last }) if stream == ERROR => {
                    error_ended |= is_last;
                    if wrong.len() < REFUSAL_SIZE_MAX {
                        wrong.extend_from_slice(&bytes);
                    }
                }
                Ok(Frame::Ping(id)) => drop(frames.send(Reply::Ping(id)).await),
                // What is given up has ended as well: a kubelet gives both up when it cannot connect.
                Ok(Frame::Reset { stream }) => {
                    data_ended |= stream == DATA;
                    error_ended |= stream == ERROR;
                }
                Ok(Frame::Data { .. } | Frame::Open { .. }) => {}
                Ok(Frame::GoAway) | Err(_) => break,
            }
        }
        if !wrong.is_empty() {
            let text = String::from_utf8_lossy(&wrong).into_owned();
            let _ = pieces.send(Err(io::Error::other(text))).await;
        }
    });
    let pieces = Pieces {
        pieces: received,
        rest: Bytes::new(),
    };
    Ok(tokio::io::join(pieces, ours))
}

/// How much of a stream is sent at once. Unit: bytes.
const PIECE_SIZE: usize = 32 * 1024;

/// A stream that is read from pieces.
struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl AsyncRead for Pieces {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.rest.is_empty() {
            match ready!(this.pieces.poll_recv(context)) {
                Some(Ok(piece)) => this.rest = piece,
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(())),
            }
        }
        let size = this.rest.len().min(buffer.remaining());
        buffer.put_slice(this.rest.get(..size).unwrap_or_default());
        this.rest.advance(size);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[test]
    fn a_node_is_reached_where_its_status_says() {
        let node = json!({"status": {
            "addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {"containerRuntimeVersion": "containerd://1.7"}}});
        let endpoint = Endpoint::of("n", &node).unwrap();
        assert_eq!(
            (endpoint.host(), endpoint.port, endpoint.is_ours),
            ("10.0.0.1", 10250, false)
        );
        assert!(Endpoint::of("n", &json!({"status": {"addresses": []}})).is_none());
    }

    #[test]
    fn the_end_of_a_process_is_read_as_it_is_told() {
        assert_eq!(ended(br#"{"status":"Success"}"#), Ok(0));
        let failed = br#"{"status":"Failure","reason":"NonZeroExitCode",
            "details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
        assert_eq!(ended(failed), Ok(3));
        let refused = br#"{"status":"Failure","reason":"BadRequest","message":"no","code":400}"#;
        assert_eq!(ended(refused).unwrap_err().code(), 400);
        assert_eq!(ended(b"").unwrap_err().code(), 500);
    }

    /// The frame by which a stream is given up.
    fn reset(stream: StreamId) -> Vec<u8> {
        let head = [0x80, 3, 0, 3, 0, 0, 0, 8];
        [head.as_slice(), &stream.to_be_bytes(), &[0, 0, 0, 5]].concat()
    }

    #[tokio::test]
    async fn a_connection_that_a_node_gives_up_says_why() {
        let (mut node, ours) = tokio::io::duplex(4096);
        let mut connected = open_port(ours, 1).await.unwrap();
        let mut writer = Writer::new(&mut node);
        writer
            .write(data(ERROR, "connection refused".into(), false))
            .await
            .unwrap();
        for stream in [3, ERROR] {
            node.write_all(&reset(stream)).await.unwrap();
        }
        let ended = connected.read_to_end(&mut Vec::new()).await;
        assert_eq!(ended.unwrap_err().to_string(), "connection refused");
    }

    #[tokio::test]
    async fn a_session_ends_when_its_client_leaves_however_silent_the_process_is() {
        let (_node, ours) = tokio::io::duplex(1024);
        let (outputs, output) = mpsc::channel(1);
        let (frames, _frames) = mpsc::channel(1);
        drop(output);
        assert_eq!(read_session(Reader::new(ours), &outputs, &frames).await, Err(left()));
    }
}
