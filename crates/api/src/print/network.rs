//! Services, Endpoints, EndpointSlices.

use serde_json::Value;

use super::{AGE, NAME, NONE, Printer, SELECTOR, UNSET, age, name, or_none, pairs, string};
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
            let cluster_ip = list(spec, "clusterIPs")
                .first()
                .and_then(Value::as_str)
                .unwrap_or_else(|| text(spec, "clusterIP"));
            vec![
                name(object),
                text(spec, "type").into(),
                or_none(cluster_ip),
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
                None => "*".to_owned(),
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
        "LoadBalancer" => {
            let ingress = list(&service["status"]["loadBalancer"], "ingress")
                .iter()
                .map(|i| match text(i, "ip") {
                    "" => text(i, "hostname"),
                    ip => ip,
                });
            let mut all: Vec<&str> = ingress.filter(|address| !address.is_empty()).collect();
            if all.is_empty() && own.is_empty() {
                return "<pending>".to_owned();
            }
            all.extend(own);
            all.join(",")
        }
        _ if own.is_empty() => NONE.to_owned(),
        _ => own.join(","),
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
