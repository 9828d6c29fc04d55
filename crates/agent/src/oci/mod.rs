//! The embedded container runtime: containers of this kernel, made by libcontainer, held by shims.
//!
//! [`OciRuntime`] implements the [`crate::runtime::Runtime`] port. It keeps no state of its own that matters: what runs
//! is in the shims, what ran is in the records on disk, so ending this process at any moment loses nothing and touches
//! no container. See [`shim`] for the processes and `record` for the files.

mod cgroup;
mod cleanup;
mod client;
mod protocol;
mod record;
mod runtime;
pub mod shim;
mod streams;
mod zygote;

pub use cleanup::{Removed, cleanup};
pub(crate) use protocol::RootSource;
pub(crate) use record::{Durability, hex, images_in_use, write_record};
pub use runtime::{OciConfig, OciRuntime};
