//! Revisioned, transactional, watchable storage of bytes.
//!
//! Keys and values are opaque here: what an object is, how keys are built and when history may go is the owner's business.
//!
//! - [`port`]: the [`Store`] trait, transactions, commits, errors;
//! - `index`: the current state and a bounded history in memory, shared by the engines;
//! - [`memory`]: the engine that forgets everything with the process;
//! - `check`: finding damage in a database that rests;
//! - [`durable`]: the engine that acknowledges nothing before it is on disk.

mod check;
pub mod durable;
mod index;
pub mod memory;
pub mod port;

pub use durable::{DurableStore, OpenError};
pub use memory::MemoryStore;
pub use port::{
    Attachment, Change, Commit, CommitError, CommitFuture, Compare, FailureFuture, KeyValue, Observer, Op, Page,
    RangeQuery, ReadError, Revision, Store, Txn,
};
