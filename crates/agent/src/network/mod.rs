//! The network of a node's pods: a bridge, an address per pod, the way out and the ports that lead in.
//!
//! One node has one IPv4 prefix and one bridge that owns the first address of it. Several nodes may share a machine:
//! what they make in the kernel carries the node's tag in its name. A pod's wiring is made by its shim, in one pass
//! ([`Links::connect_pod`], [`Links::configure_pod`]); the rest is made here.

mod addresses;
mod links;
mod nat;
mod nfnetlink;

pub(crate) use addresses::{Addresses, Prefix};
pub(crate) use links::Links;
pub(crate) use nat::{ForwardedPort, Nat};
