//! The controllers alone: `rota controllers` against a `rota up` that runs none of them itself.
//!
//! Simulated nodes, so that many pods come and go in little time. One file for each promise.

mod bad_input;
mod bad_network;
mod credentials;
mod failover;
mod manifests;
mod shadow;
mod takeover;
mod traffic;
mod words;
