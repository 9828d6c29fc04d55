//! The server: a socket, TLS, HTTP/1.1 and HTTP/2, and an orderly end.
//!
//! Connections are bounded in what they may send before a request is understood: header size and time, number of headers,
//! number of streams. At the end no new connection is taken, requests that are worked on are finished, and watches close.
//!
//! Source: `spec/api.md` §1.8.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use rota_api::openapi;
use rota_api::resource::Served;
use rota_registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::authentication::token::{KeyError, TokenKey};
use crate::authentication::{Authenticator, certificate};
use crate::authorization::Authorizer;
use crate::certificates;
use crate::documents::Documents;
use crate::front::Front;
use crate::metrics::{MetricSource, Metrics};
use crate::node_access::NodeAccess;
use crate::outgoing::{Connection, Outgoing};
use crate::pki::{self, Pki, PkiError};

/// How long a client may take to shake hands.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to send the head of a request, unless the configuration says otherwise.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take to take a large reply, unless the configuration says otherwise.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);
/// How much memory large replies may hold that were not taken yet, unless the configuration says otherwise. Unit: bytes.
const OUTGOING_MAX: usize = 256 << 20;
/// The head of a request: how large it may be, and how many headers it may have. Unit of the size: bytes.
const HEAD_SIZE_MAX: usize = 1024 * 1024;
const HEADERS_MAX: usize = 256;
/// How many requests one HTTP/2 connection may have open, watches included.
const STREAMS_MAX: u32 = 1000;
/// How long requests that are worked on get to finish when the server ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long accepting pauses when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How many requests are worked on at the same time, unless the configuration says otherwise.
pub const IN_FLIGHT_MAX: usize = 600;

/// How the server is set up.
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Further addresses under which clients reach the server.
    pub addresses: Vec<IpAddr>,
    /// Further names under which clients reach the server.
    pub names: Vec<String>,
    /// Which resources are served.
    pub served: Served,
    /// The identities of the cluster.
    pub pki: Arc<Pki>,
    /// How many requests are worked on at the same time; further ones are told to come back.
    pub in_flight_max: usize,
    /// How long a client may take to send the head of a request, its first one included.
    pub head_timeout: Duration,
    /// How long a client may take to take a large reply; then its connection is closed.
    pub reply_timeout: Duration,
    /// How much memory large replies may hold that were not taken yet; further ones are refused. Unit: bytes.
    pub outgoing_max: usize,
    /// Metrics of other parts of the process.
    pub metrics: Vec<Arc<dyn MetricSource>>,
}

impl Config {
    /// Listens there, and leaves everything else as it usually is.
    pub fn new(listen: SocketAddr, pki: Arc<Pki>) -> Self {
        Self {
            listen,
            addresses: Vec::new(),
            names: Vec::new(),
            served: Served::default(),
            pki,
            in_flight_max: IN_FLIGHT_MAX,
            head_timeout: HEAD_TIMEOUT,
            reply_timeout: REPLY_TIMEOUT,
            outgoing_max: OUTGOING_MAX,
            metrics: Vec::new(),
        }
    }
}

/// The server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program listens there.
    #[error("{address} is in use by another program")]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The server has no identity.
    #[error("cannot make the server's certificate")]
    Identity(#[from] PkiError),
    /// The key that signs tokens cannot be used.
    #[error("cannot sign tokens")]
    TokenKey(#[from] KeyError),
    /// The certificates do not fit together.
    #[error("cannot set up TLS")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A server that listens.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: TlsAcceptor,
    head_timeout: Duration,
    front: Arc<Front>,
}

impl Server {
    /// Takes the socket and prepares everything; answers begin with [`Server::run`].
    ///
    /// Errors: the address is taken or cannot be had, or an identity cannot be made.
    pub async fn bind(config: Config, registry: Arc<Registry>, nodes: Arc<dyn NodeAccess>) -> Result<Self, BindError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address: config.listen },
            _ => BindError::Listen {
                address: config.listen,
                source,
            },
        };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let tls = tls(&config, address, &registry)?;
        let tokens = TokenKey::new(config.pki.token_key())?;
        let front = Front {
            authenticator: Authenticator::new(Arc::clone(&registry), tokens),
            authorizer: Authorizer::new(Arc::clone(&registry)),
            registry,
            pki: Arc::clone(&config.pki),
            nodes,
            served: config.served,
            documents: Documents::default(),
            openapi: openapi::Documents::new(config.served),
            metrics: Metrics::new(config.metrics),
            in_flight: Semaphore::new(config.in_flight_max),
            outgoing: Outgoing::new(config.outgoing_max, config.reply_timeout),
            large: Arc::new(Semaphore::new(large_at_once())),
            ending: CancellationToken::new(),
        };
        Ok(Self {
            listener,
            address,
            tls: TlsAcceptor::from(Arc::new(tls)),
            head_timeout: config.head_timeout,
            front: Arc::new(front),
        })
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` is cancelled; then finishes what is being worked on.
    pub async fn run(self, shutdown: CancellationToken) {
        let connections = GracefulShutdown::new();
        tokio::spawn(certificates::certifier::run(
            Arc::clone(&self.front),
            self.front.ending.clone(),
        ));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = shutdown.cancelled() => break,
            };
            match accepted {
                Ok((socket, _)) => {
                    let watcher = connections.watcher();
                    tokio::spawn(connect(
                        socket,
                        self.tls.clone(),
                        Arc::clone(&self.front),
                        self.head_timeout,
                        watcher,
                    ));
                }
                Err(error) => {
                    // Out of file descriptors or memory: connections that end make room.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        self.front.ending.cancel();
        if tokio::time::timeout(DRAIN_TIMEOUT, connections.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("some requests were cut off at the end");
        }
    }
}

/// How many large writes are evaluated at once: half of the processors are left to everybody else.
fn large_at_once() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (processors / 2).max(1)
}

/// Serves one connection to its end.
async fn connect(
    socket: TcpStream,
    tls: TlsAcceptor,
    front: Arc<Front>,
    head_timeout: Duration,
    watcher: hyper_util::server::graceful::Watcher,
) {
    // Frames of watches are small and must not wait for the next one.
    let _ = socket.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(socket)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            return;
        }
        Err(_) => return,
    };
    let certificates = stream.get_ref().1.peer_certificates();
    let peer = certificates
        .and_then(|chain| chain.first())
        .and_then(|certificate| certificate::user(certificate))
        .map(Arc::new);
    let has_asked = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&has_asked);
    let own = Arc::new(Connection::default());
    let of_request = Arc::clone(&own);
    let service = service_fn(move |request: http::Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        let (front, own, peer) = (Arc::clone(&front), Arc::clone(&of_request), peer.clone());
        async move { Ok::<_, std::convert::Infallible>(front.serve(own, peer, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(HEAD_SIZE_MAX)
        .max_headers(HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .max_header_list_size(HEAD_SIZE_MAX as u32)
        .max_concurrent_streams(STREAMS_MAX);
    let connection = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .into_owned();
    tokio::select! {
        ended = watcher.watch(connection) => {
            if let Err(error) = ended {
                tracing::debug!(error, "a connection ended early");
            }
        }
        () = own.stuck() => tracing::debug!("a connection is closed whose client does not take a reply"),
        () = silence(&has_asked, head_timeout) => tracing::debug!("a connection without a request is closed"),
    }
}

/// Ends when the first request is overdue: the time-out of a request's head begins only when it is known which version of HTTP
/// the client speaks.
async fn silence(has_asked: &AtomicBool, head_timeout: Duration) {
    tokio::time::sleep(head_timeout).await;
    if has_asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

fn tls(config: &Config, address: SocketAddr, registry: &Registry) -> Result<rustls::ServerConfig, BindError> {
    let now = registry.env().now();
    let mut addresses = config.addresses.clone();
    for own in [
        address.ip(),
        IpAddr::from([127, 0, 0, 1]),
        IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
    ] {
        if !own.is_unspecified() && !addresses.contains(&own) {
            addresses.push(own);
        }
    }
    let identity = config.pki.server(&addresses, &config.names, now)?;
    let mut tls = pki::tls::server(&identity, config.pki.ca_pem(), pki::tls::Clients::All)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}
