//! The addresses of a cluster's pods.
//!
//! Several clusters may run on one machine, and none may take addresses that something else here uses. So a data directory
//! gets the first range that no route of this machine leads to, and keeps it from then on: pods keep their addresses.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Where the kernel lists its routes.
const ROUTES: &str = "/proc/net/route";
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

    /// The part of one node.
    pub(crate) fn node(self, index: u32) -> String {
        format!("10.{}.{index}.0/24", self.second)
    }
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
        assert_eq!(PodRange { second: 244 }.node(3), "10.244.3.0/24");
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
