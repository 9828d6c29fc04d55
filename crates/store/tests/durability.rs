//! What survives the end of a process, orderly or not, and which directories are refused.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use rota_store::{DurableStore, KeyValue, Op, OpenError, RangeQuery, Store, Txn};

/// Names the directory that the child process writes to; unset in the parent.
const CHILD_DIRECTORY: &str = "ROTA_STORE_TEST_DIRECTORY";

fn put(key: String, value: Vec<u8>) -> Txn {
    Txn {
        compares: Vec::new(),
        ops: vec![Op::Put {
            key: Bytes::from(key),
            value: Bytes::from(value),
            attachment: None,
        }],
    }
}

fn open(directory: &Path) -> DurableStore {
    DurableStore::open(directory).unwrap()
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening_with_the_same_revisions() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.commit(put("a".into(), b"1".to_vec())).await.unwrap();
    store.commit(put("b".into(), b"2".to_vec())).await.unwrap();
    store.commit(put("a".into(), b"3".to_vec())).await.unwrap();
    drop(store);
    let store = open(directory.path());
    assert_eq!((store.revision(), store.oldest()), (3, 3));
    let a = store.get(b"a").unwrap();
    assert_eq!((&*a.value, a.created, a.modified), (b"3".as_slice(), 1, 3));
    assert_eq!(store.commit(put("c".into(), b"4".to_vec())).await.unwrap(), 4);
}

#[tokio::test]
async fn a_store_that_is_dropped_writes_what_it_has_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let accepted: Vec<_> = (0..100)
        .map(|n| store.commit(put(format!("k{n}"), vec![0; 100])))
        .collect();
    drop(store);
    for commit in accepted {
        commit.await.unwrap();
    }
    assert_eq!(open(directory.path()).revision(), 100);
}

#[test]
fn a_directory_in_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let _store = open(directory.path());
    let error = DurableStore::open(directory.path()).err().unwrap();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
}

#[test]
fn a_directory_of_a_newer_version_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("FORMAT"), "2\n").unwrap();
    let error = DurableStore::open(directory.path()).err().unwrap();
    assert!(error.to_string().contains("has format 2, this version reads up to 1"));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

/// Not a test of its own: the process that `every_acknowledged_write_survives_a_kill` kills. Without the directory in its
/// environment it has nothing to do.
#[tokio::test]
async fn child_that_writes_until_it_is_killed() {
    let Ok(directory) = std::env::var(CHILD_DIRECTORY) else {
        return;
    };
    let store = open(Path::new(&directory));
    for round in store.revision().. {
        let commits = (0..8).map(|n| store.commit(put(format!("r{round}-{n}"), vec![b'x'; 1500])));
        for revision in futures::future::join_all(commits).await {
            eprintln!("acknowledged {}", revision.unwrap());
        }
    }
}

#[test]
fn a_database_that_is_gone_is_not_taken_for_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let file = directory.path().join("store.redb");
    let is_refused = || matches!(DurableStore::open(directory.path()), Err(OpenError::Lost { .. }));
    std::fs::write(&file, b"").unwrap();
    assert!(is_refused(), "it is empty");
    std::fs::remove_file(&file).unwrap();
    assert!(is_refused(), "it is missing");
    assert!(!file.exists(), "nothing is made in its place");
}

#[test]
fn a_database_whose_making_was_cut_off_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("store.new"), b"redb").unwrap();
    drop(open(directory.path()));
    assert_eq!(open(directory.path()).revision(), 0);
}

/// A closed store of a hundred keys, and the bytes of its database.
async fn filled(directory: &Path) -> Vec<u8> {
    let store = open(directory);
    for n in 0..100_u8 {
        store.commit(put(format!("k{n:03}"), vec![n; 700])).await.unwrap();
    }
    drop(store);
    std::fs::read(directory.join("store.redb")).unwrap()
}

#[tokio::test]
async fn a_damaged_value_is_not_served_and_the_refusal_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("store.redb");
    let mut bytes = filled(directory.path()).await;
    let value = bytes.windows(700).rposition(|at| at == [42; 700]).unwrap();
    bytes[value + 350] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    for _ in 0..2 {
        let refused = DurableStore::open(directory.path()).err().unwrap();
        let said = format!(
            "the database {} is damaged, as by a failing disk; nothing was changed: ",
            file.display()
        );
        assert!(refused.to_string().starts_with(&said), "{refused}");
        assert!(std::fs::read(&file).unwrap() == bytes, "it is as it was");
    }
    bytes[value + 350] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    assert_eq!(open(directory.path()).revision(), 100);
}

#[tokio::test]
async fn whatever_byte_of_a_closed_database_rots_it_is_refused_or_serves_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("store.redb");
    let bytes = filled(directory.path()).await;
    let (mut refused, mut served) = (0, 0);
    // Each byte of the header, and one in every page.
    for place in (0..320).chain((320..bytes.len()).step_by(4093)) {
        let mut rotten = bytes.clone();
        rotten[place] ^= 1 << (place % 8);
        std::fs::write(&file, &rotten).unwrap();
        let Ok(store) = DurableStore::open(directory.path()) else {
            refused += 1;
            continue;
        };
        served += 1;
        let kept = store.range(&RangeQuery::default()).unwrap().items;
        let is_right = |(item, n): (&KeyValue, u8)| item.key == format!("k{n:03}") && item.value == vec![n; 700];
        assert!(kept.len() == 100 && kept.iter().zip(0..).all(is_right), "byte {place}");
    }
    assert!(refused > 50 && served > 0, "{refused} refused, {served} served");
}

#[test]
fn every_acknowledged_write_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for lines_before_kill in [1, 40, 333] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_writes_until_it_is_killed", "--nocapture"])
            .env(CHILD_DIRECTORY, directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let told = BufReader::new(child.stderr.take().unwrap());
        for line in told.lines().map_while(Result::ok).take(lines_before_kill) {
            if let Some(revision) = line.strip_prefix("acknowledged ") {
                acknowledged = revision.parse().unwrap();
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let store = open(directory.path());
        assert!(
            store.revision() >= acknowledged,
            "{} < {acknowledged}",
            store.revision()
        );
        // Each commit wrote one key of its own: none is missing, none came twice.
        let kept = store.range(&RangeQuery::default()).unwrap().items;
        assert_eq!(kept.len() as u64, store.revision());
        assert!(kept.iter().all(|item| item.value.len() == 1500));
    }
    assert!(acknowledged > 0);
}
