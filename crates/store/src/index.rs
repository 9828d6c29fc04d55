//! The current state and a bounded history, in memory.
//!
//! Every key holds its versions, oldest first; a log holds the commits. Both are cut by compaction, whose cost is that of the
//! history it removes. Durability is not known here: an engine resolves a transaction, makes it durable in its own way, then
//! applies it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::port::{
    Attachment, Change, Commit, CommitError, KeyValue, Observer, Op, Page, RangeQuery, ReadError, Revision, Txn,
};

/// One value a key had; `value` is `None` where the key was removed.
struct Version {
    modified: Revision,
    created: Revision,
    value: Option<Bytes>,
    attachment: Option<Attachment>,
}

/// The state, its history, and who is told of changes.
#[derive(Default)]
pub(crate) struct Index {
    keys: BTreeMap<Bytes, Vec<Version>>,
    log: VecDeque<Commit>,
    revision: Revision,
    oldest: Revision,
    observers: Vec<Arc<dyn Observer>>,
}

/// What commits that are resolved but not yet applied will have done to each key.
#[derive(Default)]
pub(crate) struct Pending(HashMap<Bytes, Last>);

/// How a key stands: at which revisions it was created and last changed; both 0 while it does not exist.
#[derive(Clone, Copy, Default)]
struct Last {
    created: Revision,
    modified: Revision,
}

impl Pending {
    /// Notes what `commit` will do.
    pub(crate) fn add(&mut self, commit: &Commit) {
        for change in &commit.changes {
            let last = match change.value {
                Some(_) => Last {
                    created: change.created,
                    modified: change.revision,
                },
                None => Last::default(),
            };
            self.0.insert(change.key.clone(), last);
        }
    }
}

impl Index {
    /// A state that was kept elsewhere; its past is not known.
    pub(crate) fn restore(revision: Revision, items: impl IntoIterator<Item = KeyValue>) -> Self {
        let keys = items
            .into_iter()
            .map(|item| {
                let version = Version {
                    modified: item.modified,
                    created: item.created,
                    value: Some(item.value),
                    attachment: item.attachment,
                };
                (item.key, vec![version])
            })
            .collect();
        Self {
            keys,
            revision,
            oldest: revision,
            ..Self::default()
        }
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    pub(crate) fn oldest(&self) -> Revision {
        self.oldest
    }

    /// Checks a transaction against the state plus `pending`, and makes it a commit whose changes are numbered from `first`
    /// on. `None`: it changes nothing.
    pub(crate) fn resolve(&self, txn: Txn, pending: &Pending, first: Revision) -> Result<Option<Commit>, CommitError> {
        for compare in &txn.compares {
            let found = self.last(&compare.key, pending).modified;
            if found != compare.modified {
                return Err(CommitError::Compare {
                    key: compare.key.clone(),
                    expected: compare.modified,
                    found,
                });
            }
        }
        let mut changes: Vec<Change> = Vec::with_capacity(txn.ops.len());
        let mut places: HashMap<Bytes, usize> = HashMap::new();
        let many = txn.ops.len() > 1;
        for op in txn.ops {
            // Numbers are given out when it is known what changes.
            let (created, revision) = (self.last(op.key(), pending).created, 0);
            let change = match op {
                Op::Put { key, value, attachment } => Change {
                    key,
                    value: Some(value),
                    created,
                    revision,
                    attachment,
                },
                Op::Delete { key, attachment } => Change {
                    key,
                    value: None,
                    created,
                    revision,
                    attachment,
                },
            };
            match places.get(&change.key) {
                Some(place) => changes[*place] = change,
                None => {
                    if many {
                        places.insert(change.key.clone(), changes.len());
                    }
                    changes.push(change);
                }
            }
        }
        changes.retain(|change| change.value.is_some() || self.last(&change.key, pending).modified > 0);
        for (change, revision) in changes.iter_mut().zip(first..) {
            change.revision = revision;
            if change.created == 0 {
                change.created = revision;
            }
        }
        Ok(changes
            .last()
            .map(|last| last.revision)
            .map(|revision| Commit { revision, changes }))
    }

    /// Makes a resolved commit part of the state and tells the observers.
    pub(crate) fn apply(&mut self, commit: Commit) {
        assert!(
            commit.changes.first().map(|change| change.revision) == Some(self.revision + 1),
            "engines number changes without gaps and apply commits in order"
        );
        self.revision = commit.revision;
        for change in &commit.changes {
            let versions = self
                .keys
                .entry(change.key.clone())
                .or_insert_with(|| Vec::with_capacity(1));
            versions.push(Version {
                modified: change.revision,
                created: change.created,
                value: change.value.clone(),
                attachment: change.attachment.clone(),
            });
        }
        for observer in &self.observers {
            observer.committed(&commit);
        }
        self.log.push_back(commit);
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<KeyValue> {
        let (key, versions) = self.keys.get_key_value(key)?;
        versions.last()?.show(key)
    }

    pub(crate) fn range(&self, query: &RangeQuery) -> Result<Page, ReadError> {
        let at = query.at.unwrap_or(self.revision);
        self.check(at)?;
        let end = match &query.end {
            Some(end) if *end <= query.start => {
                return Ok(Page {
                    items: Vec::new(),
                    remaining: 0,
                    revision: at,
                });
            }
            Some(end) => Bound::Excluded(end.clone()),
            None => Bound::Unbounded,
        };
        let mut found = self
            .keys
            .range((Bound::Included(query.start.clone()), end))
            .filter_map(|(key, versions)| versions.iter().rev().find(|v| v.modified <= at)?.show(key));
        let items: Vec<KeyValue> = found.by_ref().take(query.limit.unwrap_or(usize::MAX)).collect();
        Ok(Page {
            items,
            remaining: found.count(),
            revision: at,
        })
    }

    pub(crate) fn watch(&mut self, from: Revision, observer: Arc<dyn Observer>) -> Result<(), ReadError> {
        self.check(from)?;
        for commit in self.log.iter().filter(|c| c.revision > from) {
            observer.committed(commit);
        }
        self.observers.push(observer);
        Ok(())
    }

    pub(crate) fn compact(&mut self, revision: Revision) {
        let revision = revision.min(self.revision);
        while self.log.front().is_some_and(|commit| commit.revision <= revision) {
            let commit = self.log.pop_front();
            for change in commit.iter().flat_map(|commit| &commit.changes) {
                self.forget(&change.key, revision);
            }
        }
        self.oldest = self.oldest.max(revision);
    }

    /// Drops the versions of a key that no readable revision shows.
    fn forget(&mut self, key: &Bytes, revision: Revision) {
        let Some(versions) = self.keys.get_mut(key) else {
            return;
        };
        let newer = versions.partition_point(|v| v.modified <= revision);
        let Some(last) = newer.checked_sub(1) else { return };
        // A removal is the absence of the key: nothing needs to remember it.
        let keep_from = if versions[last].value.is_some() { last } else { newer };
        if keep_from == versions.len() {
            self.keys.remove(key);
        } else if keep_from > 0 {
            versions.drain(..keep_from);
            versions.shrink_to_fit();
        }
    }

    fn check(&self, revision: Revision) -> Result<(), ReadError> {
        if revision < self.oldest {
            return Err(ReadError::Compacted {
                asked: revision,
                oldest: self.oldest,
            });
        }
        if revision > self.revision {
            return Err(ReadError::Future {
                asked: revision,
                latest: self.revision,
            });
        }
        Ok(())
    }

    fn last(&self, key: &Bytes, pending: &Pending) -> Last {
        if let Some(last) = pending.0.get(key) {
            return *last;
        }
        match self.keys.get(key).and_then(|versions| versions.last()) {
            Some(version) if version.value.is_some() => Last {
                created: version.created,
                modified: version.modified,
            },
            _ => Last::default(),
        }
    }
}

impl Version {
    fn show(&self, key: &Bytes) -> Option<KeyValue> {
        Some(KeyValue {
            key: key.clone(),
            value: self.value.clone()?,
            created: self.created,
            modified: self.modified,
            attachment: self.attachment.clone(),
        })
    }
}
