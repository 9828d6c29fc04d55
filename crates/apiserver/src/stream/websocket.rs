//! WebSocket (RFC 6455), the server's side: the handshake and messages of bounded size.
//!
//! What messages mean is not known here. Pings are answered by whoever writes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, StatusCode};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rota_api::ApiError;
use tokio::io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::authentication::TOKEN_PROTOCOL_PREFIX;
use crate::body::Body;
use crate::reply::{self, Reply};

/// The largest message that is read. Unit: bytes.
const MESSAGE_SIZE_MAX: usize = 4 * 1024 * 1024;
/// What RFC 6455 §1.3 appends to the client's key.
const ACCEPT_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A message from the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// Text or bytes.
    Data(Bytes),
    /// To be answered with a pong of the same content.
    Ping(Bytes),
    /// The client is about to leave.
    Close,
}

/// What kind of frame is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text.
    Text = 1,
    /// Bytes.
    Binary = 2,
    /// The end.
    Close = 8,
    /// The answer to a ping.
    Pong = 10,
}

/// True when a request wants to become a WebSocket.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    super::wants(headers, "websocket")
}

/// The protocols that the client names, in its order.
pub(crate) fn offered(headers: &HeaderMap) -> Vec<&str> {
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|protocol| !protocol.is_empty() && !protocol.starts_with(TOKEN_PROTOCOL_PREFIX))
        .collect()
}

/// The first protocol of the client that is among `supported`; `None` inside when the client names none.
///
/// Errors: 403 when the client names others only.
pub(crate) fn choose_protocol(
    headers: &HeaderMap,
    supported: &[&'static str],
) -> Result<Option<&'static str>, ApiError> {
    let offered = offered(headers);
    let chosen = offered
        .iter()
        .find_map(|protocol| supported.iter().find(|name| *name == protocol));
    if chosen.is_none() && !offered.is_empty() {
        return Err(ApiError::new(
            rota_api::Reason::Forbidden,
            format!("unable to upgrade: none of the protocols {offered:?} is supported"),
        ));
    }
    Ok(chosen.copied())
}

/// The reply that makes the connection a WebSocket.
///
/// Errors: 400 when the request is no handshake.
pub(crate) fn accept(headers: &HeaderMap, protocol: Option<&str>) -> Result<Reply, ApiError> {
    let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
    let version = headers
        .get(SEC_WEBSOCKET_VERSION)
        .and_then(|version| version.to_str().ok());
    let (Some(key), Some("13")) = (key, version) else {
        return Err(ApiError::bad_request(
            "the WebSocket handshake is not one of version 13",
        ));
    };
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{ACCEPT_SUFFIX}").as_bytes());
    let mut reply = Reply::new(Body::empty());
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    reply::set(&mut reply, CONNECTION, "Upgrade");
    reply::set(&mut reply, UPGRADE, "websocket");
    reply::set(&mut reply, SEC_WEBSOCKET_ACCEPT, &STANDARD.encode(hash));
    if let Some(protocol) = protocol {
        reply::set(&mut reply, SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Ok(reply)
}

/// Reads messages.
pub(crate) struct Reader<R> {
    input: R,
    /// What came of a message whose last fragment is still missing.
    begun: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            begun: Vec::new(),
        }
    }

    /// The next message, put together from its fragments.
    ///
    /// Errors: the connection ends, or breaks the protocol or its limits.
    pub(crate) async fn next(&mut self) -> io::Result<Message> {
        loop {
            let frame = read_frame(&mut self.input, MESSAGE_SIZE_MAX - self.begun.len()).await?;
            match frame.opcode {
                0..=2 => {
                    self.begun.extend_from_slice(&frame.payload);
                    if frame.is_last {
                        return Ok(Message::Data(std::mem::take(&mut self.begun).into()));
                    }
                }
                8 => return Ok(Message::Close),
                9 => return Ok(Message::Ping(frame.payload.into())),
                10 => {}
                _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of unknown kind")),
            }
        }
    }
}

struct Frame {
    is_last: bool,
    opcode: u8,
    payload: Vec<u8>,
}

async fn read_frame(input: &mut (impl AsyncRead + Unpin), size_max: usize) -> io::Result<Frame> {
    let broken = |why| io::Error::new(io::ErrorKind::InvalidData, why);
    let mut head = [0; 2];
    input.read_exact(&mut head).await?;
    let [first, second] = head;
    if second & 0x80 == 0 {
        return Err(broken("a client's frame that is not masked"));
    }
    let size = match second & 0x7f {
        126 => u64::from(input.read_u16().await?),
        127 => input.read_u64().await?,
        short => u64::from(short),
    };
    let size = usize::try_from(size)
        .ok()
        .filter(|size| *size <= size_max)
        .ok_or_else(|| broken("a message too large"))?;
    let mut mask = [0; 4];
    input.read_exact(&mut mask).await?;
    let mut payload = vec![0; size];
    input.read_exact(&mut payload).await?;
    payload
        .iter_mut()
        .zip(mask.iter().cycle())
        .for_each(|(byte, mask)| *byte ^= mask);
    Ok(Frame {
        is_last: first & 0x80 != 0,
        opcode: first & 0x0f,
        payload,
    })
}

/// Writes a message as one frame.
///
/// Errors: the connection ends.
pub(crate) async fn write(output: &mut (impl AsyncWrite + Unpin), kind: Kind, payload: &[u8]) -> io::Result<()> {
    const LAST: u8 = 0x80;
    let mut frame = Vec::with_capacity(payload.len() + 10);
    frame.push(LAST | kind as u8);
    match payload.len() {
        size @ ..=125 => frame.push(size as u8),
        size @ 126..=0xffff => {
            frame.push(126);
            frame.extend_from_slice(&(size as u16).to_be_bytes());
        }
        size => {
            frame.push(127);
            frame.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    output.write_all(&frame).await?;
    output.flush().await
}

/// How much of a tunnelled stream is sent as one message, and how much may wait. Unit: bytes.
const TUNNEL_PIECE_SIZE: usize = 32 * 1024;
const TUNNEL_BUFFER_SIZE: usize = 256 * 1024;
/// How many pings may wait to be answered.
const PINGS_MAX: usize = 16;

/// The byte stream that a WebSocket's messages carry.
pub(crate) fn tunnel<C>(connection: C) -> io::DuplexStream
where
    C: AsyncRead + AsyncWrite + Send + 'static,
{
    let (ours, theirs) = io::duplex(TUNNEL_BUFFER_SIZE);
    let (input, mut output) = io::split(connection);
    let (mut outgoing, mut incoming) = io::split(theirs);
    let (ping, mut pings) = mpsc::channel::<Bytes>(PINGS_MAX);
    tokio::spawn(async move {
        let mut reader = Reader::new(input);
        loop {
            match reader.next().await {
                Ok(Message::Data(bytes)) => {
                    if incoming.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                // More pings than can be answered need no more answers.
                Ok(Message::Ping(content)) => drop(ping.try_send(content)),
                Ok(Message::Close) | Err(_) => {
                    let _ = incoming.shutdown().await;
                    return;
                }
            }
        }
    });
    tokio::spawn(async move {
        let mut buffer = vec![0; TUNNEL_PIECE_SIZE];
        loop {
            let sent = tokio::select! {
                read = outgoing.read(&mut buffer) => match read {
                    Ok(size @ 1..) => write(&mut output, Kind::Binary, buffer.get(..size).unwrap_or_default()).await,
                    Ok(0) | Err(_) => break,
                },
                Some(content) = pings.recv() => write(&mut output, Kind::Pong, &content).await,
            };
            if sent.is_err() {
                return;
            }
        }
        let _ = write(&mut output, Kind::Close, &1000_u16.to_be_bytes()).await;
        let _ = output.shutdown().await;
    });
    ours
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![first, 0x80 | payload.len() as u8];
        frame.extend_from_slice(&mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    #[tokio::test]
    async fn fragments_are_one_message_and_pings_come_between() {
        let input = [masked(0x02, b"ab"), masked(0x89, b"p"), masked(0x80, b"cd")].concat();
        let mut reader = Reader::new(input.as_slice());
        assert_eq!(reader.next().await.unwrap(), Message::Ping("p".into()));
        assert_eq!(reader.next().await.unwrap(), Message::Data("abcd".into()));
    }

    #[tokio::test]
    async fn frames_that_break_the_protocol_end_the_connection() {
        for input in [
            vec![0x82, 0x01, b'a'],
            vec![0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        ] {
            assert!(Reader::new(input.as_slice()).next().await.is_err());
        }
    }

    #[test]
    fn the_handshake_is_answered_as_the_standard_shows_it() {
        let headers = HeaderMap::from_iter([
            (SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==".parse().unwrap()),
            (SEC_WEBSOCKET_VERSION, "13".parse().unwrap()),
        ]);
        let reply = accept(&headers, None).unwrap();
        assert_eq!(reply.headers()[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
