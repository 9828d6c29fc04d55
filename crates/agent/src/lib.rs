//! The node agent: pods bound to a node become real or simulated containers.

pub mod runtime;
