//! Controllers as pure functions from what is seen to a plan.
//!
//! Nothing in this crate waits, reads a clock, opens a file or talks to a server. A controller looks at a [`World`] (an
//! indexed picture of the cluster), is told what time it is, and returns a [`Plan`]: ordered writes with preconditions,
//! a wake-up time, and notes for people. Who carries the plan out (in process as one transaction, or request by request
//! against a foreign cluster) is not known here.
//!
//! Shared by all controllers: [`plan`], [`world`], [`controller`], [`metric`]. Then one module per controller.

mod conditions;
pub mod controller;
pub mod cronjob;
pub mod csr_cleaner;
pub mod daemonset;
pub mod disruption;
pub mod event_ttl;
pub mod garbage;
pub mod job;
mod json;
pub mod metric;
pub mod namespace;
pub mod namespace_objects;
pub mod node_lifecycle;
mod ownership;
pub mod plan;
pub mod pod_gc;
pub mod quota;
pub mod replicaset;
pub mod role_aggregation;
pub mod storage_protection;
pub mod taint_eviction;
pub mod ttl;
pub mod world;

pub use controller::{Controller, Index, Key, Settle};
pub use plan::{Action, IfRefused, Note, NoteKind, Plan, Wake};
pub use world::{World, WorldChange};
