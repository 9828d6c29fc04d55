//! What differs between installations.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use rota_api::validate::Checks;
use rota_api::{Object, Timestamp};

use crate::cache::HistoryLimits;

/// What the registry is told when it is opened.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Rules of validation that are known elsewhere.
    pub checks: Checks,
    /// The certificate authority that pods should trust when they speak to the API server, PEM; published in each namespace
    /// as ConfigMap `kube-root-ca.crt`.
    pub cluster_ca: String,
    /// How much of the past is kept.
    pub history: HistoryLimits,
    /// What Services are given.
    pub services: ServiceRange,
    /// When a CronJob runs next after a time, for those who show it; `None`: it does not.
    pub next_run: fn(&Arc<Object>, Timestamp) -> Option<Timestamp>,
}

/// The addresses and ports that Services are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceRange {
    /// The first address of the network; it is not given away, and the one behind it is that of Service `kubernetes`.
    pub network: Ipv4Addr,
    /// How many bits all addresses of the network share.
    pub prefix_bits: u8,
    /// The first node port.
    pub first_node_port: u16,
    /// How many node ports there are.
    pub node_ports: u32,
}

impl Default for ServiceRange {
    fn default() -> Self {
        Self {
            network: Ipv4Addr::new(10, 96, 0, 0),
            prefix_bits: 16,
            first_node_port: 30_000,
            node_ports: 2_768,
        }
    }
}

impl ServiceRange {
    /// How many addresses can be given away: not the network's own, that of Service `kubernetes`, and the broadcast address.
    pub(crate) fn addresses(self) -> u32 {
        let host_bits = 32_u32.saturating_sub(u32::from(self.prefix_bits)).min(31);
        (1_u32 << host_bits).saturating_sub(3)
    }

    /// The address of that number, counted from 0.
    pub(crate) fn address(self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits().wrapping_add(number).wrapping_add(2))
    }

    /// Why a Service cannot have the address that it names; `None` when it can.
    pub(crate) fn refusal(self, address: Ipv4Addr, taken: &BTreeSet<Ipv4Addr>) -> Option<String> {
        let host_bits = 32_u32.saturating_sub(u32::from(self.prefix_bits)).min(31);
        let hosts = (1_u32 << host_bits) - 1;
        let number = address.to_bits() ^ self.network.to_bits();
        if number > hosts {
            return Some("the provided network does not match the current range".to_owned());
        }
        if number == 0 || number == hosts {
            return Some(format!(
                "provided IP is not in the valid range. The range of valid IPs is {}/{}",
                self.network, self.prefix_bits
            ));
        }
        taken
            .contains(&address)
            .then(|| "provided IP is already allocated".to_owned())
    }

    /// The node port of that number, counted from 0.
    pub(crate) fn node_port(self, number: u32) -> u64 {
        u64::from(self.first_node_port) + u64::from(number)
    }
}

impl Settings {
    /// Settings with these checks and otherwise the defaults.
    pub fn new(checks: Checks) -> Self {
        Self {
            checks,
            cluster_ca: String::new(),
            history: HistoryLimits::default(),
            services: ServiceRange::default(),
            next_run: |_, _| None,
        }
    }
}
