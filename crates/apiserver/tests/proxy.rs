//! HTTP requests to what runs in pods and on nodes, through the server.

mod support;

use std::convert::Infallible;
use std::sync::Arc;

use async_trait::async_trait;
use http::{Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rota_api::{ApiError, resource};
use rota_apiserver::node_access::{ByteStream, Connection, ContainerRef, LogOptions, Session, SessionOptions};
use rota_apiserver::{Identity, NodeAccess, Pki};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use support::{Answer, World, ask};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

const PODS: &str = "/api/v1/namespaces/default/pods";

/// Nodes in whose pods a web server listens on every port, on 8443 over TLS; on 81 it breaks off, on 82 nobody listens.
struct Web(Identity);

impl Web {
    fn tls(&self) -> TlsAcceptor {
        let chain = vec![CertificateDer::from_pem_slice(self.0.certificate_pem.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(self.0.key_pem.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key);
        TlsAcceptor::from(Arc::new(config.unwrap()))
    }
}

/// Says what it was asked, sends on what asks for `/old`, and echoes after a change of protocols.
async fn serve(request: http::Request<Incoming>) -> Result<Response<String>, Infallible> {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
            .to_owned()
    };
    let said = format!(
        "{} {} host={} uri={} authorization={}",
        request.method(),
        request.uri(),
        header("host"),
        header("x-forwarded-uri"),
        header("authorization")
    );
    let reply = Response::builder();
    if header("upgrade") == "shout" {
        tokio::spawn(async move {
            let mut connection = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
            let mut word = [0; 5];
            connection.read_exact(&mut word).await.unwrap();
            connection.write_all(&word.to_ascii_uppercase()).await.unwrap();
        });
        let reply = reply.header("connection", "Upgrade").header("upgrade", "shout");
        return Ok(reply
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .body(String::new())
            .unwrap());
    }
    let reply = match request.uri().path() {
        "/old" => reply.status(StatusCode::FOUND).header("location", "/new"),
        _ => reply.header("access-control-allow-origin", "*"),
    };
    Ok(reply.body(said).unwrap())
}

#[async_trait]
impl NodeAccess for Web {
    async fn logs(&self, container: &ContainerRef, _: LogOptions) -> Result<ByteStream, ApiError> {
        let text = format!("{}/{}", container.node, container.container);
        Ok(Box::pin(futures::stream::iter([text.into()])))
    }

    async fn exec(&self, _: &ContainerRef, _: SessionOptions) -> Result<Session, ApiError> {
        Err(ApiError::bad_request("nothing can be run"))
    }

    async fn attach(&self, _: &ContainerRef, _: SessionOptions) -> Result<Session, ApiError> {
        Err(ApiError::bad_request("nothing runs"))
    }

    async fn port_forward(&self, _: &ContainerRef, port: u16) -> Result<Box<dyn Connection>, ApiError> {
        if port == 82 {
            return Err(ApiError::internal("connection refused"));
        }
        let (mut ours, theirs) = tokio::io::duplex(1024);
        if port == 81 {
            tokio::spawn(async move {
                let _ = ours.read(&mut [0; 1024]).await;
                let part = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n";
                let _ = ours.write_all(part.as_bytes()).await;
            });
            return Ok(Box::new(theirs));
        }
        let tls = (port == 8443).then(|| self.tls());
        tokio::spawn(async move {
            let connection: Box<dyn Connection> = match tls {
                Some(tls) => match tls.accept(ours).await {
                    Ok(secured) => Box::new(secured),
                    Err(_) => return,
                },
                None => Box::new(ours),
            };
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(connection), service_fn(serve))
                .with_upgrades();
            let _ = served.await;
        });
        Ok(Box::new(theirs))
    }

    async fn endpoint(&self, node: &str) -> Result<Option<Box<dyn Connection>>, ApiError> {
        if node != "kubelet" {
            return Ok(None);
        }
        let (ours, theirs) = tokio::io::duplex(1024);
        tokio::spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(ours), service_fn(serve)),
        );
        Ok(Some(Box::new(theirs)))
    }
}

/// A server with pod `p` on node `n`, in which the web server listens.
async fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    let identity = Pki::open(directory.path(), Timestamp::now())
        .and_then(|pki| pki.client("web", None, Timestamp::now()))
        .unwrap();
    let world = World::reaching(Arc::new(Web(identity))).await;
    world.create(resource::NODES, json!({"metadata": {"name": "n"}})).await;
    let spec = json!({"nodeName": "n", "containers": [{"name": "c", "image": "i"}]});
    let metadata = json!({"name": "p", "namespace": "default", "labels": {"app": "web"}});
    world
        .create(resource::PODS, json!({"metadata": metadata, "spec": spec}))
        .await;
    world
}

async fn get(world: &World, path: &str) -> Answer {
    ask(world.connect().await, &format!("GET {path} HTTP/1.1"), b"").await
}

#[tokio::test]
async fn a_request_reaches_the_pod_and_says_where_it_came_from() {
    let world = world().await;
    let answer = ask(
        world.connect().await,
        &format!("POST {PODS}/http:p:80/proxy/a%20b?c=d HTTP/1.1"),
        b"body",
    )
    .await;
    assert_eq!(answer.code, 200, "{answer:?}");
    let said = format!("POST /a%20b?c=d host=x uri={PODS}/http%3Ap%3A80/proxy/a%20b authorization=");
    assert!(answer.body.contains(&said), "{answer:?}");
    assert!(!answer.head.contains("access-control"), "{answer:?}");
}

#[tokio::test]
async fn what_listens_over_tls_is_reached_by_its_scheme() {
    let world = world().await;
    let answer = get(&world, &format!("{PODS}/https:p:8443/proxy/")).await;
    assert!(answer.code == 200 && answer.body.contains("GET / host=x"), "{answer:?}");
    let answer = get(&world, &format!("{PODS}/https:p:80/proxy/")).await;
    assert_eq!(answer.status()["reason"], "ServiceUnavailable", "{answer:?}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_passed_on_as_a_whole_one() {
    let world = world().await;
    let answer = get(&world, &format!("{PODS}/p:81/proxy/")).await;
    assert_eq!(answer.code, 200, "{answer:?}");
    assert!(
        !answer.body.contains("\r\n0\r\n"),
        "the last chunk says that it is whole: {answer:?}"
    );
}

#[tokio::test]
async fn where_nobody_listens_the_service_is_unavailable() {
    let world = world().await;
    let answer = get(&world, &format!("{PODS}/p:82/proxy/")).await;
    assert_eq!(
        (answer.code, &answer.status()["reason"]),
        (503, &json!("ServiceUnavailable"))
    );
}

#[tokio::test]
async fn places_that_the_pod_names_lie_behind_the_proxy() {
    let world = world().await;
    let moved = get(&world, &format!("{PODS}/p/proxy/old")).await;
    assert!(
        moved.code == 302 && moved.head.contains(&format!("location: {PODS}/p/proxy/new")),
        "{moved:?}"
    );
    let moved = get(&world, &format!("{PODS}/p/proxy?a=b")).await;
    assert!(
        moved.code == 301 && moved.head.contains(&format!("location: {PODS}/p/proxy/?a=b")),
        "{moved:?}"
    );
}

#[tokio::test]
async fn a_changed_protocol_goes_on_through_the_server() {
    let world = world().await;
    for pod in ["p:80", "https:p:8443"] {
        let mut stream = world.connect().await;
        let head =
            format!("GET {PODS}/{pod}/proxy/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut reply = Vec::new();
        while !reply.ends_with(b"\r\n\r\n") {
            reply.push(stream.read_u8().await.unwrap());
        }
        let reply = String::from_utf8(reply).unwrap();
        assert!(
            reply.starts_with("HTTP/1.1 101") && reply.contains("upgrade: shout"),
            "{reply}"
        );
        stream.write_all(b"hello").await.unwrap();
        let mut word = [0; 5];
        stream.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"HELLO");
    }
}

#[tokio::test]
async fn a_node_answers_as_its_own_endpoint_does() {
    let world = world().await;
    let node = "/api/v1/nodes/n/proxy";
    assert_eq!(get(&world, &format!("{node}/healthz")).await.body, "ok");
    let pods = get(&world, &format!("{node}/pods")).await;
    assert_eq!(pods.status()["items"][0]["metadata"]["name"], "p", "{pods:?}");
    let log = get(&world, &format!("{node}/containerLogs/default/p/c")).await;
    assert!(log.body.contains("n/c"), "{log:?}");
    assert_eq!(get(&world, &format!("{node}/nowhere")).await.code, 404);
    assert_eq!(get(&world, "/api/v1/nodes/m/proxy/healthz").await.code, 404);
    let refused = get(&world, "/api/v1/nodes/n:9100/proxy/metrics").await;
    assert_eq!(refused.status()["message"], "address not allowed", "{refused:?}");
}

#[tokio::test]
async fn a_node_that_answers_for_itself_is_asked() {
    let world = world().await;
    world
        .create(resource::NODES, json!({"metadata": {"name": "kubelet"}}))
        .await;
    let node = "/api/v1/nodes/kubelet/proxy";
    for path in ["/pods", "/stats/summary?only_cpu_and_memory=true"] {
        let said = get(&world, &format!("{node}{path}")).await;
        assert!(said.body.starts_with(&format!("GET {path} ")), "{said:?}");
        assert!(said.body.ends_with("authorization="), "{said:?}");
    }
    assert_eq!(get(&world, "/api/v1/nodes/other/proxy/pods").await.code, 404);
}

#[tokio::test]
async fn a_service_leads_to_one_of_its_pods() {
    let world = world().await;
    let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    let caller = rota_registry::Caller::system("system:node:n");
    let write = rota_api::Write::merge_status(resource::PODS, "default", "p", ready);
    world.registry.write(&caller, write).await.unwrap();
    let spec = json!({"selector": {"app": "web"}, "ports": [{"name": "tls", "port": 443, "targetPort": 8443}]});
    let service = json!({"metadata": {"name": "s", "namespace": "default"}, "spec": spec});
    world.create(resource::SERVICES, service).await;
    let services = "/api/v1/namespaces/default/services";
    for port in ["https:s:tls", "https:s:443"] {
        assert_eq!(get(&world, &format!("{services}/{port}/proxy/")).await.code, 200);
    }
    let refused = get(&world, &format!("{services}/s:80/proxy/")).await;
    assert_eq!(
        refused.status()["message"],
        "no service port 80 found for service \"s\""
    );
    assert_eq!(refused.code, 503);
}
