//! The port: what a store is, whoever implements it.
//!
//! A store is one ordered map from byte keys to byte values with one counter. Every change of a key gets the next number, its
//! revision. A commit may change many keys: it becomes durable and visible as a whole, and its changes have revisions in a
//! row. So whoever has seen a part of a commit, and is cut off, can go on behind the last change it saw. The past stays
//! readable until the owner compacts it.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

/// The number of a change. A fresh store is at 0; the first change is 1.
pub type Revision = u64;

/// Something the writer hands along with a value and gets back with it, such as the decoded form, so that it need not be
/// decoded again. Lives in memory only: values that were reloaded from disk have none.
pub type Attachment = Arc<dyn Any + Send + Sync>;

/// The outcome of a commit, once it is known.
pub type CommitFuture = Pin<Box<dyn Future<Output = Result<Revision, CommitError>> + Send>>;

/// Resolves once nothing can be written any more, to the reason.
pub type FailureFuture = Pin<Box<dyn Future<Output = Arc<str>> + Send>>;

/// A transaction: changes that are made together if all comparisons hold, or not at all.
#[derive(Debug, Default)]
pub struct Txn {
    /// What must hold.
    pub compares: Vec<Compare>,
    /// What is changed, in order; of several operations on one key the last one counts.
    pub ops: Vec<Op>,
}

/// A condition: the key was last changed at this revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// The key.
    pub key: Bytes,
    /// The revision of its last change; 0: the key does not exist.
    pub modified: Revision,
}

/// One change of one key.
#[derive(Clone)]
pub enum Op {
    /// Sets the key.
    Put {
        /// The key.
        key: Bytes,
        /// The new value.
        value: Bytes,
        /// What the observers and readers of this value get along with it.
        attachment: Option<Attachment>,
    },
    /// Removes the key; nothing happens if it does not exist.
    Delete {
        /// The key.
        key: Bytes,
        /// What the observers get along with the removal, such as the last state in full.
        attachment: Option<Attachment>,
    },
}

impl Op {
    /// The key that is changed.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } => key,
        }
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { key, value, .. } => write!(f, "put {key:?} ({} bytes)", value.len()),
            Self::Delete { key, .. } => write!(f, "delete {key:?}"),
        }
    }
}

/// One value of a key.
#[derive(Clone)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The revision at which the key came to be, the last time it did.
    pub created: Revision,
    /// The revision at which it got this value.
    pub modified: Revision,
    /// What was handed along by the writer.
    pub attachment: Option<Attachment>,
}

impl fmt::Debug for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{} ({} bytes)", self.key, self.modified, self.value.len())
    }
}

/// A commit: everything that changed at once.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The revision of its last change, and so the latest of the store.
    pub revision: Revision,
    /// What changed, each key once, in the order of the transaction and of revision.
    pub changes: Vec<Change>,
}

/// What a commit did to one key.
#[derive(Clone)]
pub struct Change {
    /// The key.
    pub key: Bytes,
    /// The new value; `None`: the key was removed.
    pub value: Option<Bytes>,
    /// The revision at which the key came to be, the last time it did: the change's own if it is this one.
    pub created: Revision,
    /// The revision of this change.
    pub revision: Revision,
    /// What the writer handed along.
    pub attachment: Option<Attachment>,
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "put {:?} ({} bytes)", self.key, value.len()),
            None => write!(f, "delete {:?}", self.key),
        }
    }
}

/// Is told of every commit.
pub trait Observer: Send + Sync {
    /// A commit became part of the state. Called in order of revision, one at a time, before the commit's writer learns of
    /// it: what an observer keeps is never behind an acknowledged write. Must be quick and must not call the store.
    fn committed(&self, commit: &Commit);
}

/// Which keys are read, and when.
#[derive(Clone, Debug, Default)]
pub struct RangeQuery {
    /// The first key.
    pub start: Bytes,
    /// The key behind the last one; `None`: to the end.
    pub end: Option<Bytes>,
    /// At most so many; `None`: all.
    pub limit: Option<usize>,
    /// The state after this change; `None`: as it is now.
    pub at: Option<Revision>,
}

/// What a range read found.
#[derive(Clone, Debug)]
pub struct Page {
    /// The keys and values, in order of key.
    pub items: Vec<KeyValue>,
    /// How many further keys the range holds beyond the limit.
    pub remaining: usize,
    /// The revision that was read.
    pub revision: Revision,
}

/// A transaction was not made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// A comparison does not hold. The state that made it fail is readable and was shown to observers.
    #[error("key {key:?} was last changed at revision {found}, not {expected}")]
    Compare {
        /// The key.
        key: Bytes,
        /// The revision asked for.
        expected: Revision,
        /// The revision found; 0: absent.
        found: Revision,
    },
    /// The store failed before and takes no more writes, or fails now; whether this transaction is on disk is unknown.
    /// Restart the server: it comes back with exactly what is on disk.
    #[error("the store cannot write any more: {0}")]
    Failed(Arc<str>),
}

/// A read was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// That part of the past is no longer kept.
    #[error("revision {asked} has been compacted; the oldest that is kept is {oldest}")]
    Compacted {
        /// The revision asked for.
        asked: Revision,
        /// The oldest revision that can be read.
        oldest: Revision,
    },
    /// That revision has not been committed yet.
    #[error("revision {asked} is ahead of the latest, {latest}")]
    Future {
        /// The revision asked for.
        asked: Revision,
        /// The latest one.
        latest: Revision,
    },
}

/// A store of bytes.
pub trait Store: Send + Sync + 'static {
    /// Makes a transaction. The future need not be polled for it to happen; it resolves, to the revision of the last change,
    /// when the commit is as durable as the engine makes it and every observer was told. A transaction that changes nothing
    /// resolves to the latest revision.
    ///
    /// Errors: a comparison failed, or the engine can no longer write.
    fn commit(&self, txn: Txn) -> CommitFuture;

    /// The latest revision that readers see.
    fn revision(&self) -> Revision;

    /// The oldest revision that can still be read.
    fn oldest(&self) -> Revision;

    /// The value of a key as it is now.
    fn get(&self, key: &[u8]) -> Option<KeyValue>;

    /// The keys and values of a range.
    ///
    /// Errors: the revision asked for is compacted or not yet there.
    fn range(&self, query: &RangeQuery) -> Result<Page, ReadError>;

    /// Tells `observer` of every commit that ends after `from`: those already made before this returns, all others when they
    /// happen.
    ///
    /// Errors: `from` is compacted or not yet there.
    fn watch(&self, from: Revision, observer: Arc<dyn Observer>) -> Result<(), ReadError>;

    /// Forgets what was before `revision`: states from `revision` on stay readable. Nothing happens if it is older than
    /// what was forgotten already, and no more than the whole past is forgotten if it is newer than the latest.
    fn compact(&self, revision: Revision);

    /// Why nothing can be written any more; `None` as long as it can. What was written stays readable. An engine that cannot
    /// fail has nothing to say.
    fn failure(&self) -> Option<Arc<str>> {
        None
    }

    /// Waits until nothing can be written any more, and says why; forever with an engine that cannot fail.
    fn failed(&self) -> FailureFuture {
        Box::pin(std::future::pending())
    }
}
