//! The node agent: pods bound to a node become real or simulated containers.
//!
//! - [`runtime`]: the port to whatever runs containers;
//! - [`node`]: the Node and Lease objects that stand for a node;
//! - [`writer`]: many writes, few commits;
//! - [`simulated`]: nodes that do not exist, any number of them in one task.

pub mod node;
pub mod runtime;
pub mod simulated;
pub mod writer;
