//! Addresses, Endpoints, EndpointSlices.
//!
//! Source: kubernetes `pkg/apis/core/validation`, `pkg/apis/discovery/validation`, `apimachinery/pkg/util/validation/ip.go`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use super::cursor::{Cursor, Errors};
use crate::names;

const IP_FORM: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const CIDR_FORM: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
pub(super) const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

/// Most endpoints of a slice, addresses of an endpoint, and ports of a slice.
const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;
/// Most labels of an endpoint's topology, and zones and nodes that it is meant for.
const TOPOLOGY_MAX: usize = 16;
const HINTS_MAX: usize = 8;

/// Reads an address as upstream does for older fields: the numbers of an IPv4 address may have leading zeros.
pub(super) fn parse_ip(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let numbers: Vec<u8> = text
        .split('.')
        .map(|number| {
            let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| number.parse().ok()).flatten()
        })
        .collect::<Option<_>>()?;
    let octets: [u8; 4] = numbers.try_into().ok()?;
    Some(Ipv4Addr::from(octets).into())
}

/// An IP address.
pub(super) fn ip(at: &Cursor<'_>, errors: &mut Errors) {
    if parse_ip(at.text()).is_none() {
        errors.invalid_as(at, at.text(), IP_FORM);
    }
}

/// A range of addresses.
pub(super) fn cidr(at: &Cursor<'_>, errors: &mut Errors) {
    if Range::parse(at.text()).is_none() {
        errors.invalid_as(at, at.text(), CIDR_FORM);
    }
}

/// All addresses that begin alike.
pub(super) struct Range {
    address: IpAddr,
    /// How many bits they share.
    bits: u8,
}

impl Range {
    /// Reads a range such as `10.0.0.0/8`; an address in it stands for its beginning.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.trim().split_once('/')?;
        let address = parse_ip(address)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.parse().ok().filter(|bits| *bits <= most)?;
        Some(Self { address, bits })
    }

    /// True when the other range is a part of this one.
    pub(super) fn is_wider_than(&self, other: &Self) -> bool {
        let differing = match (self.address, other.address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            _ => return false,
        };
        self.bits < other.bits && differing >= self.bits.into()
    }
}

/// An address that others can reach: of no special range.
pub(super) fn ordinary_ip(at: &Cursor<'_>, errors: &mut Errors) {
    let Some(address) = parse_ip(at.text()) else {
        errors.invalid_as(at, at.text(), "must be a valid IP address");
        return;
    };
    let (link_local, link_local_multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    let detail = if address.is_unspecified() {
        format!("may not be unspecified ({})", at.text())
    } else if address.is_loopback() {
        "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned()
    } else if link_local {
        "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned()
    } else if link_local_multicast {
        "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned()
    } else {
        return;
    };
    errors.invalid_as(at, at.text(), detail);
}

/// Whether a list holds at most one address of each family, and what is wrong with it otherwise.
pub(super) fn one_of_each_family(list: &Cursor<'_>, addresses: &[&str], errors: &mut Errors) {
    let families: Vec<bool> = addresses.iter().map(|address| address.contains(':')).collect();
    if families.len() > 2 || families.iter().all(|family| Some(family) == families.first()) {
        errors.invalid(list, "may specify no more than one IP for each IP family");
    }
}

/// An Endpoints.
pub(super) fn endpoints(endpoints: &Cursor<'_>, errors: &mut Errors) {
    for subset in endpoints.at("subsets").items() {
        let (ready, unready) = (subset.at("addresses"), subset.at("notReadyAddresses"));
        if ready.is_empty() && unready.is_empty() {
            errors.required(&subset, "must specify `addresses` or `notReadyAddresses`");
        }
        for address in ready.items().chain(unready.items()) {
            let (name, node) = (address.at("hostname"), address.at("nodeName"));
            let address = address.at("ip");
            ip(&address, errors);
            if !name.is_empty() {
                errors.complaints(&name, names::dns_label(name.text()));
            }
            if node.is_set() {
                errors.complaints(&node, names::dns_subdomain(node.text()));
            }
            ordinary_ip(&address, errors);
        }
        let ports = subset.at("ports");
        for port in ports.items() {
            let name = port.at("name");
            if !name.is_empty() {
                errors.complaints(&name, names::dns_label(name.text()));
            } else if ports.len() > 1 {
                errors.required(&name, "");
            }
            errors.check_port(&port.at("port"));
            protocol(&port.at("protocol"), errors);
            app_protocol(&port.at("appProtocol"), errors);
        }
    }
}

/// TCP, UDP or SCTP.
pub(super) fn protocol(at: &Cursor<'_>, errors: &mut Errors) {
    if at.is_empty() {
        errors.required(at, "");
    } else {
        errors.check_one_of(at, PROTOCOLS);
    }
}

/// A hint at what is spoken on a port.
pub(super) fn app_protocol(at: &Cursor<'_>, errors: &mut Errors) {
    if at.is_set() {
        for complaint in names::qualified_name(at.text()) {
            errors.invalid_as(at, at.text(), complaint);
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
    let endpoints = slice.at("endpoints");
    if endpoints.len() > ENDPOINTS_MAX {
        errors.too_many(&endpoints, ENDPOINTS_MAX);
    } else {
        for endpoint in endpoints.items() {
            self::endpoint(&endpoint, kind.text(), errors);
        }
    }
    slice_ports(&slice.at("ports"), errors);
}

fn endpoint(endpoint: &Cursor<'_>, kind: &str, errors: &mut Errors) {
    let addresses = endpoint.at("addresses");
    if addresses.is_empty() {
        errors.required(&addresses, "must contain at least 1 address");
    } else if addresses.len() > ADDRESSES_MAX {
        errors.too_many(&addresses, ADDRESSES_MAX);
    }
    for address in addresses.items() {
        endpoint_address(&addresses, &address, kind, errors);
    }
    let node = endpoint.at("nodeName");
    if node.is_set() {
        errors.complaints(&node, names::dns_subdomain(node.text()));
    }
    let topology = endpoint.at("deprecatedTopology");
    if topology.len() > TOPOLOGY_MAX {
        errors.too_many(&topology, TOPOLOGY_MAX);
    }
    super::meta::labels(&topology, errors);
    let name = endpoint.at("hostname");
    if name.is_set() {
        errors.complaints(&name, names::dns_label(name.text()));
    }
    let hints = endpoint.at("hints");
    for field in ["forZones", "forNodes"] {
        let list = hints.at(field);
        if list.len() > HINTS_MAX {
            errors.too_many(&list, HINTS_MAX);
            continue;
        }
        let mut seen = BTreeSet::new();
        for hint in list.items() {
            let name = hint.at("name");
            if !seen.insert(name.text().to_owned()) {
                errors.duplicate(&name);
            } else if field == "forZones" {
                for complaint in names::qualified_name(name.text()) {
                    errors.invalid_as(&name, name.text(), complaint);
                }
            } else {
                errors.complaints(&name, names::dns_subdomain(name.text()));
            }
        }
    }
}

fn slice_ports(ports: &Cursor<'_>, errors: &mut Errors) {
    if ports.len() > PORTS_MAX {
        errors.too_many(ports, PORTS_MAX);
        return;
    }
    let mut seen = BTreeSet::new();
    for port in ports.items() {
        let (name, protocol) = (port.at("name"), port.at("protocol"));
        if !name.is_empty() {
            errors.complaints(&name, names::dns_label(name.text()));
        }
        if !seen.insert(name.text().to_owned()) {
            errors.duplicate(&name);
        }
        self::protocol(&protocol, errors);
        app_protocol(&port.at("appProtocol"), errors);
    }
}

fn endpoint_address(list: &Cursor<'_>, at: &Cursor<'_>, kind: &str, errors: &mut Errors) {
    if kind == "FQDN" {
        let name = at.text().strip_suffix('.').unwrap_or(at.text());
        if name.is_empty() {
            errors.required(at, "");
            return;
        }
        for complaint in names::dns_subdomain(name) {
            errors.invalid(at, complaint);
        }
        if !name.contains('.') {
            errors.invalid(at, "should be a domain with at least two segments separated by dots");
        }
        return;
    }
    match (kind, parse_ip(at.text())) {
        (_, None) => errors.invalid_as(at, at.text(), IP_FORM),
        // Upstream names the list here, not its element.
        ("IPv4", Some(IpAddr::V6(_))) => errors.invalid_as(list, at.text(), "must be an IPv4 address"),
        ("IPv6", Some(IpAddr::V4(_))) => errors.invalid_as(list, at.text(), "must be an IPv6 address"),
        _ => {}
    }
    if parse_ip(at.text()).is_some() {
        ordinary_ip(at, errors);
    }
}
