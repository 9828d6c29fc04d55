//! Recorded scenarios, played against a simulated cluster and compared with what an upstream control plane did.
//!
//! - [`script`]: the steps: a user, and the pods' node agent;
//! - [`minutes`]: names and times that say in which minute something happened;
//! - [`picture`]: what is compared: the objects without whatever differs between two runs of the same thing;
//! - [`suite`]: all recordings of one subject.
//!
//! The form of the recordings is told in `tests/data/README.md`.

pub mod minutes;
pub mod picture;
pub mod script;
pub mod suite;

pub use script::{Pace, replay};
pub use suite::Suite;
