//! What a container said at its end: its termination message.
//!
//! Source: `spec/node-and-pod.md` §16.5; kubernetes `pkg/kubelet/kuberuntime/kuberuntime_container.go`.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use rota_api::k8s::api::core::v1::Pod;
use rota_podlife::restart::all_containers;

use crate::context::Context;
use crate::logs::{self, LogOptions};
use crate::runtime::ContainerState;

/// Most bytes that count of the file a container may write, its last ones.
const FILE_BYTES_MAX: u64 = 4096;

/// Most bytes and lines of the log that stand in for the file.
const LOG_BYTES_MAX: usize = 2048;
const LOG_LINES_MAX: usize = 80;

/// How much of the log's end holds that much for sure: an entry is cut into parts of 16 KiB.
const LOG_TAIL_BYTES: u64 = 48 * 1024;

/// Most bytes of messages of a pod, shared equally among its containers.
const POD_BYTES_MAX: usize = 12 * 1024;

/// The message, or nothing.
pub(crate) fn read(context: &Context, pod: &Pod, state: &ContainerState, exit_code: i32) -> String {
    let all: Vec<_> = pod
        .spec
        .iter()
        .flat_map(|spec| all_containers(spec).map(|(_, c)| c))
        .collect();
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let file = context.paths.termination(uid, &state.name, state.attempt);
    let mut words = String::from_utf8_lossy(&end_of(&file, FILE_BYTES_MAX).unwrap_or_default()).into_owned();
    let policy = all
        .iter()
        .find(|c| c.name == state.name)
        .and_then(|c| c.termination_message_policy.as_deref());
    if words.is_empty() && exit_code != 0 && policy == Some("FallbackToLogsOnError") {
        words = of_log(&end_of(&state.log_path, LOG_TAIL_BYTES).unwrap_or_default());
    }
    let share = POD_BYTES_MAX / all.len().max(1);
    words.truncate(floor_char(&words, share));
    words
}

/// The last lines of a log that is given from somewhere in it to its end.
fn of_log(raw: &[u8]) -> String {
    let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
    let mut entries: Vec<&[u8]> = raw.rsplit(|byte| *byte == b'\n').take(LOG_LINES_MAX).collect();
    entries.reverse();
    let mut text = Vec::new();
    for entry in entries {
        logs::show(entry, &LogOptions::default(), &mut true, &mut text);
    }
    let mut words = String::from_utf8_lossy(&text).into_owned();
    let excess = words.len().saturating_sub(LOG_BYTES_MAX);
    words.drain(..ceil_char(&words, excess));
    words
}

/// The last bytes of a file.
fn end_of(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes_max)))?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn floor_char(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

fn ceil_char(text: &str, at: usize) -> usize {
    (at..=text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tag: &str, content: &str) -> String {
        format!("2026-01-01T00:00:10.5Z stdout {tag} {content}\n")
    }

    #[test]
    fn the_log_stands_in_with_its_last_lines() {
        assert_eq!(of_log(b""), "");
        assert_eq!(of_log((entry("F", "a") + &entry("F", "b")).as_bytes()), "a\nb\n");
        let lines: String = (0..200)
            .map(|n| entry("F", &format!("line {n} of two hundred")))
            .collect();
        let words = of_log(lines.as_bytes());
        assert_eq!(words.lines().count(), LOG_LINES_MAX);
        assert!(
            words.starts_with("line 120 ") && words.ends_with("line 199 of two hundred\n"),
            "{words}"
        );
    }

    #[test]
    fn of_long_lines_the_last_bytes_are_kept_and_parts_are_joined() {
        let log =
            entry("P", &"x".repeat(16 * 1024)) + &entry("P", &"y".repeat(1000)) + &entry("F", "") + &entry("F", "END");
        let words = of_log(log.as_bytes());
        assert_eq!(words.len(), LOG_BYTES_MAX);
        assert_eq!(words.trim_start_matches('x'), format!("{}\nEND\n", "y".repeat(1000)));
    }

    #[test]
    fn of_a_long_file_the_end_counts() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{}END", "x".repeat(5000))).unwrap();
        let end = end_of(file.path(), FILE_BYTES_MAX).unwrap();
        assert!(end.len() == 4096 && end.ends_with(b"END"));
    }
}
