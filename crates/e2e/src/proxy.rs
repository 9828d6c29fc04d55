//! A bad network: a proxy in front of an API server that loses, delays and refuses.
//!
//! HTTPS on both sides. What goes wrong is drawn from a seed; how often each thing happened is counted, so that a test can
//! tell that it was a test.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::Body;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How often each thing goes wrong, in one of a thousand requests, and how late watches are.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Where the draw begins.
    pub seed: u64,
    /// "Too many requests", nothing done.
    pub busy: u32,
    /// A fault of the server, nothing done.
    pub fault: u32,
    /// A conflict that is none, nothing done.
    pub conflict: u32,
    /// The connection breaks before the server sees the request.
    pub cut_before: u32,
    /// The connection breaks when the server has done it.
    pub cut_after: u32,
    /// No answer comes, though the server has done it.
    pub silent_after: u32,
    /// A fault of the server, though it has done it.
    pub fault_after: u32,
    /// A watch that is opened is told that its place is no longer kept.
    pub expired: u32,
    /// An open watch is cut after a moment.
    pub cut_watch: u32,
    /// By how much watches and streamed lists are late.
    pub lag: Duration,
    /// Answers come in pieces of so many bytes; `None`: as the server sends them.
    pub crumb_bytes: Option<usize>,
}

impl Faults {
    /// Everything that can go wrong, often.
    pub fn all(seed: u64) -> Self {
        Self {
            seed,
            busy: 40,
            fault: 20,
            conflict: 20,
            cut_before: 20,
            cut_after: 40,
            silent_after: 5,
            fault_after: 20,
            expired: 100,
            cut_watch: 300,
            lag: Duration::from_millis(300),
            crumb_bytes: None,
        }
    }

    /// Nothing goes wrong, but watches are late.
    pub fn lag(lag: Duration) -> Self {
        Self { lag, ..Self::none() }
    }

    /// Nothing goes wrong, but answers come in small pieces, as they do from a server that has little room to send.
    pub fn crumbs(bytes: usize) -> Self {
        Self {
            crumb_bytes: Some(bytes),
            ..Self::none()
        }
    }

    fn none() -> Self {
        Self {
            seed: 0,
            busy: 0,
            fault: 0,
            conflict: 0,
            cut_before: 0,
            cut_after: 0,
            silent_after: 0,
            fault_after: 0,
            expired: 0,
            cut_watch: 0,
            lag: Duration::ZERO,
            crumb_bytes: None,
        }
    }
}

/// How long a proxy keeps silent that does not mean to answer. Longer than any client of a test waits.
const SILENCE: Duration = Duration::from_secs(20);

/// The proxy. It ends when dropped.
///
/// Its runtime is its thread's own, so that stories which are asynchronous themselves may start it and drop it.
pub struct Proxy {
    kubeconfig: PathBuf,
    counts: Arc<Counts>,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// How often each thing went wrong.
type Counts = Mutex<BTreeMap<&'static str, u64>>;

struct State {
    faults: Faults,
    draw: Mutex<u64>,
    counts: Arc<Counts>,
    server: kube::Client,
}

type Reply = Response<BoxBody<Bytes, io::Error>>;

/// The connection is to be broken.
#[derive(Debug, thiserror::Error)]
#[error("cut")]
struct Cut;

impl Proxy {
    /// A proxy in front of the server of `kubeconfig`, as the user named there. Its own kubeconfig is below `dir`.
    pub fn start(kubeconfig: &str, dir: &Path, faults: Faults) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let address = listener.local_addr().expect("an address");
        let key = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
        let path = dir.join("proxy.kubeconfig");
        std::fs::write(&path, kubeconfig_of(&address.to_string(), &key.cert.pem())).expect("a file");
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.signing_key.serialize_der()));
        let mut tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![key.cert.der().clone()], private)
            .expect("a certificate");
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let server = kube::config::Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
        let (counts, stop) = (Arc::new(Counts::default()), CancellationToken::new());
        let (counted, stopped) = (Arc::clone(&counts), stop.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let state = Arc::new(State {
                    faults,
                    draw: Mutex::new(faults.seed | 1),
                    counts: counted,
                    server: client(server).await,
                });
                let listener = TcpListener::from_std(listener).expect("a listener");
                tokio::select! {
                    () = serve(listener, TlsAcceptor::from(Arc::new(tls)), state) => {}
                    () = stopped.cancelled() => {}
                }
            });
        });
        Self {
            kubeconfig: path,
            counts,
            stop,
            thread: Some(thread),
        }
    }

    /// The kubeconfig that leads through the proxy.
    pub fn kubeconfig(&self) -> String {
        self.kubeconfig.to_string_lossy().into_owned()
    }

    /// How often each thing went wrong.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
        // A thread that panicked has said why.
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// A client of the server behind the proxy.
async fn client(kubeconfig: kube::config::Kubeconfig) -> kube::Client {
    let options = kube::config::KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let mut config = config.expect("a kubeconfig");
    config.default_retry = false;
    kube::Client::try_from(config).expect("a client")
}

fn kubeconfig_of(address: &str, certificate: &str) -> String {
    use base64::Engine as _;
    let certificate = base64::engine::general_purpose::STANDARD.encode(certificate);
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: proxy\n\
         clusters: [{{name: proxy, cluster: {{server: 'https://{address}', certificate-authority-data: {certificate}}}}}]\n\
         users: [{{name: proxy, user: {{token: none}}}}]\n\
         contexts: [{{name: proxy, context: {{cluster: proxy, user: proxy}}}}]\n"
    )
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(move |request| {
                let state = Arc::clone(&state);
                async move { state.answer(request).await }
            });
            // A connection that ends with an error is what this is for.
            let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Result<Reply, Cut> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        if query.contains("watch=true") {
            return self.watch(request, &query).await;
        }
        // Questions about permissions are posted, and conflict with nothing; Events are written once, as upstream writes them, and
        // what is refused is not told.
        let path = request.uri().path();
        let is_write = request.method() != Method::GET && !path.ends_with("reviews") && !path.contains("/events");
        let faults = self.faults;
        let roll = self.roll();
        let mut edge = 0;
        let mut falls = |share: u32| {
            let is_it = (edge..edge + share).contains(&roll);
            edge += share;
            is_it
        };
        if falls(faults.busy) {
            self.count("busy");
            let mut reply = status(429, "TooManyRequests", "the server is busy");
            reply
                .headers_mut()
                .insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
            return Ok(reply);
        }
        if falls(faults.fault) {
            self.count("fault");
            return Ok(status(500, "InternalError", "etcdserver: leader changed"));
        }
        if falls(faults.conflict) && is_write {
            self.count("conflict");
            return Ok(status(409, "Conflict", "the object has been modified"));
        }
        if falls(faults.cut_before) {
            self.count("cut_before");
            return Err(Cut);
        }
        let (cut, silent, fault) = (
            falls(faults.cut_after),
            falls(faults.silent_after),
            falls(faults.fault_after),
        );
        let reply = self.forward(request).await?;
        if cut {
            self.count("cut_after");
            return Err(Cut);
        }
        if silent {
            self.count("silent_after");
            tokio::time::sleep(SILENCE).await;
            return Err(Cut);
        }
        if fault {
            self.count("fault_after");
            return Ok(status(500, "InternalError", "etcdserver: request timed out"));
        }
        Ok(reply.map(|body| body.map_err(io::Error::other).boxed()))
    }

    async fn watch(&self, request: Request<Incoming>, query: &str) -> Result<Reply, Cut> {
        let is_list = query.contains("sendInitialEvents");
        if !is_list && self.roll() < self.faults.expired {
            self.count("expired");
            return Ok(status(410, "Expired", "too old resource version"));
        }
        let cut = (self.roll() < self.faults.cut_watch).then(|| Duration::from_millis(u64::from(self.roll()) * 3));
        if cut.is_some() {
            self.count("cut_watch");
        }
        let reply = self.forward(request).await?;
        let lag = self.faults.lag;
        Ok(reply.map(|body| BodyExt::boxed(StreamBody::new(late(body, lag, cut)))))
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<Response<Frames>, Cut> {
        let (mut parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        parts.uri = path.parse().map_err(|_| Cut)?;
        parts.headers.remove(http::header::HOST);
        parts.headers.remove(http::header::AUTHORIZATION);
        parts.headers.remove(http::header::CONTENT_LENGTH);
        parts.version = http::Version::HTTP_11;
        let answer = self
            .server
            .send(Request::from_parts(parts, Body::from(body.to_vec())))
            .await
            .map_err(|_| Cut)?;
        let (mut parts, mut body) = answer.into_parts();
        for hop in ["connection", "transfer-encoding"] {
            parts.headers.remove(hop);
        }
        parts.version = http::Version::HTTP_11;
        let (sender, frames) = mpsc::unbounded_channel();
        let crumb = self.faults.crumb_bytes.unwrap_or(usize::MAX);
        // A body that is shared between threads, whatever the client's is.
        tokio::spawn(async move {
            while let Some(Ok(frame)) = body.frame().await {
                let Ok(mut data) = frame.into_data() else { continue };
                while !data.is_empty() {
                    let piece = data.split_to(crumb.min(data.len()));
                    if sender.send((Instant::now(), piece)).is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Response::from_parts(parts, Frames(frames)))
    }

    /// A number below a thousand.
    fn roll(&self) -> u32 {
        let mut draw = self.draw.lock().unwrap_or_else(PoisonError::into_inner);
        *draw ^= *draw << 13;
        *draw ^= *draw >> 7;
        *draw ^= *draw << 17;
        u32::try_from(*draw % 1000).unwrap_or_default()
    }

    fn count(&self, what: &'static str) {
        *self
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(what)
            .or_default() += 1;
    }
}

/// The parts of an answer, each with when it came.
struct Frames(mpsc::UnboundedReceiver<(Instant, Bytes)>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|part| part.map(|(_, data)| Ok(Frame::data(data))))
    }
}

/// The parts in their order, each late by `lag`; broken off after `cut`.
fn late(
    frames: Frames,
    lag: Duration,
    cut: Option<Duration>,
) -> impl futures::Stream<Item = Result<Frame<Bytes>, io::Error>> {
    let until = cut.map(|cut| tokio::time::Instant::now() + cut);
    futures::stream::unfold(Some(frames), move |frames| async move {
        let mut frames = frames?;
        let next = async {
            let (came, data) = frames.0.recv().await?;
            tokio::time::sleep_until(tokio::time::Instant::from_std(came + lag)).await;
            Some(data)
        };
        let part = match until {
            Some(until) => tokio::time::timeout_at(until, next).await,
            None => Ok(next.await),
        };
        match part {
            Ok(Some(data)) => Some((Ok(Frame::data(data)), Some(frames))),
            Ok(None) => None,
            Err(_) => Some((Err(io::Error::other("cut")), None)),
        }
    })
}

fn status(code: u16, reason: &str, message: &str) -> Reply {
    let body = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code,
    });
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    let mut reply = Response::new(BodyExt::boxed(body));
    *reply.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}
