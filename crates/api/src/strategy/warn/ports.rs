//! Ports of a pod's containers that get into each other's way.

use std::collections::BTreeMap;

use serde_json::Value;

use super::pod::containers;
use crate::value::{integer, list, text};

/// So many warnings of a pod are looked for: more than fit into the head of a reply, where each is a line.
const SAID_MAX: usize = 1000;

/// Ports that share a name, or a number and a protocol.
pub(super) fn overlapping(spec: &Value, prefix: &str, said: &mut Vec<String>) {
    let mut by_name: BTreeMap<&str, String> = BTreeMap::new();
    let mut by_number: BTreeMap<(i64, &str), Vec<(String, &Value)>> = BTreeMap::new();
    for (container, path, lasts) in containers(spec, prefix) {
        for (index, port) in list(container, "ports").iter().enumerate() {
            let path = format!("{path}.ports[{index}]");
            let name = text(port, "name");
            // Services and probes find ports of containers that run beside each other by name.
            if !name.is_empty() && lasts {
                match by_name.get(name) {
                    Some(first) => said.push(format!(
                        "{path}: duplicate port name {name:?} with {first}, services and probes that select ports by name \
                         will use {first}"
                    )),
                    None => drop(by_name.insert(name, path.clone())),
                }
            }
            if !text(port, "hostIP").is_empty() && host_port(port) == 0 {
                said.push(format!("{path}: hostIP set without hostPort: {}", shown(port)));
            }
            let number = (
                integer(port, "containerPort").unwrap_or_default(),
                text(port, "protocol"),
            );
            let others = by_number.entry(number).or_default();
            for (other_path, other) in others.iter() {
                if said.len() >= SAID_MAX {
                    return;
                }
                if let Some(how) = conflict(port, other) {
                    said.push(format!("{path}: {how} port definition with {other_path}"));
                }
            }
            others.push((path, port));
        }
    }
}

fn host_port(port: &Value) -> i64 {
    integer(port, "hostPort").unwrap_or_default()
}

/// How two ports of the same number and protocol get into each other's way, if they do.
fn conflict(port: &Value, other: &Value) -> Option<&'static str> {
    let (ip, other_ip) = (text(port, "hostIP"), text(other, "hostIP"));
    let (host, other_host) = (host_port(port), host_port(other));
    if ip == other_ip && host == other_host {
        Some("duplicate")
    } else if host == 0 || other_host == 0 {
        Some("overlapping")
    } else if host == other_host && ip.is_empty() != other_ip.is_empty() {
        Some("dangerously ambiguous")
    } else {
        None
    }
}

/// The port as Go prints it.
fn shown(port: &Value) -> String {
    format!(
        "{{Name:{} HostPort:{} ContainerPort:{} Protocol:{} HostIP:{}}}",
        text(port, "name"),
        host_port(port),
        integer(port, "containerPort").unwrap_or_default(),
        text(port, "protocol"),
        text(port, "hostIP")
    )
}
