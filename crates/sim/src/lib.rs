//! A cluster in one thread with a clock of its own, for tests of controllers. Never shipped.
//!
//! ```text
//! let mut cluster = Cluster::new(vec![Box::new(JobController::default())], "2026-01-01T00:00:00Z");
//! cluster.create(resource::JOBS, json!({…}))?;      // as a user would
//! cluster.settle(2.5);                               // run controllers until nothing has changed for 2.5 s
//! cluster.api.get(resource::JOBS, "d", "j");         // look
//! ```
//!
//! - [`api`]: objects and what a server does to them: names, uids, defaults, graceful deletion, finalizers, garbage;
//! - [`cluster`]: controllers over such a server: queues, timers, plans carried out as one transaction or write by write,
//!   with a crash at any place;
//! - [`record`]: what a watch of everything has shown;
//! - [`replay`]: recorded scenarios, played against such a cluster, or against a server, and compared with what an
//!   upstream control plane did.

pub mod api;
pub mod cluster;
pub mod record;
pub mod replay;

pub use api::Api;
pub use cluster::{Cluster, Manner, Mode};
pub use record::Record;
