//! The port through which controllers, scheduler and agents see and change a cluster.
//!
//! [`Cluster`] is the port; its adapters are `local` (the registry in this process, nothing serialized) and `remote`
//! (any Kubernetes API server). Above the port: watching kinds without gaps, the driver that turns changes into calls of
//! pure controllers, and the runner that carries their plans out.

pub mod port;

pub use port::{Cluster, EventKind, Listing, Refusal, Selection, Watch, WatchEvent, Written};
