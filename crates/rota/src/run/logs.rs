//! Following the output of a run's containers.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::BytesMut;
use http_body_util::BodyExt;
use rota_api::{ApiError, Reason};
use rota_cluster::RemoteCluster;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::progress::LogName;

/// The longest line that is passed on in one piece.
const LINE_BYTES_MAX: usize = 256 * 1024;
/// How often a log is taken up again without a new line in between, and the pause before that.
const CUTS_MAX: u32 = 5;
const CUT_PAUSE: Duration = Duration::from_millis(200);
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

/// Reads a log to its end; takes it up again where a connection broke.
async fn read(cluster: RemoteCluster, path: String, prefix: String, lines: mpsc::Sender<Line>) {
    let mut reader = Reader {
        prefix,
        lines,
        pending: BytesMut::new(),
        taken: 0,
    };
    let mut cuts = 0;
    while cuts < CUTS_MAX {
        let before = reader.taken;
        match reader.follow(&cluster, &path).await {
            Ok(()) => return,
            Err(error) => tracing::debug!(%path, %error, "a log was cut off; taking it up again"),
        }
        cuts = if reader.taken == before { cuts + 1 } else { 0 };
        tokio::time::sleep(CUT_PAUSE).await;
    }
    tracing::warn!(%path, "the log cannot be read to its end");
}

struct Reader {
    prefix: String,
    lines: mpsc::Sender<Line>,
    /// What has come of a line whose end has not.
    pending: BytesMut,
    /// How much of the log was taken in: so much is left out when it is read anew.
    taken: usize,
}

impl Reader {
    /// Passes on what was not taken in yet, until the log ends or nobody listens.
    ///
    /// Errors: the log cannot be opened, or the connection broke.
    async fn follow(&mut self, cluster: &RemoteCluster, path: &str) -> Result<(), ApiError> {
        let mut body = cluster.stream(path).await?;
        let mut known = self.taken;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| ApiError::new(Reason::ServiceUnavailable, error.to_string()))?;
            let Some(data) = frame.data_ref() else { continue };
            let again = known.min(data.len());
            known -= again;
            if self.take(&data[again..]).await.is_err() {
                return Ok(());
            }
        }
        if !self.pending.is_empty() {
            let rest = self.pending.split();
            let _ = self.pass_on(&rest).await;
        }
        Ok(())
    }

    /// Takes in more of the log and passes on the lines that are whole by that.
    async fn take(&mut self, data: &[u8]) -> Result<(), mpsc::error::SendError<Line>> {
        self.taken += data.len();
        let mut rest = data;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.pending.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            let line = self.pending.split();
            self.pass_on(&line).await?;
        }
        self.pending.extend_from_slice(rest);
        if self.pending.len() > LINE_BYTES_MAX {
            let line = self.pending.split();
            self.pass_on(&line).await?;
        }
        Ok(())
    }

    async fn pass_on(&self, line: &[u8]) -> Result<(), mpsc::error::SendError<Line>> {
        let (prefix, text) = (self.prefix.clone(), String::from_utf8_lossy(line).into_owned());
        self.lines.send(Line { prefix, text }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_whole_however_they_arrive_and_the_longest_come_in_pieces() {
        let (lines, mut passed) = mpsc::channel(8);
        let mut reader = Reader {
            prefix: "[p]".to_owned(),
            lines,
            pending: BytesMut::new(),
            taken: 0,
        };
        for part in ["on", "e\n\ntw", "o\n"] {
            reader.take(part.as_bytes()).await.unwrap();
        }
        reader.take(&vec![b'x'; LINE_BYTES_MAX + 1]).await.unwrap();
        assert_eq!(reader.taken, 9 + LINE_BYTES_MAX + 1);
        drop(reader);
        let mut told = Vec::new();
        while let Some(line) = passed.recv().await {
            told.push(line.text);
        }
        assert_eq!(told[..3], ["one", "", "two"]);
        assert_eq!(told[3].len(), LINE_BYTES_MAX + 1);
    }
}
