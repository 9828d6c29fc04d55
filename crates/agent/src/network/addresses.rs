//! Which pod has which address.
//!
//! A lease is the sandbox's record on disk; this is only the index over them, rebuilt at every start. Addresses are
//! given out in turn, so that one that was just freed rests as long as possible.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An IPv4 prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    /// Its first address.
    pub network: Ipv4Addr,
    /// Its length.
    pub len: u8,
}

impl Prefix {
    /// The address at an offset.
    fn at(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network).wrapping_add(offset))
    }

    /// How many addresses it has.
    fn size(self) -> u32 {
        1u32.checked_shl(32 - u32::from(self.len)).unwrap_or(u32::MAX)
    }

    /// The bridge's address: the first that is not the network's own.
    pub(crate) fn gateway(self) -> Ipv4Addr {
        self.at(1)
    }

    /// The bits that are the same in all its addresses.
    pub(crate) fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(self.len)).unwrap_or(0))
    }
}

/// Not a prefix pods can live in.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not an IPv4 prefix such as 10.244.0.0/24 (length 8 to 30)")]
pub(crate) struct BadPrefix(String);

impl FromStr for Prefix {
    type Err = BadPrefix;

    fn from_str(text: &str) -> Result<Self, BadPrefix> {
        let bad = || BadPrefix(text.to_owned());
        let (address, len) = text.split_once('/').ok_or_else(bad)?;
        let address: Ipv4Addr = address.parse().map_err(|_| bad())?;
        let len: u8 = len.parse().map_err(|_| bad())?;
        if !(8..=30).contains(&len) {
            return Err(bad());
        }
        let mask = u32::MAX << (32 - u32::from(len));
        Ok(Self {
            network: Ipv4Addr::from(u32::from(address) & mask),
            len,
        })
    }
}

/// The addresses in use.
#[derive(Debug)]
pub(crate) struct Addresses {
    prefix: Prefix,
    used: BTreeSet<Ipv4Addr>,
    next_offset: u32,
}

impl Addresses {
    /// The addresses of a prefix, some of them in use.
    pub(crate) fn new(prefix: Prefix, used: impl IntoIterator<Item = Ipv4Addr>) -> Self {
        let used: BTreeSet<Ipv4Addr> = used.into_iter().collect();
        let next_offset = used.last().map_or(2, |last| {
            u32::from(*last).wrapping_sub(u32::from(prefix.network)).wrapping_add(1)
        });
        Self {
            prefix,
            used,
            next_offset,
        }
    }

    /// A free address; `None` when all are in use.
    pub(crate) fn take(&mut self) -> Option<Ipv4Addr> {
        // The network's own, the bridge's and the broadcast address are nobody's.
        let (first, end) = (2, self.prefix.size() - 1);
        for _ in first..end {
            if !(first..end).contains(&self.next_offset) {
                self.next_offset = first;
            }
            let address = self.prefix.at(self.next_offset);
            self.next_offset += 1;
            if self.used.insert(address) {
                return Some(address);
            }
        }
        None
    }

    /// Gives an address back.
    pub(crate) fn release(&mut self, address: Ipv4Addr) {
        self.used.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().expect("prefix")
    }

    #[test]
    fn prefixes_are_read_and_cut_to_their_network() {
        assert_eq!(
            prefix("10.244.1.7/24"),
            Prefix {
                network: Ipv4Addr::new(10, 244, 1, 0),
                len: 24
            }
        );
        assert_eq!(prefix("10.244.1.0/24").gateway(), Ipv4Addr::new(10, 244, 1, 1));
        assert_eq!(prefix("10.244.1.0/22").mask(), Ipv4Addr::new(255, 255, 252, 0));
        for bad in [
            "10.244.1.0",
            "10.244.1.0/31",
            "10.244.1.0/x",
            "fd00::/64",
            "300.0.0.0/8",
        ] {
            assert_eq!(bad.parse::<Prefix>(), Err(BadPrefix(bad.to_owned())));
        }
    }

    #[test]
    fn a_freed_address_rests_until_the_others_were_used() {
        let mut addresses = Addresses::new(prefix("10.0.0.0/29"), []);
        let mut take = || addresses.take().map(|address| address.octets()[3]);
        assert_eq!([take(), take()], [Some(2), Some(3)]);
        addresses.release(Ipv4Addr::new(10, 0, 0, 2));
        let rest: Vec<Option<u8>> = (0..6)
            .map(|_| addresses.take().map(|address| address.octets()[3]))
            .collect();
        assert_eq!(rest, [Some(4), Some(5), Some(6), Some(2), None, None]);
    }

    #[test]
    fn leases_survive_a_restart() {
        let mut addresses = Addresses::new(prefix("10.0.0.0/29"), [Ipv4Addr::new(10, 0, 0, 5)]);
        assert_eq!(addresses.take(), Some(Ipv4Addr::new(10, 0, 0, 6)));
        assert_eq!(addresses.take(), Some(Ipv4Addr::new(10, 0, 0, 2)));
    }
}
