//! Services, Endpoints, EndpointSlices, ingresses, network policies.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    AGE, NAME, NONE, Printer, SELECTOR, UNKNOWN, UNSET, age, name, or_none, pairs, scalar_or, selector, string,
};
use crate::value::{integer, list, present, text};

/// How many addresses or ports are listed before the rest is only counted.
const LISTED_MAX: usize = 3;

pub(super) const PRINTERS: &[Printer] = &[
    Printer {
        kind: "Service",
        columns: &[
            NAME,
            string("Type"),
            string("Cluster-IP"),
            string("External-IP"),
            string("Port(s)"),
            AGE,
            SELECTOR,
        ],
        cells: |object, now| {
            let spec = &object["spec"];
            let cluster_ip = list(spec, "clusterIPs").first().and_then(Value::as_str);
            vec![
                name(object),
                text(spec, "type").into(),
                or_none(cluster_ip.unwrap_or_default()),
                external_ip(object).into(),
                or_none(&ports(spec)),
                age(object, now),
                pairs(spec, "selector"),
            ]
        },
    },
    Printer {
        kind: "Endpoints",
        columns: &[NAME, string("Endpoints"), AGE],
        cells: |object, now| vec![name(object), endpoints(object).into(), age(object, now)],
    },
    Printer {
        kind: "EndpointSlice",
        columns: &[NAME, string("AddressType"), string("Ports"), string("Endpoints"), AGE],
        cells: |object, now| {
            let ports = list(object, "ports").iter().map(|port| match integer(port, "port") {
                Some(port) => port.to_string(),
                None => scalar_or(port, "name", "*").as_str().unwrap_or_default().to_owned(),
            });
            let addresses = list(object, "endpoints")
                .iter()
                .flat_map(|endpoint| list(endpoint, "addresses"))
                .map(|address| address.as_str().unwrap_or_default().to_owned());
            vec![
                name(object),
                text(object, "addressType").into(),
                some_of(&ports.collect::<Vec<_>>(), UNSET).into(),
                some_of(&addresses.collect::<Vec<_>>(), UNSET).into(),
                age(object, now),
            ]
        },
    },
    Printer {
        kind: "Ingress",
        columns: &[
            NAME,
            string("Class"),
            string("Hosts"),
            string("Address"),
            string("Ports"),
            AGE,
        ],
        cells: |object, now| {
            let spec = &object["spec"];
            let ports = if list(spec, "tls").is_empty() { "80" } else { "80, 443" };
            vec![
                name(object),
                scalar_or(spec, "ingressClassName", NONE),
                hosts(list(spec, "rules")).into(),
                balanced(object).join(",").into(),
                ports.into(),
                age(object, now),
            ]
        },
    },
    Printer {
        kind: "IngressClass",
        columns: &[NAME, string("Controller"), string("Parameters"), AGE],
        cells: |object, now| {
            let spec = &object["spec"];
            let parameters = present(spec, "parameters").map(|parameters| {
                let (kind, name) = (text(parameters, "kind"), text(parameters, "name"));
                match present(parameters, "apiGroup").and_then(Value::as_str) {
                    Some(group) => format!("{kind}.{group}/{name}"),
                    None => format!("{kind}/{name}"),
                }
            });
            vec![
                name(object),
                text(spec, "controller").into(),
                parameters.unwrap_or_else(|| NONE.to_owned()).into(),
                age(object, now),
            ]
        },
    },
    Printer {
        kind: "NetworkPolicy",
        columns: &[NAME, string("Pod-Selector"), AGE],
        cells: |object, now| vec![name(object), selector(&object["spec"]["podSelector"]), age(object, now)],
    },
];

/// The first few texts, and how many more there are.
fn some_of(texts: &[String], none: &str) -> String {
    match texts.len() {
        0 => none.to_owned(),
        count if count > LISTED_MAX => {
            format!("{} + {} more...", texts[..LISTED_MAX].join(","), count - LISTED_MAX)
        }
        _ => texts.join(","),
    }
}

fn external_ip(service: &Value) -> String {
    let spec = &service["spec"];
    let own: Vec<&str> = list(spec, "externalIPs").iter().filter_map(Value::as_str).collect();
    match text(spec, "type") {
        "ExternalName" => text(spec, "externalName").to_owned(),
        "LoadBalancer" => match [balanced(service), own].concat() {
            all if all.is_empty() => "<pending>".to_owned(),
            all => all.join(","),
        },
        "ClusterIP" | "NodePort" if own.is_empty() => NONE.to_owned(),
        "ClusterIP" | "NodePort" => own.join(","),
        _ => UNKNOWN.to_owned(),
    }
}

/// The addresses or names that a load balancer gave, sorted, each once.
fn balanced(object: &Value) -> Vec<&str> {
    let ingress = list(&object["status"]["loadBalancer"], "ingress").iter();
    let addresses = ingress.map(|i| match text(i, "ip") {
        "" => text(i, "hostname"),
        ip => ip,
    });
    let addresses: BTreeSet<&str> = addresses.filter(|address| !address.is_empty()).collect();
    addresses.into_iter().collect()
}

/// The first few hosts, and how many rules there are beyond as many; `*` when no rule names one.
fn hosts(rules: &[Value]) -> String {
    let named: Vec<&str> = rules
        .iter()
        .map(|rule| text(rule, "host"))
        .filter(|host| !host.is_empty())
        .collect();
    // Where a rule follows after the last host that is listed, whether or not it names another.
    let last = rules
        .iter()
        .enumerate()
        .filter(|(_, rule)| !text(rule, "host").is_empty())
        .nth(LISTED_MAX - 1);
    match (named.as_slice(), last) {
        ([], _) => "*".to_owned(),
        (named, Some((at, _))) if at + 1 < rules.len() => {
            format!(
                "{} + {} more...",
                named[..LISTED_MAX].join(","),
                rules.len() - LISTED_MAX
            )
        }
        (named, _) => named.join(","),
    }
}

fn ports(spec: &Value) -> String {
    let ports: Vec<String> = list(spec, "ports")
        .iter()
        .map(|port| {
            let number = integer(port, "port").unwrap_or_default();
            let protocol = text(port, "protocol");
            match integer(port, "nodePort") {
                Some(node_port) if node_port > 0 => format!("{number}:{node_port}/{protocol}"),
                _ => format!("{number}/{protocol}"),
            }
        })
        .collect();
    ports.join(",")
}

fn endpoints(object: &Value) -> String {
    let mut found = Vec::new();
    for subset in list(object, "subsets") {
        let addresses = list(subset, "addresses");
        if present(subset, "ports").is_none() || list(subset, "ports").is_empty() {
            found.extend(addresses.iter().map(|address| text(address, "ip").to_owned()));
            continue;
        }
        for port in list(subset, "ports") {
            let number = integer(port, "port").unwrap_or_default();
            found.extend(addresses.iter().map(|address| {
                let ip = text(address, "ip");
                if ip.contains(':') {
                    format!("[{ip}]:{number}")
                } else {
                    format!("{ip}:{number}")
                }
            }));
        }
    }
    some_of(&found, NONE)
}
