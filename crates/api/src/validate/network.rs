//! Addresses, Services, EndpointSlices.
//!
//! Allocation of addresses and ports is the registry's. Source: kubernetes `ValidateServiceCreate`,
//! `pkg/apis/discovery/validation`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::cursor::{Cursor, Errors};
use super::meta;
use crate::{names, resource};

const IP_FORM: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const CIDR_FORM: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

/// An IP address.
pub(super) fn ip(at: &Cursor<'_>, errors: &mut Errors) {
    if at.text().parse::<IpAddr>().is_err() {
        errors.invalid_as(at, at.text(), IP_FORM);
    }
}

/// A range of addresses.
pub(super) fn cidr(at: &Cursor<'_>, errors: &mut Errors) {
    let good = at.text().split_once('/').is_some_and(|(address, bits)| {
        let most = match address.parse() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        bits.parse::<u8>().is_ok_and(|bits| bits <= most)
    });
    if !good {
        errors.invalid_as(at, at.text(), CIDR_FORM);
    }
}

/// A new Service.
pub(super) fn create_service(service: &Cursor<'_>, errors: &mut Errors) {
    meta::create(service, resource::SERVICES, errors);
    service_rules(service, errors);
}

/// A changed Service.
pub(super) fn update_service(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    meta::update(new, old, errors);
    let (spec, before) = (new.at("spec"), old.at("spec"));
    let kind = |spec: &Cursor<'_>| spec.at("type").text().to_owned();
    if kind(&spec) != "ExternalName" && kind(&before) != "ExternalName" {
        let (ips, had) = (spec.at("clusterIPs"), before.at("clusterIPs"));
        if !had.is_empty() && !ips.is_empty() && ips.index(0).value != had.index(0).value {
            errors.invalid_as(&ips.index(0), ips.value.clone(), "may not change once set");
        }
    }
    service_rules(new, errors);
}

fn service_rules(service: &Cursor<'_>, errors: &mut Errors) {
    let spec = service.at("spec");
    let kind = spec.at("type").text();
    let headless = spec.at("clusterIP").text() == "None";
    if spec.at("ports").is_empty() && !headless && kind != "ExternalName" {
        errors.required(&spec.at("ports"), "");
    }
    if kind == "ExternalName" {
        let name = spec.at("externalName");
        if name.is_empty() {
            errors.required(&name, "");
        } else {
            for complaint in names::dns_subdomain(name.text().trim_end_matches('.')) {
                errors.invalid(&name, complaint);
            }
        }
    }
    service_ports(&spec, kind, errors);
    meta::labels(&spec.at("selector"), errors);
    affinity(&spec, errors);
    cluster_ips(&spec.at("clusterIPs"), errors);
    for (index, address) in spec.at("externalIPs").items().enumerate() {
        let _ = index;
        ip(&address, errors);
    }
    if spec.at("type").is_empty() {
        errors.required(&spec.at("type"), "");
    } else {
        let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
        errors.check_one_of(&spec.at("type"), &kinds);
    }
    traffic(&spec, kind, errors);
}

fn service_ports(spec: &Cursor<'_>, kind: &str, errors: &mut Errors) {
    let ports = spec.at("ports");
    let several = ports.len() > 1;
    let mut seen_names = BTreeSet::new();
    let mut seen_ports = BTreeSet::new();
    for port in ports.items() {
        let name = port.at("name");
        if name.is_empty() {
            if several {
                errors.required(&name, "");
            }
        } else {
            errors.complaints(&name, names::dns_label(name.text()));
            if !seen_names.insert(name.text().to_owned()) {
                errors.duplicate(&name);
            }
        }
        errors.check_port(&port.at("port"));
        let protocol = port.at("protocol");
        if protocol.is_empty() {
            errors.required(&protocol, "");
        } else {
            errors.check_one_of(&protocol, PROTOCOLS);
        }
        errors.check_port_or_name(&port.at("targetPort"));
        if kind == "ClusterIP" && port.at("nodePort").integer().unwrap_or_default() != 0 {
            errors.forbidden(&port.at("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
    }
    for port in ports.items() {
        let pair = (port.at("protocol").text().to_owned(), port.at("port").integer());
        if !seen_ports.insert(pair) {
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

fn cluster_ips(ips: &Cursor<'_>, errors: &mut Errors) {
    for (index, address) in ips.items().enumerate() {
        if address.text() == "None" {
            if ips.len() > 1 {
                errors.invalid_as(
                    &ips.index(index),
                    address.text(),
                    "'None' must be the first and only value",
                );
            }
            continue;
        }
        ip(&address, errors);
    }
}

fn traffic(spec: &Cursor<'_>, kind: &str, errors: &mut Errors) {
    let external = spec.at("externalTrafficPolicy");
    let outside = matches!(kind, "NodePort" | "LoadBalancer");
    if external.is_set() {
        if !outside && spec.at("externalIPs").is_empty() {
            errors.invalid(&external, "may only be set for externally-accessible services");
        } else {
            errors.check_one_of(&external, &["Cluster", "Local"]);
        }
    }
    let internal = spec.at("internalTrafficPolicy");
    if internal.is_set() {
        errors.check_one_of(&internal, &["Cluster", "Local"]);
    }
}

/// A changed status of a Service.
pub(super) fn update_service_status(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    meta::update(new, old, errors);
    let status = new.at("status");
    let balancer = status.at("loadBalancer");
    for ingress in balancer.at("ingress").items() {
        let (address, name) = (ingress.at("ip"), ingress.at("hostname"));
        if !address.is_empty() {
            ip(&address, errors);
        }
        if !name.is_empty() {
            errors.complaints(&name, names::dns_subdomain(name.text()));
            if name.text().parse::<IpAddr>().is_ok() {
                errors.invalid(&name, "must be a DNS name, not an IP address");
            }
        }
    }
}

/// An EndpointSlice.
pub(super) fn endpoint_slice(slice: &Cursor<'_>, errors: &mut Errors) {
    let kind = slice.at("addressType");
    if kind.is_empty() {
        errors.required(&kind, "");
    } else {
        errors.check_one_of(&kind, &["FQDN", "IPv4", "IPv6"]);
    }
    for endpoint in slice.at("endpoints").items() {
        let addresses = endpoint.at("addresses");
        if addresses.is_empty() {
            errors.required(&addresses, "must contain at least 1 address");
        }
        for address in addresses.items() {
            endpoint_address(&addresses, &address, kind.text(), errors);
        }
    }
    let mut seen = BTreeSet::new();
    for port in slice.at("ports").items() {
        let (name, protocol) = (port.at("name"), port.at("protocol"));
        if !name.is_empty() {
            errors.complaints(&name, names::dns_label(name.text()));
        }
        if !seen.insert(name.text().to_owned()) {
            errors.duplicate(&name);
        }
        errors.check_one_of(&protocol, PROTOCOLS);
    }
}

fn endpoint_address(list: &Cursor<'_>, at: &Cursor<'_>, kind: &str, errors: &mut Errors) {
    if kind == "FQDN" {
        errors.complaints(at, names::dns_subdomain(at.text()));
        return;
    }
    let Ok(address) = at.text().parse::<IpAddr>() else {
        errors.invalid_as(at, at.text(), IP_FORM);
        return;
    };
    // Upstream names the list here, not its element.
    match (kind, address.is_ipv4()) {
        ("IPv4", false) => errors.invalid_as(list, at.text(), "must be an IPv4 address"),
        ("IPv6", true) => errors.invalid_as(list, at.text(), "must be an IPv6 address"),
        _ => {}
    }
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if address.is_unspecified() {
        errors.invalid_as(at, at.text(), format!("may not be unspecified ({})", at.text()));
    } else if address.is_loopback() {
        errors.invalid_as(at, at.text(), "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    } else if link_local {
        let detail = "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
        errors.invalid_as(at, at.text(), detail);
    }
}
