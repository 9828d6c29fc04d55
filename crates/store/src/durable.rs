//! The engine that acknowledges nothing before it is on disk, over redb.
//!
//! One thread writes. It takes all transactions that wait, checks each in order against the state and those before it, puts
//! what passes into one redb transaction, syncs once, and only then makes the commits visible and answers, in order of
//! revision. So many writers share one sync, and a reader never sees what a crash could take back.
//!
//! On disk is the present state and the latest revision; the past lives in memory, so that after a restart it begins with the
//! revision the store came back at.
//!
//! When the machine dies before the sync, nothing of the batch happened and nobody was told that it did; after it, all of it
//! happened, whether or not anybody was told. When writing fails, the store takes no more writes: what is on disk is then
//! known only to the disk, and a restart finds out. Every opening looks for damage first (`check`): a value that is not as it was
//! written is not served.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;

use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use tokio::sync::{oneshot, watch};

use crate::check;
use crate::index::{Index, Pending};
use crate::port::{
    Commit, CommitError, CommitFuture, FailureFuture, KeyValue, Observer, Op, Page, RangeQuery, ReadError, Revision,
    Store, Txn,
};

/// The format this version writes, and the newest it reads.
const FORMAT: u32 = 1;
const FORMAT_FILE: &str = "FORMAT";
const DATABASE_FILE: &str = "store.redb";
/// Pages that redb keeps in memory. Small: the whole state is in memory already.
const PAGE_CACHE_BYTES: usize = 8 << 20;
/// So many transactions at most share one sync.
const BATCH_TXNS_MAX: usize = 1024;
/// A batch takes no further transaction once it holds so much.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// Key to (created, modified, value).
const OBJECTS: TableDefinition<'_, &[u8], (u64, u64, &[u8])> = TableDefinition::new("objects");
const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");
const REVISION: &str = "revision";
/// What is said of a store whose writer is gone without having said why.
const WRITER_ENDED: &str = "its writer has ended";

/// A data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made, read or written.
    #[error("the data directory {path} cannot be used")]
    Directory {
        /// The path in question.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process has it open.
    #[error("the data directory {path} is in use by another process; stop it first")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// It was written by a newer version.
    #[error(
        "the data directory {path} has format {found}, this version reads up to {FORMAT}; use the version that wrote it"
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// The format found.
        found: String,
    },
    /// There was a database, and it is gone.
    #[error(
        "the database {path} is missing or empty, although there was one: restore it, or delete the whole data directory to begin anew"
    )]
    Lost {
        /// The file that should be there.
        path: PathBuf,
    },
    /// Not every byte of the database is as it was written.
    #[error(
        "the database {path} is damaged, as by a failing disk; nothing was changed: restore it from a copy, or delete the whole data directory to begin anew"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The database cannot be read.
    #[error("the database in {path} cannot be read")]
    Database {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<redb::Error>,
    },
}

/// A store in a directory.
pub struct DurableStore {
    index: Arc<RwLock<Index>>,
    /// The way to the writer; `None` while the store is being dropped.
    requests: Mutex<Option<Sender<Request>>>,
    writer: Option<JoinHandle<()>>,
    /// Set once, by the writer, when it cannot write any more.
    failure: watch::Receiver<Option<Arc<str>>>,
}

type Outcome = Result<Revision, CommitError>;

struct Request {
    txn: Txn,
    answer: oneshot::Sender<Outcome>,
}

impl DurableStore {
    /// True for a directory in which there was a store before.
    pub fn was_in(directory: impl AsRef<Path>) -> bool {
        directory.as_ref().join(FORMAT_FILE).exists()
    }

    /// Opens the store in `directory`, which is made if it does not exist.
    ///
    /// Errors: the directory cannot be used, is in use, was written by a newer version, or its database is lost or damaged.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, OpenError> {
        let directory = directory.as_ref();
        let is_new = prepare(directory)?;
        let file = directory.join(DATABASE_FILE);
        if !is_new && fs::metadata(&file).map_or(0, |file| file.len()) == 0 {
            return Err(OpenError::Lost { path: file });
        }
        let damaged = || OpenError::Damaged { path: file.clone() };
        // Damage of a page can make the database panic where it should refuse.
        let opened = catch_unwind(AssertUnwindSafe(|| Self::open_database(directory, &file)));
        let (database, index) = opened.unwrap_or_else(|_| Err(damaged()))?;
        let unusable = |source| OpenError::Directory {
            path: directory.to_owned(),
            source,
        };
        if is_new {
            write_stamp(directory, &directory.join(FORMAT_FILE)).map_err(unusable)?;
        }
        Self::start(database, index).map_err(unusable)
    }

    fn open_database(directory: &Path, file: &Path) -> Result<(Database, Index), OpenError> {
        let failed = |error: redb::Error| match error {
            redb::Error::DatabaseAlreadyOpen => OpenError::InUse {
                path: directory.to_owned(),
            },
            redb::Error::Corrupted(_) => OpenError::Damaged { path: file.to_owned() },
            other => OpenError::Database {
                path: directory.to_owned(),
                source: Box::new(other),
            },
        };
        let is_there = fs::metadata(file).is_ok_and(|file| file.len() > 0);
        if is_there && !check::is_sound(file).map_err(|error| failed(error.into()))? {
            return Err(OpenError::Damaged { path: file.to_owned() });
        }
        // A database is made beside its place and moved there whole: one that a crash left half made would be taken for damaged.
        let made = match is_there {
            true => file.to_owned(),
            false => file.with_extension("new"),
        };
        if !is_there && made.exists() {
            fs::remove_file(&made).map_err(|source| OpenError::Directory {
                path: made.clone(),
                source,
            })?;
        }
        let database = Database::builder().set_cache_size(PAGE_CACHE_BYTES).create(&made);
        let database = database.map_err(|error| failed(error.into()))?;
        let index = load(&database).map_err(failed)?;
        if !is_there {
            fs::rename(&made, file).map_err(|source| OpenError::Directory { path: made, source })?;
        }
        Ok((database, index))
    }

    /// Starts the writer of a database whose state was loaded.
    fn start(database: Database, index: Index) -> io::Result<Self> {
        let index = Arc::new(RwLock::new(index));
        let (requests, waiting) = channel();
        let (failed, failure) = watch::channel(None);
        let writer = Writer {
            database,
            index: Arc::clone(&index),
            failure: failed,
        };
        let writer = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run(&waiting))?;
        Ok(Self {
            index,
            requests: Mutex::new(Some(requests)),
            writer: Some(writer),
            failure,
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for DurableStore {
    fn commit(&self, txn: Txn) -> CommitFuture {
        let (answer, answered) = oneshot::channel();
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(requests) = &*requests {
            // A writer that is gone drops the answer, which is reported below.
            let _ = requests.send(Request { txn, answer });
        }
        drop(requests);
        Box::pin(async move {
            match answered.await {
                Ok(result) => result,
                Err(_) => Err(CommitError::Failed(WRITER_ENDED.into())),
            }
        })
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

    fn failure(&self) -> Option<Arc<str>> {
        self.failure.borrow().clone()
    }

    fn failed(&self) -> FailureFuture {
        let mut failure = self.failure.clone();
        Box::pin(async move {
            match failure.wait_for(Option::is_some).await.as_deref() {
                Ok(Some(why)) => Arc::clone(why),
                // The store was dropped, or its writer has ended; only the latter can be seen from here.
                _ => WRITER_ENDED.into(),
            }
        })
    }
}

/// Waits for the writer to finish what it has accepted, then closes the database.
impl Drop for DurableStore {
    fn drop(&mut self) {
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer ended by a panic");
        }
    }
}

struct Writer {
    database: Database,
    index: Arc<RwLock<Index>>,
    /// Why nothing can be written any more.
    failure: watch::Sender<Option<Arc<str>>>,
}

/// The outcome of each transaction of a batch before the sync, in order.
#[derive(Default)]
struct Batch {
    /// The commits to make visible.
    commits: Vec<Commit>,
    /// To whom to answer, and what if the sync succeeds.
    answers: Vec<(oneshot::Sender<Outcome>, Outcome)>,
}

impl Writer {
    fn run(&self, waiting: &Receiver<Request>) {
        while let Ok(first) = waiting.recv() {
            let mut requests = vec![first];
            let mut bytes = size(&requests[0].txn);
            while requests.len() < BATCH_TXNS_MAX && bytes < BATCH_BYTES_MAX {
                let Ok(next) = waiting.try_recv() else { break };
                bytes += size(&next.txn);
                requests.push(next);
            }
            self.write(requests);
        }
    }

    fn write(&self, requests: Vec<Request>) {
        let batch = self.resolve(requests);
        let mut failure = self.failure.borrow().clone();
        if failure.is_none()
            && !batch.commits.is_empty()
            && let Err(error) = self.sync(&batch.commits)
        {
            tracing::error!(%error, "the store cannot write any more");
            failure = Some(error.to_string().into());
        }
        if let Some(failure) = failure {
            for (answer, _) in batch.answers {
                // Nobody waits for an answer that cannot be delivered.
                let _ = answer.send(Err(CommitError::Failed(Arc::clone(&failure))));
            }
            // Told after the answers: whoever ends the process because of it should find them on their way.
            self.failure.send_replace(Some(failure));
            return;
        }
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        for commit in batch.commits {
            index.apply(commit);
        }
        drop(index);
        for (answer, result) in batch.answers {
            let _ = answer.send(result);
        }
    }

    /// Checks each transaction against the state and what those before it in the batch will have done.
    fn resolve(&self, requests: Vec<Request>) -> Batch {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let mut batch = Batch::default();
        let mut pending = Pending::default();
        let mut revision = index.revision();
        for Request { txn, answer } in requests {
            let result = match index.resolve(txn, &pending, revision + 1) {
                Ok(None) => Ok(revision),
                Ok(Some(commit)) => {
                    revision = commit.revision;
                    pending.add(&commit);
                    batch.commits.push(commit);
                    Ok(revision)
                }
                Err(error) => Err(error),
            };
            batch.answers.push((answer, result));
        }
        batch
    }

    /// Puts the commits on disk, all or none.
    fn sync(&self, commits: &[Commit]) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut objects = transaction.open_table(OBJECTS)?;
            for commit in commits {
                for change in &commit.changes {
                    match &change.value {
                        Some(value) => {
                            objects.insert(&*change.key, (change.created, change.revision, &**value))?;
                        }
                        None => {
                            objects.remove(&*change.key)?;
                        }
                    }
                }
            }
            let mut counters = transaction.open_table(COUNTERS)?;
            if let Some(last) = commits.last() {
                counters.insert(REVISION, last.revision)?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

/// Makes the directory, or checks that this version may use it. True when there never was a database in it: the stamp is written
/// once the first one is there.
fn prepare(directory: &Path) -> Result<bool, OpenError> {
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Directory { path, source }
    };
    fs::create_dir_all(directory).map_err(unusable(directory))?;
    let stamp = directory.join(FORMAT_FILE);
    match fs::read_to_string(&stamp) {
        Ok(found) => match found.trim().parse::<u32>() {
            Ok(format) if format <= FORMAT => Ok(false),
            _ => Err(OpenError::Newer {
                path: directory.to_owned(),
                found: found.trim().to_owned(),
            }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(unusable(&stamp)(error)),
    }
}

/// Writes the stamp beside its place and moves it there, so that a crash leaves either no stamp or a whole one.
fn write_stamp(directory: &Path, stamp: &Path) -> io::Result<()> {
    let draft = stamp.with_extension("new");
    let mut file = File::create(&draft)?;
    writeln!(file, "{FORMAT}")?;
    file.sync_all()?;
    fs::rename(&draft, stamp)?;
    File::open(directory)?.sync_all()
}

fn load(database: &Database) -> Result<Index, redb::Error> {
    if let Err(TableError::TableDoesNotExist(_)) = database.begin_read()?.open_table(COUNTERS) {
        // A new one. Only then, as a disk that is full can still be read from.
        let transaction = database.begin_write()?;
        transaction.open_table(OBJECTS)?;
        transaction.open_table(COUNTERS)?;
        transaction.commit()?;
    }
    let transaction = database.begin_read()?;
    let revision = transaction
        .open_table(COUNTERS)?
        .get(REVISION)?
        .map_or(0, |revision| revision.value());
    let mut items = Vec::new();
    for entry in transaction.open_table(OBJECTS)?.iter()? {
        let (key, value) = entry?;
        let (created, modified, value) = value.value();
        items.push(KeyValue {
            key: Bytes::copy_from_slice(key.value()),
            value: Bytes::copy_from_slice(value),
            created,
            modified,
            attachment: None,
        });
    }
    Ok(Index::restore(revision, items))
}

fn size(txn: &Txn) -> usize {
    txn.ops
        .iter()
        .map(|op| match op {
            Op::Put { value, .. } => value.len(),
            Op::Delete { .. } => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use redb::StorageBackend;
    use redb::backends::InMemoryBackend;

    use super::*;

    /// A disk that can become full, and outlives the stores on it.
    #[derive(Clone, Debug, Default)]
    struct Disk {
        bytes: Arc<InMemoryBackend>,
        is_full: Arc<AtomicBool>,
    }

    impl Disk {
        fn room(&self) -> io::Result<()> {
            match self.is_full.load(Ordering::SeqCst) {
                true => Err(io::ErrorKind::StorageFull.into()),
                false => Ok(()),
            }
        }

        fn open(&self) -> DurableStore {
            let database = Database::builder()
                .create_with_backend(self.clone())
                .expect("a database");
            let index = load(&database).expect("a readable database");
            DurableStore::start(database, index).expect("a thread")
        }
    }

    impl StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            self.bytes.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.bytes.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.room()?;
            self.bytes.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.room()?;
            self.bytes.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.room()?;
            self.bytes.write(offset, data)
        }
    }

    fn put(key: &'static str) -> Txn {
        Txn {
            compares: Vec::new(),
            ops: vec![Op::Put {
                key: key.into(),
                value: "v".into(),
                attachment: None,
            }],
        }
    }

    #[tokio::test]
    async fn a_full_disk_ends_writing_and_takes_nothing_that_was_acknowledged() {
        let disk = Disk::default();
        let store = disk.open();
        store.commit(put("a")).await.expect("there is room");
        assert_eq!(store.failure(), None);

        disk.is_full.store(true, Ordering::SeqCst);
        let refused = store.commit(put("b")).await.expect_err("there is no room");
        assert!(matches!(refused, CommitError::Failed(_)), "{refused}");
        let why = store.failed().await;
        assert_eq!(store.failure(), Some(why));

        // Room that is found later does not help: what the failed commit left behind is known after a restart only.
        disk.is_full.store(false, Ordering::SeqCst);
        store.commit(put("c")).await.expect_err("the store has failed for good");
        assert!(store.get(b"a").is_some() && store.get(b"b").is_none());
        drop(store);

        let store = disk.open();
        assert!(store.get(b"a").is_some() && store.get(b"c").is_none());
        store.commit(put("d")).await.expect("there is room again");
    }
}
