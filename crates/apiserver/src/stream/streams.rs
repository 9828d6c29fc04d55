//! A process in a container over SPDY: one stream each for input, output, sizes of the terminal, and how it ended.
//!
//! Source: `spec/api.md` §4.2; kubernetes `kubelet/pkg/cri/streaming/remotecommand/httpstream.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use rota_api::ApiError;
use tokio::io::{self, AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::session::{end_of, terminal_size};
use super::spdy::{Frame, Reader, Reply, StreamId, Writer};
use crate::node_access::{Output, Session, SessionOptions, TerminalSize};

/// The protocols that are spoken, the best first.
pub(crate) const PROTOCOLS: [&str; 4] = [
    "v4.channel.k8s.io",
    "v3.channel.k8s.io",
    "v2.channel.k8s.io",
    "channel.k8s.io",
];

/// How long the client may take to open its streams.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// How many frames may wait to be written.
const REPLIES_MAX: usize = 64;
/// The longest message about a terminal's size. Unit: bytes.
const RESIZE_SIZE_MAX: usize = 1024;

/// What a stream is for, as its header says.
type Streams = BTreeMap<String, StreamId>;

/// Waits for the client's streams, opens the session, and carries it to its end.
pub(crate) async fn carry<C, O>(
    connection: C,
    protocol: &'static str,
    options: SessionOptions,
    open: O,
    ending: CancellationToken,
) where
    C: AsyncRead + AsyncWrite + Send + 'static,
    O: Future<Output = Result<Session, ApiError>>,
{
    let (input, output) = io::split(connection);
    let mut reader = Reader::new(input);
    let mut writer = Writer::new(output);
    let wanted = wanted(&options, protocol);
    let opened = tokio::time::timeout(OPEN_TIMEOUT, open_streams(&mut reader, &mut writer, &wanted)).await;
    let Ok(Ok(streams)) = opened else {
        tracing::debug!("a session's client did not open its streams");
        return;
    };
    let mut session = match open.await {
        Ok(session) => session,
        Err(error) => {
            let _ = finish(&mut writer, protocol, &streams, &Err(error)).await;
            writer.close().await;
            return;
        }
    };
    let (pings, mut pinged) = mpsc::channel(REPLIES_MAX);
    let inputs = Inputs {
        stdin: session.stdin.take(),
        resize: session.resize.take(),
        sizes: Vec::new(),
        pings,
    };
    let gone = CancellationToken::new();
    let reading = tokio::spawn({
        let (gone, streams) = (gone.clone().drop_guard(), streams.clone());
        async move {
            let _gone = gone;
            inputs.read(reader, &streams).await;
        }
    });
    let written = tokio::select! {
        written = write(&mut writer, protocol, &streams, session, &mut pinged) => written,
        () = gone.cancelled() => Ok(()),
        () = ending.cancelled() => Ok(()),
    };
    if let Err(error) = written {
        tracing::debug!(%error, "a session's client left");
    }
    writer.close().await;
    reading.abort();
}

/// The streams that the client opens for these options.
fn wanted(options: &SessionOptions, protocol: &str) -> BTreeSet<&'static str> {
    let resizes = protocol.starts_with("v3") || protocol.starts_with("v4");
    [
        ("error", true),
        ("stdin", options.stdin),
        ("stdout", options.stdout),
        ("stderr", options.stderr),
        ("resize", options.tty && resizes),
    ]
    .into_iter()
    .filter_map(|(name, wanted)| wanted.then_some(name))
    .collect()
}

async fn open_streams(
    reader: &mut Reader<impl AsyncRead + Unpin>,
    writer: &mut Writer<impl AsyncWrite + Unpin>,
    wanted: &BTreeSet<&'static str>,
) -> io::Result<Streams> {
    let mut streams = Streams::new();
    while !wanted.iter().all(|name| streams.contains_key(*name)) {
        match reader.next().await? {
            Frame::Open { stream, headers } => {
                writer.write(Reply::Accept(stream)).await?;
                if let Some(kind) = headers.get("streamtype").filter(|kind| wanted.contains(kind.as_str())) {
                    streams.insert(kind.clone(), stream);
                }
            }
            Frame::Ping(id) => writer.write(Reply::Ping(id)).await?,
            Frame::GoAway => return Err(io::ErrorKind::ConnectionAborted.into()),
            Frame::Data { .. } | Frame::Reset { .. } => {}
        }
    }
    Ok(streams)
}

/// Where what the client sends goes.
struct Inputs {
    stdin: Option<mpsc::Sender<Bytes>>,
    resize: Option<mpsc::Sender<TerminalSize>>,
    /// The beginning of a message about the terminal's size.
    sizes: Vec<u8>,
    pings: mpsc::Sender<u32>,
}

impl Inputs {
    /// Hands on what comes until the client leaves.
    async fn read(mut self, mut reader: Reader<impl AsyncRead + Unpin>, streams: &Streams) {
        let is = |name: &str, stream: StreamId| streams.get(name) == Some(&stream);
        while let Ok(frame) = reader.next().await {
            match frame {
                Frame::Data { stream, bytes, is_last } if is("stdin", stream) => {
                    if let Some(stdin) = &self.stdin
                        && !bytes.is_empty()
                    {
                        let _ = stdin.send(bytes).await;
                    }
                    if is_last {
                        self.stdin = None;
                    }
                }
                Frame::Data { stream, bytes, .. } if is("resize", stream) => self.sizes(&bytes).await,
                Frame::Ping(id) => {
                    let _ = self.pings.try_send(id);
                }
                Frame::Reset { stream } if is("stdin", stream) => self.stdin = None,
                Frame::GoAway => return,
                Frame::Data { .. } | Frame::Reset { .. } | Frame::Open { .. } => {}
            }
        }
    }

    /// Sizes come as JSON, one on each line, in pieces of any length.
    async fn sizes(&mut self, bytes: &[u8]) {
        self.sizes.extend_from_slice(bytes);
        while let Some(end) = self.sizes.iter().position(|byte| *byte == b'\n' || *byte == b'}') {
            let line: Vec<u8> = self.sizes.drain(..=end).collect();
            if let (Some(resize), Some(size)) = (&self.resize, terminal_size(&line)) {
                let _ = resize.send(size).await;
            }
        }
        if self.sizes.len() > RESIZE_SIZE_MAX {
            self.sizes.clear();
        }
    }
}

async fn write(
    writer: &mut Writer<impl AsyncWrite + Unpin>,
    protocol: &str,
    streams: &Streams,
    session: Session,
    pings: &mut mpsc::Receiver<u32>,
) -> io::Result<()> {
    let Session {
        output: mut outputs,
        exit,
        ..
    } = session;
    loop {
        let (name, bytes) = tokio::select! {
            piece = outputs.recv() => match piece {
                Some(Output::Stdout(bytes)) => ("stdout", bytes),
                Some(Output::Stderr(bytes)) => ("stderr", bytes),
                None => break,
            },
            Some(id) = pings.recv() => {
                writer.write(Reply::Ping(id)).await?;
                continue;
            }
        };
        if let Some(stream) = streams.get(name) {
            let data = Reply::Data {
                stream: *stream,
                bytes,
                is_last: false,
            };
            writer.write(data).await?;
        }
    }
    let ended = exit
        .await
        .unwrap_or_else(|_| Err(ApiError::internal("the node lost the process")));
    finish(writer, protocol, streams, &ended).await
}

/// Ends the streams of output, then says how the process ended.
async fn finish(
    writer: &mut Writer<impl AsyncWrite + Unpin>,
    protocol: &str,
    streams: &Streams,
    ended: &Result<i32, ApiError>,
) -> io::Result<()> {
    let end = end_of(protocol.starts_with("v4"), ended);
    for (name, bytes) in [("stdout", String::new()), ("stderr", String::new()), ("error", end)] {
        if let Some(stream) = streams.get(name) {
            let data = Reply::Data {
                stream: *stream,
                bytes: bytes.into(),
                is_last: true,
            };
            writer.write(data).await?;
        }
    }
    Ok(())
}
