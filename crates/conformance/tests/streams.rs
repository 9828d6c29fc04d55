//! Logs, commands and ports of containers as `kubectl` reaches them, over whichever protocol it speaks.

mod support;

use std::process::Stdio;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use rota_api::{ApiError, Reason};
use rota_apiserver::NodeAccess;
use rota_apiserver::node_access::{ByteStream, Connection, ContainerRef, LogOptions, Output, Session, SessionOptions};
use rota_conformance::cluster::Cluster;
use support::Kubectl;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

/// A node whose containers say back what they are told.
struct Echo;

#[async_trait]
impl NodeAccess for Echo {
    async fn logs(&self, container: &ContainerRef, options: LogOptions) -> Result<ByteStream, ApiError> {
        let text = format!("{} {} {:?}\n", container.node, container.container, options.tail_lines);
        Ok(Box::pin(stream::iter([Bytes::from(text)])))
    }

    async fn exec(&self, _: &ContainerRef, options: SessionOptions) -> Result<Session, ApiError> {
        let (output, outputs) = mpsc::channel(8);
        let (exit, exited) = oneshot::channel();
        let (stdin, mut input) = mpsc::channel::<Bytes>(8);
        let reads = options.stdin;
        tokio::spawn(async move {
            let command = options.command.join(" ");
            let _ = output.send(Output::Stdout(format!("{command}\n").into())).await;
            while let Some(bytes) = input.recv().await {
                let _ = output.send(Output::Stdout(bytes)).await;
            }
            let _ = output.send(Output::Stderr("done\n".into())).await;
            drop(output);
            let code = command.rsplit(' ').next().and_then(|code| code.parse().ok());
            let _ = exit.send(Ok(code.unwrap_or_default()));
        });
        Ok(Session {
            stdin: reads.then_some(stdin),
            output: outputs,
            resize: None,
            exit: exited,
        })
    }

    async fn attach(&self, container: &ContainerRef, _: SessionOptions) -> Result<Session, ApiError> {
        Err(ApiError::new(
            Reason::Conflict,
            format!("{} does not run", container.container),
        ))
    }

    async fn port_forward(&self, _: &ContainerRef, port: u16) -> Result<Box<dyn Connection>, ApiError> {
        let (ours, theirs) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let (mut from, mut to) = tokio::io::split(ours);
            let _ = to.write_all(format!("{port}:").as_bytes()).await;
            let _ = tokio::io::copy(&mut from, &mut to).await;
            let _ = to.shutdown().await;
        });
        Ok(Box::new(theirs))
    }
}

const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  nodeName: node-1
  automountServiceAccountToken: false
  containers: [{name: c, image: "app:v1"}]
"#;

/// A cluster with a pod on a node that does not exist, whose containers are echoes.
async fn with_pod() -> Kubectl {
    let kubectl = Kubectl::with(Cluster::start_with(Arc::new(Echo)).await);
    let file = kubectl.file("pod.yaml", POD);
    kubectl.run(&format!("create -f {file}")).await;
    // `port-forward` asks for a pod that runs.
    let pods = rota_api::resource::PODS;
    let running = serde_json::json!({"status": {"phase": "Running"}});
    let write = rota_api::Write::merge_status(pods, "default", "p", running);
    let caller = rota_registry::Caller::system("system:node:node-1");
    kubectl
        .cluster
        .registry
        .write(&caller, write)
        .await
        .expect("the status can be written");
    kubectl
}

#[tokio::test]
async fn logs_come_from_the_node_of_the_pod() {
    let kubectl = with_pod().await;
    assert_eq!(kubectl.run("logs p --tail=3").await, "node-1 c Some(3)\n");
    let (shown, text) = kubectl.try_run("logs p -c other").await;
    assert!(
        !shown && text.contains("container other is not valid for pod p"),
        "{text}"
    );
}

#[tokio::test]
async fn a_command_is_run_with_its_streams_and_its_exit_code() {
    let kubectl = with_pod().await;
    let (succeeded, text) = kubectl.try_run("exec p -- echo hello").await;
    assert!(
        succeeded && text.contains("echo hello\n") && text.contains("done\n"),
        "{text}"
    );
    let (succeeded, text) = kubectl.try_run("exec p -- exit 3").await;
    assert!(!succeeded && text.contains("exit code 3"), "{text}");
    let mut running = kubectl
        .command("exec -i p -- cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl can be run");
    let mut stdin = running.stdin.take().expect("it was asked for");
    stdin.write_all(b"through and back").await.expect("kubectl reads");
    drop(stdin);
    let output = running.wait_with_output().await.expect("kubectl ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "cat\nthrough and back");
}

#[tokio::test]
async fn ports_of_a_pod_are_reached() {
    let kubectl = with_pod().await;
    let mut forwarding = kubectl
        .command("port-forward p :80")
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl can be run");
    let stdout = forwarding.stdout.take().expect("it was asked for");
    // Kept to the end: without a reader of its output kubectl would be ended by its next line.
    let mut lines = BufReader::new(stdout).lines();
    let first = lines.next_line().await.expect("kubectl writes").unwrap_or_default();
    let port: u16 = first
        .rsplit_once(" -> ")
        .and_then(|(from, _)| from.rsplit_once(':'))
        .and_then(|(_, port)| port.parse().ok())
        .unwrap_or_else(|| panic!("kubectl says where it listens: {first}"));
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await.expect("kubectl listens");
    connection.write_all(b"hello").await.expect("kubectl reads");
    let mut answer = vec![0; "80:hello".len()];
    connection.read_exact(&mut answer).await.expect("the pod answers");
    assert_eq!(String::from_utf8_lossy(&answer), "80:hello");
}
