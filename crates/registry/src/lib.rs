//! An API server without HTTP.
//!
//! [`Registry`] holds the objects of a cluster over a store of bytes, and gives them the behaviour that clients of
//! Kubernetes know: names, uids, revisions, defaults, validation, admission, conflicts, graceful deletion, lists and watches.
//! It knows nothing of HTTP, identities' proofs and permissions: whoever calls it has decided that the caller may.
//!
//! Reading: [`list`], [`watch`], over the [`cache`] and its [`hub`]. Writing: [`write`], over a session of uncommitted
//! changes; [`admission`] inside it. [`bootstrap`] is what every cluster has from the start.

mod admission;
pub mod bootstrap;
mod cache;
pub mod caller;
mod env;
mod fields;
mod hub;
mod key;
mod list;
mod prepared;
mod registry;
mod select;
mod session;
mod settings;
mod view;
mod watch;
mod write;

pub use cache::HistoryLimits;
pub use caller::Caller;
pub use env::Env;
pub use hub::Event;
pub use list::{ListOptions, Listing};
pub use prepared::Prepared;
pub use registry::Registry;
pub use select::Selection;
pub use settings::{ServiceRange, Settings};
pub use view::show;
pub use watch::{Watch, WatchOptions};
pub use write::scale;
pub use write::{Effect, Refused, Written, delete_warnings};
