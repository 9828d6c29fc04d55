//! Nodes on other machines: joining, and reaching their containers through their endpoints.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use rota_api::validate::Checks;
use rota_api::{ApiError, Reason, Write, resource};
use rota_apiserver::join::{EnrollError, JoinToken, enroll};
use rota_apiserver::kubelet::client::RemoteNodes;
use rota_apiserver::kubelet::server::NodeEndpoint;
use rota_apiserver::node_access::{
    ByteStream, Connection, ContainerRef, LogOptions, LogStream, NoNodes, NodeAccess, Output, Session, SessionOptions,
    TerminalSize,
};
use rota_apiserver::{Config, Identity, Pki, Server};
use rota_registry::{Caller, Env, Registry, Settings, bootstrap};
use rota_store::MemoryStore;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
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

/// A node whose containers say back what they are told.
struct Echo;

#[async_trait]
impl NodeAccess for Echo {
    async fn logs(&self, container: &ContainerRef, options: LogOptions) -> Result<ByteStream, ApiError> {
        if container.container == "silent" {
            return Err(ApiError::bad_request("container \"silent\" is waiting to start"));
        }
        let text = format!("{}/{} {options:?}\n", container.pod, container.container);
        Ok(Box::pin(stream::iter([Bytes::from(text)])))
    }

    async fn exec(&self, _: &ContainerRef, options: SessionOptions) -> Result<Session, ApiError> {
        let (output, outputs) = mpsc::channel(8);
        let (exit, exited) = oneshot::channel();
        let (stdin, mut input) = mpsc::channel::<Bytes>(8);
        let (resize, mut sizes) = mpsc::channel::<TerminalSize>(8);
        let command = options.command.join(" ");
        if command == "refused" {
            return Err(ApiError::bad_request("container \"c\" is not running"));
        }
        tokio::spawn(async move {
            let _ = output.send(Output::Stdout(format!("{command}\n").into())).await;
            if options.tty
                && let Some(size) = sizes.recv().await
            {
                let _ = output
                    .send(Output::Stdout(format!("{}x{}\n", size.width, size.height).into()))
                    .await;
            }
            while let Some(bytes) = input.recv().await {
                let _ = output.send(Output::Stdout(bytes)).await;
            }
            let _ = output.send(Output::Stderr("done\n".into())).await;
            drop(output);
            let code = command.rsplit(' ').next().and_then(|code| code.parse().ok());
            let _ = exit.send(Ok(code.unwrap_or_default()));
        });
        Ok(Session {
            stdin: options.stdin.then_some(stdin),
            output: outputs,
            resize: options.tty.then_some(resize),
            exit: exited,
        })
    }

    async fn attach(&self, container: &ContainerRef, options: SessionOptions) -> Result<Session, ApiError> {
        self.exec(container, options).await
    }

    async fn port_forward(&self, _: &ContainerRef, port: u16) -> Result<Box<dyn Connection>, ApiError> {
        if port == 81 {
            return Err(ApiError::internal("connection refused"));
        }
        let (ours, mut theirs) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let mut heard = Vec::new();
            let _ = theirs.read_to_end(&mut heard).await;
            heard.reverse();
            let _ = theirs.write_all(&heard).await;
        });
        Ok(Box::new(ours))
    }
}

/// A cluster with a server, and what is needed to add nodes.
struct World {
    registry: Arc<Registry>,
    pki: Arc<Pki>,
    url: String,
    stop: CancellationToken,
    _directory: TempDir,
    _stopped: DropGuard,
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pki = Arc::new(Pki::open(directory.path(), Timestamp::now()).unwrap());
        let settings = Settings::new(Checks {
            schedule: |_| Ok(()),
            time_zone: |_| Ok(()),
        });
        let registry = Registry::open(Arc::new(MemoryStore::new()), Arc::new(TestEnv), settings).unwrap();
        bootstrap::ensure(&registry, None).await.unwrap();
        let config = Config::new(SocketAddr::from(([127, 0, 0, 1], 0)), Arc::clone(&pki));
        let server = Server::bind(config, Arc::clone(&registry), Arc::new(NoNodes))
            .await
            .unwrap();
        let url = format!("https://{}", server.address());
        let stop = CancellationToken::new();
        tokio::spawn(server.run(stop.clone()));
        Self {
            registry,
            pki,
            url,
            _stopped: stop.clone().drop_guard(),
            stop,
            _directory: directory,
        }
    }

    async fn create(&self, resource: &'static rota_api::Resource, object: serde_json::Value) {
        let caller = Caller::system("tester");
        self.registry
            .write(&caller, Write::create(resource, object))
            .await
            .unwrap();
    }

    /// Opens the endpoint of a node that has joined, and tells the cluster of it.
    async fn open(&self, name: &str, identity: &Identity) -> SocketAddr {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let endpoint = NodeEndpoint::bind(listen, name.to_owned(), identity, self.pki.ca_pem(), Arc::new(Echo));
        let endpoint = endpoint.await.unwrap();
        let address = endpoint.address();
        tokio::spawn(endpoint.run(self.stop.clone()));
        let status = json!({
            "addresses": [{"type": "InternalIP", "address": address.ip().to_string()}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": address.port()}},
            "nodeInfo": {"containerRuntimeVersion": "rota://0"}});
        self.create(resource::NODES, json!({"metadata": {"name": name}, "status": status}))
            .await;
        address
    }

    fn token(&self) -> JoinToken {
        JoinToken::of(&self.pki)
    }

    fn access(&self) -> RemoteNodes {
        RemoteNodes::new(Arc::clone(&self.registry), &self.pki).unwrap()
    }
}

fn container(node: &str) -> ContainerRef {
    ContainerRef {
        node: node.to_owned(),
        namespace: "default".to_owned(),
        pod: "p".to_owned(),
        uid: "u".to_owned(),
        container: "c".to_owned(),
    }
}

async fn outputs(session: &mut Session) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some(piece) = session.output.recv().await {
        match piece {
            Output::Stdout(bytes) => out.extend_from_slice(&bytes),
            Output::Stderr(bytes) => err.extend_from_slice(&bytes),
        }
    }
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[tokio::test]
async fn a_machine_with_the_token_is_given_the_identity_of_a_node() {
    let world = World::new().await;
    let enrolled = enroll(&world.url, &world.token(), "n1").await.unwrap();
    assert_eq!(enrolled.authority, world.pki.ca_pem());
    world.open("n1", &enrolled.serving).await;
    let log = world
        .access()
        .logs(&container("n1"), LogOptions::default())
        .await
        .unwrap();
    assert_eq!(log.count().await, 1);
}

#[tokio::test]
async fn machines_without_the_right_token_or_name_are_refused() {
    let world = World::new().await;
    let shown = world.token().to_string();
    let wrong_secret = JoinToken::parse(&format!("{}.00", shown.split_once('.').unwrap().0)).unwrap();
    match enroll(&world.url, &wrong_secret, "n1").await {
        Err(EnrollError::Refused(error)) => assert_eq!(error.reason(), Reason::Unauthorized),
        _ => panic!("a wrong secret must be refused"),
    }
    let wrong_cluster = JoinToken::parse(&format!("{}.{}", "0".repeat(64), shown.split_once('.').unwrap().1)).unwrap();
    assert!(
        matches!(
            enroll(&world.url, &wrong_cluster, "n1").await,
            Err(EnrollError::Connect { .. })
        ),
        "a server of another cluster must not be told the secret"
    );
    match enroll(&world.url, &world.token(), "No Name").await {
        Err(EnrollError::Refused(error)) => assert_eq!(error.reason(), Reason::Invalid),
        _ => panic!("a name that no node can have must be refused"),
    }
    let ready = json!({"metadata": {"name": "busy"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    world.create(resource::NODES, ready).await;
    match enroll(&world.url, &world.token(), "busy").await {
        Err(EnrollError::Refused(error)) => assert_eq!(error.reason(), Reason::Conflict),
        _ => panic!("a node that works must not be replaced"),
    }
}

#[tokio::test]
async fn options_of_a_log_and_its_refusal_pass_through() {
    let world = World::new().await;
    let enrolled = enroll(&world.url, &world.token(), "n1").await.unwrap();
    world.open("n1", &enrolled.serving).await;
    let options = LogOptions {
        follow: true,
        previous: true,
        timestamps: true,
        since: Some("2026-01-01T00:00:00.5Z".parse().unwrap()),
        tail_lines: Some(3),
        limit_bytes: Some(100),
        stream: LogStream::All,
    };
    let log = world.access().logs(&container("n1"), options.clone()).await.unwrap();
    let text: Vec<Bytes> = log.collect().await;
    assert_eq!(String::from_utf8(text.concat()).unwrap(), format!("p/c {options:?}\n"));
    let silent = ContainerRef {
        container: "silent".to_owned(),
        ..container("n1")
    };
    let refused = world.access().logs(&silent, LogOptions::default()).await.err().unwrap();
    assert_eq!(
        (refused.code(), refused.message()),
        (400, "container \"silent\" is waiting to start")
    );
}

#[tokio::test]
async fn a_session_has_input_output_sizes_and_an_exit_code() {
    let world = World::new().await;
    let enrolled = enroll(&world.url, &world.token(), "n1").await.unwrap();
    world.open("n1", &enrolled.serving).await;
    let access = world.access();
    let options = SessionOptions {
        command: vec!["sh".to_owned(), "-c 'a=b&c' ä".to_owned(), "7".to_owned()],
        stdin: true,
        stdout: true,
        stderr: true,
        tty: false,
    };
    let mut session = access.exec(&container("n1"), options.clone()).await.unwrap();
    let stdin = session.stdin.take().unwrap();
    stdin.send("hello\n".into()).await.unwrap();
    drop(stdin);
    let (out, err) = outputs(&mut session).await;
    assert_eq!((out.as_str(), err.as_str()), ("sh -c 'a=b&c' ä 7\nhello\n", "done\n"));
    assert_eq!(session.exit.await.unwrap(), Ok(7));
    let on_terminal = SessionOptions {
        tty: true,
        stderr: false,
        command: vec!["top".to_owned()],
        ..options.clone()
    };
    let mut session = access.attach(&container("n1"), on_terminal).await.unwrap();
    let resize = session.resize.take().unwrap();
    resize.send(TerminalSize { width: 80, height: 24 }).await.unwrap();
    drop(session.stdin.take());
    assert_eq!(outputs(&mut session).await.0, "top\n80x24\n");
    assert_eq!(session.exit.await.unwrap(), Ok(0));
    let refused = SessionOptions {
        command: vec!["refused".to_owned()],
        ..options
    };
    let mut session = access.exec(&container("n1"), refused).await.unwrap();
    assert_eq!(outputs(&mut session).await, (String::new(), String::new()));
    assert_eq!(
        session.exit.await.unwrap().unwrap_err().message(),
        "container \"c\" is not running"
    );
}

#[tokio::test]
async fn a_port_is_reached_and_says_when_nobody_listens() {
    let world = World::new().await;
    let enrolled = enroll(&world.url, &world.token(), "n1").await.unwrap();
    world.open("n1", &enrolled.serving).await;
    let mut connection = world.access().port_forward(&container("n1"), 80).await.unwrap();
    connection.write_all(b"abc").await.unwrap();
    connection.shutdown().await.unwrap();
    let mut heard = String::new();
    connection.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "cba");
    let mut refused = world.access().port_forward(&container("n1"), 81).await.unwrap();
    let error = refused.read_to_string(&mut heard).await.unwrap_err();
    assert!(error.to_string().contains("connection refused"), "{error}");
}

#[tokio::test]
async fn a_node_cannot_pass_for_another_and_lets_in_only_the_server() {
    let world = World::new().await;
    let enrolled = enroll(&world.url, &world.token(), "n1").await.unwrap();
    world.open("n2", &enrolled.serving).await;
    let refused = world
        .access()
        .logs(&container("n2"), LogOptions::default())
        .await
        .err()
        .unwrap();
    assert!(refused.message().contains("certificate"), "{refused}");
    let address = world.open("n1", &enrolled.serving).await;
    let administrator = world
        .pki
        .client("admin", Some("system:masters"), Timestamp::now())
        .unwrap();
    assert_eq!(status_of(&world, address, &administrator).await, 403);
}

/// The status with which an endpoint answers somebody.
async fn status_of(world: &World, address: SocketAddr, identity: &Identity) -> u16 {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(world.pki.ca_pem().as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap(),
        )
        .unwrap();
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector
        .connect(ServerName::try_from("n1").unwrap(), socket)
        .await
        .unwrap();
    let request = "GET /containerLogs/default/p/c HTTP/1.1\r\nHost: n1\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The peer may close without saying so.
    let _ = stream.read_to_end(&mut answer).await;
    let line = String::from_utf8_lossy(&answer);
    line.split(' ').nth(1).unwrap().parse().unwrap()
}
