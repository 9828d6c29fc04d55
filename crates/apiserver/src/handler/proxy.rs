//! `pods/proxy` and `services/proxy`: HTTP requests to what runs in a pod, through the server.
//!
//! The pod is reached as for port forwarding, so its node need not be reachable from the client. A Service stands for one of
//! the ready pods that it selects. Not offered: nodes, TLS to the pod, and protocols beside HTTP/1.1.
//!
//! Source: kubernetes `pkg/registry/core/{pod,service}/rest`, `apimachinery/pkg/util/net` (`SplitSchemeNamePort`).

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use http::header::{
    AUTHORIZATION, CONNECTION, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING,
};
use http::header::{HeaderMap, HeaderName, HeaderValue, UPGRADE};
use http::{StatusCode, Uri};
use http_body_util::{BodyDataStream, Either, Empty};
use hyper_util::rt::TokioIo;
use rota_api::selector::LabelSelector;
use rota_api::{ApiError, Object, Reason, Resource, resource};
use rota_registry::ListOptions;
use serde_json::Value;

use crate::body::Body;
use crate::front::{Front, Request};
use crate::node_access::ContainerRef;
use crate::reply::Reply;

/// Headers that are about one connection only, beside those that it names itself.
const OF_CONNECTION: [HeaderName; 7] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Passes a request on and its answer back.
///
/// Errors: 404 without the object, 400 and 503 for what cannot be reached, 501 for what is not offered.
pub(super) async fn handle(
    front: &Arc<Front>,
    mut request: Request,
    resource: &'static Resource,
) -> Result<Reply, ApiError> {
    if request.headers.contains_key(UPGRADE) {
        return Err(not_offered("changing the protocol of a proxied request"));
    }
    let asked = Asked::parse(&request.info.name)?;
    let namespace = request.info.namespace.clone();
    let (pod, port) = if resource == resource::PODS {
        let pod = front.registry.get(resource::PODS, &namespace, asked.name)?;
        let port = asked.pod_port(&pod.to_value())?;
        (pod, port)
    } else if resource == resource::SERVICES {
        behind_service(front, &namespace, &asked).await?
    } else {
        return Err(not_offered("proxying to nodes"));
    };
    let container = ContainerRef {
        node: pod.meta().node.clone(),
        namespace,
        pod: pod.meta().name.clone(),
        uid: pod.meta().uid.clone(),
        container: String::new(),
    };
    if container.node.is_empty() {
        return Err(unreachable("the pod is on no node"));
    }
    let connection = front.nodes.port_forward(&container, port).await?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(connection)).await;
    let (mut sender, connection) = handshake.map_err(unreachable)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a proxied connection ended early");
        }
    });
    let body = request
        .body
        .take()
        .map_or_else(|| Either::Right(Empty::<Bytes>::new()), Either::Left);
    let mut outgoing = http::Request::new(body);
    *outgoing.method_mut() = request.method.clone();
    *outgoing.uri_mut() = target(&request).map_err(|_| ApiError::bad_request("the path cannot be passed on"))?;
    *outgoing.headers_mut() = passed_on(&request.headers);
    // Who the client is to this server is nothing to the pod.
    outgoing.headers_mut().remove(AUTHORIZATION);
    let host = format!("{}:{port}", container.pod);
    if let Ok(host) = HeaderValue::from_str(&host) {
        outgoing.headers_mut().insert(HOST, host);
    }
    let (parts, body) = sender.send_request(outgoing).await.map_err(unreachable)?.into_parts();
    // An answer that breaks off ends where it does.
    let pieces = BodyDataStream::new(body).take_while(|piece| std::future::ready(piece.is_ok()));
    let mut reply = Reply::new(Body::stream(pieces.filter_map(|piece| std::future::ready(piece.ok()))));
    *reply.status_mut() = parts.status;
    *reply.headers_mut() = passed_on(&parts.headers);
    Ok(reply)
}

/// What the last part of a path before `proxy` names: `[SCHEME:]NAME[:PORT]`.
#[derive(Debug, PartialEq, Eq)]
struct Asked<'a> {
    name: &'a str,
    port: &'a str,
}

impl<'a> Asked<'a> {
    fn parse(text: &'a str) -> Result<Self, ApiError> {
        let parts: Vec<&str> = text.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme, name, port] => (*scheme, *name, *port),
            _ => ("", "", ""),
        };
        match (scheme, name) {
            ("" | "http", name) if !name.is_empty() => Ok(Self { name, port }),
            ("https", _) => Err(not_offered("proxying over TLS")),
            _ => Err(ApiError::bad_request(format!("invalid request {text:?}"))),
        }
    }

    /// The port of a pod: the one asked for, else the first that a container names, else that of HTTP.
    fn pod_port(&self, pod: &Value) -> Result<u16, ApiError> {
        if !self.port.is_empty() {
            return self.port.parse().map_err(|_| self.no_port());
        }
        let first = ports(pod).find_map(|port| port["containerPort"].as_u64());
        Ok(first.and_then(|port| u16::try_from(port).ok()).unwrap_or(80))
    }

    /// The port of a Service that is asked for, by name or number; the only one without either.
    fn service_port<'b>(&self, service: &'b Value) -> Result<&'b Value, ApiError> {
        let ports = service["spec"]["ports"].as_array().map_or(&[][..], Vec::as_slice);
        let number: Option<u64> = self.port.parse().ok();
        let is_asked =
            |port: &&Value| port["name"] == self.port || (number.is_some() && port["port"].as_u64() == number);
        match (self.port, ports) {
            ("", [only]) => Ok(only),
            ("", _) => Err(self.no_port()),
            (_, ports) => ports.iter().find(is_asked).ok_or_else(|| self.no_port()),
        }
    }

    fn no_port(&self) -> ApiError {
        unreachable(format!("{:?} has no port {:?}", self.name, self.port))
    }
}

fn ports(pod: &Value) -> impl Iterator<Item = &Value> {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    containers.flat_map(|container| container["ports"].as_array().into_iter().flatten())
}

/// A ready pod that the Service selects, and the port of it that the Service's leads to.
async fn behind_service(front: &Front, namespace: &str, asked: &Asked<'_>) -> Result<(Arc<Object>, u16), ApiError> {
    let service = front
        .registry
        .get(resource::SERVICES, namespace, asked.name)?
        .to_value();
    let port = asked.service_port(&service)?;
    let labels = service["spec"]["selector"].as_object().into_iter().flatten();
    let labels = labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()));
    let selector = LabelSelector::from_labels(&labels.collect());
    let none = || unreachable(format!("no endpoints available for service {:?}", asked.name));
    if selector.is_everything() {
        return Err(none());
    }
    let options = ListOptions {
        namespace: Some(namespace.to_owned()),
        labels: selector.to_string(),
        ..ListOptions::default()
    };
    let pods = front.registry.list(resource::PODS, &options).await?.items;
    let found = pods.into_iter().find_map(|pod| {
        let value = pod.to_value();
        let number = target_port(port, &value).filter(|_| is_ready(&value))?;
        Some((pod, number))
    });
    found.ok_or_else(none)
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    pod["metadata"]["deletionTimestamp"].is_null() && conditions.any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// The number behind a Service's port in a pod.
fn target_port(port: &Value, pod: &Value) -> Option<u16> {
    let number = match &port["targetPort"] {
        Value::String(name) => ports(pod).find(|port| port["name"] == name.as_str())?["containerPort"].as_u64(),
        number => number.as_u64().or_else(|| port["port"].as_u64()),
    };
    u16::try_from(number?).ok()
}

/// The path behind `proxy`, with the query.
fn target(request: &Request) -> Result<Uri, http::uri::InvalidUri> {
    let mut path = String::new();
    for part in &request.info.rest {
        path.push('/');
        path.push_str(&crate::query::escape(part));
    }
    if path.is_empty() || request.info.path.ends_with('/') {
        path.push('/');
    }
    let query = request.query.encoded();
    if !query.is_empty() {
        path.push('?');
        path.push_str(&query);
    }
    path.parse()
}

/// The headers without those of this connection.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<String> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let mut passed = headers.clone();
    for name in OF_CONNECTION {
        passed.remove(name);
    }
    for name in named {
        passed.remove(name.as_str());
    }
    passed
}

fn unreachable(why: impl std::fmt::Display) -> ApiError {
    ApiError::new(
        Reason::ServiceUnavailable,
        format!("error trying to reach service: {why}"),
    )
}

fn not_offered(what: &str) -> ApiError {
    ApiError::new(Reason::Unknown, format!("{what} is not offered by this server"))
        .with_code(StatusCode::NOT_IMPLEMENTED.as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_name_may_say_its_port_and_scheme() {
        let parsed = |text: &'static str| {
            Asked::parse(text)
                .map(|asked| (asked.name, asked.port))
                .map_err(|e| e.code())
        };
        assert_eq!(parsed("p"), Ok(("p", "")));
        assert_eq!(parsed("p:80"), Ok(("p", "80")));
        assert_eq!(parsed("http:p:web"), Ok(("p", "web")));
        assert_eq!(parsed("https:p:443"), Err(501));
        assert_eq!(parsed("ftp:p:1"), Err(400));
    }

    #[test]
    fn the_port_of_a_service_leads_to_one_of_the_pod() {
        let service =
            json!({"spec": {"ports": [{"name": "a", "port": 80, "targetPort": "web"}, {"name": "b", "port": 81}]}});
        let pod = json!({"spec": {"containers": [{"ports": [{"name": "web", "containerPort": 8080}]}]}});
        let led_to = |port| {
            let asked = Asked { name: "s", port };
            asked
                .service_port(&service)
                .ok()
                .and_then(|port| target_port(port, &pod))
        };
        assert_eq!(led_to("a"), Some(8080));
        assert_eq!(led_to("81"), Some(81));
        assert_eq!((led_to("c"), led_to("")), (None, None));
        assert_eq!(Asked { name: "p", port: "" }.pod_port(&pod).unwrap(), 8080);
    }

    #[test]
    fn headers_of_a_connection_stay_behind() {
        let headers = HeaderMap::from_iter([
            (CONNECTION, HeaderValue::from_static("close, X-Mine")),
            (HeaderName::from_static("x-mine"), HeaderValue::from_static("a")),
            (HeaderName::from_static("x-other"), HeaderValue::from_static("b")),
        ]);
        let passed = passed_on(&headers);
        assert_eq!(passed.keys().collect::<Vec<_>>(), [&HeaderName::from_static("x-other")]);
    }
}
