//! Recorded scenarios, played against a simulated cluster or a server and compared with what an upstream control plane did.
//!
//! - [`stage`]: where a scenario is played: a simulated cluster, or ([`server`]) a server in real time;
//! - [`script`]: the steps: a user, and the pods' node agent;
//! - [`minutes`]: names and times that say in which minute something happened;
//! - [`picture`]: what is compared: the objects without whatever differs between two runs of the same thing;
//! - [`recordings`]: the files; [`suite`]: all recordings of one subject;
//! - [`outcome`]: how many agree, and what of it is a surprise.
//!
//! The form of the recordings is told in `tests/data/README.md`.

pub mod minutes;
pub mod outcome;
pub mod picture;
pub mod recordings;
pub mod script;
pub mod server;
pub mod stage;
pub mod suite;

pub use outcome::{Outcome, Played};
pub use script::{replay, replay_on};
pub use stage::{Pace, Simulated, Stage};
pub use suite::Suite;
