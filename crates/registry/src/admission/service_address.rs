//! Cluster addresses and node ports of Services.
//!
//! Addresses are drawn at random, so that one that was just freed is not given away again at once. Every Service is looked at
//! for what is taken: Services are few and rarely made.
//!
//! Source: kubernetes `registry/core/service/storage/alloc.go`, `ipallocator`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use rota_api::{ApiError, FieldError, FieldErrorKind, resource};
use serde_json::{Value, json};

use super::deny;
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
    allocate(session, service, &Value::Null)
}

fn allocate(session: &Session<'_>, service: &mut Value, old: &Value) -> Result<(), ApiError> {
    let kind = service["spec"]["type"].as_str().unwrap_or("ClusterIP").to_owned();
    if kind == "ExternalName" {
        return Ok(());
    }
    check_families(service, old)?;
    set_families(service);
    let needs_ports = needs_node_ports(&service["spec"]);
    let names_ports = list(&service["spec"], "ports")
        .iter()
        .any(|port| number(port, "nodePort") > 0);
    let named = service["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned();
    if named.is_empty() && !list(&service["spec"], "clusterIPs").is_empty() {
        // Nobody may name the newer field alone: the validation says so.
        return Ok(());
    }
    let keeps_address = !named.is_empty() && (named == "None" || old["spec"]["clusterIP"].is_string());
    if keeps_address && !needs_ports && !names_ports {
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
    let needs_health_port = kind == "LoadBalancer" && service["spec"]["externalTrafficPolicy"] == "Local";
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

/// True for Services that are reached from outside by ports of the nodes.
fn needs_node_ports(spec: &Value) -> bool {
    spec["type"] == "NodePort" || (spec["type"] == "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] != false)
}

/// Refuses families that this cluster does not have, where they are newly asked for.
fn check_families(service: &Value, old: &Value) -> Result<(), ApiError> {
    let (spec, before) = (&service["spec"], &old["spec"]);
    let is_headless = spec["clusterIP"] == "None" || list(spec, "clusterIPs") == ["None"];
    if is_headless && spec["selector"].as_object().is_none_or(serde_json::Map::is_empty) {
        return Ok(());
    }
    let mut errors = Vec::new();
    let mut refuse = |field: &str, value: &Value, why: &str| {
        errors.push(FieldError::new(FieldErrorKind::Invalid, field, Some(value), why));
    };
    if spec["ipFamilyPolicy"] == "RequireDualStack" && before["ipFamilyPolicy"] != spec["ipFamilyPolicy"] {
        let why = "this cluster is not configured for dual-stack services";
        refuse("spec.ipFamilyPolicy", &spec["ipFamilyPolicy"], why);
    }
    if before["ipFamilies"] != spec["ipFamilies"] {
        for (index, family) in list(spec, "ipFamilies")
            .iter()
            .enumerate()
            .filter(|(_, f)| *f == "IPv6")
        {
            refuse(
                &format!("spec.ipFamilies[{index}]"),
                family,
                "not configured on this cluster",
            );
        }
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(ApiError::invalid("", "Service", text(service, "name"), &errors)),
    }
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
        if needs_node_ports(&service["spec"]) && needs_node_ports(&old["spec"]) {
            keep_node_ports(service["spec"].get_mut("ports"), &old["spec"]["ports"]);
        }
    }
    allocate(session, service, old)
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
            let ports = list(&other["spec"], "ports").iter();
            taken.ports.extend(ports.map(|port| number(port, "nodePort")));
            taken.ports.insert(number(&other["spec"], "healthCheckNodePort"));
        }
        taken
    }
}
