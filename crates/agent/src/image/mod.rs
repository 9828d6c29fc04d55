//! Images on this machine: unpacked once per layer, shared read-only by every container of every node.
//!
//! [`Store`] is the way in: [`Store::import`] takes archives, [`Store::pull`] asks a registry, [`Store::get`] resolves a
//! name to what a container's root is made of. [`build`] makes images from files, for tests and first steps.

mod archive;
pub mod build;
mod host;
mod layer;
mod reference;
mod registry;
mod store;

pub use archive::ArchiveError;
pub use layer::LayerError;
pub use reference::{BadReference, normalize};
pub use registry::PullError;
pub use store::{Store, StoredImage};
