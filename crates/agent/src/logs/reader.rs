//! Reads one log from where it is asked for, and goes on with it while it grows, from one file to the next when a full one
//! is put aside.

use std::io::{self, SeekFrom};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;
use rustix::fs::inotify;
use tokio::fs::File;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncSeekExt, Interest};
use tokio::sync::mpsc;
use tracing::warn;

use super::format::show;
use super::{LogOptions, Running};
use crate::oci::shim::log::{FILES_MAX, aside};

/// Pieces of a log; ends with the log.
pub type LogStream = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// How much is read at a time, and how many pieces may wait to be taken.
const PIECE_BYTES: usize = 64 * 1024;
const PIECES_MAX: usize = 16;

/// Longest entry that is put together; what is longer is cut off there. The shim writes none longer than a part of a line.
const ENTRY_BYTES_MAX: usize = 1024 * 1024;

/// The wanted part of the log at `path`. A log that is not there is empty.
pub(crate) fn read(path: PathBuf, options: LogOptions, running: Running) -> LogStream {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    tokio::spawn(async move {
        if let Err(error) = send_all(&path, &options, running, &sender).await
            && error.kind() != io::ErrorKind::NotFound
        {
            warn!(%error, log = %path.display(), "reading a log failed");
        }
    });
    Box::pin(futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    }))
}

async fn send_all(
    path: &Path,
    options: &LogOptions,
    mut running: Running,
    sender: &mpsc::Sender<Bytes>,
) -> io::Result<()> {
    // Watched before the first read, so that nothing written in between is missed.
    let growth = if options.follow {
        Some(Growth::in_directory_of(path)?)
    } else {
        None
    };
    let mut file = File::open(path).await?;
    if let Some(growth) = &growth {
        growth.watch(&file)?;
    }
    if let Some(lines) = options.tail_lines {
        seek_to_tail(&mut file, lines).await?;
    }
    let mut lines = Lines::new(options);
    let mut has_ended = growth.is_none();
    loop {
        if !lines.send_rest(&mut file, sender).await? {
            return Ok(());
        }
        let Some(growth) = &growth else {
            return Ok(());
        };
        if let Some(next) = next_file(path, &file).await? {
            // The file was put aside after its last entry: all of it is there by now.
            if !lines.send_rest(&mut file, sender).await? {
                return Ok(());
            }
            growth.watch(&next)?;
            file = next;
            continue;
        }
        if has_ended {
            return Ok(());
        }
        tokio::select! {
            grown = growth.wait() => grown?,
            // What was written up to the end is still read, once.
            () = running.ended() => has_ended = true,
            () = sender.closed() => return Ok(()),
        }
    }
}

/// The file in which the log goes on after `file`; `None` while that is the current one.
async fn next_file(path: &Path, file: &File) -> io::Result<Option<File>> {
    let here = identity(&file.metadata().await?);
    let is_here = async |n: u32| {
        let found = tokio::fs::metadata(aside(path, n)).await;
        Ok::<bool, io::Error>(present(found)?.is_some_and(|found| identity(&found) == here))
    };
    loop {
        let mut place = 0;
        while place < FILES_MAX && !is_here(place).await? {
            place += 1;
        }
        // What follows a file that is gone by now is the oldest one that is left.
        let Some(next) = place.checked_sub(1) else {
            return Ok(None);
        };
        let opened = present(File::open(aside(path, next)).await)?;
        // Another file was put aside meanwhile: all have moved on.
        if place < FILES_MAX && !is_here(place).await? {
            continue;
        }
        if opened.is_some() || next == 0 {
            return Ok(opened);
        }
        // There never were so many files: the log itself is gone, or a file of it was removed by hand.
        return Ok(present(File::open(path).await)?.filter(|_| place == FILES_MAX));
    }
}

/// Which file it is, whatever its name.
fn identity(metadata: &std::fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// What is not there is `None`.
fn present<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Goes to where the last `wanted` lines begin.
async fn seek_to_tail(file: &mut File, wanted: u64) -> io::Result<()> {
    let mut end = file.seek(SeekFrom::End(0)).await?;
    let mut found = 0;
    let mut block = vec![0; PIECE_BYTES];
    let mut is_last = true;
    while end > 0 {
        let size = usize::try_from(end).map_or(PIECE_BYTES, |end| end.min(PIECE_BYTES));
        let start = end - u64::try_from(size).unwrap_or(end);
        file.seek(SeekFrom::Start(start)).await?;
        let part = block.get_mut(..size).unwrap_or_default();
        file.read_exact(part).await?;
        for (index, byte) in part.iter().enumerate().rev() {
            // The end of the last line is not the beginning of another one.
            let is_end_of_file = std::mem::replace(&mut is_last, false);
            if *byte != b'\n' {
                found += u64::from(is_end_of_file);
                continue;
            }
            found += u64::from(is_end_of_file || found > 0);
            if found > wanted || (wanted == 0 && is_end_of_file) {
                let at = start + u64::try_from(index).unwrap_or(0) + 1;
                file.seek(SeekFrom::Start(at)).await?;
                return Ok(());
            }
        }
        end = start;
    }
    let from = if wanted == 0 {
        SeekFrom::End(0)
    } else {
        SeekFrom::Start(0)
    };
    file.seek(from).await.map(drop)
}

/// Turns what is read into what is sent.
struct Lines<'a> {
    options: &'a LogOptions,
    /// The beginning of an entry whose end is not there yet.
    open: Vec<u8>,
    /// Whether the next entry begins a line of the container.
    begins_line: bool,
    left_bytes: Option<u64>,
}

impl<'a> Lines<'a> {
    fn new(options: &'a LogOptions) -> Self {
        Self {
            options,
            open: Vec::new(),
            begins_line: true,
            left_bytes: options.limit_bytes,
        }
    }

    /// Sends what there is up to the end of the file. Returns false when no more is wanted.
    async fn send_rest(&mut self, file: &mut File, sender: &mpsc::Sender<Bytes>) -> io::Result<bool> {
        let mut block = vec![0; PIECE_BYTES];
        loop {
            let length = file.read(&mut block).await?;
            if length == 0 {
                return Ok(true);
            }
            let mut out = self.take(block.get(..length).unwrap_or_default());
            let mut is_enough = false;
            if let Some(left) = &mut self.left_bytes {
                let wanted = usize::try_from(*left).unwrap_or(usize::MAX);
                is_enough = out.len() >= wanted;
                out.truncate(wanted);
                *left -= u64::try_from(out.len()).unwrap_or(*left);
            }
            if !out.is_empty() && sender.send(out.into()).await.is_err() {
                return Ok(false);
            }
            if is_enough {
                return Ok(false);
            }
        }
    }

    fn take(&mut self, mut read: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(read.len());
        while let Some(end) = read.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = read.split_at(end);
            if self.open.is_empty() {
                show(line, self.options, &mut self.begins_line, &mut out);
            } else {
                self.keep(line);
                show(&self.open, self.options, &mut self.begins_line, &mut out);
                self.open.clear();
            }
            read = rest.get(1..).unwrap_or_default();
        }
        self.keep(read);
        out
    }

    /// Keeps a part of an entry whose end is still to come.
    fn keep(&mut self, part: &[u8]) {
        let room = ENTRY_BYTES_MAX.saturating_sub(self.open.len());
        self.open.extend_from_slice(part.get(..room).unwrap_or(part));
    }
}

/// Tells when a log grows: when one of its files does, or when a new one is made.
struct Growth(AsyncFd<OwnedFd>);

impl Growth {
    /// Tells of new files beside `path`.
    fn in_directory_of(path: &Path) -> io::Result<Self> {
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        let directory = path.parent().unwrap_or(path);
        inotify::add_watch(&watch, directory, inotify::WatchFlags::CREATE)?;
        register(watch).map(Self)
    }

    /// Tells of what is written to `file` too, whatever its name is by now.
    fn watch(&self, file: &File) -> io::Result<()> {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        inotify::add_watch(&self.0, path, inotify::WatchFlags::MODIFY)?;
        Ok(())
    }

    async fn wait(&self) -> io::Result<()> {
        let mut guard = self.0.readable().await?;
        let mut events = [0; 1024];
        // What the events say is known; they are only taken away.
        while rustix::io::read(&self.0, &mut events).is_ok_and(|length| length > 0) {}
        guard.clear_ready();
        Ok(())
    }
}

#[expect(
    deprecated,
    reason = "the replacement is unsafe; an OwnedFd stays open for as long as it is registered"
)]
fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::running;
    use crate::oci::shim::log::{Log, Stream};
    use crate::worker::PodView;
    use futures::StreamExt;
    use rota_api::k8s::api::core::v1::PodStatus;
    use rota_api::{Object, Timestamp, resource};
    use serde_json::json;
    use std::io::Write;
    use std::sync::Arc;
    use tokio::sync::watch;

    fn view(is_running: bool) -> PodView {
        let state = if is_running {
            json!({"running": {}})
        } else {
            json!({"terminated": {"exitCode": 0}})
        };
        let status: PodStatus =
            serde_json::from_value(json!({"containerStatuses": [{"name": "c", "image": "", "imageID": "",
            "ready": true, "restartCount": 0, "state": state}]}))
            .unwrap();
        PodView {
            object: Arc::new(Object::from_value(resource::PODS, json!({"metadata": {"name": "p"}}))),
            status,
            sandbox: String::new(),
        }
    }

    fn entry(text: &str) -> String {
        format!("2026-01-01T00:00:00Z stdout F {text}\n")
    }

    async fn check(options: LogOptions, expected: &str) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        std::fs::write(&path, ["a", "b", "c"].map(entry).concat()).unwrap();
        let (_sender, receiver) = watch::channel(view(false));
        let pieces: Vec<Bytes> = read(path, options.clone(), running(receiver, "c".to_owned(), 0))
            .collect()
            .await;
        assert_eq!(String::from_utf8(pieces.concat()).unwrap(), expected, "{options:?}");
    }

    #[tokio::test]
    async fn the_wanted_part_is_read() {
        let tail = |lines| LogOptions {
            tail_lines: Some(lines),
            ..LogOptions::default()
        };
        check(LogOptions::default(), "a\nb\nc\n").await;
        check(tail(2), "b\nc\n").await;
        check(tail(3), "a\nb\nc\n").await;
        check(tail(9), "a\nb\nc\n").await;
        check(tail(0), "").await;
        let limit = LogOptions {
            limit_bytes: Some(3),
            ..LogOptions::default()
        };
        check(limit, "a\nb").await;
    }

    #[tokio::test]
    async fn a_followed_log_goes_on_until_the_run_has_ended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        std::fs::write(&path, entry("first")).unwrap();
        let (sender, receiver) = watch::channel(view(true));
        let options = LogOptions {
            follow: true,
            ..LogOptions::default()
        };
        let mut log = read(path.clone(), options, running(receiver, "c".to_owned(), 0));
        assert_eq!(log.next().await.unwrap(), "first\n");
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(entry("second").as_bytes()).unwrap();
        assert_eq!(log.next().await.unwrap(), "second\n");
        file.write_all(entry("last").as_bytes()).unwrap();
        sender.send_replace(view(false));
        assert_eq!(log.next().await.unwrap(), "last\n");
        assert_eq!(log.next().await, None);
    }

    #[tokio::test]
    async fn a_followed_log_goes_on_in_the_next_file_when_one_is_full() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let mut writer = Log::with_files_of(1024, &path).unwrap();
        let line = |number: usize| format!("line {number} {}\n", "x".repeat(300));
        let mut write = |number| {
            let now = Timestamp::UNIX_EPOCH;
            writer.write(Stream::Stdout, line(number).as_bytes(), now).unwrap();
        };
        let (sender, receiver) = watch::channel(view(true));
        let options = LogOptions {
            follow: true,
            ..LogOptions::default()
        };
        write(0);
        let mut log = read(path.clone(), options, running(receiver, "c".to_owned(), 0));
        assert_eq!(log.next().await.unwrap(), line(0));
        // Two entries fill a file: the reader finds its own put aside once, then three times, then the run over.
        let mut expected = 1;
        for upto in [3, 9, 12] {
            (expected..upto).for_each(&mut write);
            if upto == 12 {
                sender.send_replace(view(false));
            }
            let wanted: String = (expected..upto).map(line).collect();
            let mut seen = Vec::new();
            while seen.len() < wanted.len() {
                seen.extend(log.next().await.unwrap());
            }
            assert_eq!(String::from_utf8(seen).unwrap(), wanted);
            expected = upto;
        }
        assert_eq!(log.next().await, None);
    }

    #[test]
    fn the_time_stands_once_before_a_line_of_several_entries() {
        let options = LogOptions {
            timestamps: true,
            ..LogOptions::default()
        };
        let log = "T1 stdout P ab\nT2 stdout P cd\nT3 stdout F e\nT4 stdout F f\n";
        let shown = Lines::new(&options).take(log.as_bytes());
        assert_eq!(String::from_utf8(shown).unwrap(), "T1 abcde\nT4 f\n");
    }

    #[test]
    fn an_entry_that_is_too_long_is_cut_off() {
        let options = LogOptions::default();
        let mut lines = Lines::new(&options);
        let head = "2026-01-01T00:00:00Z stdout F ";
        let entry = format!("{head}{}\n", "x".repeat(ENTRY_BYTES_MAX));
        let (first, second) = entry.split_at(ENTRY_BYTES_MAX / 2);
        assert_eq!(lines.take(first.as_bytes()), b"");
        let shown = lines.take(second.as_bytes());
        assert_eq!(shown.len(), ENTRY_BYTES_MAX - head.len() + 1);
    }

    #[tokio::test]
    async fn a_log_that_is_not_there_is_empty() {
        let (_sender, receiver) = watch::channel(view(false));
        let log = read(
            "/nonexistent".into(),
            LogOptions::default(),
            running(receiver, "c".to_owned(), 0),
        );
        assert_eq!(log.collect::<Vec<_>>().await.len(), 0);
    }
}
