//! The node agent: pods bound to a node become real or simulated containers.
//!
//! - [`runtime`]: the port to whatever runs containers;
//! - [`node`]: the Node and Lease objects that stand for a node;
//! - [`oci`]: containers of this kernel, with the [`image`]s and the network they need;
//! - [`writer`]: many writes, few commits;
//! - [`simulated`]: nodes that do not exist, any number of them in one task.

pub mod image;
mod network;
pub mod node;
pub mod oci;
pub mod runtime;
pub mod simulated;
pub mod writer;
