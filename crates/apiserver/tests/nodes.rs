//! Nodes on other machines: joining, and reaching their containers through their endpoints.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use rota_api::{ApiError, Reason, resource};
use rota_apiserver::Identity;
use rota_apiserver::join::{EnrollError, JoinToken, enroll};
use rota_apiserver::kubelet::client::RemoteNodes;
use rota_apiserver::kubelet::server::NodeEndpoint;
use rota_apiserver::node_access::{
    ByteStream, Connection, ContainerRef, LogOptions, LogStream, NodeAccess, Output, Session, SessionOptions,
    TerminalSize,
};
use serde_json::json;
use support::{World, ask};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};

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

/// Opens the endpoint of a node that has joined, and tells the cluster of it.
async fn open(world: &World, name: &str, identity: &Identity) -> SocketAddr {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let endpoint = NodeEndpoint::bind(listen, name.to_owned(), identity, world.pki.ca_pem(), Arc::new(Echo));
    let endpoint = endpoint.await.unwrap();
    let address = endpoint.address();
    tokio::spawn(endpoint.run(world.stop.clone()));
    let status = json!({
        "addresses": [{"type": "InternalIP", "address": address.ip().to_string()}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": address.port()}},
        "nodeInfo": {"containerRuntimeVersion": "rota://0"}});
    world
        .create(resource::NODES, json!({"metadata": {"name": name}, "status": status}))
        .await;
    address
}

fn token(world: &World) -> JoinToken {
    JoinToken::of(&world.pki)
}

fn access(world: &World) -> RemoteNodes {
    RemoteNodes::new(Arc::clone(&world.registry), &world.pki).unwrap()
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
    let enrolled = enroll(&world.url(), &token(&world), "n1").await.unwrap();
    assert_eq!(enrolled.authority, world.pki.ca_pem());
    open(&world, "n1", &enrolled.serving).await;
    let log = access(&world)
        .logs(&container("n1"), LogOptions::default())
        .await
        .unwrap();
    assert_eq!(log.count().await, 1);
}

#[tokio::test]
async fn machines_without_the_right_token_or_name_are_refused() {
    let world = World::new().await;
    let shown = token(&world).to_string();
    let wrong_secret = JoinToken::parse(&format!("{}.00", shown.split_once('.').unwrap().0)).unwrap();
    match enroll(&world.url(), &wrong_secret, "n1").await {
        Err(EnrollError::Refused(error)) => assert_eq!(error.reason(), Reason::Unauthorized),
        _ => panic!("a wrong secret must be refused"),
    }
    let wrong_cluster = JoinToken::parse(&format!("{}.{}", "0".repeat(64), shown.split_once('.').unwrap().1)).unwrap();
    assert!(
        matches!(
            enroll(&world.url(), &wrong_cluster, "n1").await,
            Err(EnrollError::Connect { .. })
        ),
        "a server of another cluster must not be told the secret"
    );
    match enroll(&world.url(), &token(&world), "No Name").await {
        Err(EnrollError::Refused(error)) => assert_eq!(error.reason(), Reason::Invalid),
        _ => panic!("a name that no node can have must be refused"),
    }
    let ready = json!({"metadata": {"name": "busy"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    world.create(resource::NODES, ready).await;
    match enroll(&world.url(), &token(&world), "busy").await {
        Err(EnrollError::Refused(error)) => assert_eq!(error.reason(), Reason::Conflict),
        _ => panic!("a node that works must not be replaced"),
    }
}

#[tokio::test]
async fn options_of_a_log_and_its_refusal_pass_through() {
    let world = World::new().await;
    let enrolled = enroll(&world.url(), &token(&world), "n1").await.unwrap();
    open(&world, "n1", &enrolled.serving).await;
    let options = LogOptions {
        follow: true,
        previous: true,
        timestamps: true,
        since: Some("2026-01-01T00:00:00.5Z".parse().unwrap()),
        tail_lines: Some(3),
        limit_bytes: Some(100),
        stream: LogStream::All,
    };
    let log = access(&world).logs(&container("n1"), options.clone()).await.unwrap();
    let text: Vec<Bytes> = log.collect().await;
    assert_eq!(String::from_utf8(text.concat()).unwrap(), format!("p/c {options:?}\n"));
    let silent = ContainerRef {
        container: "silent".to_owned(),
        ..container("n1")
    };
    let refused = access(&world).logs(&silent, LogOptions::default()).await.err().unwrap();
    assert_eq!(
        (refused.code(), refused.message()),
        (400, "container \"silent\" is waiting to start")
    );
}

#[tokio::test]
async fn a_session_has_input_output_sizes_and_an_exit_code() {
    let world = World::new().await;
    let enrolled = enroll(&world.url(), &token(&world), "n1").await.unwrap();
    open(&world, "n1", &enrolled.serving).await;
    let access = access(&world);
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
    let enrolled = enroll(&world.url(), &token(&world), "n1").await.unwrap();
    open(&world, "n1", &enrolled.serving).await;
    let mut connection = access(&world).port_forward(&container("n1"), 80).await.unwrap();
    connection.write_all(b"abc").await.unwrap();
    connection.shutdown().await.unwrap();
    let mut heard = String::new();
    connection.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "cba");
    let mut refused = access(&world).port_forward(&container("n1"), 81).await.unwrap();
    let error = refused.read_to_string(&mut heard).await.unwrap_err();
    assert!(error.to_string().contains("connection refused"), "{error}");
}

#[tokio::test]
async fn a_node_cannot_pass_for_another_and_lets_in_only_the_server() {
    let world = World::new().await;
    let enrolled = enroll(&world.url(), &token(&world), "n1").await.unwrap();
    open(&world, "n2", &enrolled.serving).await;
    let refused = access(&world)
        .logs(&container("n2"), LogOptions::default())
        .await
        .err()
        .unwrap();
    assert!(refused.message().contains("certificate"), "{refused}");
    let address = open(&world, "n1", &enrolled.serving).await;
    let administrator = world.identity("admin", "system:masters");
    let stream = world.connect_to(address, "n1", &administrator).await;
    assert_eq!(
        ask(stream, "GET /containerLogs/default/p/c HTTP/1.1", b"").await.code,
        403
    );
}
