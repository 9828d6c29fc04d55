//! Cluster addresses and node ports of Services.
//!
//! Addresses are drawn at random, so that one that was just freed is not given away again at once. Every Service is looked at
//! for what is taken: Services are few and rarely made.
//!
//! Source: kubernetes `registry/core/service/storage/alloc.go`, `ipallocator`.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use rota_api::{ApiError, resource};
use serde_json::{Value, json};

use super::deny;
use crate::fields::{self, text};
use crate::session::Session;
use crate::settings::ServiceRange;

/// How many are drawn at random before the range is searched in order.
const DRAWS_MAX: usize = 32;

/// Gives a Service the address and the ports that it needs and does not name.
pub(super) fn admit(session: &Session<'_>, service: &mut Value) -> Result<(), ApiError> {
    let kind = service["spec"]["type"].as_str().unwrap_or("ClusterIP").to_owned();
    if kind == "ExternalName" {
        return Ok(());
    }
    let range = session.registry.settings().services;
    set_families(service);
    let named = service["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned();
    let needs_ports =
        kind == "NodePort" || (kind == "LoadBalancer" && service["spec"]["allocateLoadBalancerNodePorts"] != false);
    if !named.is_empty() && !needs_ports {
        return Ok(());
    }
    let taken = Taken::by_others(session, service);
    if named.is_empty() {
        let Some(address) = draw(session, range.addresses(), |n| {
            !taken.addresses.contains(&range.address(n))
        }) else {
            return Err(deny(
                resource::SERVICES,
                service,
                "the range of cluster addresses is full",
            ));
        };
        let address = range.address(address).to_string();
        let spec = fields::object(service, "spec");
        spec.insert("clusterIPs".to_owned(), json!([address]));
        spec.insert("clusterIP".to_owned(), address.into());
    }
    let mut taken = taken.ports;
    if needs_ports {
        add_node_ports(session, service, range, &mut taken)?;
    }
    let needs_health_port = kind == "LoadBalancer" && service["spec"]["externalTrafficPolicy"] == "Local";
    if needs_health_port && service["spec"]["healthCheckNodePort"].as_u64().unwrap_or(0) == 0 {
        let port = free_port(session, service, range, &mut taken)?;
        fields::object(service, "spec").insert("healthCheckNodePort".to_owned(), port.into());
    }
    Ok(())
}

/// The cluster has one address family. A headless Service without selector is told that it could have both: nobody allocates
/// addresses for it.
fn set_families(service: &mut Value) {
    let spec = fields::object(service, "spec");
    let is_headless = spec.get("clusterIP").is_some_and(|address| address == "None");
    let is_selecting = spec
        .get("selector")
        .and_then(Value::as_object)
        .is_some_and(|s| !s.is_empty());
    let (families, policy) = match is_headless && !is_selecting {
        true => (json!(["IPv4", "IPv6"]), "RequireDualStack"),
        false => (json!(["IPv4"]), "SingleStack"),
    };
    spec.entry("ipFamilies").or_insert(families);
    spec.entry("ipFamilyPolicy").or_insert_with(|| policy.into());
    if let Some(address) = spec.get("clusterIP").cloned().filter(|address| address != "") {
        spec.entry("clusterIPs").or_insert_with(|| json!([address]));
    }
}

/// A changed Service that does not name its address and ports keeps those it had, or is given what it newly needs.
pub(super) fn admit_change(session: &Session<'_>, service: &mut Value, old: &Value) -> Result<(), ApiError> {
    if service["spec"]["type"] != "ExternalName" {
        let spec = fields::object(service, "spec");
        for field in ["clusterIP", "clusterIPs"] {
            let is_missing = spec.get(field).is_none_or(|value| value == "" || *value == json!([]));
            if let Some(kept) = old["spec"].get(field)
                && is_missing
            {
                spec.insert(field.to_owned(), kept.clone());
            }
        }
        keep_node_ports(spec.get_mut("ports"), &old["spec"]["ports"]);
    }
    admit(session, service)
}

fn keep_node_ports(ports: Option<&mut Value>, old: &Value) {
    for port in ports.and_then(Value::as_array_mut).into_iter().flatten() {
        let same = |other: &&Value| other["port"] == port["port"] && other["protocol"] == port["protocol"];
        if port["nodePort"].as_u64().unwrap_or(0) == 0
            && let Some(kept) = old.as_array().into_iter().flatten().find(same)
            && let Some(number) = kept.get("nodePort").cloned()
        {
            port["nodePort"] = number;
        }
    }
}

fn add_node_ports(
    session: &Session<'_>,
    service: &mut Value,
    range: ServiceRange,
    taken: &mut BTreeSet<u64>,
) -> Result<(), ApiError> {
    let missing: Vec<usize> = service["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
        .filter(|(_, port)| port["nodePort"].as_u64().unwrap_or(0) == 0)
        .map(|(index, _)| index)
        .collect();
    for index in missing {
        let port = free_port(session, service, range, taken)?;
        service["spec"]["ports"][index]["nodePort"] = port.into();
    }
    Ok(())
}

fn free_port(
    session: &Session<'_>,
    service: &Value,
    range: ServiceRange,
    taken: &mut BTreeSet<u64>,
) -> Result<u64, ApiError> {
    let Some(port) = draw(session, range.node_ports, |n| !taken.contains(&range.node_port(n))) else {
        return Err(deny(resource::SERVICES, service, "the range of node ports is full"));
    };
    let port = range.node_port(port);
    taken.insert(port);
    Ok(port)
}

/// A number below `count` that is free; `None` when none is.
fn draw(session: &Session<'_>, count: u32, is_free: impl Fn(u32) -> bool) -> Option<u32> {
    if count == 0 {
        return None;
    }
    let random = || (session.registry.env().random() % u64::from(count)) as u32;
    (0..DRAWS_MAX)
        .map(|_| random())
        .find(|n| is_free(*n))
        .or_else(|| (0..count).find(|n| is_free(*n)))
}

#[derive(Default)]
struct Taken {
    addresses: BTreeSet<Ipv4Addr>,
    ports: BTreeSet<u64>,
}

impl Taken {
    fn by_others(session: &Session<'_>, service: &Value) -> Self {
        let mut taken = Self::default();
        let own = text(service, "uid");
        let state = session.registry.cache().read();
        for other in state
            .kind(resource::SERVICES)
            .into_iter()
            .flat_map(|kind| kind.with_prefix(b""))
        {
            if other.meta().uid == own {
                continue;
            }
            let other = other.to_value();
            let address: Option<Ipv4Addr> = other["spec"]["clusterIP"].as_str().and_then(|ip| ip.parse().ok());
            taken.addresses.extend(address);
            let ports = other["spec"]["ports"].as_array().into_iter().flatten();
            taken.ports.extend(ports.filter_map(|port| port["nodePort"].as_u64()));
        }
        taken
    }
}
