//! Requests to a whole server: paths, queries, headers and bodies near those that were recorded.

use bytes::Bytes;
use fastrand::Rng;
use http::Request as HttpRequest;
use http_body_util::Full;
use rota_conformance::client::{Client, Reply};
use rota_conformance::cluster::Cluster;
use tokio::runtime::Runtime;

use crate::corpus::Request;
use crate::mutate;
use crate::runner::Target;

/// Values of headers and parameters that mean something.
const ACCEPTS: [&str; 8] = [
    "",
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    "application/vnd.kubernetes.protobuf;stream=watch",
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
];
const PARAMETERS: [&str; 26] = [
    "watch=1&timeoutSeconds=1",
    "limit=1",
    "limit=-1",
    "limit=9223372036854775807",
    "continue=x",
    "continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiIifQ",
    "resourceVersion=0",
    "resourceVersion=1",
    "resourceVersion=18446744073709551615",
    "resourceVersion=x",
    "resourceVersionMatch=Exact",
    "resourceVersionMatch=NotOlderThan",
    "sendInitialEvents=true",
    "allowWatchBookmarks=true",
    "labelSelector=a%3Db",
    "labelSelector=%21a,b%20in%20(c)",
    "fieldSelector=metadata.name%3Da",
    "dryRun=All",
    "fieldManager=m",
    "fieldValidation=Strict",
    "force=true",
    "pretty=true",
    "propagationPolicy=Foreground",
    "gracePeriodSeconds=0",
    "orphanDependents=true",
    "includeObject=None",
];

/// A server and a client of it.
pub(crate) struct Requests {
    seeds: Vec<Request>,
    // Dropped before the runtime that it runs on.
    client: Client,
    _cluster: Cluster,
    runtime: Runtime,
}

impl Requests {
    pub(crate) fn new(seeds: Vec<Request>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let (cluster, client) = runtime.block_on(async {
            let cluster = Cluster::start().await;
            let client = Client::new(cluster.address, &cluster.pki, Some(("admin", "system:masters")));
            (cluster, client.expect("a client certificate can be issued"))
        });
        Self {
            seeds,
            client,
            _cluster: cluster,
            runtime,
        }
    }
}

impl Target for Requests {
    type Input = Request;

    /// The largest replies are the OpenAPI documents.
    const MEMORY_BASE: u64 = 64 << 20;

    fn seeds(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.seeds)
    }

    fn mutate(&mut self, rng: &mut Rng, input: &Request, other: &Request) -> Request {
        let mut out = input.clone();
        match rng.u8(0..6) {
            0 => out.uri = mutate::text(rng, &input.uri, &other.uri),
            1 => out.body = mutate::bytes(rng, &input.body, &other.body),
            2 => out.body.clone_from(&other.body),
            3 => out.method.clone_from(&other.method),
            4 => out.content_type.clone_from(&other.content_type),
            _ => {}
        }
        if rng.bool() {
            out.uri.push('&');
            out.uri.push_str(rng.choice(PARAMETERS).unwrap_or_default());
        }
        if rng.u8(0..3) == 0 {
            out.accept = rng.choice(ACCEPTS).unwrap_or_default().to_owned();
        }
        if rng.u8(0..20) == 0 {
            out.accept = mutate::text(rng, &input.accept, &other.accept);
        }
        out
    }

    fn size(&self, input: &Request) -> usize {
        input.uri.len() + input.body.len()
    }

    fn feed(&mut self, input: &Request) -> String {
        let Some(request) = request(input) else {
            return "no request".to_owned();
        };
        let reply = self.runtime.block_on(self.client.send(request));
        let Reply { code, body, .. } = reply.expect("every request is answered");
        let text = String::from_utf8_lossy(&body[..body.len().min(400)]).into_owned();
        assert!(!text.contains("internal fault"), "the server has panicked");
        let message = text.split("\"message\":").nth(1).unwrap_or_default();
        format!("{code} {message}")
    }
}

/// The request, if HTTP can carry it. Nothing stays open for long.
fn request(input: &Request) -> Option<HttpRequest<Full<Bytes>>> {
    let uri: String = input
        .uri
        .chars()
        .filter(|c| c.is_ascii_graphic() && !matches!(c, '{' | '}' | '<' | '>' | '"' | '\\' | '^' | '`' | '|' | '#'))
        .collect();
    let uri = uri.replace("timeoutSeconds", "x");
    let mut request = HttpRequest::builder()
        .method(input.method.as_str())
        .uri(format!("{uri}&timeoutSeconds=1"))
        .header("host", "localhost")
        .header("user-agent", "fuzz/1.0");
    if !input.accept.is_empty() {
        request = request.header("accept", &input.accept);
    }
    if !input.body.is_empty() {
        request = request.header("content-type", &input.content_type);
    }
    request.body(Full::new(input.body.clone().into())).ok()
}
