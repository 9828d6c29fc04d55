//! The scheduler: which pod goes to which node, as pure code.
//!
//! A [`Scheduler`] is told what happens to nodes and pods and answers with [`Decision`]s. It never waits, reads no clock
//! and sends nothing: whoever drives it posts the bindings, writes the conditions and brings the time and the randomness.
//!
//! The parts, in the order a pod meets them:
//!
//! - [`scheduler`]: the incremental view and the decision;
//! - `queue`: pods that wait, grouped so that alike pods are tried and refused together;
//! - `class`: what alike pods share: requests, ports, tolerations, affinity;
//! - `filter`: the nodes a pod can go to, and why not the others;
//! - `score`: the best of them;
//! - `node`, `resources`, `ports`: what a node offers and what is taken;
//! - [`decision`]: what comes out, with the words users read.

pub mod decision;
pub mod scheduler;

mod class;
mod filter;
mod node;
mod ports;
mod queue;
mod resources;
mod score;

pub use decision::{Decision, PodName};
pub use scheduler::{DEFAULT_SCHEDULER, Scheduler};
