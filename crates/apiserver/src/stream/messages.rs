//! A reply that comes in pieces, as messages of a WebSocket: watches and logs.
//!
//! What the client says is not read, except that it pings or leaves.
//! Source: kubernetes `apiserver/pkg/endpoints/handlers/watch.go` (`HandleWS`), `apimachinery/pkg/util/httpstream/wsstream`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::io::{self, AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::websocket::{self, Kind, Message, Reader};

/// How many pings may wait to be answered.
const PINGS_MAX: usize = 16;

/// The protocols in which pieces are bytes of a text, as clients name them.
pub(crate) const PROTOCOLS: [&str; 2] = ["binary.k8s.io", "base64.binary.k8s.io"];

/// How a piece becomes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As text.
    Text,
    /// As bytes.
    Binary,
    /// As text in base64.
    Base64,
}

impl Form {
    /// The form of the protocol of that name; bytes without a name.
    pub(crate) fn of(protocol: Option<&str>) -> Self {
        match protocol {
            Some("base64.binary.k8s.io") => Self::Base64,
            _ => Self::Binary,
        }
    }
}

/// Sends each piece as a message, until there are no more or the client leaves.
pub(crate) async fn carry<C>(connection: C, form: Form, pieces: impl Stream<Item = Bytes> + Send)
where
    C: AsyncRead + AsyncWrite + Send + 'static,
{
    let (input, mut output) = io::split(connection);
    let (ping, mut pings) = mpsc::channel::<Bytes>(PINGS_MAX);
    // Ends when the client leaves, and with the connection; its end closes the channel.
    let reading = tokio::spawn(async move {
        let mut reader = Reader::new(input);
        loop {
            match reader.next().await {
                Ok(Message::Data(_)) => {}
                // More pings than can be answered need no more answers.
                Ok(Message::Ping(content)) => drop(ping.try_send(content)),
                Ok(Message::Close) | Err(_) => return,
            }
        }
    });
    let mut pieces = std::pin::pin!(pieces);
    loop {
        let sent = tokio::select! {
            piece = pieces.next() => match (piece, form) {
                (None, _) => break,
                (Some(piece), Form::Text) => websocket::write(&mut output, Kind::Text, &piece).await,
                (Some(piece), Form::Binary) => websocket::write(&mut output, Kind::Binary, &piece).await,
                (Some(piece), Form::Base64) => {
                    websocket::write(&mut output, Kind::Text, STANDARD.encode(piece).as_bytes()).await
                }
            },
            content = pings.recv() => match content {
                Some(content) => websocket::write(&mut output, Kind::Pong, &content).await,
                None => break,
            },
        };
        if sent.is_err() {
            break;
        }
    }
    // A client that has left does not hear it.
    let _ = websocket::write(&mut output, Kind::Close, &1000_u16.to_be_bytes()).await;
    let _ = output.shutdown().await;
    reading.abort();
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn each_piece_is_a_message_and_the_end_is_told() {
        let (client, server) = io::duplex(1024);
        let pieces = futures::stream::iter([Bytes::from("ab"), Bytes::from("c")]);
        let (mut client, _input) = io::split(client);
        carry(server, Form::Base64, pieces).await;
        let mut got = vec![0; 16];
        client.read_exact(&mut got).await.unwrap();
        assert_eq!(got, b"\x81\x04YWI=\x81\x04Yw==\x88\x02\x03\xe8");
    }

    #[tokio::test]
    async fn a_client_that_leaves_ends_it() {
        let (client, server) = io::duplex(1024);
        let carried = tokio::spawn(carry(server, Form::Text, futures::stream::pending()));
        drop(client);
        carried.await.unwrap();
    }
}
