//! Following the output of a run's containers.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::BytesMut;
use http_body_util::BodyExt;
use rota_api::{ApiError, Reason, Timestamp};
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
                "/api/v1/namespaces/{}/pods/{}/log?container={}&follow=true&timestamps=true",
                self.namespace, log.pod, log.container
            );
            self.tasks
                .spawn(read(self.cluster.clone(), path, prefix, self.lines.clone()));
        }
    }

    /// Waits until everything that was written has been read, within reason.
    pub(crate) async fn finish(mut self) {
        drop(self.lines);
        let drain = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_MAX, drain).await.is_err() {
            tracing::warn!("the rest of the output did not arrive in time and is not shown");
        }
    }
}

/// Reads a log to its end; takes it up again where a connection broke.
async fn read(cluster: RemoteCluster, path: String, prefix: String, lines: mpsc::Sender<Line>) {
    let mut reader = Reader {
        prefix,
        lines,
        pending: BytesMut::new(),
        seen: Seen::default(),
    };
    let mut cuts = 0;
    while cuts < CUTS_MAX {
        let before = reader.seen.latest;
        match reader.follow(&cluster, &path).await {
            Ok(()) => return,
            Err(error) => tracing::debug!(%path, %error, "a log was cut off; taking it up again"),
        }
        cuts = if reader.seen.latest == before { cuts + 1 } else { 0 };
        tokio::time::sleep(CUT_PAUSE).await;
    }
    tracing::warn!(%path, "the log cannot be read to its end");
}

struct Reader {
    prefix: String,
    lines: mpsc::Sender<Line>,
    /// What has come of a line whose end has not.
    pending: BytesMut,
    seen: Seen,
}

impl Reader {
    /// Passes on what was not taken in yet, until the log ends or nobody listens.
    ///
    /// Errors: the log cannot be opened, or the connection broke.
    async fn follow(&mut self, cluster: &RemoteCluster, path: &str) -> Result<(), ApiError> {
        // The beginning of a line that was cut off comes again.
        self.pending.clear();
        self.seen.begin_again();
        let mut body = cluster.stream(&format!("{path}{}", self.seen.query())).await?;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| ApiError::new(Reason::ServiceUnavailable, error.to_string()))?;
            let Some(data) = frame.data_ref() else { continue };
            if self.take(data).await.is_err() {
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

    /// Passes a line on, unless it was before.
    async fn pass_on(&mut self, line: &[u8]) -> Result<(), mpsc::error::SendError<Line>> {
        let Some(text) = self.seen.text_of(line) else {
            return Ok(());
        };
        let (prefix, text) = (self.prefix.clone(), String::from_utf8_lossy(text).into_owned());
        self.lines.send(Line { prefix, text }).await
    }
}

/// Up to where a log was seen. Its lines carry their times, as where they stand in it changes when it is rotated.
#[derive(Debug, Default)]
struct Seen {
    /// The time of the latest line, and how many lines of that time there were.
    latest: Option<(Timestamp, u64)>,
    /// Of a log that is read again: up to when its lines are known, and how many more of just that time are.
    known: Option<(Timestamp, u64)>,
    /// Whether the line that a piece without a time belongs to is known.
    is_known: bool,
}

impl Seen {
    /// The log is read again from [`Seen::query`].
    fn begin_again(&mut self) {
        self.known = self.latest;
    }

    /// What asks for the rest of the log. Whole seconds, as servers understand nothing finer.
    fn query(&self) -> String {
        let from = self
            .latest
            .map(|(time, _)| time.strftime("&sinceTime=%Y-%m-%dT%H:%M:%SZ").to_string());
        from.unwrap_or_default()
    }

    /// The text of a line, or of a piece of a long one; `None` if it was seen before.
    fn text_of<'a>(&mut self, line: &'a [u8]) -> Option<&'a [u8]> {
        let space = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let (time, text) = line.split_at(space);
        let time = std::str::from_utf8(time)
            .ok()
            .and_then(|time| time.parse::<Timestamp>().ok());
        let Some(time) = time else {
            return (!self.is_known).then_some(line);
        };
        self.is_known = match &mut self.known {
            Some((known, _)) if time < *known => true,
            Some((known, more)) if time == *known && *more > 0 => {
                *more -= 1;
                true
            }
            _ => false,
        };
        if self.is_known {
            return None;
        }
        self.latest = match self.latest {
            Some((latest, count)) if latest == time => Some((latest, count + 1)),
            // The two streams of a container may overtake each other by a little.
            Some((latest, count)) if latest > time => Some((latest, count)),
            _ => Some((time, 1)),
        };
        Some(text.get(1..).unwrap_or_default())
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
            seen: Seen::default(),
        };
        const TIME: &str = "2026-01-01T00:00:00Z ";
        for part in [&format!("{TIME}on"), &format!("e\n{TIME}\n{TIME}tw"), "o\n", TIME] {
            reader.take(part.as_bytes()).await.unwrap();
        }
        reader.take(&vec![b'x'; LINE_BYTES_MAX]).await.unwrap();
        reader.take(b"rest\n").await.unwrap();
        drop(reader);
        let mut told = Vec::new();
        while let Some(line) = passed.recv().await {
            told.push(line.text);
        }
        assert_eq!(told[..3], ["one", "", "two"]);
        assert_eq!((told[3].len(), told[4].as_str()), (LINE_BYTES_MAX, "rest"));
    }

    #[test]
    fn what_was_seen_before_a_cut_is_not_shown_again() {
        let log = [
            "2026-01-01T00:00:00.1Z a",
            "2026-01-01T00:00:00.2Z b",
            "2026-01-01T00:00:00.2Z b",
            "a piece of the same line",
            "2026-01-01T00:00:00.2Z c",
            "2026-01-01T00:00:01Z d",
        ];
        let mut seen = Seen::default();
        assert_eq!(seen.query(), "");
        let mut read = |lines: &[&str]| {
            seen.begin_again();
            let shown = lines
                .iter()
                .filter_map(|line| Some(seen.text_of(line.as_bytes())?.to_vec()));
            let shown = String::from_utf8(shown.collect::<Vec<_>>().concat()).unwrap();
            (shown, seen.query())
        };
        let query = "&sinceTime=2026-01-01T00:00:00Z".to_owned();
        assert_eq!(read(&log[..2]), ("ab".to_owned(), query.clone()));
        assert_eq!(read(&log[..4]), ("ba piece of the same line".to_owned(), query));
        assert_eq!(
            read(&log),
            ("cd".to_owned(), "&sinceTime=2026-01-01T00:00:01Z".to_owned())
        );
    }
}
