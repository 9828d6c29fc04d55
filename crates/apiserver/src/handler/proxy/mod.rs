//! `pods/proxy`, `services/proxy` and `nodes/proxy`: HTTP requests to what runs there, through the server.
//!
//! A pod is reached as for port forwarding, so its node need not be reachable from the client. A Service stands for one of
//! the ready pods that it selects. A node answers as its own endpoint does: a stock kubelet itself, the server in the name of
//! ours. It is connected to where another port is asked for. Over TLS nobody has to prove who they are. What changes protocols
//! goes on through the server as bytes.
//! Not known here: what is said. Not done: links in HTML are left as they are.
//!
//! Source: kubernetes `pkg/registry/core/{pod,service,node}/rest`, `apimachinery/pkg/util/proxy/{transport,upgradeaware}.go`.

mod target;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, StatusCode, Uri};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rota_api::{ApiError, Reason, Resource, resource};
use rota_registry::ListOptions;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::body::Body;
use crate::front::{Front, Request};
use crate::kubelet::server::{self, NodeApi};
use crate::node_access::{Connection, ContainerRef};
use crate::pki::tls;
use crate::reply::{self, Reply};
use target::{Asked, PodPort};

/// Headers that are about one connection only, beside those that it names itself.
const OF_CONNECTION: [HeaderName; 7] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];
/// Headers by which an answer would open this server to the pages of others.
const OF_ORIGINS: [HeaderName; 4] = [
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN,
];
/// How long a node may take to answer a call. Source: kubernetes `pkg/kubeapiserver`, the proxy's dialer.
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// What headers begin with that say as whom a request is made.
const IMPERSONATE: &str = "impersonate-";
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// Passes a request on and its answer back.
///
/// Errors: 404 without the object, 400 and 503 for what cannot be reached.
pub(super) async fn handle(
    front: &Arc<Front>,
    request: Request,
    resource: &'static Resource,
) -> Result<Reply, ApiError> {
    let name = request.info.name.clone();
    let asked = Asked::parse(resource, &name)?;
    if resource == resource::NODES {
        return match target::of_node(front, &asked)? {
            None => match front.nodes.endpoint(asked.name).await? {
                Some(connection) => pass(front, request, connection, false, Ipv4Addr::UNSPECIFIED.into()).await,
                None => node(front, request, asked.name).await,
            },
            Some(port) => {
                let connecting = TcpStream::connect((port.address, port.port));
                let connected = tokio::time::timeout(CONNECT_MAX, connecting)
                    .await
                    .map_err(unreachable)?;
                let connection = connected.map_err(unreachable)?;
                pass(front, request, Box::new(connection), asked.is_secure, port.address).await
            }
        };
    }
    let namespace = request.info.namespace.clone();
    let PodPort { pod, port } = match resource == resource::PODS {
        true => target::of_pod(front, &namespace, &asked)?,
        false => target::behind_service(front, &namespace, &asked).await?,
    };
    let container = ContainerRef {
        node: pod.meta().node.clone(),
        namespace,
        pod: pod.meta().name.clone(),
        uid: pod.meta().uid.clone(),
        container: String::new(),
    };
    if container.node.is_empty() {
        return Err(unreachable("the pod is on no node"));
    }
    let connection = front.nodes.port_forward(&container, port).await;
    // That nobody listens is no fault of this server.
    let connection = connection.map_err(|error| match error.reason() {
        Reason::InternalError => unreachable(error.message()),
        _ => error,
    })?;
    let address = pod.to_value()["status"]["podIP"]
        .as_str()
        .and_then(|ip| ip.parse().ok());
    let address = address.unwrap_or(IpAddr::from(Ipv4Addr::UNSPECIFIED));
    pass(front, request, connection, asked.is_secure, address).await
}

/// What a node says of itself, as its endpoint would.
async fn node(front: &Arc<Front>, mut request: Request, name: &str) -> Result<Reply, ApiError> {
    if request.info.rest == ["pods"] {
        let options = ListOptions {
            fields: format!("spec.nodeName={name}"),
            ..ListOptions::default()
        };
        let pods = front.registry.list(resource::PODS, &options).await?.items;
        let pods: Vec<Value> = pods.iter().map(|pod| pod.to_value()).collect();
        let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods});
        return Ok(reply::with_type(StatusCode::OK, "application/json", list.to_string()));
    }
    let api = NodeApi {
        node: name.to_owned(),
        nodes: Arc::clone(&front.nodes),
        ending: front.ending.clone(),
    };
    let asked = server::Asked {
        path: &request.info.rest.join("/"),
        query: &request.query,
        headers: &request.headers,
        upgrade: request.upgrade.take(),
    };
    Ok(api.answer(asked).await)
}

/// Makes the request over a connection of its own. `address` is where that leads, for those who look at names.
async fn pass(
    front: &Front,
    mut request: Request,
    connection: Box<dyn Connection>,
    is_secure: bool,
    address: IpAddr,
) -> Result<Reply, ApiError> {
    let wants_upgrade = has_word(&request.headers, &CONNECTION, "upgrade");
    if !wants_upgrade && request.info.rest.is_empty() && !request.info.path.ends_with('/') && reads(&request.method) {
        return Ok(to_directory(&request));
    }
    let connection: Box<dyn Connection> = match is_secure {
        false => connection,
        true => {
            let config = tls::client_without_identity().map_err(unreachable)?;
            let name = ServerName::IpAddress(address.into());
            let secured = TlsConnector::from(config).connect(name, connection).await;
            Box::new(secured.map_err(unreachable)?)
        }
    };
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(connection)).await;
    let (mut sender, connection) = handshake.map_err(unreachable)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a proxied connection ended early");
        }
    });
    let body = request
        .body
        .take()
        .map_or_else(|| Either::Right(Empty::<Bytes>::new()), Either::Left);
    let mut outgoing = http::Request::new(body);
    *outgoing.method_mut() = request.method.clone();
    *outgoing.uri_mut() = target(&request).map_err(|_| ApiError::bad_request("the path cannot be passed on"))?;
    *outgoing.headers_mut() = outgoing_headers(&request, wants_upgrade);
    let mut answer = sender.send_request(outgoing).await.map_err(unreachable)?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return switch(front, &mut request, &mut answer);
    }
    let (parts, body) = answer.into_parts();
    let mut reply = Reply::new(Body::PassedOn(body));
    *reply.status_mut() = parts.status;
    let mut headers = passed_on(&parts.headers);
    for name in OF_ORIGINS {
        headers.remove(name);
    }
    if let Some(moved) = headers.get(LOCATION).and_then(|location| location.to_str().ok())
        && let Ok(moved) = HeaderValue::from_str(&through_here(moved, &prefix(&request), own_host(&request)))
    {
        headers.insert(LOCATION, moved);
    }
    *reply.headers_mut() = headers;
    Ok(reply)
}

/// Goes on with both connections as one.
fn switch(front: &Front, request: &mut Request, answer: &mut http::Response<Incoming>) -> Result<Reply, ApiError> {
    let upgrade = request.upgrade.take();
    let here = upgrade.ok_or_else(|| ApiError::bad_request("this connection cannot be upgraded: use HTTP/1.1"))?;
    let there = hyper::upgrade::on(&mut *answer);
    let ending = front.ending.clone();
    tokio::spawn(async move {
        let joined = async {
            let (here, there) = tokio::try_join!(here, there)?;
            let (mut here, mut there) = (TokioIo::new(here), TokioIo::new(there));
            // Whoever breaks off ends it for both.
            let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
            Ok::<_, hyper::Error>(())
        };
        tokio::select! {
            joined = joined => if let Err(error) = joined {
                tracing::debug!(%error, "one side left before the protocol was changed");
            },
            () = ending.cancelled() => {}
        }
    });
    let mut reply = Reply::new(Body::empty());
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    reply.headers_mut().clone_from(answer.headers());
    Ok(reply)
}

/// True for requests that can be sent on to another place without loss.
fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Sends those who ask for nothing in particular to where relative links lead on from.
fn to_directory(request: &Request) -> Reply {
    let query = request.query.encoded();
    let query = if query.is_empty() { query } else { format!("?{query}") };
    let mut reply = Reply::new(Body::empty());
    *reply.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(place) = HeaderValue::from_str(&format!("{}/{query}", prefix(request))) {
        reply.headers_mut().insert(LOCATION, place);
    }
    reply
}

/// The path of the request up to and with `proxy`.
fn prefix(request: &Request) -> String {
    let words: Vec<&str> = request.info.path.trim_matches('/').split('/').collect();
    let own = &words[..words.len().saturating_sub(request.info.rest.len())];
    own.iter()
        .map(|word| format!("/{}", crate::query::escape(word)))
        .collect()
}

/// The path behind `proxy`.
fn path(request: &Request) -> String {
    let rest = request.info.rest.iter();
    let mut path: String = rest.map(|part| format!("/{}", crate::query::escape(part))).collect();
    if path.is_empty() || request.info.path.ends_with('/') {
        path.push('/');
    }
    path
}

/// The path behind `proxy`, with the query.
fn target(request: &Request) -> Result<Uri, http::uri::InvalidUri> {
    let (path, query) = (path(request), request.query.encoded());
    match query.as_str() {
        "" => path.parse(),
        query => format!("{path}?{query}").parse(),
    }
}

/// What a redirection means to the client: a path of the one it talks to through this server is one behind `proxy`.
fn through_here(location: &str, prefix: &str, own_host: &str) -> String {
    let path = match location.parse::<Uri>() {
        Ok(uri) if uri.scheme().is_some() && uri.authority().is_some_and(|host| host.as_str() == own_host) => {
            uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string)
        }
        _ if location.starts_with('/') && !location.starts_with("//") => location.to_owned(),
        _ => return location.to_owned(),
    };
    match path.starts_with(prefix) {
        true => path,
        false => format!("{prefix}{path}"),
    }
}

fn own_host(request: &Request) -> &str {
    let host = request.headers.get(HOST).and_then(|host| host.to_str().ok());
    host.unwrap_or_default()
}

/// The headers of the request without those of this connection and of who its sender is to this server.
fn outgoing_headers(request: &Request, wants_upgrade: bool) -> HeaderMap {
    let mut headers = passed_on(&request.headers);
    headers.remove(AUTHORIZATION);
    let names: Vec<HeaderName> = headers.keys().cloned().collect();
    for name in names.into_iter().filter(|name| name.as_str().starts_with(IMPERSONATE)) {
        headers.remove(name);
    }
    if let Ok(uri) = HeaderValue::from_str(&format!("{}{}", prefix(request), path(request))) {
        headers.insert(FORWARDED_URI, uri);
    }
    if !headers.contains_key(HOST) {
        headers.insert(HOST, HeaderValue::from_static("localhost"));
    }
    if wants_upgrade && let Some(protocol) = request.headers.get(UPGRADE) {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    }
    headers
}

fn has_word(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    words(headers, name).any(|found| found == word)
}

/// The words of a list in headers of that name, in small letters.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> + 'a {
    let values = headers.get_all(name).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',').map(|word| word.trim().to_ascii_lowercase()))
}

/// The headers without those of this connection.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut passed = headers.clone();
    for name in OF_CONNECTION {
        passed.remove(name);
    }
    for name in words(headers, &CONNECTION) {
        passed.remove(name.as_str());
    }
    passed
}

fn unreachable(why: impl std::fmt::Display) -> ApiError {
    ApiError::new(
        Reason::ServiceUnavailable,
        format!("error trying to reach service: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_a_connection_stay_behind() {
        let headers = HeaderMap::from_iter([
            (CONNECTION, HeaderValue::from_static("close, X-Mine")),
            (HeaderName::from_static("x-mine"), HeaderValue::from_static("a")),
            (HeaderName::from_static("x-other"), HeaderValue::from_static("b")),
        ]);
        let passed = passed_on(&headers);
        assert_eq!(passed.keys().collect::<Vec<_>>(), [&HeaderName::from_static("x-other")]);
    }

    #[test]
    fn redirections_lead_back_through_the_server() {
        let moved = |location: &str| through_here(location, "/p/proxy", "here:6443");
        assert_eq!(moved("/login?a=b"), "/p/proxy/login?a=b");
        assert_eq!(moved("https://here:6443/login/"), "/p/proxy/login/");
        for stays in ["login", "https://there/login", "//there/login", "/p/proxy/login"] {
            assert_eq!(moved(stays), stays);
        }
    }
}
