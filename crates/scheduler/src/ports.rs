//! Ports of the node that pods take for themselves.
//!
//! Source: `spec/node-and-pod.md` §9.3 (NodePorts); kubernetes `pkg/scheduler/framework/types.go` (HostPortInfo).

use rota_api::k8s::api::core::v1::PodSpec;

use crate::resources::is_sidecar;

/// A port on an address of the node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostPort {
    port: i32,
    protocol: String,
    /// Empty stands for all addresses.
    ip: String,
}

impl HostPort {
    fn conflicts(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || self.ip.is_empty() || other.ip.is_empty())
    }
}

/// The node ports of a pod's containers and sidecars.
pub(crate) fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|c| is_sidecar(c));
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            Some(HostPort {
                port: port.host_port.filter(|number| *number > 0)?,
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                ip: port.host_ip.clone().filter(|ip| ip != "0.0.0.0").unwrap_or_default(),
            })
        })
        .collect()
}

/// The ports taken on one node. A port taken twice (which only a pod bound by others can bring about) is held twice.
#[derive(Debug, Default)]
pub(crate) struct TakenPorts(Vec<HostPort>);

impl TakenPorts {
    /// Takes ports.
    pub(crate) fn take(&mut self, ports: &[HostPort]) {
        self.0.extend_from_slice(ports);
    }

    /// Gives ports back.
    pub(crate) fn release(&mut self, ports: &[HostPort]) {
        for port in ports {
            if let Some(at) = self.0.iter().position(|taken| taken == port) {
                self.0.swap_remove(at);
            }
        }
    }

    /// Whether one of the ports is taken.
    pub(crate) fn conflict(&self, ports: &[HostPort]) -> bool {
        ports
            .iter()
            .any(|port| self.0.iter().any(|taken| taken.conflicts(port)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ports(ip: &str, protocol: &str, number: i32) -> Vec<HostPort> {
        let port = json!({"containerPort": 80, "hostPort": number, "hostIP": ip, "protocol": protocol});
        host_ports(&serde_json::from_value(json!({"containers": [{"name": "c", "ports": [port]}]})).unwrap())
    }

    #[test]
    fn the_same_port_conflicts_on_the_same_or_on_all_addresses() {
        let mut taken = TakenPorts::default();
        taken.take(&ports("10.0.0.1", "TCP", 80));
        assert!(taken.conflict(&ports("10.0.0.1", "TCP", 80)));
        assert!(taken.conflict(&ports("0.0.0.0", "TCP", 80)));
        assert!(taken.conflict(&ports("", "TCP", 80)));
        assert!(!taken.conflict(&ports("10.0.0.2", "TCP", 80)));
        assert!(!taken.conflict(&ports("10.0.0.1", "UDP", 80)));
        assert!(!taken.conflict(&ports("10.0.0.1", "TCP", 81)));
        taken.release(&ports("10.0.0.1", "TCP", 80));
        assert!(!taken.conflict(&ports("", "TCP", 80)));
    }

    #[test]
    fn a_container_port_without_a_host_port_takes_nothing() {
        assert!(ports("", "TCP", 0).is_empty());
    }
}
