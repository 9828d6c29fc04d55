//! Address translation for a node's pods: out to the world, and from ports of the node into pods.
//!
//! One table per node, `ip rota-<tag>`. Its fixed chains are made once; the chain of forwarded ports is replaced as a
//! whole whenever the set of ports changes, so that what is in the kernel never drifts from what should be.
//! Source: node specification §19.3; CNI `portmap` for the loopback and hairpin rules.

use std::fs;
use std::io;
use std::net::Ipv4Addr;

use super::Prefix;
use super::nfnetlink::{Batch, Hook, Step};

/// The chain of forwarded ports.
const PORTS: &str = "ports";
const PREROUTING: &str = "prerouting";
const OUTPUT: &str = "output";
const POSTROUTING: &str = "postrouting";

/// A port of the node that leads into a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ForwardedPort {
    /// Number of the transport protocol.
    pub protocol: u8,
    /// The node's address it is bound to; `None` is all of them.
    pub host_address: Option<Ipv4Addr>,
    /// The node's port.
    pub host_port: u16,
    /// The pod's address.
    pub pod: Ipv4Addr,
    /// The pod's port.
    pub pod_port: u16,
}

impl ForwardedPort {
    /// The number of a transport protocol as Kubernetes names it.
    pub(crate) fn protocol_number(name: &str) -> Option<u8> {
        match name {
            "TCP" | "" => Some(6),
            "UDP" => Some(17),
            "SCTP" => Some(132),
            _ => None,
        }
    }
}

/// The translation table of a node.
#[derive(Clone)]
pub(crate) struct Nat {
    table: String,
    bridge: String,
    pods: Prefix,
    cluster: Option<Prefix>,
}

impl Nat {
    /// The table of the node with this tag, its pods' prefix, and the prefix of all nodes' pods, which are reached
    /// untranslated.
    pub(crate) fn new(tag: &str, bridge: &str, pods: Prefix, cluster: Option<Prefix>) -> Self {
        Self {
            table: format!("rota-{tag}"),
            bridge: bridge.to_owned(),
            pods,
            cluster,
        }
    }

    /// Makes the table and lets the node forward packets.
    pub(crate) fn install(&self, ports: &[ForwardedPort]) -> io::Result<()> {
        set_sysctl("net/ipv4/ip_forward", "1")?;
        // Packets from 127.0.0.1 may leave by the bridge: that is how a forwarded port is reached from the node itself.
        set_sysctl(&format!("net/ipv4/conf/{}/route_localnet", self.bridge), "1")?;
        let mut batch = Batch::new();
        batch.ensure_table(&self.table);
        batch.ensure_chain(&self.table, PORTS, None);
        for (chain, hook) in [
            (PREROUTING, Hook::Prerouting),
            (OUTPUT, Hook::Output),
            (POSTROUTING, Hook::Postrouting),
        ] {
            batch.ensure_chain(&self.table, chain, Some(hook));
            batch.flush_chain(&self.table, chain);
        }
        // Nodes that share this machine share its addresses, but for the one by which each is known.
        let own = [Step::DestinationIs(self.pods.gateway()), Step::Jump(PORTS)];
        let shared = [
            Step::DestinationIsLocal,
            Step::DestinationNotIn(self.cluster.unwrap_or(self.pods)),
            Step::Jump(PORTS),
        ];
        for chain in [PREROUTING, OUTPUT] {
            batch.add_rule(&self.table, chain, &own);
            batch.add_rule(&self.table, chain, &shared);
        }
        let mut out = vec![Step::SourceIn(self.pods), Step::DestinationNotIn(self.pods)];
        out.extend(self.cluster.map(Step::DestinationNotIn));
        out.push(Step::Masquerade);
        let loopback = Prefix {
            network: Ipv4Addr::new(127, 0, 0, 0),
            len: 8,
        };
        let to_pod = || Step::LeavesBy(self.bridge.clone());
        batch.add_rule(&self.table, POSTROUTING, &out);
        batch.add_rule(
            &self.table,
            POSTROUTING,
            &[to_pod(), Step::SourceIn(loopback), Step::Masquerade],
        );
        batch.add_rule(
            &self.table,
            POSTROUTING,
            &[
                to_pod(),
                Step::SourceIn(self.pods),
                Step::WasRedirected,
                Step::Masquerade,
            ],
        );
        self.put_ports(&mut batch, ports);
        batch.commit()
    }

    /// Replaces the forwarded ports.
    pub(crate) fn set_ports(&self, ports: &[ForwardedPort]) -> io::Result<()> {
        let mut batch = Batch::new();
        self.put_ports(&mut batch, ports);
        batch.commit()
    }

    /// Deletes the table.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let mut batch = Batch::new();
        // Deleting what may not be there: make it first.
        batch.ensure_table(&self.table);
        batch.delete_table(&self.table);
        batch.commit()
    }

    fn put_ports(&self, batch: &mut Batch, ports: &[ForwardedPort]) {
        batch.flush_chain(&self.table, PORTS);
        for port in ports {
            let mut steps = vec![Step::Protocol(port.protocol)];
            steps.extend(port.host_address.map(Step::DestinationIs));
            steps.push(Step::DestinationPort(port.host_port));
            steps.push(Step::RedirectTo(port.pod, port.pod_port));
            batch.add_rule(&self.table, PORTS, &steps);
        }
    }
}

fn set_sysctl(name: &str, value: &str) -> io::Result<()> {
    let path = format!("/proc/sys/{name}");
    if fs::read_to_string(&path).is_ok_and(|now| now.trim() == value) {
        return Ok(());
    }
    fs::write(&path, value).map_err(|e| io::Error::new(e.kind(), format!("writing {value} to {path}: {e}")))
}
