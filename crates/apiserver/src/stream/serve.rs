//! From a request that wants its connection to go on in another protocol to the session or connections that it carries.
//!
//! Who may ask, and for which container, was decided before. Source: `spec/api.md` §4.2, §4.3.

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::HeaderMap;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use rota_api::{ApiError, Reason};
use tokio_util::sync::CancellationToken;

use super::messages::{self, Form};
use super::session::Protocol;
use super::{channels, ports, session, streams, websocket};
use crate::node_access::{ContainerRef, NodeAccess, SessionOptions};
use crate::reply::Reply;

/// Ports that one request may name.
const PORTS_MAX: usize = 64;

/// A request that can go on in another protocol.
pub(crate) struct Switch<'a> {
    pub(crate) headers: &'a HeaderMap,
    /// The connection itself, once the reply has switched protocols.
    pub(crate) upgrade: Option<OnUpgrade>,
    pub(crate) nodes: Arc<dyn NodeAccess>,
    /// Cancelled when the server ends.
    pub(crate) ending: CancellationToken,
}

/// Runs a command in a container or attaches to its process, over a WebSocket or SPDY.
///
/// Errors: 400 and 403 for requests that cannot be met; what the node says.
pub(crate) async fn session(
    mut switch: Switch<'_>,
    container: ContainerRef,
    options: SessionOptions,
    attach: bool,
) -> Result<Reply, ApiError> {
    if !(options.stdin || options.stdout || options.stderr) {
        return Err(ApiError::bad_request(
            "you must specify at least 1 of stdin, stdout, stderr",
        ));
    }
    if options.command.is_empty() && !attach {
        return Err(ApiError::bad_request(
            "you must specify at least one command for the container",
        ));
    }
    let (nodes, ending) = (Arc::clone(&switch.nodes), switch.ending.clone());
    let open = {
        let options = options.clone();
        async move {
            if attach {
                nodes.attach(&container, options).await
            } else {
                nodes.exec(&container, options).await
            }
        }
    };
    if super::wants_spdy(switch.headers) {
        return match super::accept_spdy(switch.headers, &streams::PROTOCOLS) {
            Ok((reply, protocol)) => switch.go_on(reply, move |connection| {
                streams::carry(connection, protocol, options, open, ending)
            }),
            Err(refusal) => Ok(*refusal),
        };
    }
    if !websocket::is_wanted(switch.headers) {
        return Err(upgrade_required());
    }
    let protocol = websocket::choose_protocol(switch.headers, &session::PROTOCOLS)?;
    let reply = websocket::accept(switch.headers, protocol)?;
    // Opened before the protocol is switched: what cannot be opened is refused like any other request.
    let opened = open.await?;
    let protocol = Protocol::of(protocol);
    switch.go_on(reply, move |connection| {
        session::carry(connection, protocol, options, opened, ending)
    })
}

/// Connects to ports of a pod: over SPDY, SPDY inside of a WebSocket, or numbered channels of a WebSocket for the ports that
/// the request names.
///
/// Errors: 400 and 403 for requests that cannot be met.
pub(crate) fn ports(mut switch: Switch<'_>, container: ContainerRef, asked: &[u16]) -> Result<Reply, ApiError> {
    let (nodes, ending) = (Arc::clone(&switch.nodes), switch.ending.clone());
    if super::wants_spdy(switch.headers) {
        return match super::accept_spdy(switch.headers, &[ports::PROTOCOL]) {
            Ok((reply, _)) => switch.go_on(reply, move |connection| {
                ports::forward(connection, nodes, container, ending)
            }),
            Err(refusal) => Ok(*refusal),
        };
    }
    if !websocket::is_wanted(switch.headers) {
        return Err(upgrade_required());
    }
    let mut supported = vec![ports::TUNNEL_PROTOCOL];
    supported.extend(channels::PROTOCOLS);
    let protocol = websocket::choose_protocol(switch.headers, &supported)?;
    let reply = websocket::accept(switch.headers, protocol)?;
    if protocol == Some(ports::TUNNEL_PROTOCOL) {
        return switch.go_on(reply, move |connection| {
            ports::forward(websocket::tunnel(connection), nodes, container, ending)
        });
    }
    if asked.is_empty() {
        return Err(ApiError::bad_request("query parameter \"port\" is required"));
    }
    let (protocol, asked) = (Protocol::of(protocol), asked.to_vec());
    switch.go_on(reply, move |connection| {
        channels::forward(connection, protocol, asked, nodes, container, ending)
    })
}

/// Sends the pieces of a log as messages of a WebSocket.
///
/// Errors: 400 and 403 for requests that are no handshake.
pub(crate) fn log(
    mut switch: Switch<'_>,
    pieces: impl Stream<Item = Bytes> + Send + 'static,
) -> Result<Reply, ApiError> {
    let protocol = websocket::choose_protocol(switch.headers, &messages::PROTOCOLS)?;
    let reply = websocket::accept(switch.headers, protocol)?;
    let form = Form::of(protocol);
    // An empty message comes first: the client sees that the log has begun, though nothing may have been written yet.
    let pieces = stream::once(async { Bytes::new() }).chain(pieces);
    switch.go_on(reply, move |connection| messages::carry(connection, form, pieces))
}

/// Sends the events of a watch as messages of a WebSocket. Whatever single protocol the client names is agreed to. It has to
/// say on whose behalf it watches, as the library wants it that upstream's watches use.
///
/// Errors: 400 for requests that are no handshake or name several protocols, 403 without an `Origin`.
pub(crate) fn watch(
    mut switch: Switch<'_>,
    form: Form,
    events: impl Stream<Item = Bytes> + Send + 'static,
) -> Result<Reply, ApiError> {
    if !switch.headers.contains_key(http::header::ORIGIN) {
        let message = "unable to upgrade: the WebSocket handshake has no Origin header";
        return Err(ApiError::new(Reason::Forbidden, message));
    }
    let named: Vec<&str> = websocket::offered(switch.headers);
    let protocol = match named.as_slice() {
        [] => None,
        [one] => Some(*one),
        _ => {
            return Err(ApiError::bad_request(
                "unable to upgrade: a watch agrees to one protocol only",
            ));
        }
    };
    let reply = websocket::accept(switch.headers, protocol)?;
    switch.go_on(reply, move |connection| messages::carry(connection, form, events))
}

/// The ports that a request names, in lists separated by commas.
///
/// Errors: 400 for what is no port, and for more of them than anybody needs.
pub(crate) fn asked_ports<'a>(lists: impl Iterator<Item = &'a str>) -> Result<Vec<u16>, ApiError> {
    let words = lists.flat_map(|list| list.split(','));
    let ports: Result<Vec<u16>, ApiError> = words
        .map(|word| {
            let port: Option<u16> = word.trim().parse().ok();
            port.filter(|port| *port != 0)
                .ok_or_else(|| ApiError::bad_request(format!("unable to parse {word:?} as a port")))
        })
        .collect();
    let ports = ports?;
    match ports.len() {
        ..=PORTS_MAX => Ok(ports),
        many => Err(ApiError::bad_request(format!(
            "{many} ports are more than the {PORTS_MAX} of one request"
        ))),
    }
}

fn upgrade_required() -> ApiError {
    ApiError::bad_request("Upgrade request required: connect with a WebSocket or SPDY/3.1")
}

impl Switch<'_> {
    /// Goes on with the connection once the reply was sent.
    fn go_on<F>(
        &mut self,
        reply: Reply,
        carry: impl FnOnce(TokioIo<Upgraded>) -> F + Send + 'static,
    ) -> Result<Reply, ApiError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let upgrade = self
            .upgrade
            .take()
            .ok_or_else(|| ApiError::bad_request("this connection cannot be upgraded: use HTTP/1.1"))?;
        tokio::spawn(async move {
            match upgrade.await {
                Ok(connection) => carry(TokioIo::new(connection)).await,
                Err(error) => tracing::debug!(%error, "a client left before its session began"),
            }
        });
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_named_once_or_in_lists() {
        assert_eq!(asked_ports(["80", "81,82"].into_iter()).unwrap(), [80, 81, 82]);
        for wrong in ["0", "x", "70000", ""] {
            assert_eq!(asked_ports([wrong].into_iter()).unwrap_err().code(), 400, "{wrong:?}");
        }
    }
}
