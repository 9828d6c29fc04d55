//! The port through which controllers, scheduler and agents see and change a cluster.
//!
//! [`Cluster`] is the port; its adapters are `local` (the registry in this process, nothing serialized) and `remote`
//! (any Kubernetes API server). Above the port: [`reflect`](mod@reflect) watches kinds without gaps, the
//! [`driver`] turns changes into calls of pure controllers, the [`runner`] carries their plans out, [`events`] tells
//! users, [`metrics`] counts.

pub mod ahead;
mod driver;
pub mod election;
pub mod events;
pub mod fence;
pub mod gate;
pub mod lines;
pub mod local;
pub mod metrics;
pub mod port;
pub mod queue;
mod queue_metrics;
pub mod reflect;
pub mod refusal;
pub mod remote;
pub mod runner;
pub mod schedule;
pub mod shadow;
pub mod timer;

pub use driver::drive;
pub use events::Recorder;
pub use fence::Fence;
pub use lines::Lines;
pub use local::LocalCluster;
pub use metrics::Metrics;
pub use port::{Cluster, EventKind, Listing, Prepared, Refusal, Selection, Watch, WatchEvent, Written};
pub use remote::RemoteCluster;
pub use schedule::schedule;
pub use shadow::ShadowCluster;
