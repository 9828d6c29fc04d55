//! What every engine promises, checked on each of them.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rota_store::{
    Commit, CommitError, Compare, DurableStore, MemoryStore, Observer, Op, RangeQuery, ReadError, Revision, Store, Txn,
};

/// A store to check, with what must outlive it.
struct Subject {
    store: Arc<dyn Store>,
    _directory: Option<tempfile::TempDir>,
}

fn memory() -> Subject {
    Subject {
        store: Arc::new(MemoryStore::new()),
        _directory: None,
    }
}

fn durable() -> Subject {
    let directory = tempfile::tempdir().unwrap();
    Subject {
        store: Arc::new(DurableStore::open(directory.path()).unwrap()),
        _directory: Some(directory),
    }
}

/// One test per engine for each law.
macro_rules! laws {
    ($($law:ident)*) => {
        mod on_memory { $(#[tokio::test] async fn $law() { super::$law(super::memory()).await; })* }
        mod on_disk { $(#[tokio::test] async fn $law() { super::$law(super::durable()).await; })* }
    };
}

laws! {
    the_changes_of_a_commit_have_revisions_in_a_row
    a_commit_that_changes_nothing_has_no_revision
    a_failed_comparison_changes_nothing
    a_comparison_with_zero_means_absent
    the_past_is_readable_until_it_is_compacted
    a_range_is_ordered_limited_and_counted
    a_removed_key_begins_anew
    observers_see_every_commit_in_order_before_its_writer_does
    an_observer_that_comes_late_is_told_what_it_missed
    of_many_writers_who_compare_exactly_one_wins_each_round
}

fn put(key: &str, value: &str) -> Op {
    Op::Put {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        attachment: None,
    }
}

fn delete(key: &str) -> Op {
    Op::Delete {
        key: Bytes::copy_from_slice(key.as_bytes()),
        attachment: None,
    }
}

fn compare(key: &str, modified: Revision) -> Compare {
    Compare {
        key: Bytes::copy_from_slice(key.as_bytes()),
        modified,
    }
}

async fn commit(store: &Arc<dyn Store>, ops: impl Into<Vec<Op>>) -> Revision {
    let txn = Txn {
        compares: Vec::new(),
        ops: ops.into(),
    };
    store.commit(txn).await.unwrap()
}

async fn commit_if(store: &Arc<dyn Store>, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Revision, CommitError> {
    store.commit(Txn { compares, ops }).await
}

/// The keys and values at a revision, as `key=value`.
fn at(store: &Arc<dyn Store>, at: Option<Revision>) -> Result<Vec<String>, ReadError> {
    let query = RangeQuery {
        at,
        ..RangeQuery::default()
    };
    let page = store.range(&query)?;
    let show = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    Ok(page
        .items
        .iter()
        .map(|item| format!("{}={}", show(&item.key), show(&item.value)))
        .collect())
}

async fn the_changes_of_a_commit_have_revisions_in_a_row(subject: Subject) {
    let store = subject.store;
    assert_eq!(commit(&store, [put("a", "1"), put("b", "2")]).await, 2);
    assert_eq!(commit(&store, [put("a", "3"), delete("b"), put("c", "4")]).await, 5);
    assert_eq!(at(&store, None).unwrap(), ["a=3", "c=4"]);
    let a = store.get(b"a").unwrap();
    assert_eq!((a.created, a.modified), (1, 3));
    let c = store.get(b"c").unwrap();
    assert_eq!((c.created, c.modified), (5, 5));
    assert_eq!(at(&store, Some(4)).unwrap(), ["a=3"]);
}

async fn a_commit_that_changes_nothing_has_no_revision(subject: Subject) {
    let store = subject.store;
    assert_eq!(commit(&store, [put("a", "1")]).await, 1);
    assert_eq!(commit(&store, []).await, 1);
    assert_eq!(commit(&store, [delete("missing")]).await, 1);
    assert_eq!(store.revision(), 1);
}

async fn a_failed_comparison_changes_nothing(subject: Subject) {
    let store = subject.store;
    commit(&store, [put("a", "1")]).await;
    commit(&store, [put("a", "2")]).await;
    let error = commit_if(&store, vec![compare("a", 1)], vec![put("a", "3"), put("b", "3")])
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        CommitError::Compare {
            expected: 1,
            found: 2,
            ..
        }
    ));
    assert_eq!(at(&store, None).unwrap(), ["a=2"]);
    assert_eq!(store.revision(), 2);
}

async fn a_comparison_with_zero_means_absent(subject: Subject) {
    let store = subject.store;
    commit_if(&store, vec![compare("a", 0)], vec![put("a", "1")])
        .await
        .unwrap();
    commit_if(&store, vec![compare("a", 0)], vec![put("a", "2")])
        .await
        .unwrap_err();
    commit(&store, [delete("a")]).await;
    commit_if(&store, vec![compare("a", 0)], vec![put("a", "3")])
        .await
        .unwrap();
    assert_eq!(at(&store, None).unwrap(), ["a=3"]);
}

async fn the_past_is_readable_until_it_is_compacted(subject: Subject) {
    let store = subject.store;
    commit(&store, [put("a", "1"), put("b", "1")]).await;
    commit(&store, [put("a", "2")]).await;
    commit(&store, [delete("a")]).await;
    assert_eq!(at(&store, Some(2)).unwrap(), ["a=1", "b=1"]);
    assert_eq!(at(&store, Some(3)).unwrap(), ["a=2", "b=1"]);
    assert_eq!(at(&store, Some(4)).unwrap(), ["b=1"]);
    assert_eq!(at(&store, Some(5)), Err(ReadError::Future { asked: 5, latest: 4 }));
    store.compact(3);
    assert_eq!(at(&store, Some(2)), Err(ReadError::Compacted { asked: 2, oldest: 3 }));
    assert_eq!(at(&store, Some(3)).unwrap(), ["a=2", "b=1"]);
    store.compact(100);
    assert_eq!(store.oldest(), 4);
    assert_eq!(at(&store, None).unwrap(), ["b=1"]);
}

async fn a_range_is_ordered_limited_and_counted(subject: Subject) {
    let store = subject.store;
    commit(
        &store,
        [put("b", "1"), put("a/x", "1"), put("a-b/x", "1"), put("a/y", "1")],
    )
    .await;
    let page = store
        .range(&RangeQuery {
            start: Bytes::from("a"),
            end: Some(Bytes::from("b")),
            limit: Some(2),
            at: None,
        })
        .unwrap();
    let keys: Vec<&[u8]> = page.items.iter().map(|item| &*item.key).collect();
    assert_eq!(keys, [b"a-b/x".as_slice(), b"a/x"]);
    assert_eq!((page.remaining, page.revision), (1, store.revision()));
}

async fn a_removed_key_begins_anew(subject: Subject) {
    let store = subject.store;
    commit(&store, [put("a", "1")]).await;
    commit(&store, [delete("a")]).await;
    commit(&store, [put("a", "2")]).await;
    let a = store.get(b"a").unwrap();
    assert_eq!((a.created, a.modified), (3, 3));
}

/// Writes down every commit it is told of.
#[derive(Default)]
struct Log(Mutex<Vec<(Revision, usize)>>);

impl Observer for Log {
    fn committed(&self, commit: &Commit) {
        self.0.lock().unwrap().push((commit.revision, commit.changes.len()));
    }
}

async fn observers_see_every_commit_in_order_before_its_writer_does(subject: Subject) {
    let store = subject.store;
    let log = Arc::new(Log::default());
    store.watch(0, Arc::clone(&log) as _).unwrap();
    for round in 1..=5 {
        let revision = commit(&store, [put("a", "1"), put(&round.to_string(), "1")]).await;
        assert_eq!(log.0.lock().unwrap().last(), Some(&(revision, 2)));
    }
    let revisions: Vec<Revision> = log.0.lock().unwrap().iter().map(|(revision, _)| *revision).collect();
    assert_eq!(revisions, [2, 4, 6, 8, 10]);
}

async fn an_observer_that_comes_late_is_told_what_it_missed(subject: Subject) {
    let store = subject.store;
    for _ in 0..3 {
        commit(&store, [put("a", "1")]).await;
    }
    let log = Arc::new(Log::default());
    store.watch(1, Arc::clone(&log) as _).unwrap();
    assert_eq!(*log.0.lock().unwrap(), [(2, 1), (3, 1)]);
    store.compact(3);
    assert!(matches!(store.watch(1, log), Err(ReadError::Compacted { .. })));
}

async fn of_many_writers_who_compare_exactly_one_wins_each_round(subject: Subject) {
    let store = subject.store;
    commit(&store, [put("a", "0")]).await;
    for _ in 0..5 {
        let seen = store.get(b"a").unwrap().modified;
        let attempts: Vec<_> = (0..20)
            .map(|n| {
                store.commit(Txn {
                    compares: vec![compare("a", seen)],
                    ops: vec![put("a", &n.to_string())],
                })
            })
            .collect();
        let results = futures::future::join_all(attempts).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    }
    assert_eq!(store.revision(), 6);
}
