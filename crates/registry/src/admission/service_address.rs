//! Cluster addresses and node ports of Services.
//!
//! Addresses are drawn at random, so that one that was just freed is not given away again at once. Every Service is looked at
//! for what is taken: Services are few and rarely made.
//!
//! Source: kubernetes `registry/core/service/storage/alloc.go`, `ipallocator`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use rota_api::{ApiError, FieldError, FieldErrorKind, resource, strategy};
use serde_json::{Value, json};

use super::{deny, service_family};
use crate::fields::{self, text};
use crate::session::Session;
use crate::settings::ServiceRange;

/// How many are drawn at random before the range is searched in order.
const DRAWS_MAX: usize = 32;

/// The number before the first node port of a rehearsal. Source: kubernetes `portallocator/operation.go`.
const REHEARSED_BEFORE: u64 = 32_768;

/// Gives a Service the address and the ports that it needs and does not name, and takes those that it names.
///
/// Errors: 422 for an address or a port that cannot be had; 403 when none is left.
pub(super) fn admit(session: &Session<'_>, service: &mut Value) -> Result<(), ApiError> {
    strategy::link_cluster_ips(service, None);
    allocate(session, service, &Value::Null)
}

fn allocate(session: &Session<'_>, service: &mut Value, old: &Value) -> Result<(), ApiError> {
    let kind = service["spec"]["type"].as_str().unwrap_or("ClusterIP").to_owned();
    if kind == "ExternalName" {
        return Ok(());
    }
    service_family::admit(service, old)?;
    let needs_ports = strategy::needs_node_ports(&service["spec"]);
    let names_ports = list(&service["spec"], "ports")
        .iter()
        .any(|port| number(port, "nodePort") > 0);
    let named = service["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned();
    let keeps_address = !named.is_empty() && (named == "None" || old["spec"]["clusterIP"].is_string());
    let needs_health_port = strategy::needs_health_port(&service["spec"]);
    if keeps_address && !needs_ports && !names_ports && !needs_health_port {
        return Ok(());
    }
    let taken = Taken::by_others(session, service);
    if !keeps_address {
        allocate_address(session, service, &named, &taken.addresses)?;
    }
    let mut ports = Ports {
        range: session.registry.settings().services,
        kept: list(&old["spec"], "ports")
            .iter()
            .map(|port| number(port, "nodePort"))
            .collect(),
        taken: taken.ports,
        own: Vec::new(),
        is_rehearsal: session.caller.dry_run,
    };
    if kind != "ClusterIP" && (needs_ports || names_ports) {
        allocate_ports(session, service, needs_ports, &mut ports)?;
    }
    if needs_health_port && number(&service["spec"], "healthCheckNodePort") == 0 {
        let port = ports.draw(session, service)?;
        fields::object(service, "spec").insert("healthCheckNodePort".to_owned(), port.into());
    }
    Ok(())
}

/// Gives the Service its address: the one it names, or a free one.
fn allocate_address(
    session: &Session<'_>,
    service: &mut Value,
    named: &str,
    taken: &BTreeSet<Ipv4Addr>,
) -> Result<(), ApiError> {
    let range = session.registry.settings().services;
    if !named.is_empty() {
        let Ok(address) = named.parse() else {
            // Not an address of this cluster's family: the validation has more to say about it.
            return Ok(());
        };
        // A rehearsal is only told whether the address could be one. Source: kubernetes `ipallocator.go`, `allocateIP`.
        let none = BTreeSet::new();
        let taken = if session.caller.dry_run { &none } else { taken };
        return match range.refusal(address, taken) {
            None => Ok(()),
            Some(why) => Err(invalid(
                service,
                "spec.clusterIPs",
                &json!([named]),
                &format!("failed to allocate IP {named}: {why}"),
            )),
        };
    }
    let Some(address) = draw(session, range.addresses(), |n| !taken.contains(&range.address(n))) else {
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
    Ok(())
}

/// Takes the node ports that the Service names, and gives it those it lacks if it `needs` them. The protocols of one port
/// share its node port.
fn allocate_ports(session: &Session<'_>, service: &mut Value, needs: bool, ports: &mut Ports) -> Result<(), ApiError> {
    if repeats_node_port(list(&service["spec"], "ports")) {
        // The validation says so.
        return Ok(());
    }
    let mut by_port: BTreeMap<u64, u64> = BTreeMap::new();
    for index in 0..list(&service["spec"], "ports").len() {
        let entries = list(&service["spec"], "ports");
        let (port, named) = (number(&entries[index], "port"), number(&entries[index], "nodePort"));
        if named == 0 && !needs {
            continue;
        }
        let shared = by_port.get(&port).copied();
        let wanted = match shared {
            Some(shared) if named == 0 || named == shared => {
                service["spec"]["ports"][index]["nodePort"] = shared.into();
                continue;
            }
            Some(_) => named,
            None => {
                let behind = entries[index..].iter().filter(|other| number(other, "port") == port);
                behind
                    .map(|other| number(other, "nodePort"))
                    .find(|n| *n > 0)
                    .unwrap_or(0)
            }
        };
        let given = if wanted > 0 {
            ports.take(wanted).map_err(|why| {
                let field = format!("spec.ports[{index}].nodePort");
                invalid(service, &field, &json!(wanted), &why)
            })?;
            wanted
        } else {
            ports.draw(session, service)?
        };
        by_port.entry(port).or_insert(given);
        service["spec"]["ports"][index]["nodePort"] = given.into();
    }
    Ok(())
}

/// True when a node port is named twice for one protocol.
fn repeats_node_port(ports: &[Value]) -> bool {
    let mut seen = BTreeSet::new();
    let mut named = ports.iter().filter(|port| number(port, "nodePort") > 0);
    named.any(|port| !seen.insert((port["protocol"].as_str(), number(port, "nodePort"))))
}

fn list<'a>(spec: &'a Value, field: &str) -> &'a [Value] {
    spec[field].as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or(0)
}

fn invalid(service: &Value, field: &str, value: &Value, why: &str) -> ApiError {
    let error = FieldError::new(FieldErrorKind::Invalid, field, Some(value), why);
    ApiError::invalid("", "Service", text(service, "name"), &[error])
}

/// The node ports while a Service takes some.
struct Ports {
    range: ServiceRange,
    /// Those that the Service had before.
    kept: BTreeSet<u64>,
    /// Those of other Services.
    taken: BTreeSet<u64>,
    /// Those that the Service has taken so far.
    own: Vec<u64>,
    /// Nothing is stored: ports that are drawn are only examples.
    is_rehearsal: bool,
}

impl Ports {
    /// Takes a port that the Service names.
    ///
    /// Errors: why it cannot have it.
    fn take(&mut self, port: u64) -> Result<(), String> {
        if self.kept.contains(&port) {
            return Ok(());
        }
        let first = u64::from(self.range.first_node_port);
        let last = first + u64::from(self.range.node_ports).saturating_sub(1);
        if !self.is_rehearsal && !(first..=last).contains(&port) {
            return Err(format!(
                "provided port is not in the valid range. The range of valid ports is {first}-{last}"
            ));
        }
        if self.taken.contains(&port) || self.own.contains(&port) {
            return Err("provided port is already allocated".to_owned());
        }
        self.own.push(port);
        Ok(())
    }

    /// Takes a free port.
    ///
    /// Errors: 403, there is none.
    fn draw(&mut self, session: &Session<'_>, service: &Value) -> Result<u64, ApiError> {
        let port = if self.is_rehearsal {
            self.own.iter().copied().max().unwrap_or(REHEARSED_BEFORE) + 1
        } else {
            let is_free = |n: u32| {
                let port = self.range.node_port(n);
                !self.taken.contains(&port) && !self.own.contains(&port) && !self.kept.contains(&port)
            };
            let Some(number) = draw(session, self.range.node_ports, is_free) else {
                return Err(deny(resource::SERVICES, service, "the range of node ports is full"));
            };
            self.range.node_port(number)
        };
        self.own.push(port);
        Ok(port)
    }
}

/// A changed Service that does not name its address and ports keeps those it had, or is given what it newly needs.
pub(super) fn admit_change(session: &Session<'_>, service: &mut Value, old: &Value) -> Result<(), ApiError> {
    service_family::keep_allocated(service, old);
    strategy::link_cluster_ips(service, Some(old));
    allocate(session, service, old)
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
        let state = session.read(resource::SERVICES);
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
            let ports = list(&other["spec"], "ports").iter();
            taken.ports.extend(ports.map(|port| number(port, "nodePort")));
            taken.ports.insert(number(&other["spec"], "healthCheckNodePort"));
        }
        taken
    }
}
