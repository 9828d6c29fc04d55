//! The few nf_tables messages that NAT for pods needs, written by hand: the kernel takes a batch as a whole or not at
//! all, and no library with a licence we can use speaks this.
//!
//! Knows how tables, chains, rules and expressions are laid out in bytes; what they are for is in [`super::nat`].
//! Source: kernel `include/uapi/linux/netfilter/nf_tables.h`, `nfnetlink.h`.

use std::io;
use std::net::Ipv4Addr;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;
const NFNL_BATCH_BEGIN: u16 = 0x10;
const NFNL_BATCH_END: u16 = 0x11;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFPROTO_IPV4: u8 = 2;
const NLA_F_NESTED: u16 = 0x8000;

const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const DELETE_RULE: u16 = 8;

/// First general register; 16 bytes.
const REGISTER_1: u32 = 1;
/// Second general register; 16 bytes.
const REGISTER_2: u32 = 2;
/// The register that holds a verdict.
const REGISTER_VERDICT: u32 = 0;
/// Verdict: go on in another chain and come back.
const VERDICT_JUMP: u32 = (-3i32).cast_unsigned();

/// Where in the packet's way a chain is called.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hook {
    /// Arriving packets, before they are routed.
    Prerouting,
    /// Packets of this machine, before they are routed.
    Output,
    /// Leaving packets.
    Postrouting,
}

/// One step of a rule: compares and goes on, or acts.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// The source address is in the prefix.
    SourceIn(super::Prefix),
    /// The destination address is not in the prefix.
    DestinationNotIn(super::Prefix),
    /// The destination is this address.
    DestinationIs(Ipv4Addr),
    /// The destination is an address of this machine.
    DestinationIsLocal,
    /// The packet leaves by the link of this name.
    LeavesBy(String),
    /// The transport protocol has this number.
    Protocol(u8),
    /// The destination port.
    DestinationPort(u16),
    /// The connection's destination was translated.
    WasRedirected,
    /// Act: lead the connection to another address and port.
    RedirectTo(Ipv4Addr, u16),
    /// Act: let the connection appear to come from the link it leaves by.
    Masquerade,
    /// Act: go through another chain.
    Jump(&'static str),
}

/// Changes to the rule set that happen together.
pub(crate) struct Batch {
    bytes: Vec<u8>,
    sequence: u32,
    acknowledged: usize,
}

impl Batch {
    /// An empty batch.
    pub(super) fn new() -> Self {
        let mut batch = Self {
            bytes: Vec::new(),
            sequence: 0,
            acknowledged: 0,
        };
        batch.put(NFNL_BATCH_BEGIN, 0, 0, NFNL_SUBSYS_NFTABLES, &[]);
        batch
    }

    /// Makes a table unless it is there.
    pub(super) fn ensure_table(&mut self, table: &str) {
        self.nftables(NEW_TABLE, NLM_F_CREATE, &string(1, table));
    }

    /// Deletes a table with all that is in it.
    pub(super) fn delete_table(&mut self, table: &str) {
        self.nftables(DELETE_TABLE, 0, &string(1, table));
    }

    /// Makes a chain unless it is there; with a hook, one for address translation.
    pub(super) fn ensure_chain(&mut self, table: &str, chain: &str, hook: Option<Hook>) {
        let mut body = [string(1, table), string(3, chain)].concat();
        if let Some(hook) = hook {
            let (number, priority) = match hook {
                Hook::Prerouting => (0, -100i32),
                Hook::Output => (3, -100),
                Hook::Postrouting => (4, 100),
            };
            body.extend(nested(
                4,
                &[be32(1, number), be32(2, priority.cast_unsigned())].concat(),
            ));
            body.extend(string(7, "nat"));
        }
        self.nftables(NEW_CHAIN, NLM_F_CREATE, &body);
    }

    /// Removes all rules of a chain.
    pub(super) fn flush_chain(&mut self, table: &str, chain: &str) {
        self.nftables(DELETE_RULE, 0, &[string(1, table), string(2, chain)].concat());
    }

    /// Adds a rule at the end of a chain.
    pub(super) fn add_rule(&mut self, table: &str, chain: &str, steps: &[Step]) {
        let expressions: Vec<u8> = steps
            .iter()
            .flat_map(expressions)
            .flat_map(|expression| nested(1, &expression))
            .collect();
        let body = [string(1, table), string(2, chain), nested(4, &expressions)].concat();
        self.nftables(NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, &body);
    }

    /// Makes all changes, or none.
    ///
    /// Errors: the kernel's word on the first change it refused.
    pub(super) fn commit(mut self) -> io::Result<()> {
        self.put(NFNL_BATCH_END, 0, 0, NFNL_SUBSYS_NFTABLES, &[]);
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.send(&self.bytes, 0)?;
        let mut answers = 0;
        while answers < self.acknowledged {
            let (datagram, _) = socket.recv_from_full()?;
            let mut rest = &datagram[..];
            while let Some((header, body)) = rest.split_first_chunk::<16>() {
                let [l0, l1, l2, l3, t0, t1, ..] = *header;
                let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
                if u16::from_ne_bytes([t0, t1]) == NLMSG_ERROR {
                    answers += 1;
                    let code = body.first_chunk::<4>().map_or(0, |code| i32::from_ne_bytes(*code));
                    if code != 0 {
                        return Err(io::Error::from_raw_os_error(-code));
                    }
                }
                rest = rest.get(length.next_multiple_of(4).max(16)..).unwrap_or_default();
            }
        }
        Ok(())
    }

    fn nftables(&mut self, kind: u16, flags: u16, body: &[u8]) {
        self.acknowledged += 1;
        self.put(
            NFNL_SUBSYS_NFTABLES << 8 | kind,
            flags | NLM_F_ACK,
            NFPROTO_IPV4,
            0,
            body,
        );
    }

    fn put(&mut self, kind: u16, flags: u16, family: u8, resource: u16, body: &[u8]) {
        self.sequence += 1;
        let length = u32::try_from(20 + body.len()).expect("a message holds one rule, a few hundred bytes");
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend(self.sequence.to_ne_bytes());
        self.bytes.extend(0u32.to_ne_bytes());
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        self.bytes.extend(body);
    }
}

/// The kernel's expressions for a step.
fn expressions(step: &Step) -> Vec<Vec<u8>> {
    let load_network = |offset| {
        expression(
            "payload",
            &[be32(1, REGISTER_1), be32(2, 1), be32(3, offset), be32(4, 4)],
        )
    };
    let mask = |prefix: super::Prefix| {
        expression(
            "bitwise",
            &[
                be32(1, REGISTER_1),
                be32(2, REGISTER_1),
                be32(3, 4),
                value(4, &prefix.mask().octets()),
                value(5, &[0; 4]),
            ],
        )
    };
    match step {
        Step::SourceIn(prefix) => vec![
            load_network(12),
            mask(*prefix),
            compare(Is::Equal, &prefix.network.octets()),
        ],
        Step::DestinationNotIn(prefix) => vec![
            load_network(16),
            mask(*prefix),
            compare(Is::Different, &prefix.network.octets()),
        ],
        Step::DestinationIs(address) => vec![load_network(16), compare(Is::Equal, &address.octets())],
        Step::DestinationIsLocal => {
            // Result: the kind of the destination address; 2 is an address of this machine.
            vec![
                expression("fib", &[be32(1, REGISTER_1), be32(2, 3), be32(3, 2)]),
                compare(Is::Equal, &2u32.to_ne_bytes()),
            ]
        }
        Step::LeavesBy(link) => {
            let mut name = [0; 16];
            for (to, from) in name.iter_mut().take(15).zip(link.bytes()) {
                *to = from;
            }
            vec![
                expression("meta", &[be32(1, REGISTER_1), be32(2, 7)]),
                compare(Is::Equal, &name),
            ]
        }
        Step::Protocol(number) => vec![
            expression("meta", &[be32(1, REGISTER_1), be32(2, 16)]),
            compare(Is::Equal, &[*number]),
        ],
        Step::DestinationPort(port) => vec![
            expression("payload", &[be32(1, REGISTER_1), be32(2, 2), be32(3, 2), be32(4, 2)]),
            compare(Is::Equal, &port.to_be_bytes()),
        ],
        Step::WasRedirected => vec![
            expression("ct", &[be32(1, REGISTER_1), be32(2, 2)]),
            expression(
                "bitwise",
                &[
                    be32(1, REGISTER_1),
                    be32(2, REGISTER_1),
                    be32(3, 4),
                    value(4, &0x20u32.to_ne_bytes()),
                    value(5, &[0; 4]),
                ],
            ),
            compare(Is::Different, &[0; 4]),
        ],
        Step::RedirectTo(address, port) => vec![
            expression("immediate", &[be32(1, REGISTER_1), value(2, &address.octets())]),
            expression("immediate", &[be32(1, REGISTER_2), value(2, &port.to_be_bytes())]),
            expression(
                "nat",
                &[
                    be32(1, 1),
                    be32(2, u32::from(NFPROTO_IPV4)),
                    be32(3, REGISTER_1),
                    be32(5, REGISTER_2),
                ],
            ),
        ],
        Step::Masquerade => vec![expression("masq", &[])],
        Step::Jump(chain) => {
            let verdict = nested(2, &[be32(1, VERDICT_JUMP), string(2, chain)].concat());
            vec![expression(
                "immediate",
                &[be32(1, REGISTER_VERDICT), nested(2, &verdict)],
            )]
        }
    }
}

/// How a comparison must come out for the rule to go on.
#[derive(Clone, Copy)]
enum Is {
    Equal,
    Different,
}

fn compare(is: Is, bytes: &[u8]) -> Vec<u8> {
    let operator = match is {
        Is::Equal => 0,
        Is::Different => 1,
    };
    expression("cmp", &[be32(1, REGISTER_1), be32(2, operator), value(3, bytes)])
}

fn expression(name: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    [string(1, name), nested(2, &attributes.concat())].concat()
}

fn value(kind: u16, bytes: &[u8]) -> Vec<u8> {
    nested(kind, &attribute(1, bytes))
}

fn be32(kind: u16, number: u32) -> Vec<u8> {
    attribute(kind, &number.to_be_bytes())
}

fn string(kind: u16, text: &str) -> Vec<u8> {
    attribute(kind, &[text.as_bytes(), &[0]].concat())
}

fn nested(kind: u16, body: &[u8]) -> Vec<u8> {
    attribute(kind | NLA_F_NESTED, body)
}

fn attribute(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + body.len()).expect("an attribute holds one rule, a few hundred bytes");
    let mut bytes = Vec::with_capacity(usize::from(length).next_multiple_of(4));
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
