//! The addresses of a cluster's pods.
//!
//! Several clusters may run on one machine, and none may take addresses that something else here uses. So a data directory
//! gets the first range that no route of this machine leads to, and keeps it from then on: pods keep their addresses.
//!
//! Each node has a part of it. A node that the cluster knows keeps its part, whether or not it runs now; a new one gets a part
//! that no other node has.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rota_api::k8s::api::core::v1::Node;
use rota_api::resource;
use rota_cluster::{Cluster, Selection};

/// Where the kernel lists its routes.
const ROUTES: &str = "/proc/net/route";
/// Each node has a /24 of the cluster's /16; those from 200 on are left to nodes that join.
pub(crate) const NODES_MAX: u32 = 199;

/// Held while a range is chosen and its bridges are made, so that two clusters do not choose the same one.
const LOCK: &str = "/run/rota-pod-range.lock";

/// A range of pods' addresses: `10.N.0.0/16`, a `/24` of it for each node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PodRange {
    second: u8,
}

/// Held until the bridges of a range stand.
pub(crate) struct Claim(#[expect(dead_code, reason = "the lock ends when this is dropped")] File);

impl PodRange {
    /// The range of the cluster in `data`; chosen at its first start.
    ///
    /// Errors: the data directory or the kernel's routes cannot be read, or no range is free.
    pub(crate) fn of(data: &Path) -> Result<(Self, Claim)> {
        let lock = File::create(LOCK).with_context(|| format!("opening {LOCK}"))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).context("choosing addresses for pods")?;
        let file = data.join("pod-range");
        if let Ok(text) = fs::read_to_string(&file) {
            let second = text
                .trim()
                .parse()
                .with_context(|| format!("{} holds no range", file.display()))?;
            return Ok((Self { second }, Claim(lock)));
        }
        let routes = fs::read_to_string(ROUTES).with_context(|| format!("reading {ROUTES}"))?;
        let range = Self::choose(&taken(&routes))?;
        fs::write(&file, format!("{}\n", range.second)).with_context(|| format!("writing {}", file.display()))?;
        Ok((range, Claim(lock)))
    }

    /// The first range that overlaps with none of `taken`, beginning with the customary one.
    fn choose(taken: &[(Ipv4Addr, Ipv4Addr)]) -> Result<Self> {
        let overlaps = |second: u8| {
            let start = u32::from(Ipv4Addr::new(10, second, 0, 0));
            taken.iter().any(|(network, mask)| {
                let common = u32::from(*mask) & 0xffff_0000;
                start & common == u32::from(*network) & common
            })
        };
        let Some(second) = (244..=255).chain((64..244).rev()).find(|second| !overlaps(*second)) else {
            bail!("every range from 10.64.0.0/16 to 10.255.0.0/16 is in use on this machine; pods need one");
        };
        Ok(Self { second })
    }

    /// The whole range.
    pub(crate) fn cluster(self) -> String {
        format!("10.{}.0.0/16", self.second)
    }

    /// The part with this index, at most 255.
    fn part(self, index: u32) -> String {
        format!("10.{}.{index}.0/24", self.second)
    }
}

/// Which parts of a range the nodes of a cluster have.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    range: PodRange,
    /// By the name of the node.
    held: BTreeMap<String, String>,
}

impl Parts {
    /// The parts that the nodes of a cluster have.
    ///
    /// Errors: the cluster does not say.
    pub(crate) async fn of_cluster(range: PodRange, cluster: &dyn Cluster) -> Result<Self> {
        let nodes = cluster.list(resource::NODES, &Selection::all()).await;
        let nodes = nodes.context("reading which nodes there are")?.items;
        let held = nodes.iter().filter_map(|node| {
            let spec = node.view::<Node>().ok()?.spec.clone();
            Some((node.meta().name.clone(), spec?.pod_cidr?))
        });
        Ok(Self::new(range, held))
    }

    /// The parts that the nodes `held` names have.
    pub(crate) fn new(range: PodRange, held: impl IntoIterator<Item = (String, String)>) -> Self {
        let held = held.into_iter().filter(|(_, cidr)| !cidr.is_empty()).collect();
        Self { range, held }
    }

    /// The part of a node: the one it has; else the one with index `wanted` if no node has it; else the first that none has.
    ///
    /// Errors: all are taken.
    pub(crate) fn of_node(&mut self, node: &str, wanted: u32) -> Result<String> {
        if let Some(own) = self.held.get(node) {
            return Ok(own.clone());
        }
        let choices = std::iter::once(wanted).chain(1..=NODES_MAX);
        let free = choices
            .map(|index| self.range.part(index))
            .find(|part| self.held.values().all(|taken| !overlap(part, taken)));
        let Some(part) = free else {
            bail!("no addresses are left for the pods of node {node:?}: delete the Nodes that are no more");
        };
        self.held.insert(node.to_owned(), part.clone());
        Ok(part)
    }
}

/// True when two IPv4 ranges have addresses in common; what is no such range has none.
fn overlap(one: &str, other: &str) -> bool {
    let parsed = |text: &str| {
        let (network, length) = text.split_once('/')?;
        let length: u32 = length.parse().ok().filter(|length| *length <= 32)?;
        Some((u32::from(network.parse::<Ipv4Addr>().ok()?), length))
    };
    let (Some((one, length)), Some((other, length_of_other))) = (parsed(one), parsed(other)) else {
        return false;
    };
    let common = u32::MAX.checked_shl(32 - length.min(length_of_other)).unwrap_or(0);
    one & common == other & common
}

/// Networks and masks that routes lead to, the default route excepted.
fn taken(routes: &str) -> Vec<(Ipv4Addr, Ipv4Addr)> {
    // Numbers are written as the machine holds them: the address's bytes, turned around on little-endian machines.
    let address = |text: &str| {
        u32::from_str_radix(text, 16)
            .map(|bits| Ipv4Addr::from(bits.to_ne_bytes()))
            .ok()
    };
    routes
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            Some((address(fields.get(1)?)?, address(fields.get(7)?)?))
        })
        .filter(|(_, mask)| !mask.is_unspecified())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(routes: &[(&str, &str)]) -> u8 {
        let taken: Vec<_> = routes
            .iter()
            .map(|(n, m)| (n.parse().unwrap(), m.parse().unwrap()))
            .collect();
        PodRange::choose(&taken).unwrap().second
    }

    #[test]
    fn the_customary_range_is_taken_where_it_is_free() {
        assert_eq!(chosen(&[("192.168.0.0", "255.255.255.0")]), 244);
    }

    fn parts(held: &[(&str, &str)]) -> Parts {
        let held = held.iter().map(|(node, cidr)| ((*node).to_owned(), (*cidr).to_owned()));
        Parts::new(PodRange { second: 244 }, held)
    }

    #[test]
    fn a_new_cluster_gives_its_nodes_the_parts_they_want() {
        let mut parts = parts(&[]);
        assert_eq!(parts.of_node("node-1", 1).unwrap(), "10.244.1.0/24");
        assert_eq!(parts.of_node("node-2", 2).unwrap(), "10.244.2.0/24");
        assert_eq!(parts.of_node("control-plane", 0).unwrap(), "10.244.0.0/24");
    }

    #[test]
    fn a_node_keeps_its_part_and_a_new_one_gets_none_that_another_has() {
        // What two nodes had, one of another name that is alone now does not get.
        let mut parts = parts(&[("node-1", "10.244.1.0/24"), ("node-2", "10.244.2.0/24"), ("sim", "")]);
        assert_eq!(parts.of_node("host", 1).unwrap(), "10.244.3.0/24");
        assert_eq!(parts.of_node("host", 1).unwrap(), "10.244.3.0/24");
        assert_eq!(parts.of_node("node-2", 2).unwrap(), "10.244.2.0/24");
    }

    #[test]
    fn a_wider_range_of_a_node_that_joined_is_left_to_it() {
        let mut parts = parts(&[("joined", "10.244.0.0/22")]);
        assert_eq!(parts.of_node("host", 1).unwrap(), "10.244.4.0/24");
        assert!(
            Parts::new(
                PodRange { second: 244 },
                [("joined".to_owned(), "10.0.0.0/8".to_owned())]
            )
            .of_node("host", 1)
            .is_err()
        );
    }

    #[test]
    fn ranges_that_overlap_with_a_route_are_left_alone() {
        assert_eq!(
            chosen(&[("10.244.1.0", "255.255.255.0"), ("10.245.0.0", "255.255.0.0")]),
            246
        );
        assert_eq!(chosen(&[("10.128.0.0", "255.128.0.0")]), 127);
        assert!(PodRange::choose(&[("10.0.0.0".parse().unwrap(), "255.0.0.0".parse().unwrap())]).is_err());
    }

    #[test]
    fn routes_are_read_as_the_kernel_writes_them() {
        let network = u32::from_ne_bytes([10, 244, 1, 0]);
        let mask = u32::from_ne_bytes([255, 255, 255, 0]);
        let text = format!(
            "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\neth0 00000000 0 0 0 0 0 00000000 0 0 0\nrota0 {network:08X} 0 0 0 0 0 {mask:08X} 0 0 0\n"
        );
        assert_eq!(
            taken(&text),
            [(Ipv4Addr::new(10, 244, 1, 0), Ipv4Addr::new(255, 255, 255, 0))]
        );
    }
}
