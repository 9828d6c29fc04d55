//! Connections that outlive their request: sessions in containers and connections to ports.
//!
//! Two protocols carry them. [`websocket`] is one stream of messages: [`session`] numbers the streams of a process in them,
//! [`channels`] those of connections to ports. [`spdy`] is many streams: [`streams`] gives each of a process its own, [`ports`]
//! each connection to a port two. [`messages`] are the pieces of a watch or a log. [`serve`] finds out which of them a request wants.

pub(crate) mod channels;
pub(crate) mod messages;
pub(crate) mod ports;
pub(crate) mod serve;
pub(crate) mod session;
pub(crate) mod spdy;
pub(crate) mod streams;
pub(crate) mod websocket;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderName, StatusCode};

use crate::body::Body;
use crate::reply::{self, Reply};

pub(crate) const SPDY: &str = "SPDY/3.1";
pub(crate) const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const ACCEPTED_STREAM_PROTOCOLS: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");

/// True when a request wants its connection to go on in that protocol.
fn wants(headers: &HeaderMap, protocol: &str) -> bool {
    let has = |name, word: &str| words(headers, name).any(|value| value.eq_ignore_ascii_case(word));
    has(CONNECTION, "upgrade") && has(UPGRADE, protocol)
}

fn words(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// True when a request wants to go on in SPDY.
pub(crate) fn wants_spdy(headers: &HeaderMap) -> bool {
    wants(headers, SPDY)
}

/// The reply that goes on in SPDY, and the protocol spoken in it: the first supported one that the client knows too.
///
/// Errors: the reply to clients that know none of them.
pub(crate) fn accept_spdy(
    headers: &HeaderMap,
    supported: &[&'static str],
) -> Result<(Reply, &'static str), Box<Reply>> {
    let known: Vec<&str> = words(headers, STREAM_PROTOCOL).collect();
    let Some(chosen) = supported.iter().find(|name| known.contains(name)) else {
        let mut refusal = reply::text(StatusCode::FORBIDDEN, "unable to upgrade: no stream protocol in common");
        reply::set(&mut refusal, ACCEPTED_STREAM_PROTOCOLS, &supported.join(", "));
        return Err(Box::new(refusal));
    };
    let mut accepted = Reply::new(Body::empty());
    *accepted.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    reply::set(&mut accepted, CONNECTION, "Upgrade");
    reply::set(&mut accepted, UPGRADE, SPDY);
    reply::set(&mut accepted, STREAM_PROTOCOL, chosen);
    Ok((accepted, chosen))
}
