//! The endpoint of a node: logs, commands and ports of its containers, for the API server and nobody else.
//!
//! Source: `spec/api.md` §4.4; kubernetes `pkg/kubelet/server/server.go` (`getContainerLogs`, `getExec`, `getAttach`,
//! `getPortForward`).

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use rota_api::ApiError;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::API_SERVER;
use crate::authentication::certificate;
use crate::body::Body;
use crate::handler::log;
use crate::node_access::{ContainerRef, NodeAccess, SessionOptions};
use crate::pki::{Identity, tls};
use crate::query::{Query, unescape};
use crate::reply::{self, Reply};
use crate::server::BindError;
use crate::stream::serve::{self, Switch};

/// How long a client may take to shake hands, and to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long accepting pauses when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A node's endpoint that listens.
pub struct NodeEndpoint {
    listener: TcpListener,
    address: SocketAddr,
    tls: TlsAcceptor,
    api: Arc<NodeApi>,
}

/// What a node answers, whoever listens for it.
pub(crate) struct NodeApi {
    /// The node's name.
    pub(crate) node: String,
    /// Reaches its containers.
    pub(crate) nodes: Arc<dyn NodeAccess>,
    /// Cancelled when what is open is to end.
    pub(crate) ending: CancellationToken,
}

/// What is asked of a node.
pub(crate) struct Asked<'a> {
    /// Without the escapes of URLs.
    pub(crate) path: &'a str,
    pub(crate) query: &'a Query,
    pub(crate) headers: &'a HeaderMap,
    /// The connection itself, once the reply has switched protocols.
    pub(crate) upgrade: Option<OnUpgrade>,
}

impl NodeEndpoint {
    /// Takes the socket, or any free port of that address where the port is taken. `identity` is the node's, `ca_pem` the
    /// authority that the API server's certificate must come from; `nodes` reaches the containers.
    ///
    /// Errors: the address cannot be had, or the certificates cannot be used.
    pub async fn bind(
        listen: SocketAddr,
        node: String,
        identity: &Identity,
        ca_pem: &str,
        nodes: Arc<dyn NodeAccess>,
    ) -> Result<Self, BindError> {
        let failed = |source| BindError::Listen {
            address: listen,
            source,
        };
        let listener = match TcpListener::bind(listen).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                TcpListener::bind(SocketAddr::new(listen.ip(), 0))
                    .await
                    .map_err(failed)?
            }
            outcome => outcome.map_err(failed)?,
        };
        Ok(Self {
            address: listener.local_addr().map_err(failed)?,
            listener,
            tls: TlsAcceptor::from(Arc::new(tls::server(identity, ca_pem, tls::Clients::Known)?)),
            api: Arc::new(NodeApi {
                node,
                nodes,
                ending: CancellationToken::new(),
            }),
        })
    }

    /// Where the endpoint listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` is cancelled; what is open then ends.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
                () = shutdown.cancelled() => break,
            };
            match accepted {
                Ok((socket, _)) => {
                    connections.spawn(connect(socket, self.tls.clone(), Arc::clone(&self.api)));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        self.api.ending.cancel();
    }
}

async fn connect(socket: TcpStream, tls: TlsAcceptor, api: Arc<NodeApi>) {
    let _ = socket.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HEAD_TIMEOUT, tls.accept(socket)).await else {
        return;
    };
    let certificates = stream.get_ref().1.peer_certificates();
    let user = certificates
        .and_then(|chain| chain.first())
        .and_then(|certificate| certificate::user(certificate));
    let is_api_server = user.is_some_and(|user| user.name == API_SERVER);
    let service = service_fn(move |request: http::Request<Incoming>| {
        let api = Arc::clone(&api);
        async move { Ok::<_, Infallible>(answer(&api, is_api_server, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn answer(api: &NodeApi, is_api_server: bool, mut request: http::Request<Incoming>) -> Reply {
    if !is_api_server {
        return reply::text(StatusCode::FORBIDDEN, "only the API server may ask\n");
    }
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let Some(path) = unescape(request.uri().path(), false) else {
        return reply::text(StatusCode::BAD_REQUEST, "the path is not valid UTF-8\n");
    };
    let asked = Asked {
        path: &path,
        query: &query,
        headers: request.headers(),
        upgrade,
    };
    api.answer(asked).await
}

fn not_found() -> Reply {
    reply::text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// A refusal as the API server reads it back.
fn refuse(error: &ApiError) -> Reply {
    let code = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply::with_type(code, "application/json", error.to_value().to_string())
}

fn session_options(query: &Query) -> SessionOptions {
    let flag = |name: &str| query.flag(name).unwrap_or_default();
    SessionOptions {
        command: query.all("command").map(str::to_owned).collect(),
        stdin: flag("input"),
        stdout: flag("output"),
        stderr: flag("error") && !flag("tty"),
        tty: flag("tty"),
    }
}

impl NodeApi {
    /// Answers a request of somebody who may ask.
    pub(crate) async fn answer(&self, mut asked: Asked<'_>) -> Reply {
        let query = asked.query;
        let words: Vec<&str> = asked.path.trim_matches('/').split('/').collect();
        let answered = match words.as_slice() {
            ["healthz"] => Ok(reply::text(StatusCode::OK, "ok")),
            ["containerLogs", namespace, pod, container] => {
                let container = self.container(namespace, pod, "", container);
                self.log(&container, query).await
            }
            [verb @ ("exec" | "attach"), namespace, pod, rest @ ..] => {
                let (uid, container) = match rest {
                    [container] => ("", *container),
                    [uid, container] => (*uid, *container),
                    _ => return not_found(),
                };
                let container = self.container(namespace, pod, uid, container);
                serve::session(
                    self.switch(&mut asked),
                    container,
                    session_options(query),
                    *verb == "attach",
                )
                .await
            }
            ["portForward", namespace, pod, uid @ ..] if uid.len() < 2 => {
                let container = self.container(namespace, pod, uid.first().unwrap_or(&""), "");
                serve::asked_ports(query.all("port"))
                    .and_then(|ports| serve::ports(self.switch(&mut asked), container, &ports))
            }
            _ => return not_found(),
        };
        answered.unwrap_or_else(|error| refuse(&error))
    }

    fn container(&self, namespace: &str, pod: &str, uid: &str, container: &str) -> ContainerRef {
        ContainerRef {
            node: self.node.clone(),
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            uid: uid.to_owned(),
            container: container.to_owned(),
        }
    }

    fn switch<'a>(&self, asked: &mut Asked<'a>) -> Switch<'a> {
        Switch {
            headers: asked.headers,
            upgrade: asked.upgrade.take(),
            nodes: Arc::clone(&self.nodes),
            ending: self.ending.clone(),
        }
    }

    async fn log(&self, container: &ContainerRef, query: &Query) -> Result<Reply, ApiError> {
        let options = log::options(query, Timestamp::now())?;
        let log = self.nodes.logs(container, options).await?;
        let ending = self.ending.clone();
        let pieces = futures::StreamExt::take_until(log, async move { ending.cancelled().await });
        Ok(reply::with_type(StatusCode::OK, "text/plain", Body::stream(pieces)))
    }
}
