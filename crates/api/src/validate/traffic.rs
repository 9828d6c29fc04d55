//! NetworkPolicies and Ingresses: how traffic is let in and out. What enforces them is not part of this server.
//!
//! Source: kubernetes `pkg/apis/networking/validation/validation.go`.

use super::cursor::{Cursor, Errors};
use super::{meta, network};
use crate::names;

/// A NetworkPolicy.
pub(super) fn policy(policy: &Cursor<'_>, errors: &mut Errors) {
    let spec = policy.at("spec");
    meta::label_selector(&spec.at("podSelector"), errors);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.at(direction).items() {
            for port in rule.at("ports").items() {
                policy_port(&port, errors);
            }
            for peer in rule.at(peers).items() {
                self::peer(&peer, errors);
            }
        }
    }
    let types = spec.at("policyTypes");
    if types.len() > 2 {
        errors.invalid(&types, "may not specify more than two policyTypes");
        return;
    }
    for kind in types.items() {
        errors.check_one_of(&kind, &["Egress", "Ingress"]);
    }
}

fn policy_port(port: &Cursor<'_>, errors: &mut Errors) {
    errors.check_one_of(&port.at("protocol"), &["SCTP", "TCP", "UDP"]);
    let (number, end) = (port.at("port"), port.at("endPort"));
    if number.is_set() {
        errors.check_port_or_name(&number);
        if let (Some(first), Some(last)) = (number.integer(), end.integer())
            && last < first
        {
            errors.invalid(&end, "must be greater than or equal to `port`");
        }
        if number.integer().is_none() && end.is_set() {
            errors.invalid(&end, "may not be specified when `port` is non-numeric");
        }
    } else if end.is_set() {
        errors.invalid(&end, "may not be specified when `port` is not specified");
    }
}

fn peer(peer: &Cursor<'_>, errors: &mut Errors) {
    let (pods, namespaces, block) = (peer.at("podSelector"), peer.at("namespaceSelector"), peer.at("ipBlock"));
    for selector in [&pods, &namespaces] {
        if selector.is_set() {
            meta::label_selector(selector, errors);
        }
    }
    if block.is_set() {
        network::cidr(&block.at("cidr"), errors);
        for exception in block.at("except").items() {
            network::cidr(&exception, errors);
        }
    }
    match (block.is_set(), pods.is_set() || namespaces.is_set()) {
        (true, true) => errors.forbidden(peer, "may not specify both ipBlock and another peer"),
        (false, false) => errors.required(peer, "must specify a peer"),
        _ => {}
    }
}

/// An Ingress.
pub(super) fn ingress(ingress: &Cursor<'_>, errors: &mut Errors) {
    let spec = ingress.at("spec");
    let (rules, default) = (spec.at("rules"), spec.at("defaultBackend"));
    if rules.is_empty() && !default.is_set() {
        let shown = rules.value.clone();
        errors.invalid_as(&spec, shown, "either `defaultBackend` or `rules` must be specified");
    }
    if default.is_set() {
        backend(&default, errors);
    }
    for rule in rules.items() {
        let host = rule.at("host");
        if !host.is_empty() {
            let plain = host.text().strip_prefix("*.").unwrap_or(host.text());
            for complaint in names::dns_subdomain(plain) {
                errors.invalid(&host, complaint);
            }
        }
        let http = rule.at("http");
        if http.is_set() && http.at("paths").is_empty() {
            errors.required(&http.at("paths"), "");
        }
        for path in http.at("paths").items() {
            path_of(&path, errors);
        }
    }
    let class = spec.at("ingressClassName");
    if class.is_set() {
        errors.complaints(&class, names::dns_subdomain(class.text()));
    }
}

fn path_of(entry: &Cursor<'_>, errors: &mut Errors) {
    let (path, kind) = (entry.at("path"), entry.at("pathType"));
    match kind.text() {
        "" => errors.required(&kind, "pathType must be specified"),
        "Exact" | "Prefix" => {
            if !path.text().starts_with('/') {
                errors.invalid(&path, "must be an absolute path");
            }
        }
        "ImplementationSpecific" => {
            if !path.is_empty() && !path.text().starts_with('/') {
                errors.invalid(&path, "must be an absolute path");
            }
        }
        _ => errors.unsupported(&kind, &["Exact", "ImplementationSpecific", "Prefix"]),
    }
    backend(&entry.at("backend"), errors);
}

fn backend(backend: &Cursor<'_>, errors: &mut Errors) {
    let (service, resource) = (backend.at("service"), backend.at("resource"));
    match (service.is_set(), resource.is_set()) {
        (true, true) => errors.invalid_as(backend, "", "cannot set both resource and service backends"),
        (false, false) => errors.required(backend, "port name or number is required"),
        (false, true) => {}
        (true, false) => {
            let (name, port) = (service.at("name"), service.at("port"));
            if name.is_empty() {
                errors.required(&name, "");
            } else {
                errors.complaints(&name, names::dns_1035_label(name.text()));
            }
            let (number, named) = (
                port.at("number").integer().unwrap_or_default(),
                !port.at("name").is_empty(),
            );
            match (number != 0, named) {
                (true, true) => errors.invalid_as(backend, "", "cannot set both port name & port number"),
                (false, false) => errors.required(backend, "port name or number is required"),
                (true, false) => errors.check_port(&port.at("number")),
                (false, true) => errors.complaints(&port.at("name"), names::port_name(port.at("name").text())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(rule: fn(&Cursor<'_>, &mut Errors), spec: &Value) -> Vec<String> {
        let object = json!({"spec": spec});
        let mut errors = Errors::default();
        rule(&Cursor::root(&object), &mut errors);
        errors.into_list().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_policy_names_peers_of_one_kind_and_ports() {
        let with = |rule: Value| {
            told(
                policy,
                &json!({"podSelector": {}, "ingress": [rule], "policyTypes": ["Ingress"]}),
            )
        };
        let fine = json!({"ports": [{"protocol": "TCP", "port": 80, "endPort": 90}], "from": [{"podSelector": {}}]});
        assert_eq!(with(fine), [""; 0]);
        let both = json!({"from": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]});
        assert_eq!(
            with(both),
            ["spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer"]
        );
        assert_eq!(
            with(json!({"from": [{}]})),
            ["spec.ingress[0].from[0]: Required value: must specify a peer"]
        );
    }

    #[test]
    fn an_ingress_leads_somewhere() {
        let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
        let with = |path: Value| told(ingress, &json!({"rules": [{"http": {"paths": [path]}}]}));
        assert_eq!(
            with(json!({"path": "/", "pathType": "Prefix", "backend": backend})),
            [""; 0]
        );
        assert_eq!(
            with(json!({"path": "x", "pathType": "Exact", "backend": backend})),
            ["spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path"]
        );
        assert_eq!(
            told(ingress, &json!({})),
            ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"]
        );
    }
}
