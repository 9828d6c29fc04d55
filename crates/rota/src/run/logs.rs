//! Following the output of a run's containers.

use std::collections::BTreeSet;
use std::time::Duration;

use http_body_util::BodyExt;
use rota_cluster::RemoteCluster;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::progress::LogName;

/// The longest line that is passed on in one piece.
const LINE_BYTES_MAX: usize = 256 * 1024;
/// How long the rest of the output may take to arrive when the run is over.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// A line of output and where it came from.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) prefix: String,
    pub(crate) text: String,
}

/// Follows each container's log once.
pub(crate) struct Logs {
    cluster: RemoteCluster,
    namespace: String,
    followed: BTreeSet<LogName>,
    tasks: JoinSet<()>,
    lines: mpsc::Sender<Line>,
}

impl Logs {
    /// Follows logs in `namespace`; what is read goes to `lines`.
    pub(crate) fn new(cluster: RemoteCluster, namespace: &str, lines: mpsc::Sender<Line>) -> Self {
        Self {
            cluster,
            namespace: namespace.to_owned(),
            followed: BTreeSet::new(),
            tasks: JoinSet::new(),
            lines,
        }
    }

    /// Follows these logs, unless they are followed already. `many` containers in a pod are told apart in the prefix.
    pub(crate) fn follow(&mut self, logs: &[LogName], many: bool) {
        for log in logs {
            if !self.followed.insert(log.clone()) {
                continue;
            }
            let prefix = if many {
                format!("[{} {}]", log.pod, log.container)
            } else {
                format!("[{}]", log.pod)
            };
            let path = format!(
                "/api/v1/namespaces/{}/pods/{}/log?container={}&follow=true",
                self.namespace, log.pod, log.container
            );
            self.tasks
                .spawn(read(self.cluster.clone(), path, prefix, self.lines.clone()));
        }
    }

    /// Waits until everything that was written has been read, within reason.
    pub(crate) async fn finish(mut self) {
        drop(self.lines);
        let _ = tokio::time::timeout(DRAIN_MAX, async { while self.tasks.join_next().await.is_some() {} }).await;
    }
}

async fn read(cluster: RemoteCluster, path: String, prefix: String, lines: mpsc::Sender<Line>) {
    let mut body = match cluster.stream(&path).await {
        Ok(body) => body,
        Err(error) => {
            tracing::warn!(%path, %error, "the log cannot be read");
            return;
        }
    };
    let mut pending: Vec<u8> = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Some(data) = frame.data_ref() else { continue };
        pending.extend_from_slice(data);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let rest = pending.split_off(end + 1);
            pending.pop();
            if send(&prefix, &pending, &lines).await.is_err() {
                return;
            }
            pending = rest;
        }
        if pending.len() > LINE_BYTES_MAX {
            if send(&prefix, &pending, &lines).await.is_err() {
                return;
            }
            pending.clear();
        }
    }
    if !pending.is_empty() {
        let _ = send(&prefix, &pending, &lines).await;
    }
}

async fn send(prefix: &str, text: &[u8], lines: &mpsc::Sender<Line>) -> Result<(), mpsc::error::SendError<Line>> {
    let text = String::from_utf8_lossy(text).into_owned();
    lines
        .send(Line {
            prefix: prefix.to_owned(),
            text,
        })
        .await
}
