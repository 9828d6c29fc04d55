//! What a proxied request is for: which port of which pod, or a node.
//!
//! Source: kubernetes `pkg/registry/core/pod/strategy.go` (`ResourceLocation`), `pkg/registry/core/service/storage/storage.go`,
//! `pkg/registry/core/node/strategy.go`, `apimachinery/pkg/util/net` (`SplitSchemeNamePort`).

use std::net::IpAddr;
use std::sync::Arc;

use rota_api::selector::LabelSelector;
use rota_api::{ApiError, Object, Reason, Resource, resource};
use rota_registry::ListOptions;
use serde_json::Value;

use crate::front::Front;

/// What the last part of a path before `proxy` names: `[SCHEME:]NAME[:PORT]`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    /// The text itself.
    text: &'a str,
    pub(super) is_secure: bool,
    pub(super) name: &'a str,
    pub(super) port: &'a str,
}

impl<'a> Asked<'a> {
    /// Errors: 400.
    pub(super) fn parse(resource: &Resource, text: &'a str) -> Result<Self, ApiError> {
        let parts: Vec<&str> = text.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme, name, port] => (*scheme, *name, *port),
            _ => ("", "", ""),
        };
        if name.is_empty() || !matches!(scheme, "" | "http" | "https") {
            return Err(ApiError::bad_request(format!(
                "invalid {} request {text:?}",
                resource.singular
            )));
        }
        Ok(Self {
            text,
            is_secure: scheme == "https",
            name,
            port,
        })
    }

    /// The port of a pod: the one asked for, else the first that a container names, else the usual one.
    fn pod_port(&self, pod: &Value) -> Result<u16, ApiError> {
        if !self.port.is_empty() {
            return self.number();
        }
        let first = ports(pod).find_map(|port| port["containerPort"].as_u64());
        let usual = if self.is_secure { 443 } else { 80 };
        Ok(first.and_then(|port| u16::try_from(port).ok()).unwrap_or(usual))
    }

    fn number(&self) -> Result<u16, ApiError> {
        self.port
            .parse()
            .map_err(|_| super::unreachable(format!("{:?} is no port", self.port)))
    }

    /// The port of a Service that is asked for, by name or number; the one without a name where nothing is asked for.
    fn service_port<'b>(&self, service: &'b Value) -> Result<&'b Value, ApiError> {
        let ports = service["spec"]["ports"].as_array().map_or(&[][..], Vec::as_slice);
        let number: Option<u64> = self.port.parse().ok();
        let is_asked = |port: &&Value| match number {
            Some(number) => port["port"].as_u64() == Some(number),
            None => port["name"].as_str().unwrap_or_default() == self.port,
        };
        ports.iter().find(is_asked).ok_or_else(|| match number {
            Some(number) => unavailable(format!("no service port {number} found for service {:?}", self.name)),
            None => self.without_endpoints(),
        })
    }

    fn without_endpoints(&self) -> ApiError {
        unavailable(format!("no endpoints available for service {:?}", self.text))
    }
}

/// A port of a pod.
pub(super) struct PodPort {
    pub(super) pod: Arc<Object>,
    pub(super) port: u16,
}

/// The port of the pod that is asked for.
///
/// Errors: 404 without the pod.
pub(super) fn of_pod(front: &Front, namespace: &str, asked: &Asked<'_>) -> Result<PodPort, ApiError> {
    let pod = front.registry.get(resource::PODS, namespace, asked.name)?;
    let port = asked.pod_port(&pod.to_value())?;
    Ok(PodPort { pod, port })
}

/// A ready pod that the Service selects, and the port of it that the Service's leads to.
///
/// Errors: 404 without the Service, 503 without such a pod.
pub(super) async fn behind_service(front: &Front, namespace: &str, asked: &Asked<'_>) -> Result<PodPort, ApiError> {
    let service = front
        .registry
        .get(resource::SERVICES, namespace, asked.name)?
        .to_value();
    let port = asked.service_port(&service)?;
    let labels = service["spec"]["selector"].as_object().into_iter().flatten();
    let labels = labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()));
    let selector = LabelSelector::from_labels(&labels.collect());
    if selector.is_everything() {
        return Err(asked.without_endpoints());
    }
    let options = ListOptions {
        namespace: Some(namespace.to_owned()),
        labels: selector.to_string(),
        ..ListOptions::default()
    };
    let pods = front.registry.list(resource::PODS, &options).await?.items;
    let found = pods.into_iter().find_map(|pod| {
        let value = pod.to_value();
        let port = target_port(port, &value).filter(|_| is_ready(&value))?;
        Some(PodPort { pod, port })
    });
    found.ok_or_else(|| asked.without_endpoints())
}

/// Where a node listens beside its own endpoint, which is asked for where no port is.
pub(super) struct NodePort {
    pub(super) address: IpAddr,
    pub(super) port: u16,
}

/// The port of the node that is asked for; `None` is its own endpoint.
///
/// Errors: 404 without the node, 400 where its address is one of this machine alone.
pub(super) fn of_node(front: &Front, asked: &Asked<'_>) -> Result<Option<NodePort>, ApiError> {
    let node = front.registry.get(resource::NODES, "", asked.name)?.to_value();
    let endpoint = &node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"];
    if asked.port.is_empty() || endpoint.as_u64().is_some_and(|own| own.to_string() == asked.port) {
        return Ok(None);
    }
    let addresses = node["status"]["addresses"].as_array().into_iter().flatten();
    let mut internal = addresses.filter(|address| address["type"] == "InternalIP");
    let address = internal.find_map(|address| address["address"].as_str()?.parse().ok());
    match address.filter(is_of_others) {
        Some(address) => Ok(Some(NodePort {
            address,
            port: asked.number()?,
        })),
        None => Err(ApiError::bad_request("address not allowed")),
    }
}

/// True for addresses that may lead to another machine. Source: kubernetes `apimachinery/pkg/util/proxy`, `isProxyableIP`.
fn is_of_others(address: &IpAddr) -> bool {
    // An IPv4 address may be written as an IPv6 one.
    let address = address.to_canonical();
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || is_link_local)
}

fn ports(pod: &Value) -> impl Iterator<Item = &Value> {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    containers.flat_map(|container| container["ports"].as_array().into_iter().flatten())
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

fn unavailable(why: String) -> ApiError {
    ApiError::new(Reason::ServiceUnavailable, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(text: &str) -> Asked<'_> {
        Asked::parse(resource::SERVICES, text).expect("a name")
    }

    #[test]
    fn a_name_may_say_its_port_and_scheme() {
        let parsed = |text| {
            let asked = asked(text);
            (asked.is_secure, asked.name, asked.port)
        };
        assert_eq!(parsed("p"), (false, "p", ""));
        assert_eq!(parsed("p:80"), (false, "p", "80"));
        assert_eq!(parsed("http:p:web"), (false, "p", "web"));
        assert_eq!(parsed("https:p:"), (true, "p", ""));
        for wrong in ["ftp:p:1", ":80", "a:b:c:d"] {
            let told = Asked::parse(resource::PODS, wrong).expect_err("no name");
            assert_eq!(
                (told.code(), told.message()),
                (400, &*format!("invalid pod request {wrong:?}"))
            );
        }
    }

    #[test]
    fn the_port_of_a_service_leads_to_one_of_the_pod() {
        let service =
            json!({"spec": {"ports": [{"name": "a", "port": 80, "targetPort": "web"}, {"name": "b", "port": 81}]}});
        let pod = json!({"spec": {"containers": [{"ports": [{"name": "web", "containerPort": 8080}]}]}});
        let led_to = |text| {
            let port = asked(text).service_port(&service).map(|port| target_port(port, &pod));
            port.map_err(|error| error.message().to_owned())
        };
        assert_eq!(led_to("s:a"), Ok(Some(8080)));
        assert_eq!(led_to("s:81"), Ok(Some(81)));
        assert_eq!(
            led_to("s:c"),
            Err("no endpoints available for service \"s:c\"".to_owned())
        );
        assert_eq!(led_to("s"), Err("no endpoints available for service \"s\"".to_owned()));
        assert_eq!(
            led_to("s:9"),
            Err("no service port 9 found for service \"s\"".to_owned())
        );
        assert_eq!(asked("p").pod_port(&pod).unwrap(), 8080);
        assert_eq!(asked("https:p:").pod_port(&json!({})).unwrap(), 443);
    }

    #[test]
    fn addresses_of_this_machine_alone_are_not_for_others() {
        for (address, is) in [
            ("10.0.0.1", true),
            ("fd00::1", true),
            ("127.0.0.1", false),
            ("169.254.0.1", false),
        ] {
            assert_eq!(is_of_others(&address.parse().unwrap()), is, "{address}");
        }
    }
}
