//! A process in a container over a WebSocket: each message begins with the number of its channel.
//!
//! 0 standard input, 1 standard output, 2 standard error, 3 how it ended, 4 new sizes of the terminal; in version 5 a message
//! `[255, n]` closes channel n. Input and output run independently, so that a process that stops reading can still be heard.
//!
//! Source: `spec/api.md` §4.2; kubernetes `apimachinery/pkg/util/remotecommand`, `kubelet/pkg/cri/streaming/remotecommand`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rota_api::ApiError;
use serde_json::{Value, json};
use tokio::io::{self, AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::websocket::{self, Kind, Message, Reader};
use crate::node_access::{Output, Session, SessionOptions, TerminalSize};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// How many answers to pings may wait to be written.
const PONGS_MAX: usize = 16;

/// The protocols that are spoken, as clients name them.
pub(crate) const PROTOCOLS: [&str; 7] = [
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v3.channel.k8s.io",
    "v2.channel.k8s.io",
    "channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "base64.channel.k8s.io",
];

/// What differs between the protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Protocol {
    /// The end is told as a `Status` in JSON, not as text.
    status: bool,
    /// Messages are text: channel as a digit, content in base64.
    base64: bool,
}

impl Protocol {
    /// The protocol of that name; the oldest one without a name.
    pub(crate) fn of(name: Option<&str>) -> Self {
        let name = name.unwrap_or_default();
        Self {
            status: name.starts_with("v4") || name.starts_with("v5"),
            base64: name.contains("base64"),
        }
    }

    pub(super) fn encode(self, channel: u8, content: &[u8]) -> (Kind, Vec<u8>) {
        if self.base64 {
            let mut text = vec![b'0' + channel];
            text.extend_from_slice(STANDARD.encode(content).as_bytes());
            return (Kind::Text, text);
        }
        let mut message = Vec::with_capacity(content.len() + 1);
        message.push(channel);
        message.extend_from_slice(content);
        (Kind::Binary, message)
    }

    /// Channel and content of a message; `None` when it is none.
    pub(super) fn decode(self, message: &Bytes) -> Option<(u8, Bytes)> {
        let channel = *message.first()?;
        if self.base64 {
            let content = STANDARD.decode(message.get(1..)?).ok()?;
            return Some((channel.checked_sub(b'0')?, content.into()));
        }
        Some((channel, message.slice(1..)))
    }
}

/// Carries a session to its end, or until the client leaves or the server ends.
pub(crate) async fn carry<C>(
    connection: C,
    protocol: Protocol,
    options: SessionOptions,
    mut session: Session,
    ending: CancellationToken,
) where
    C: AsyncRead + AsyncWrite + Send + 'static,
{
    let (input, mut output) = io::split(connection);
    let (pong, pongs) = mpsc::channel(PONGS_MAX);
    let inputs = Inputs {
        stdin: session.stdin.take(),
        resize: session.resize.take(),
        pong,
    };
    let gone = CancellationToken::new();
    let reading = tokio::spawn({
        let gone = gone.clone().drop_guard();
        async move {
            let _gone = gone;
            inputs.read(Reader::new(input), protocol).await;
        }
    });
    let written = tokio::select! {
        written = write(&mut output, protocol, &options, session, pongs) => written,
        () = gone.cancelled() => Ok(()),
        () = ending.cancelled() => Ok(()),
    };
    if let Err(error) = written {
        tracing::debug!(%error, "a session's client left");
    }
    let _ = websocket::write(&mut output, Kind::Close, &1000_u16.to_be_bytes()).await;
    reading.abort();
}

/// Where what the client sends goes.
struct Inputs {
    stdin: Option<mpsc::Sender<Bytes>>,
    resize: Option<mpsc::Sender<TerminalSize>>,
    pong: mpsc::Sender<Bytes>,
}

impl Inputs {
    /// Hands on what comes until the client leaves.
    async fn read(mut self, mut reader: Reader<impl AsyncRead + Unpin>, protocol: Protocol) {
        loop {
            let message = match reader.next().await {
                Ok(Message::Data(message)) => message,
                Ok(Message::Ping(content)) => {
                    // More pings than can be answered need no more answers.
                    let _ = self.pong.try_send(content);
                    continue;
                }
                Ok(Message::Close) | Err(_) => return,
            };
            match protocol.decode(&message) {
                Some((STDIN, content)) if !content.is_empty() => {
                    if let Some(stdin) = &self.stdin
                        && stdin.send(content).await.is_err()
                    {
                        self.stdin = None;
                    }
                }
                Some((RESIZE, content)) => {
                    if let (Some(resize), Some(size)) = (&self.resize, terminal_size(&content)) {
                        let _ = resize.send(size).await;
                    }
                }
                Some((CLOSE, content)) if content.first() == Some(&STDIN) => self.stdin = None,
                _ => {}
            }
        }
    }
}

/// The size in a message like `{"Width":80,"Height":24}`.
pub(super) fn terminal_size(json: &[u8]) -> Option<TerminalSize> {
    let size: Value = serde_json::from_slice(json).ok()?;
    let field = |name: &str| u16::try_from(size[name].as_u64()?).ok();
    Some(TerminalSize {
        width: field("Width")?,
        height: field("Height")?,
    })
}

/// Sends output until it ends, then how it ended.
async fn write(
    output: &mut (impl AsyncWrite + Unpin),
    protocol: Protocol,
    options: &SessionOptions,
    session: Session,
    mut pongs: mpsc::Receiver<Bytes>,
) -> io::Result<()> {
    // An empty message opens each channel: clients wait for it.
    for (channel, wanted) in [(STDOUT, options.stdout), (STDERR, options.stderr), (ERROR, true)] {
        if wanted {
            send(output, protocol, channel, b"").await?;
        }
    }
    let Session {
        output: mut outputs,
        exit,
        ..
    } = session;
    loop {
        tokio::select! {
            piece = outputs.recv() => match piece {
                Some(Output::Stdout(bytes)) => send(output, protocol, STDOUT, &bytes).await?,
                Some(Output::Stderr(bytes)) => send(output, protocol, STDERR, &bytes).await?,
                None => break,
            },
            Some(content) = pongs.recv() => websocket::write(output, Kind::Pong, &content).await?,
        }
    }
    let ended = exit
        .await
        .unwrap_or_else(|_| Err(ApiError::internal("the node lost the process")));
    send(output, protocol, ERROR, end_of(protocol.status, &ended).as_bytes()).await
}

async fn send(
    output: &mut (impl AsyncWrite + Unpin),
    protocol: Protocol,
    channel: u8,
    content: &[u8],
) -> io::Result<()> {
    let (kind, message) = protocol.encode(channel, content);
    websocket::write(output, kind, &message).await
}

/// How a process ended, as clients are told: as a `Status` in JSON or, in older protocols, as text.
pub(super) fn end_of(as_status: bool, ended: &Result<i32, ApiError>) -> String {
    let text = |code: i32| format!("command terminated with non-zero exit code: {code}");
    match ended {
        Ok(0) if as_status => json!({"metadata": {}, "status": "Success"}).to_string(),
        Ok(code) if as_status => json!({
            "metadata": {},
            "status": "Failure",
            "message": text(*code),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        })
        .to_string(),
        Err(error) if as_status => error.to_value().to_string(),
        Ok(0) => String::new(),
        Ok(code) => text(*code),
        Err(error) => error.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_a_byte_or_a_digit_before_base64() {
        let binary = Protocol::of(Some("v5.channel.k8s.io"));
        assert_eq!(binary.encode(1, b"hi"), (Kind::Binary, b"\x01hi".to_vec()));
        assert_eq!(binary.decode(&"\0x".into()), Some((0, "x".into())));
        let text = Protocol::of(Some("v4.base64.channel.k8s.io"));
        assert_eq!(text.encode(1, b"hi"), (Kind::Text, b"1aGk=".to_vec()));
        assert_eq!(text.decode(&"0aGk=".into()), Some((0, "hi".into())));
        assert_eq!(binary.decode(&Bytes::new()), None);
    }

    #[tokio::test]
    async fn output_comes_before_the_exit_code() {
        let (mut client, server) = io::duplex(4096);
        let (out, output) = mpsc::channel(4);
        let (exit, exited) = tokio::sync::oneshot::channel();
        out.try_send(Output::Stdout("hello".into())).unwrap();
        drop(out);
        exit.send(Ok(3)).unwrap();
        let session = Session {
            stdin: None,
            output,
            resize: None,
            exit: exited,
        };
        let options = SessionOptions {
            stdout: true,
            ..SessionOptions::default()
        };
        let protocol = Protocol::of(Some("v5.channel.k8s.io"));
        carry(server, protocol, options, session, CancellationToken::new()).await;
        let mut received = Vec::new();
        io::AsyncReadExt::read_to_end(&mut client, &mut received).await.unwrap();
        let text = String::from_utf8_lossy(&received);
        assert!(received.starts_with(&[0x82, 1, STDOUT, 0x82, 1, ERROR, 0x82, 6, STDOUT]));
        assert!(text.contains("hello") && text.contains("NonZeroExitCode"), "{text}");
    }
}
