//! A server in process over a store in memory, and plain connections to it.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test file uses its part of the support"
)]

use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;
use rota_api::Write;
use rota_api::validate::Checks;
use rota_apiserver::node_access::NoNodes;
use rota_apiserver::{Config, Identity, NodeAccess, Pki, Server, authorization};
use rota_registry::{Caller, Env, Registry, Settings, bootstrap};
use rota_store::MemoryStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard};

struct TestEnv;

impl Env for TestEnv {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn random(&self) -> u64 {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Odd multiplier: distinct inputs stay distinct.
        NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// A cluster with a server.
pub struct World {
    pub registry: Arc<Registry>,
    pub pki: Arc<Pki>,
    pub address: SocketAddr,
    pub stop: CancellationToken,
    _directory: TempDir,
    _stopped: DropGuard,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A server set up as `change` says.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start(change, Arc::new(NoNodes)).await
    }

    /// A server that reaches what runs on nodes through `nodes`.
    pub async fn reaching(nodes: Arc<dyn NodeAccess>) -> Self {
        Self::start(|_| {}, nodes).await
    }

    async fn start(change: impl FnOnce(&mut Config), nodes: Arc<dyn NodeAccess>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pki = Arc::new(Pki::open(directory.path(), Timestamp::now()).unwrap());
        let settings = Settings::new(Checks {
            schedule: |_| Ok(()),
            time_zone: |_| Ok(()),
        });
        let registry = Registry::open(Arc::new(MemoryStore::new()), Arc::new(TestEnv), settings).unwrap();
        bootstrap::ensure(&registry, None).await.unwrap();
        authorization::bootstrap::ensure(&registry).await.unwrap();
        let mut config = Config::new(SocketAddr::from(([127, 0, 0, 1], 0)), Arc::clone(&pki));
        change(&mut config);
        let server = Server::bind(config, Arc::clone(&registry), nodes).await.unwrap();
        let address = server.address();
        let stop = CancellationToken::new();
        tokio::spawn(server.run(stop.clone()));
        Self {
            registry,
            pki,
            address,
            _stopped: stop.clone().drop_guard(),
            stop,
            _directory: directory,
        }
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub async fn create(&self, resource: &'static rota_api::Resource, object: serde_json::Value) {
        let caller = Caller::system("tester");
        self.registry
            .write(&caller, Write::create(resource, object))
            .await
            .unwrap();
    }

    pub fn identity(&self, user: &str, group: &str) -> Identity {
        self.pki.client(user, Some(group), Timestamp::now()).unwrap()
    }

    /// A connection of the administrator to the server.
    pub async fn connect(&self) -> TlsStream<TcpStream> {
        self.connect_to(self.address, "localhost", &self.identity("admin", "system:masters"))
            .await
    }

    /// A connection of somebody to a server of that name.
    pub async fn connect_to(
        &self,
        address: SocketAddr,
        name: &'static str,
        identity: &Identity,
    ) -> TlsStream<TcpStream> {
        self.open(address, name, Some(identity)).await
    }

    /// A connection of somebody without a certificate to the server.
    pub async fn connect_without_identity(&self) -> TlsStream<TcpStream> {
        self.open(self.address, "localhost", None).await
    }

    async fn open(&self, address: SocketAddr, name: &'static str, identity: Option<&Identity>) -> TlsStream<TcpStream> {
        let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate(self.pki.ca_pem())).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            Some(identity) => config
                .with_client_auth_cert(
                    vec![certificate(&identity.certificate_pem)],
                    PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap(),
                )
                .unwrap(),
            None => config.with_no_client_auth(),
        };
        let socket = TcpStream::connect(address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector
            .connect(ServerName::try_from(name).unwrap(), socket)
            .await
            .unwrap()
    }
}

/// Sends a request (its head without the end, and its body); returns the whole answer.
pub async fn ask(mut stream: TlsStream<TcpStream>, head: &str, body: &[u8]) -> Answer {
    let head = format!(
        "{head}\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // A server that refuses a request need not read all of it.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body).await;
    let _ = stream.flush().await;
    Answer::read(stream).await
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub async fn read(mut stream: TlsStream<TcpStream>) -> Self {
        let mut bytes = Vec::new();
        // The peer may close without saying so.
        let _ = stream.read_to_end(&mut bytes).await;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        Self {
            code: head
                .split(' ')
                .nth(1)
                .and_then(|code| code.parse().ok())
                .unwrap_or_default(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    /// The body as a `Status`.
    pub fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// Something that a test creates in the namespace `default`.
pub const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
