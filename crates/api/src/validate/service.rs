//! Services. Allocation of addresses and ports is the registry's.
//!
//! Source: kubernetes `ValidateService`, `ValidateServiceUpdate` in `pkg/apis/core/validation/validation.go`.

use std::collections::BTreeSet;

use super::cursor::{Cursor, Errors};
use super::{meta, network};
use crate::names;

const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// The type of a Service.
fn kind<'a>(spec: &Cursor<'a>) -> &'a str {
    spec.value["type"].as_str().unwrap_or_default()
}

fn is_headless(spec: &Cursor<'_>) -> bool {
    crate::value::list(spec.value, "clusterIPs") == ["None"]
}

/// A Service.
pub(super) fn service(service: &Cursor<'_>, errors: &mut Errors) {
    let (metadata, spec) = (service.at("metadata"), service.at("spec"));
    topology_annotations(&metadata.at("annotations"), errors);
    if spec.at("ports").is_empty() && !is_headless(&spec) && kind(&spec) != "ExternalName" {
        errors.required(&spec.at("ports"), "");
    }
    of_kind(&spec, errors);
    ports(&spec, errors);
    meta::labels(&spec.at("selector"), errors);
    affinity(&spec, errors);
    if kind(&spec) != "ExternalName" {
        cluster_ips(&spec, errors);
    }
    for address in spec.at("externalIPs").items() {
        if network::parse_ip(address.text()).is_some() {
            network::ordinary_ip(&address, errors);
        } else {
            network::ip(&address, errors);
        }
    }
    if spec.at("type").is_empty() {
        errors.required(&spec.at("type"), "");
    } else {
        let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
        errors.check_one_of(&spec.at("type"), &kinds);
    }
    distinct_ports(&spec, errors);
    source_ranges(&spec, &metadata.at("annotations"), errors);
    balancer(&spec, errors);
    traffic(&spec, errors);
}

fn topology_annotations(annotations: &Cursor<'_>, errors: &mut Errors) {
    const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
    const MODE: &str = "service.kubernetes.io/topology-mode";
    let (hints, mode) = (annotations.key(HINTS), annotations.key(MODE));
    if hints.is_set() && mode.is_set() && hints.text() != mode.text() {
        errors.invalid(
            &mode,
            format!("must match annotations[{HINTS}] when both are specified"),
        );
    }
}

fn of_kind(spec: &Cursor<'_>, errors: &mut Errors) {
    let ips = spec.at("clusterIPs");
    match kind(spec) {
        kind @ ("LoadBalancer" | "NodePort") if is_headless(spec) => {
            errors.invalid_as(
                &ips.index(0),
                "None",
                format!("may not be set to 'None' for {kind} services"),
            );
        }
        "ExternalName" => {
            for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                if !spec.at(field).is_empty() {
                    errors.forbidden(&spec.at(field), "may not be set for ExternalName services");
                }
            }
            let name = spec.at("externalName");
            match name.text().strip_suffix('.').unwrap_or(name.text()) {
                "" => errors.required(&name, ""),
                cname => {
                    for complaint in names::dns_subdomain(cname) {
                        errors.invalid_as(&name, cname, complaint);
                    }
                }
            }
        }
        _ => {}
    }
}

fn ports(spec: &Cursor<'_>, errors: &mut Errors) {
    let ports = spec.at("ports");
    let mut seen = BTreeSet::new();
    for port in ports.items() {
        let name = port.at("name");
        if !name.is_empty() {
            errors.complaints(&name, names::dns_label(name.text()));
            if !seen.insert(name.text().to_owned()) {
                errors.duplicate(&name);
            }
        } else if ports.len() > 1 {
            errors.required(&name, "");
        }
        errors.check_port(&port.at("port"));
        network::protocol(&port.at("protocol"), errors);
        errors.check_port_or_name(&port.at("targetPort"));
        network::app_protocol(&port.at("appProtocol"), errors);
    }
}

fn distinct_ports(spec: &Cursor<'_>, errors: &mut Errors) {
    let ports = spec.at("ports");
    let node_port = |port: &Cursor<'_>| port.at("nodePort").integer().filter(|number| *number != 0);
    if kind(spec) == "ClusterIP" {
        for port in ports.items().filter(|port| node_port(port).is_some()) {
            errors.forbidden(&port.at("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
    }
    let mut seen = BTreeSet::new();
    for port in ports.items().filter(|port| node_port(port).is_some()) {
        if !seen.insert((port.at("protocol").text().to_owned(), node_port(&port))) {
            errors.duplicate(&port.at("nodePort"));
        }
    }
    let mut seen = BTreeSet::new();
    for port in ports.items() {
        if !seen.insert((port.at("protocol").text().to_owned(), port.at("port").integer())) {
            errors.duplicate(&port);
        }
    }
}

fn affinity(spec: &Cursor<'_>, errors: &mut Errors) {
    const SECONDS_MAX: i64 = 86_400;
    let affinity = spec.at("sessionAffinity");
    if affinity.is_empty() {
        errors.required(&affinity, "");
        return;
    }
    errors.check_one_of(&affinity, &["ClientIP", "None"]);
    let config = spec.at("sessionAffinityConfig");
    let client = config.at("clientIP");
    let timeout = client.at("timeoutSeconds");
    match affinity.text() {
        "ClientIP" => {
            let seconds = timeout.integer().unwrap_or_default();
            if seconds <= 0 || seconds > SECONDS_MAX {
                let detail = format!("must be greater than 0 and less than {SECONDS_MAX}");
                errors.invalid_as(&timeout, seconds, detail);
            }
        }
        "None" if config.is_set() => {
            errors.forbidden(&config, "must not be set when session affinity is None");
        }
        _ => {}
    }
}

/// What is wrong with the addresses of a Service in the cluster, before any are allocated.
///
/// Source: kubernetes `ValidateServiceClusterIPsRelatedFields`.
pub fn service_addresses(service: &serde_json::Value) -> Vec<crate::FieldError> {
    let mut errors = Errors::default();
    cluster_ips(&Cursor::root(service).at("spec"), &mut errors);
    errors.into_list()
}

/// The addresses in the cluster, their families, and whether these fit each other.
fn cluster_ips(spec: &Cursor<'_>, errors: &mut Errors) {
    let (ip, ips, families) = (spec.at("clusterIP"), spec.at("clusterIPs"), spec.at("ipFamilies"));
    if ip.is_empty() {
        if !ips.is_empty() {
            errors.invalid(&ips, "must be empty when `clusterIP` is not specified");
        }
    } else if ips.is_empty() {
        errors.required(&ips, "");
    } else if ips.index(0).text() != ip.text() {
        errors.invalid(&ips, "first value must match `clusterIP`");
    }
    let mut seen = BTreeSet::new();
    for family in families.items() {
        errors.check_one_of(&family, &["IPv4", "IPv6"]);
        if !seen.insert(family.text().to_owned()) {
            errors.duplicate(&family);
        }
    }
    let policy = spec.at("ipFamilyPolicy");
    if policy.is_set() {
        errors.check_one_of(&policy, &["PreferDualStack", "RequireDualStack", "SingleStack"]);
    }
    let before = errors.len();
    for (index, address) in ips.items().enumerate() {
        if index == 0 && address.text() == "None" {
            if ips.len() > 1 {
                errors.invalid(&ips, "'None' must be the first and only value");
            }
            continue;
        }
        network::ip(&address, errors);
    }
    let all_good = errors.len() == before;
    if ips.len() > 2 {
        errors.invalid(&ips, "may only hold up to 2 values");
    }
    if !all_good {
        return;
    }
    if ips.len() > 1 {
        let addresses: Vec<&str> = ips.items().map(|ip| ip.value.as_str().unwrap_or_default()).collect();
        network::one_of_each_family(&ips, &addresses[..2], errors);
    }
    if is_headless(spec) {
        return;
    }
    for (index, (address, family)) in ips.items().zip(families.items()).enumerate() {
        let is_v6 = address.text().contains(':');
        if matches!((family.text(), is_v6), ("IPv4", true) | ("IPv6", false)) {
            let detail = format!(
                "expected an {} value as indicated by `ipFamilies[{index}]`",
                family.text()
            );
            errors.invalid(&address, detail);
        }
    }
}

fn source_ranges(spec: &Cursor<'_>, annotations: &Cursor<'_>, errors: &mut Errors) {
    let wrong_kind = "may only be used when `type` is 'LoadBalancer'";
    let is_balanced = kind(spec) == "LoadBalancer";
    let ranges = spec.at("loadBalancerSourceRanges");
    if !ranges.is_empty() {
        // Upstream capitalizes the field's name.
        let shown = spec.at("LoadBalancerSourceRanges");
        if !is_balanced {
            errors.forbidden(&shown, wrong_kind);
        }
        for (index, range) in ranges.items().enumerate() {
            network::cidr(&shown.index(index).with(range.value), errors);
        }
        return;
    }
    let noted = annotations.key(SOURCE_RANGES);
    if !noted.is_set() {
        return;
    }
    if !is_balanced {
        errors.forbidden(&noted, wrong_kind);
    }
    for range in noted.text().split(',').map(str::trim).filter(|range| !range.is_empty()) {
        network::cidr(&noted.with(&range.into()), errors);
    }
}

fn balancer(spec: &Cursor<'_>, errors: &mut Errors) {
    let ports = spec.at("allocateLoadBalancerNodePorts");
    let class = spec.at("loadBalancerClass");
    if kind(spec) == "LoadBalancer" {
        if class.is_set() {
            for complaint in names::qualified_name(class.text()) {
                errors.invalid(&class, complaint);
            }
        }
        return;
    }
    for at in [ports, class] {
        if at.is_set() {
            errors.forbidden(&at, "may only be used when `type` is 'LoadBalancer'");
        }
    }
}

fn needs_health_check(spec: &Cursor<'_>) -> bool {
    kind(spec) == "LoadBalancer" && spec.value["externalTrafficPolicy"] == "Local"
}

fn traffic(spec: &Cursor<'_>, errors: &mut Errors) {
    let external = spec.at("externalTrafficPolicy");
    let kind = kind(spec);
    let from_outside =
        matches!(kind, "NodePort" | "LoadBalancer") || (kind == "ClusterIP" && !spec.at("externalIPs").is_empty());
    if from_outside {
        if external.is_empty() {
            errors.required(&external, "");
        } else {
            errors.check_one_of(&external, &["Cluster", "Local"]);
        }
    } else if !external.is_empty() {
        errors.invalid(&external, "may only be set for externally-accessible services");
    }
    let health = spec.at("healthCheckNodePort");
    let port = health.integer().unwrap_or_default();
    if needs_health_check(spec) {
        if port == 0 {
            errors.required(&health, "");
        } else {
            errors.check_port(&health);
        }
    } else if port != 0 {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.invalid(&health, detail);
    }
    let internal = spec.at("internalTrafficPolicy");
    if internal.is_set() {
        errors.check_one_of(&internal, &["Cluster", "Local"]);
    }
    let distribution = spec.at("trafficDistribution");
    if distribution.is_set() {
        errors.check_one_of(&distribution, &["PreferClose", "PreferSameNode", "PreferSameZone"]);
    }
}

/// A changed Service: addresses, families and classes stay once they are there.
pub(super) fn change(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    let (spec, before) = (new.at("spec"), old.at("spec"));
    if kind(&spec) != "ExternalName" && kind(&before) != "ExternalName" {
        let (headless, was_headless) = (is_headless(&spec), is_headless(&before));
        if !(headless && was_headless) {
            kept(&spec, &before, "clusterIPs", errors);
        }
        if !headless && !was_headless {
            kept(&spec, &before, "ipFamilies", errors);
        }
    }
    let class = spec.at("loadBalancerClass");
    if kind(&spec) == "LoadBalancer"
        && kind(&before) == "LoadBalancer"
        && class.value != before.at("loadBalancerClass").value
    {
        errors.invalid(&class, "may not change once set");
    }
    let health = spec.at("healthCheckNodePort");
    if needs_health_check(&spec)
        && needs_health_check(&before)
        && health.value != before.at("healthCheckNodePort").value
    {
        errors.forbidden(&health, "field is immutable");
    }
}

/// The first entry stays; a second one may come, and go when the policy says so.
fn kept(spec: &Cursor<'_>, before: &Cursor<'_>, field: &str, errors: &mut Errors) {
    let (list, had) = (spec.at(field), before.at(field));
    let (one, first) = match field {
        "clusterIPs" => ("clusterIP", true),
        _ => ("ipFamily", false),
    };
    if list.len() == had.len() {
        for (index, (has, had)) in list.items().zip(had.items()).enumerate() {
            if has.value != had.value {
                let at = list.index(if first { index } else { 0 });
                errors.invalid_as(&at, list.value.clone(), "may not change once set");
            }
        }
        return;
    }
    if had.len() > list.len() && spec.at("clusterIPs").is_empty() {
        let detail = format!("primary {one} can not be unset");
        errors.invalid_as(&list.index(0), list.value.clone(), detail);
    }
    if !list.is_empty() && !had.is_empty() && list.index(0).value != had.index(0).value {
        let shown = spec.at("clusterIPs").value.clone();
        errors.invalid_as(&list.index(0), shown, "may not change once set");
    }
    let policy = spec.at("ipFamilyPolicy");
    if had.len() > list.len() && list.len() == 1 && policy.text() != "SingleStack" {
        let detail = format!("must be set to 'SingleStack' when releasing the secondary {one}");
        errors.invalid(&policy, detail);
    }
}

/// A changed status of a Service.
pub(super) fn status(service: &Cursor<'_>, errors: &mut Errors) {
    let (spec, status) = (service.at("spec"), service.at("status"));
    let balancer = status.at("loadBalancer");
    let entries = balancer.at("ingress");
    if kind(&spec) != "LoadBalancer" && !entries.is_empty() {
        errors.forbidden(&entries, "may only be used when `spec.type` is 'LoadBalancer'");
        return;
    }
    for entry in entries.items() {
        let (address, name, mode) = (entry.at("ip"), entry.at("hostname"), entry.at("ipMode"));
        if !address.is_empty() {
            network::ip(&address, errors);
        }
        match (mode.is_set(), address.is_empty()) {
            (false, false) => errors.required(&mode, "must be specified when `ip` is set"),
            (true, true) => errors.forbidden(&mode, "may not be specified when `ip` is not set"),
            (true, false) => errors.check_one_of(&mode, &["Proxy", "VIP"]),
            (false, true) => {}
        }
        if !name.is_empty() {
            errors.complaints(&name, names::dns_subdomain(name.text()));
            if network::parse_ip(name.text()).is_some() {
                errors.invalid(&name, "must be a DNS name, not an IP address");
            }
        }
    }
}
