//! A watch that goes on: when its connection ends it is taken up where it was, without a gap.
//!
//! Bookmarks move that place on while nothing happens, so that a quiet kind need not be listed again. The stream ends only
//! with an error that watching on cannot mend: the place is no longer kept, or the server refuses.

use std::time::Duration;

use futures::stream;
use rota_api::{ApiError, Resource, Revision};
use serde_json::Value;
use tokio::time::Instant;

use super::RemoteCluster;
use super::request::{collection_path, selection_query};
use super::transport::Attempt;
use crate::lines::Lines;
use crate::port::{EventKind, Selection, Watch, WatchEvent};

/// How long the server is asked to keep one watch open, in seconds.
const WATCH_SECS: &str = "290";
/// How long a watch may be silent before its connection counts as dead. Servers send bookmarks about once a minute.
const SILENCE_MAX: Duration = Duration::from_secs(150);
/// The first pause before a watch is taken up again, and the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A watch that lasted so long was in order: the next pause is a short one.
const LASTING: Duration = Duration::from_secs(2);

/// One line of a watch.
#[derive(Debug)]
pub(super) enum Line {
    /// Something happened.
    Event(WatchEvent),
    /// All is known up to this revision. `initial`: and with it all that there was at the beginning.
    Bookmark { revision: Revision, initial: bool },
}

/// Watches from `from` on.
///
/// Errors: the server refuses the first attempt.
pub(super) async fn watch(
    cluster: &RemoteCluster,
    resource: &'static Resource,
    selection: &Selection,
    from: Revision,
) -> Result<Watch, ApiError> {
    let mut following = Following {
        cluster: cluster.clone(),
        resource,
        selection: selection.clone(),
        from,
        open: None,
        pause: PAUSE_FIRST,
    };
    // The first attempt tells at once whether the kind may be watched at all.
    following.connect().await?;
    Ok(Box::pin(stream::unfold(Some(following), |following| async move {
        let mut following = following?;
        match following.next().await {
            Ok(event) => Some((Ok(event), Some(following))),
            Err(error) => Some((Err(error), None)),
        }
    })))
}

struct Following {
    cluster: RemoteCluster,
    resource: &'static Resource,
    selection: Selection,
    from: Revision,
    open: Option<(Stream, Instant)>,
    pause: Duration,
}

impl Following {
    async fn next(&mut self) -> Result<WatchEvent, ApiError> {
        loop {
            let Some((lines, _)) = &mut self.open else {
                self.connect().await?;
                continue;
            };
            match lines.next(&self.cluster, self.resource).await {
                Ok(Some(Line::Event(event))) => {
                    self.from = self.from.max(event.object.revision());
                    return Ok(event);
                }
                Ok(Some(Line::Bookmark { revision, .. })) => self.from = self.from.max(revision),
                Ok(None) => self.rest().await,
                Err(Broken::Refused(error)) => return Err(error),
                Err(Broken::Lost(error)) => {
                    tracing::debug!(resource = self.resource.plural, %error, "a watch was cut; taking it up again");
                    self.rest().await;
                }
            }
        }
    }

    /// Opens the watch; waits for a server that cannot be reached.
    async fn connect(&mut self) -> Result<(), ApiError> {
        let base = collection_path(self.resource, self.cluster.scope(self.resource, &self.selection));
        let from = self.from.to_string();
        let query = selection_query(
            &self.selection,
            &[
                ("watch", "true"),
                ("resourceVersion", &from),
                ("allowWatchBookmarks", "true"),
                ("timeoutSeconds", WATCH_SECS),
            ],
        );
        loop {
            match Stream::open(&self.cluster, &format!("{base}?{query}")).await {
                Ok(lines) => {
                    self.open = Some((lines, Instant::now()));
                    return Ok(());
                }
                Err(Broken::Refused(error)) => return Err(error),
                Err(Broken::Lost(error)) => {
                    tracing::debug!(resource = self.resource.plural, %error, "watching failed; trying again");
                    self.rest().await;
                }
            }
        }
    }

    /// A pause, longer each time unless the last watch lasted.
    async fn rest(&mut self) {
        if self.open.take().is_some_and(|(_, since)| since.elapsed() > LASTING) {
            self.pause = PAUSE_FIRST;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}

/// Why a watch ended early.
#[derive(Debug)]
pub(super) enum Broken {
    /// The server says why, and asking again would not help.
    Refused(ApiError),
    /// The connection, or a fault of the server: asking again may help.
    Lost(ApiError),
}

impl Broken {
    fn of(error: ApiError) -> Self {
        if error.code() >= 500 || error.code() == 429 {
            Self::Lost(error)
        } else {
            Self::Refused(error)
        }
    }
}

/// A streamed answer, line by line.
pub(super) struct Stream(Lines);

impl Stream {
    /// Opens a streamed answer.
    pub(super) async fn open(cluster: &RemoteCluster, path: &str) -> Result<Self, Broken> {
        cluster.traffic().watch_opened();
        let response = match cluster.watches().open(path).await {
            Ok(response) => response,
            Err(Attempt::NotSent(error) | Attempt::Unknown(error)) => return Err(Broken::Lost(error)),
            // `open` gives answers as responses.
            Err(Attempt::Answered(_)) => return Err(Broken::Lost(ApiError::internal("an answer twice"))),
        };
        let code = response.status().as_u16();
        let body = response.into_body();
        if code < 400 {
            return Ok(Self(Lines::of(body)));
        }
        let bytes = cluster.watches().refusal(body).await.map_err(Broken::Lost)?;
        let status = serde_json::from_slice(&bytes).unwrap_or_default();
        Err(Broken::of(ApiError::from_status(&status, code)))
    }

    /// The next line; `None` when the server ended the answer.
    pub(super) async fn next(
        &mut self,
        cluster: &RemoteCluster,
        resource: &'static Resource,
    ) -> Result<Option<Line>, Broken> {
        match tokio::time::timeout(SILENCE_MAX, self.0.next()).await {
            Ok(Ok(Some(bytes))) => read(cluster, resource, &bytes).map(Some).map_err(Broken::of),
            Ok(Ok(None)) => Ok(None),
            Ok(Err(error)) => Err(Broken::Lost(error)),
            Err(_) => Err(Broken::Lost(ApiError::internal("the watch fell silent"))),
        }
    }
}

/// Reads one line.
fn read(cluster: &RemoteCluster, resource: &'static Resource, line: &[u8]) -> Result<Line, ApiError> {
    let mut frame: Value = serde_json::from_slice(line)
        .map_err(|e| ApiError::internal(format!("the watch of {} sent no JSON: {e}", resource.plural)))?;
    let object = frame["object"].take();
    let kind = match frame["type"].as_str() {
        Some("ADDED") => EventKind::Added,
        Some("MODIFIED") => EventKind::Modified,
        Some("DELETED") => EventKind::Deleted,
        Some("BOOKMARK") => {
            return Ok(Line::Bookmark {
                revision: revision(&object["metadata"]),
                initial: object["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true",
            });
        }
        _ => {
            let code = object["code"]
                .as_u64()
                .and_then(|code| u16::try_from(code).ok())
                .unwrap_or(500);
            return Err(ApiError::from_status(&object, code));
        }
    };
    Ok(Line::Event(WatchEvent {
        kind,
        object: cluster.seen(resource, object),
    }))
}

/// The revision in an object's or a list's metadata.
pub(super) fn revision(metadata: &Value) -> Revision {
    Revision(
        metadata["resourceVersion"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .unwrap_or_default(),
    )
}
