//! The log file of a container, in the format of the Kubernetes container runtime interface.
//!
//! One entry a line: `<RFC 3339 time with nanoseconds> <stdout|stderr> <F|P> <text>`. `F` ends a line of the container;
//! `P` is a part of one, because it is longer than [`LINE_BYTES_MAX`] or because the container ended in its midst, so
//! that joining the parts gives back exactly what the container wrote.
//! Source: kubernetes `pkg/kubelet/kuberuntime/logs/logs.go`; rotation `pkg/kubelet/logs/container_log_manager.go`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rota_api::Timestamp;

/// Longest text of one entry.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// Size at which a log file is put aside.
const FILE_BYTES_MAX: u64 = 10 * 1024 * 1024;
/// Files kept of one log, the current one included; `FILE.1` is the latest put aside.
pub(crate) const FILES_MAX: u32 = 5;

/// The `n`th latest file of a log that was put aside; 0 is the current one.
pub(crate) fn aside(path: &Path, n: u32) -> PathBuf {
    match n {
        0 => path.to_owned(),
        n => PathBuf::from(format!("{}.{n}", path.display())),
    }
}

/// Which stream an entry is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output, or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// A log being written.
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    size_bytes: u64,
    /// Size at which a file is put aside.
    size_bytes_max: u64,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Log {
    /// Opens a log for appending; makes its directory.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::with_files_of(FILE_BYTES_MAX, path)
    }

    /// Opens a log whose files are put aside at another size.
    pub(crate) fn with_files_of(size_bytes_max: u64, path: &Path) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let size_bytes = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            size_bytes,
            size_bytes_max,
            stdout: Vec::new(),
            stderr: Vec::new(),
        })
    }

    /// Takes output in and writes the lines it completes.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8], now: Timestamp) -> io::Result<()> {
        let pending = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        pending.extend_from_slice(bytes);
        let mut entries = Vec::new();
        let used = cut_entries(pending, stream, now, &mut entries);
        pending.drain(..used);
        self.append(&entries)
    }

    /// Writes what is left of an unfinished line.
    pub(super) fn finish(&mut self, now: Timestamp) -> io::Result<()> {
        let mut entries = Vec::new();
        for (stream, pending) in [(Stream::Stdout, &mut self.stdout), (Stream::Stderr, &mut self.stderr)] {
            if !pending.is_empty() {
                put_entry(&mut entries, stream, now, b'P', pending);
                pending.clear();
            }
        }
        self.append(&entries)
    }

    fn append(&mut self, entries: &[u8]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        if self.size_bytes > 0 && self.size_bytes + entries.len() as u64 > self.size_bytes_max {
            self.rotate()?;
        }
        self.file.write_all(entries)?;
        self.size_bytes += entries.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        for n in (0..FILES_MAX - 1).rev() {
            if let Err(e) = std::fs::rename(aside(&self.path, n), aside(&self.path, n + 1))
                && e.kind() != io::ErrorKind::NotFound
            {
                return Err(e);
            }
        }
        self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        self.size_bytes = 0;
        Ok(())
    }
}

/// Writes the complete lines and over-long parts at the front of `pending`; returns how many bytes they take.
fn cut_entries(pending: &[u8], stream: Stream, now: Timestamp, entries: &mut Vec<u8>) -> usize {
    let mut used = 0;
    loop {
        let rest = &pending[used..];
        let window = &rest[..rest.len().min(LINE_BYTES_MAX)];
        if let Some(end) = window.iter().position(|byte| *byte == b'\n') {
            put_entry(entries, stream, now, b'F', &window[..end]);
            used += end + 1;
        } else if window.len() == LINE_BYTES_MAX && rest.len() > LINE_BYTES_MAX {
            put_entry(entries, stream, now, b'P', window);
            used += window.len();
        } else {
            return used;
        }
    }
}

fn put_entry(entries: &mut Vec<u8>, stream: Stream, now: Timestamp, tag: u8, text: &[u8]) {
    let _ = write!(entries, "{now:.9} {} ", stream.name());
    entries.extend_from_slice(&[tag, b' ']);
    entries.extend_from_slice(text);
    entries.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(writes: &[(Stream, &str)], expected: &[(&str, &str, usize)]) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("pod").join("0.log");
        let mut log = Log::open(&path).expect("open");
        for (stream, text) in writes {
            log.write(*stream, text.as_bytes(), Timestamp::UNIX_EPOCH)
                .expect("write");
        }
        log.finish(Timestamp::UNIX_EPOCH).expect("finish");
        let text = std::fs::read_to_string(&path).expect("read");
        let seen: Vec<(&str, &str, usize)> = text
            .lines()
            .map(|line| {
                let rest = line.strip_prefix("1970-01-01T00:00:00.000000000Z ").expect("time");
                let (stream, rest) = rest.split_once(' ').expect("stream");
                let (tag, text) = rest.split_once(' ').expect("tag");
                (stream, tag, text.len())
            })
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn lines_are_joined_across_writes_and_streams_kept_apart() {
        check(
            &[
                (Stream::Stdout, "he"),
                (Stream::Stderr, "oops\n"),
                (Stream::Stdout, "llo\n\n"),
            ],
            &[("stderr", "F", 4), ("stdout", "F", 5), ("stdout", "F", 0)],
        );
    }

    #[test]
    fn a_line_without_end_is_a_part() {
        check(&[(Stream::Stdout, "a\nb")], &[("stdout", "F", 1), ("stdout", "P", 1)]);
    }

    #[test]
    fn a_long_line_is_cut_into_parts() {
        let long = format!("{}\n", "x".repeat(LINE_BYTES_MAX + 3));
        check(
            &[(Stream::Stdout, &long)],
            &[("stdout", "P", LINE_BYTES_MAX), ("stdout", "F", 3)],
        );
    }

    #[test]
    fn a_full_file_is_put_aside_and_the_oldest_forgotten() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("0.log");
        let size_max = 16 * 1024;
        let mut log = Log::with_files_of(size_max, &path).expect("open");
        let line = format!("{}\n", "x".repeat(1024));
        for _ in 0..size_max / 1024 * u64::from(FILES_MAX + 1) {
            log.write(Stream::Stdout, line.as_bytes(), Timestamp::UNIX_EPOCH)
                .expect("write");
        }
        let mut names: Vec<String> = std::fs::read_dir(dir.path())
            .expect("list")
            .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(names, ["0.log", "0.log.1", "0.log.2", "0.log.3", "0.log.4"]);
        assert!(path.metadata().expect("size").len() <= size_max);
    }
}
