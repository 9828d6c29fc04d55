//! Connections and single requests: what came of one attempt.
//!
//! TLS and credentials (client certificates, tokens, token files that are read again) are kube-rs'. What is ours: credentials
//! that end are renewed ([`credentials`](super::credentials)), every byte passes the [`Fence`], a request that gets no answer
//! in time is given up, and the outcome says whether the request can have reached the server. Nothing is tried again here.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::FixedServerNameResolver;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::legacy::{Client as HyperClient, Error as HyperError};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kube::client::{Body, ConfigExt};
use rota_api::{ApiError, Reason};
use tokio::net::TcpStream;
use tower::{BoxError, Service, ServiceBuilder};

use super::credentials::{Credentials, Usable};
use super::gzip;
use crate::fence::Fence;

/// How long a connection may take to come about.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How often a silent connection is probed.
const PROBE: Duration = Duration::from_secs(15);
/// For how long it may fail to answer: as long as a single answer may take, for all that are under way end with it.
const PROBE_MAX: Duration = Duration::from_secs(30);
/// What a server may send over one HTTP/2 connection, and in one answer, before it is read. Unit: bytes. Hundreds of answers
/// under way must fit: a server that runs out of room cuts them into small pieces, and the library takes many small pieces for
/// an attack and ends the connection with all that is under way on it (`too_many_data_frames`).
const CONNECTION_WINDOW: u32 = 16 << 20;
const STREAM_WINDOW: u32 = 4 << 20;

/// The longest answer that is read, as it comes. A page of a list is far smaller.
const ANSWER_BYTES_MAX: usize = 1 << 30;
/// The longest refusal of a streamed answer.
const REFUSAL_BYTES_MAX: usize = 1 << 20;

/// What came of one attempt.
#[derive(Debug)]
pub(super) enum Attempt {
    /// The server answered.
    Answered(Answer),
    /// The request cannot have reached the server.
    NotSent(ApiError),
    /// No answer came: the server may have acted on it, or may yet.
    Unknown(ApiError),
}

/// The answer to a request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// One request, so that it can be sent again.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) method: Method,
    pub(super) path: String,
    /// The media type of the body; empty without one.
    pub(super) content: &'static str,
    pub(super) body: Bytes,
}

impl Prepared {
    /// A read.
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            content: "",
            body: Bytes::new(),
        }
    }
}

/// A pool of connections to one server as one user.
pub(super) struct Transport {
    credentials: Arc<Credentials>,
    fence: Fence,
    timeout: Duration,
    /// The connections, and the version of the credentials by which they are made.
    pool: Mutex<(u64, kube::Client)>,
}

impl Transport {
    /// Connections as `credentials` say, which are usable as `first` at the moment; none outlives `fence`. `timeout` is for
    /// one answer.
    ///
    /// Errors: the credentials cannot be used.
    pub(super) fn new(
        credentials: Arc<Credentials>,
        first: &Usable,
        fence: &Fence,
        timeout: Duration,
    ) -> Result<Self, kube::Error> {
        Ok(Self {
            credentials,
            fence: fence.clone(),
            timeout,
            pool: Mutex::new((first.version, pool(&first.config, fence)?)),
        })
    }

    /// The connections for the credentials of now, and the version of these.
    async fn client(&self) -> Result<(u64, kube::Client), ApiError> {
        let Usable { config, version } = self.credentials.usable().await?;
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.0 != version {
            *pool = (
                version,
                self::pool(&config, &self.fence).map_err(|error| unreachable_error(&error))?,
            );
        }
        Ok(pool.clone())
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn attempt(&self, prepared: &Prepared) -> Attempt {
        let (version, client) = match self.client().await {
            Ok(client) => client,
            Err(error) => return Attempt::NotSent(error),
        };
        let asks_gzip = !self.credentials.disables_compression();
        let answer = async {
            let response = match send(&client, prepared, asks_gzip).await {
                Ok(response) => response,
                Err(failed) => return failed,
            };
            let (parts, body) = response.into_parts();
            let body = whole(body, ANSWER_BYTES_MAX).await;
            let body =
                body.and_then(|body| gzip::unpacked(&parts.headers, body).map_err(|error| unreachable_error(&error)));
            match body {
                Ok(_) if parts.status == StatusCode::UNAUTHORIZED && self.credentials.rejected(version).await => {
                    Attempt::NotSent(ApiError::new(
                        Reason::Unauthorized,
                        "the API server no longer takes the credentials",
                    ))
                }
                Ok(body) => Attempt::Answered(Answer {
                    code: parts.status,
                    headers: parts.headers,
                    body,
                }),
                Err(error) => Attempt::Unknown(error),
            }
        };
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(attempt) => attempt,
            Err(_) => Attempt::Unknown(self.late()),
        }
    }

    /// Sends a request whose answer is read as it comes. Only the headers must come in time.
    pub(super) async fn open(&self, path: &str) -> Result<http::Response<Body>, Attempt> {
        let (version, client) = self.client().await.map_err(Attempt::NotSent)?;
        let prepared = Prepared::get(path);
        let response = match tokio::time::timeout(self.timeout, send(&client, &prepared, false)).await {
            Ok(sent) => sent?,
            Err(_) => return Err(Attempt::Unknown(self.late())),
        };
        if response.status() == StatusCode::UNAUTHORIZED {
            self.credentials.rejected(version).await;
        }
        Ok(response)
    }

    /// The rest of an answer that turned out to be a refusal.
    pub(super) async fn refusal(&self, body: Body) -> Result<Bytes, ApiError> {
        let read = tokio::time::timeout(self.timeout, whole(body, REFUSAL_BYTES_MAX)).await;
        read.unwrap_or_else(|_| Err(self.late()))
    }

    fn late(&self) -> ApiError {
        let text = format!("the API server did not answer within {:?}", self.timeout);
        ApiError::new(Reason::Timeout, text)
    }
}

/// A body to its end, if that comes within so many bytes.
async fn whole(body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    match Limited::new(body, bytes_max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(unreachable_error(&*error)),
    }
}

async fn send(client: &kube::Client, prepared: &Prepared, asks_gzip: bool) -> Result<http::Response<Body>, Attempt> {
    let mut request = Request::builder()
        .method(prepared.method.clone())
        .uri(&prepared.path)
        .header("accept", "application/json")
        .header("user-agent", super::USER_AGENT);
    if asks_gzip && prepared.method == Method::GET {
        request = request.header("accept-encoding", "gzip");
    }
    if !prepared.content.is_empty() {
        request = request.header("content-type", prepared.content);
    }
    let request = request.body(Body::from(prepared.body.to_vec())).map_err(|error| {
        Attempt::NotSent(ApiError::bad_request(format!(
            "request path {:?}: {error}",
            prepared.path
        )))
    })?;
    client.send(request).await.map_err(|error| {
        let refused = unreachable_error(&error);
        if cannot_have_been_sent(&error) {
            Attempt::NotSent(refused)
        } else {
            Attempt::Unknown(refused)
        }
    })
}

/// New connections as `config` says.
///
/// Errors: the credentials cannot be used.
fn pool(config: &kube::Config, fence: &Fence) -> Result<kube::Client, kube::Error> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_MAX));
    tcp.set_keepalive(Some(PROBE));
    tcp.set_tcp_user_timeout(Some(PROBE_MAX));
    let fenced = Fenced {
        inner: tcp,
        fence: fence.clone(),
    };
    let tls = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(config.rustls_client_config()?)
        .https_or_http();
    let tls = match &config.tls_server_name {
        Some(name) => {
            let name = name.clone().try_into().map_err(|_| kube::Error::TlsRequired)?;
            tls.with_server_name_resolver(FixedServerNameResolver::new(name))
        }
        None => tls,
    };
    let connector = tls.enable_all_versions().wrap_connector(fenced);
    let hyper = HyperClient::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_keep_alive_interval(PROBE)
        .http2_keep_alive_timeout(PROBE_MAX)
        .build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(hyper);
    Ok(kube::Client::new(service, config.default_namespace.clone()))
}

/// True when no connection came about, or credentials for the request could not be had.
fn cannot_have_been_sent(error: &kube::Error) -> bool {
    if matches!(error, kube::Error::Auth(_)) {
        return true;
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(hyper) = inner.downcast_ref::<HyperError>() {
            return hyper.is_connect();
        }
        cause = inner.source();
    }
    false
}

/// An error of the transport, with all its causes, as a refusal.
pub(crate) fn unreachable_error(error: &dyn std::error::Error) -> ApiError {
    ApiError::new(
        Reason::ServiceUnavailable,
        format!("the API server cannot be reached: {}", text_with_causes(error)),
    )
}

/// An error and all its causes in one line.
pub(super) fn text_with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

/// Makes connections that the fence cuts.
#[derive(Clone)]
struct Fenced {
    inner: HttpConnector,
    fence: Fence,
}

impl Service<Uri> for Fenced {
    type Response = FencedStream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<FencedStream, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(BoxError::from)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let fence = self.fence.clone();
        let connecting = self.inner.call(uri);
        Box::pin(async move {
            if !fence.is_open() {
                return Err(closed().into());
            }
            let stream = connecting.await?;
            Ok(FencedStream { stream, fence })
        })
    }
}

/// A connection on which nothing is sent behind a closed fence.
struct FencedStream {
    stream: TokioIo<TcpStream>,
    fence: Fence,
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the lease of this leader has run out")
}

impl Connection for FencedStream {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

impl hyper::rt::Read for FencedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for FencedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.fence.is_open() {
            return Poll::Ready(Err(closed()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.fence.is_open() {
            return Poll::Ready(Err(closed()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
