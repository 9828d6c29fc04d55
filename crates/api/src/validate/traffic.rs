//! NetworkPolicies, Ingresses and their classes: how traffic is let in and out. What enforces them is not part of this server.
//!
//! Source: kubernetes `pkg/apis/networking/validation/validation.go`.

use super::cursor::{Cursor, Errors};
use super::{meta, network};
use crate::names;

/// The annotation that named the class of an Ingress before there was a field.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
/// The longest name of who is responsible for a class. Unit: bytes.
const CONTROLLER_BYTES_MAX: usize = 250;

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
        errors.check_one_of(&kind, &["Ingress", "Egress"]);
    }
}

fn policy_port(port: &Cursor<'_>, errors: &mut Errors) {
    errors.check_one_of(&port.at("protocol"), &["TCP", "UDP", "SCTP"]);
    let (number, end) = (port.at("port"), port.at("endPort"));
    if number.is_set() && number.integer().is_none() && end.is_set() {
        errors.invalid(&end, "may not be specified when `port` is non-numeric");
    }
    if number.is_set() {
        errors.check_port_or_name(&number);
        if let (Some(first), Some(last)) = (number.integer(), end.integer()) {
            if last < first {
                errors.invalid_as(&end, first, "must be greater than or equal to `port`");
            }
            errors.check_port(&end);
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
        address_block(&block, errors);
    }
    match (block.is_set(), pods.is_set() || namespaces.is_set()) {
        (true, true) => errors.forbidden(peer, "may not specify both ipBlock and another peer"),
        (false, false) => errors.required(peer, "must specify a peer"),
        _ => {}
    }
}

/// A range of addresses, and smaller ones within it that are left out.
fn address_block(block: &Cursor<'_>, errors: &mut Errors) {
    let range = block.at("cidr");
    if range.is_empty() {
        errors.required(&range, "");
        return;
    }
    network::cidr(&range, errors);
    let Some(range) = network::Range::parse(range.text()) else {
        return;
    };
    for exception in block.at("except").items() {
        network::cidr(&exception, errors);
        if network::Range::parse(exception.text()).is_some_and(|exception| !range.is_wider_than(&exception)) {
            errors.invalid(&exception, "must be a strict subset of `cidr`");
        }
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
        if network::parse_ip(host.text()).is_some() {
            errors.invalid(&host, "must be a DNS name, not an IP address");
        }
        if !host.is_empty() {
            self::host(&host, errors);
        }
        let http = rule.at("http");
        if http.is_set() && http.at("paths").is_empty() {
            errors.required(&http.at("paths"), "");
        }
        for path in http.at("paths").items() {
            path_of(&path, errors);
        }
    }
    for tls in spec.at("tls").items() {
        for host in tls.at("hosts").items() {
            self::host(&host, errors);
        }
        let secret = tls.at("secretName");
        if !secret.is_empty() {
            errors.complaints(&secret, names::dns_subdomain(secret.text()));
        }
    }
    let class = spec.at("ingressClassName");
    if class.is_set() {
        errors.complaints(&class, names::dns_subdomain(class.text()));
    }
}

/// A new Ingress names one class, where it does so in both places.
pub(super) fn class_of_new_ingress(ingress: &Cursor<'_>, errors: &mut Errors) {
    let class = ingress
        .at("spec")
        .at("ingressClassName")
        .value
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let annotated = ingress
        .at("metadata")
        .at("annotations")
        .at(CLASS_ANNOTATION)
        .value
        .clone();
    let is_named_twice = ingress.at("spec").at("ingressClassName").is_set() && !annotated.is_null();
    if is_named_twice && annotated != class.as_str() {
        // Upstream leaves out that annotations are metadata.
        let place = ingress.at("annotations");
        let detail = "must match `ingressClassName` when both are specified";
        errors.invalid_as(&place.at(CLASS_ANNOTATION), annotated, detail);
    }
}

/// Where an Ingress is reached.
pub(super) fn ingress_status(ingress: &Cursor<'_>, errors: &mut Errors) {
    let status = ingress.at("status");
    let balancer = status.at("loadBalancer");
    for entry in balancer.at("ingress").items() {
        let (address, name) = (entry.at("ip"), entry.at("hostname"));
        if !address.is_empty() {
            network::ip(&address, errors);
        }
        if !name.is_empty() {
            errors.complaints(&name, names::dns_subdomain(name.text()));
        }
        if network::parse_ip(name.text()).is_some() {
            errors.invalid(&name, "must be a DNS name, not an IP address");
        }
    }
}

/// The name of a host; the first part may stand for any.
fn host(host: &Cursor<'_>, errors: &mut Errors) {
    let complaints = match host.text().contains('*') {
        true => names::wildcard_subdomain(host.text()),
        false => names::dns_subdomain(host.text()),
    };
    errors.complaints(host, complaints);
}

fn path_of(entry: &Cursor<'_>, errors: &mut Errors) {
    const NEVER_INSIDE: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
    const NEVER_LAST: [&str; 2] = ["/..", "/."];
    let (path, kind) = (entry.at("path"), entry.at("pathType"));
    if !kind.is_set() {
        errors.required(&kind, "pathType must be specified");
        return;
    }
    match kind.text() {
        "Exact" | "Prefix" => {
            if !path.text().starts_with('/') {
                errors.invalid_as(&path, path.text(), "must be an absolute path");
            }
            for part in NEVER_INSIDE.into_iter().filter(|part| path.text().contains(part)) {
                errors.invalid(&path, format!("must not contain '{part}'"));
            }
            for end in NEVER_LAST.into_iter().filter(|end| path.text().ends_with(end)) {
                errors.invalid(&path, format!("cannot end with '{end}'"));
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
        (false, false) => errors.invalid_as(backend, "", "resource or service backend is required"),
        (false, true) => reference(&resource, errors),
        (true, false) => {
            let (name, port) = (service.at("name"), service.at("port"));
            if name.is_empty() {
                errors.required(&name, "");
            } else {
                errors.complaints(&name, names::dns_label(name.text()));
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

/// An object of any kind.
fn reference(reference: &Cursor<'_>, errors: &mut Errors) {
    let group = reference.at("apiGroup");
    if group.is_set() {
        errors.complaints(&group, names::dns_subdomain(group.text()));
    }
    for field in ["kind", "name"] {
        let at = reference.at(field);
        if at.is_empty() {
            errors.required(&at, format!("{field} is required"));
        } else {
            errors.complaints(&at, names::path_segment(at.text()));
        }
    }
}

/// An IngressClass.
pub(super) fn class(class: &Cursor<'_>, errors: &mut Errors) {
    let spec = class.at("spec");
    let (controller, parameters) = (spec.at("controller"), spec.at("parameters"));
    if controller.text().len() > CONTROLLER_BYTES_MAX {
        errors.too_long(&controller, CONTROLLER_BYTES_MAX);
    }
    meta::domain_prefixed_path(&controller, errors);
    if !parameters.is_set() {
        return;
    }
    reference(&parameters, errors);
    let (scope, namespace) = (parameters.at("scope"), parameters.at("namespace"));
    match (scope.text(), namespace.is_set()) {
        _ if !scope.is_set() => errors.required(&scope, ""),
        ("Namespace", false) => errors.required(&namespace, "`parameters.scope` is set to 'Namespace'"),
        ("Namespace", true) => errors.complaints(&namespace, names::dns_label(namespace.text())),
        ("Cluster", true) => errors.forbidden(&namespace, "`parameters.scope` is set to 'Cluster'"),
        ("Cluster", false) => {}
        _ => errors.unsupported(&scope, &["Cluster", "Namespace"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    type Rule = fn(&Cursor<'_>, &mut Errors);

    fn of_object(rule: Rule, object: &Value) -> Vec<String> {
        let mut errors = Errors::default();
        rule(&Cursor::root(object), &mut errors);
        errors.into_list().iter().map(ToString::to_string).collect()
    }

    fn told(rule: Rule, spec: &Value) -> Vec<String> {
        of_object(rule, &json!({"spec": spec}))
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
        assert_eq!(
            with(json!({"ports": [{"protocol": "TCP", "port": 90, "endPort": 80}, {"protocol": "X", "endPort": 1}]})),
            [
                "spec.ingress[0].ports[0].endPort: Invalid value: 90: must be greater than or equal to `port`",
                "spec.ingress[0].ports[1].protocol: Unsupported value: \"X\": supported values: \"TCP\", \"UDP\", \"SCTP\"",
                "spec.ingress[0].ports[1].endPort: Invalid value: 1: may not be specified when `port` is not specified",
            ]
        );
    }

    #[test]
    fn what_a_policy_leaves_out_of_a_range_lies_within() {
        let with = |block: Value| {
            let peers = json!([{"ipBlock": block}]);
            told(
                policy,
                &json!({"podSelector": {}, "egress": [{"to": peers}], "policyTypes": ["Egress"]}),
            )
        };
        assert_eq!(with(json!({"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]})), [""; 0]);
        assert_eq!(with(json!({})), ["spec.egress[0].to[0].ipBlock.cidr: Required value"]);
        for outside in ["10.0.0.0/8", "11.0.0.0/16", "fd00::/16"] {
            assert_eq!(
                with(json!({"cidr": "10.0.0.0/8", "except": [outside]})),
                [format!(
                    "spec.egress[0].to[0].ipBlock.except[0]: Invalid value: {outside:?}: must be a strict subset of `cidr`"
                )]
            );
        }
    }

    fn to_service() -> Value {
        json!({"service": {"name": "s", "port": {"number": 80}}})
    }

    #[test]
    fn an_ingress_leads_somewhere() {
        let with = |path: Value| told(ingress, &json!({"rules": [{"http": {"paths": [path]}}]}));
        let to = |path: &str| with(json!({"path": path, "pathType": "Prefix", "backend": to_service()}));
        assert_eq!(to("/"), [""; 0]);
        assert_eq!(
            to("x"),
            ["spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path"]
        );
        assert_eq!(
            to("/a//.."),
            [
                "spec.rules[0].http.paths[0].path: Invalid value: \"/a//..\": must not contain '//'",
                "spec.rules[0].http.paths[0].path: Invalid value: \"/a//..\": cannot end with '/..'",
            ]
        );
        assert_eq!(
            with(json!({"path": "/", "pathType": "Exact", "backend": {}})),
            ["spec.rules[0].http.paths[0].backend: Invalid value: \"\": resource or service backend is required"]
        );
        assert_eq!(
            with(json!({"path": "/"})),
            ["spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"]
        );
        assert_eq!(
            told(ingress, &json!({})),
            ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"]
        );
        assert_eq!(
            told(ingress, &json!({"defaultBackend": {"resource": {"kind": "K"}}})),
            ["spec.defaultBackend.resource.name: Required value: name is required"]
        );
    }

    #[test]
    fn hosts_of_an_ingress_are_names_of_which_the_first_part_may_be_any() {
        let with = |host: &str| {
            told(
                ingress,
                &json!({"defaultBackend": to_service(), "rules": [{"host": host}]}),
            )
        };
        assert_eq!(with("*.example.com"), [""; 0]);
        assert_eq!(
            with("1.2.3.4"),
            ["spec.rules[0].host: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address"]
        );
        assert!(with("a.*.com")[0].contains("a wildcard DNS-1123 subdomain must start with '*.'"));
        let tls = json!({"defaultBackend": to_service(), "tls": [{"hosts": ["A"], "secretName": "B"}]});
        let places: Vec<String> = told(ingress, &tls)
            .iter()
            .filter_map(|error| Some(error.split_once(':')?.0.to_owned()))
            .collect();
        assert_eq!(places, ["spec.tls[0].hosts[0]", "spec.tls[0].secretName"]);
    }

    #[test]
    fn a_new_ingress_does_not_name_two_classes() {
        let named = |annotation: &str| {
            of_object(
                class_of_new_ingress,
                &json!({"metadata": {"annotations": {CLASS_ANNOTATION: annotation}}, "spec": {"ingressClassName": "a"}}),
            )
        };
        assert_eq!(named("a"), [""; 0]);
        assert_eq!(
            named("b"),
            [
                "annotations.kubernetes.io/ingress.class: Invalid value: \"b\": must match `ingressClassName` when both are \
                 specified"
            ]
        );
    }

    #[test]
    fn a_class_of_ingresses_says_who_is_responsible_and_where_its_parameters_are() {
        let with = |parameters: Value| told(class, &json!({"controller": "example.com/c", "parameters": parameters}));
        assert_eq!(with(json!({"kind": "K", "name": "n", "scope": "Cluster"})), [""; 0]);
        assert_eq!(
            with(json!({"kind": "K", "name": "n", "scope": "Namespace"})),
            ["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"]
        );
        assert_eq!(
            with(json!({"name": "n", "scope": "Cluster", "namespace": "x"})),
            [
                "spec.parameters.kind: Required value: kind is required",
                "spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'",
            ]
        );
        assert_eq!(told(class, &json!({})), ["spec.controller: Required value"]);
        assert_eq!(
            told(class, &json!({"controller": "c"})),
            ["spec.controller: Invalid value: \"c\": must be a domain-prefixed path (such as \"acme.io/foo\")"]
        );
    }
}
