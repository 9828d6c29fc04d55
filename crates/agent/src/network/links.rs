//! Links, addresses and routes, over a blocking netlink socket.
//!
//! Blocking, because a pod's wiring is done by its shim, which has no async runtime, between two system calls of its
//! own. A socket stays in the network namespace it was opened in: the shim opens one before it leaves the node's.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::Prefix;

/// Index of `lo` in every network namespace.
const LOOPBACK_INDEX: u32 = 1;
/// Name of a pod's link.
const POD_LINK: &str = "eth0";

/// A netlink socket of one network namespace.
pub(crate) struct Links {
    socket: Socket,
}

impl Links {
    /// Opens a socket in the caller's network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket })
    }

    /// Makes the node's bridge where it is missing; returns its index.
    pub(crate) fn ensure_bridge(&self, name: &str, prefix: Prefix) -> io::Result<u32> {
        let mut link = LinkMessage::default();
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        link.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            // A fixed address: left to itself a bridge takes the lowest of its ports', and changes with them.
            LinkAttribute::Address(hardware_address(prefix.gateway())),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        ];
        let created = self.request([(NLM_F_CREATE | NLM_F_EXCL, RouteNetlinkMessage::NewLink(link))]);
        ignore(created, libc::EEXIST)?;
        let index = link_index(name)?;
        self.request([
            (
                NLM_F_CREATE | NLM_F_REPLACE,
                RouteNetlinkMessage::NewAddress(address(index, prefix.gateway(), prefix.len)),
            ),
            (0, RouteNetlinkMessage::SetLink(up(index))),
        ])?;
        Ok(index)
    }

    /// Makes the pair of links between the bridge and the network namespace of process `pid`; the node's end is up.
    pub(crate) fn connect_pod(&self, host_link: &str, bridge_index: u32, pod: Ipv4Addr, pid: u32) -> io::Result<()> {
        let mut peer = LinkMessage::default();
        peer.attributes = vec![
            LinkAttribute::IfName(POD_LINK.to_owned()),
            LinkAttribute::NetNsPid(pid),
            // Derived from the address, so that a neighbour's memory of the address's last holder is not wrong for long.
            LinkAttribute::Address(hardware_address(pod)),
        ];
        let mut link = LinkMessage::default();
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        link.attributes = vec![
            LinkAttribute::IfName(host_link.to_owned()),
            LinkAttribute::Controller(bridge_index),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        self.request([(NLM_F_CREATE | NLM_F_EXCL, RouteNetlinkMessage::NewLink(link))])
    }

    /// Lets a pod reach itself through a port of the node: its frames may leave the bridge where they came in.
    pub(crate) fn allow_hairpin(&self, host_link: &str) -> io::Result<()> {
        let mut link = LinkMessage::default();
        // By name: this socket stayed in the node's namespace, but the caller, who would look the index up, has left it.
        link.attributes = vec![
            LinkAttribute::IfName(host_link.to_owned()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::PortKind(InfoPortKind::Bridge),
                LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(true)])),
            ]),
        ];
        self.request([(0, RouteNetlinkMessage::NewLink(link))])
    }

    /// Gives the pod of this socket's namespace its loopback, address and default route.
    pub(crate) fn configure_pod(&self, pod: Ipv4Addr, prefix_len: u8, gateway: Ipv4Addr) -> io::Result<()> {
        let link = link_index(POD_LINK)?;
        let mut route = RouteMessage::default();
        route.header.address_family = AddressFamily::Inet;
        route.header.table = 254;
        route.header.protocol = RouteProtocol::Static;
        route.header.scope = RouteScope::Universe;
        route.header.kind = RouteType::Unicast;
        route.attributes = vec![
            RouteAttribute::Gateway(RouteAddress::Inet(gateway)),
            RouteAttribute::Oif(link),
        ];
        self.request([
            (0, RouteNetlinkMessage::SetLink(up(LOOPBACK_INDEX))),
            (
                NLM_F_CREATE | NLM_F_REPLACE,
                RouteNetlinkMessage::NewAddress(address(link, pod, prefix_len)),
            ),
            (0, RouteNetlinkMessage::SetLink(up(link))),
            (NLM_F_CREATE | NLM_F_REPLACE, RouteNetlinkMessage::NewRoute(route)),
        ])
    }

    /// Turns loopback on in this socket's namespace.
    pub(crate) fn raise_loopback(&self) -> io::Result<()> {
        self.request([(0, RouteNetlinkMessage::SetLink(up(LOOPBACK_INDEX)))])
    }

    /// Removes a link; one that is gone is no error.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.attributes = vec![LinkAttribute::IfName(name.to_owned())];
        ignore(self.request([(0, RouteNetlinkMessage::DelLink(link))]), libc::ENODEV)
    }

    /// Sends requests in one message and waits for the kernel's word on each.
    fn request<const N: usize>(&self, requests: [(u16, RouteNetlinkMessage); N]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (sequence, (flags, payload)) in (1u32..).zip(requests) {
            let mut message = NetlinkMessage::from(payload);
            message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
            message.header.sequence_number = sequence;
            message.finalize();
            let start = bytes.len();
            // Netlink messages are aligned to four bytes in a datagram.
            bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(&mut bytes[start..]);
        }
        self.socket.send(&bytes, 0)?;
        let mut outcome = Ok(());
        let mut answered = 0;
        while answered < N {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = &datagram[..];
            while !rest.is_empty() {
                let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
                if let NetlinkPayload::Error(error) = &message.payload {
                    answered += 1;
                    if error.code.is_some() && outcome.is_ok() {
                        outcome = Err(error.to_io());
                    }
                }
                let length = (message.header.length as usize).next_multiple_of(4);
                rest = rest.get(length..).unwrap_or_default();
            }
        }
        outcome
    }
}

fn up(index: u32) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link
}

fn address(index: u32, address: Ipv4Addr, prefix_len: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = prefix_len;
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Address(IpAddr::V4(address)),
        AddressAttribute::Local(IpAddr::V4(address)),
    ];
    message
}

/// A locally administered hardware address that only one IPv4 address has.
fn hardware_address(address: Ipv4Addr) -> Vec<u8> {
    let [a, b, c, d] = address.octets();
    vec![0x02, 0x52, a, b, c, d]
}

fn link_index(name: &str) -> io::Result<u32> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    Ok(rustix::net::netdevice::name_to_index(socket, name)?)
}

fn ignore(result: io::Result<()>, errno: i32) -> io::Result<()> {
    match result {
        Err(e) if e.raw_os_error() == Some(errno) => Ok(()),
        other => other,
    }
}
