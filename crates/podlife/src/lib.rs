//! The life of one pod on one node, decided without doing anything.
//!
//! Observations and time go in, actions, a status, notes and a wake-up time come out. No clock, no I/O, no randomness: the
//! same inputs in the same order lead to the same life, which is how it is tested.
//!
//! - [`action`]: what goes in and what comes out, as values;
//! - [`life`]: the pod's stages; ties the parts below together;
//! - `sync`: brings the sandbox and the containers up, in order, and starts again what ended;
//! - `termination`: brings them down, in order, within the grace;
//! - [`restart`]: whether a container that ended is started again; [`backoff`]: after how long;
//! - `image`: looks for and fetches a container's image;
//! - `probe`: when a probe is due and what its answers amount to;
//! - `track`: what is known about one container;
//! - `status`, `phase`, `conditions`: what the cluster is told;
//! - [`admission`]: whether a node takes a pod in at all; `sysctls`: which kernel parameters it may set.

pub mod action;
pub mod admission;
pub mod backoff;
mod conditions;
mod image;
pub mod life;
mod phase;
mod probe;
pub mod restart;
mod status;
mod sync;
mod sysctls;
mod termination;
#[cfg(test)]
mod tests;
mod track;

pub use action::{Action, Exit, Input, Note, ProbeKind, ProbeVerdict, Run, Sandbox, StartFailure, Step};
pub use backoff::BackoffLimits;
pub use life::{Life, NodeFacts};
