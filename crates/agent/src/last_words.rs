//! What a container said at its end: its termination message.
//!
//! Source: `spec/node-and-pod.md` §16.5; kubernetes `pkg/kubelet/kuberuntime/kuberuntime_container.go`.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use rota_api::k8s::api::core::v1::Pod;
use rota_podlife::restart::all_containers;

use crate::context::Context;
use crate::logs;
use crate::runtime::ContainerState;

/// Most bytes of the file a container may write.
const FILE_BYTES_MAX: u64 = 4096;

/// Most bytes and lines of the log that stand in for the file.
const LOG_BYTES_MAX: u64 = 2048;
const LOG_LINES_MAX: usize = 80;

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
    let mut words = tail(&file, FILE_BYTES_MAX, false).unwrap_or_default();
    let policy = all
        .iter()
        .find(|c| c.name == state.name)
        .and_then(|c| c.termination_message_policy.as_deref());
    if words.is_empty() && exit_code != 0 && policy == Some("FallbackToLogsOnError") {
        let raw = tail(&state.log_path, LOG_BYTES_MAX * 2, true).unwrap_or_default();
        let lines: Vec<&str> = raw.lines().filter_map(logs::content).collect();
        words = lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n");
        let excess = words
            .len()
            .saturating_sub(usize::try_from(LOG_BYTES_MAX).unwrap_or(usize::MAX));
        words.drain(..ceil_char(&words, excess));
    }
    let share = POD_BYTES_MAX / all.len().max(1);
    words.truncate(floor_char(&words, share));
    words
}

/// The first bytes of a file, or with `from_end` its last ones.
fn tail(path: &Path, bytes_max: u64, from_end: bool) -> io::Result<String> {
    let mut file = File::open(path)?;
    if from_end {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(bytes_max)))?;
    }
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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
