//! The engine that forgets everything with the process: for tests, simulations and clusters of one run.

use std::future::ready;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::index::{Index, Pending};
use crate::port::{CommitError, CommitFuture, KeyValue, Observer, Page, RangeQuery, ReadError, Revision, Store, Txn};

/// A store in memory. Its commits are done when [`Store::commit`] returns, so it needs no runtime and no thread.
#[derive(Default)]
pub struct MemoryStore {
    index: RwLock<Index>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit_now(&self, txn: Txn) -> Result<Revision, CommitError> {
        let mut index = self.write();
        let next = index.revision() + 1;
        if let Some(commit) = index.resolve(txn, &Pending::default(), next)? {
            index.apply(commit);
        }
        Ok(index.revision())
    }
}

impl Store for MemoryStore {
    fn commit(&self, txn: Txn) -> CommitFuture {
        Box::pin(ready(self.commit_now(txn)))
    }

    fn revision(&self) -> Revision {
        self.read().revision()
    }

    fn oldest(&self) -> Revision {
        self.read().oldest()
    }

    fn get(&self, key: &[u8]) -> Option<KeyValue> {
        self.read().get(key)
    }

    fn range(&self, query: &RangeQuery) -> Result<Page, ReadError> {
        self.read().range(query)
    }

    fn watch(&self, from: Revision, observer: Arc<dyn Observer>) -> Result<(), ReadError> {
        self.write().watch(from, observer)
    }

    fn compact(&self, revision: Revision) {
        self.write().compact(revision);
    }
}
