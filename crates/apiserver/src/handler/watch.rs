//! Watches over HTTP: events as frames in the encoding and form that the client asked for.
//!
//! JSON frames are put together from the shared bytes of the objects. What is there already is sent in one piece. A watch
//! ends when its time is over, when the server ends, or when the client is too slow; clients then watch on from the last
//! revision they saw.
//!
//! Source: `spec/api.md` §1.11, §1.7.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use http::StatusCode;
use rota_api::codec::{self, FieldValidation, Format};
use rota_api::selector::FieldSelector;
use rota_api::{ApiError, Object, Resource};
use rota_registry::{Event, Watch, WatchOptions};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::list::{integer, namespace};
use super::{convert, pod, runs};
use crate::body::Body;
use crate::front::{Front, Request};
use crate::negotiation::{Answer, Route, Transform, media_type};
use crate::query::Query;
use crate::reply::{self, Reply};
use crate::stream::messages::Form;
use crate::stream::{serve, websocket};

/// How long a watch stays open that does not say: at least this, and at most twice as much.
const LIFETIME_SECS_MIN: u64 = 1800;
/// The longest that a watch stays open, whatever it asks for.
const LIFETIME_SECS_MAX: u64 = 24 * 3600;
/// How often a watch that understands bookmarks gets one.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// How long before its end a watch gets its last bookmark.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);
/// How much is put together before it is sent: what one TLS record holds. Unit: bytes.
const PIECE_SIZE: usize = 16 * 1024;

/// Answers `watch`.
///
/// Errors: those of the options, 406. A revision that is no longer known is an event.
pub(crate) async fn handle(
    front: &Arc<Front>,
    request: &mut Request,
    resource: &'static Resource,
) -> Result<Reply, ApiError> {
    let answer = Answer::choose(&request.headers, &request.query, Route::Events)?;
    let query = &request.query;
    let fields = fields(resource, query.text("fieldSelector"), &request.info.name)?;
    let options = WatchOptions {
        namespace: namespace(request).filter(|_| resource.is_namespaced()),
        labels: query.text("labelSelector").to_owned(),
        fields,
        resource_version: query.text("resourceVersion").to_owned(),
        resource_version_match: query.text("resourceVersionMatch").to_owned(),
        send_initial_events: query.flag("sendInitialEvents"),
        bookmarks: query.flag("allowWatchBookmarks").unwrap_or_default(),
        continue_token: query.text("continue").to_owned(),
    };
    let lifetime = lifetime(front, query)?;
    // Refuses rows of a kind that does not exist before the stream begins.
    if let Transform::Table(version) = answer.transform {
        convert::table(resource, &[], version, query, front.registry.env().now())?;
    }
    let frames = Frames {
        front: Arc::clone(front),
        resource,
        answer: answer.clone(),
        query: query.clone(),
        columns_sent: false,
        in_messages: websocket::is_wanted(&request.headers),
    };
    let in_messages = frames.in_messages;
    let pieces = match front.registry.watch(resource, &options).await {
        Ok(watch) => stream_of(frames, watch, options.bookmarks, lifetime).left_stream(),
        Err(error) if error.code() == StatusCode::GONE.as_u16() => {
            stream::iter([Bytes::from(frames.error(&error))]).right_stream()
        }
        Err(error) => return Err(error),
    };
    if in_messages {
        let form = match answer.format {
            Format::Protobuf => Form::Binary,
            Format::Json | Format::Yaml => Form::Text,
        };
        return serve::watch(pod::switch(front, request), form, pieces);
    }
    let body = Body::stream(pieces);
    let content_type = match answer.format {
        Format::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        format => media_type(format),
    };
    Ok(reply::with_type(StatusCode::OK, content_type, body))
}

/// The field selector of a watch: of a collection that of the request; of one object its name, which the request's own
/// selects too if there is one.
///
/// Errors: 400. Source: kubernetes `apiserver/pkg/endpoints/handlers/get.go`.
fn fields(resource: &'static Resource, asked: &str, name: &str) -> Result<String, ApiError> {
    if name.is_empty() {
        return Ok(asked.to_owned());
    }
    let selector = FieldSelector::parse(resource, asked).map_err(|error| ApiError::bad_request(error.to_string()))?;
    if selector.is_everything() {
        return Ok(format!("metadata.name={name}"));
    }
    if selector.exact("metadata.name") != Some(name) {
        return Err(ApiError::bad_request(
            "fieldSelector metadata.name doesn't match requested name",
        ));
    }
    Ok(asked.to_owned())
}

/// A watch that does not say how long it wants to stay gets a random time, so that not all come back at once.
fn lifetime(front: &Front, query: &Query) -> Result<Duration, ApiError> {
    let asked = integer(query, "timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok());
    let seconds = asked.filter(|seconds| *seconds > 0);
    let seconds = seconds.unwrap_or_else(|| LIFETIME_SECS_MIN + front.registry.env().random() % LIFETIME_SECS_MIN);
    Ok(Duration::from_secs(seconds.min(LIFETIME_SECS_MAX)))
}

/// A watch that is being sent.
struct Sending {
    frames: Frames,
    watch: Watch,
    end: Instant,
    /// When the next bookmark is due; `None` for those who do not want any.
    bookmark: Option<Instant>,
}

fn stream_of(
    frames: Frames,
    watch: Watch,
    bookmarks: bool,
    lifetime: Duration,
) -> impl Stream<Item = Bytes> + Send + use<> {
    let now = Instant::now();
    let end = now + lifetime;
    let sending = Sending {
        frames,
        watch,
        end,
        bookmark: bookmarks.then(|| next_bookmark(now, end)),
    };
    stream::unfold(sending, |mut sending| async {
        let piece = sending.next().await?;
        Some((piece, sending))
    })
}

/// The next bookmark comes with the interval, the last one shortly before the end.
fn next_bookmark(now: Instant, end: Instant) -> Instant {
    let last = end.checked_sub(BOOKMARK_BEFORE_END).unwrap_or(end);
    let next = now + BOOKMARK_INTERVAL;
    if now < last { next.min(last) } else { next }
}

impl Sending {
    /// The next frames; `None` at the end, which comes in time however many events there are.
    async fn next(&mut self) -> Option<Bytes> {
        let ending = self.frames.front.ending.clone();
        let bookmark = self.bookmark.unwrap_or(self.end);
        tokio::select! {
            biased;
            () = ending.cancelled() => None,
            () = sleep_until(self.end) => None,
            event = self.watch.next() => self.piece(event?),
            () = sleep_until(bookmark) => {
                self.bookmark = Some(next_bookmark(Instant::now(), self.end));
                let revision = self.watch.progress();
                self.piece(Event::Bookmark { revision, initial_events_end: false })
            }
        }
    }

    /// An event, and those that are there already, in one piece.
    fn piece(&mut self, first: Event) -> Option<Bytes> {
        let mut out = Vec::new();
        let mut next = Some(first);
        while let Some(event) = next {
            if let Err(error) = self.frames.write(&event, &mut out) {
                // The stream has begun: the fault can only be told in it, and ends it at the next call.
                out.extend_from_slice(&self.frames.error(&error));
                self.end = Instant::now();
                break;
            }
            next = if out.len() < PIECE_SIZE && !self.frames.in_messages {
                self.watch.try_next()
            } else {
                None
            };
        }
        Some(out.into())
    }
}

/// Writes events as frames.
struct Frames {
    front: Arc<Front>,
    resource: &'static Resource,
    answer: Answer,
    query: Query,
    /// Clients keep the columns of the first table.
    columns_sent: bool,
    /// Each event is a message of its own, which says how long it is.
    in_messages: bool,
}

impl Frames {
    fn write(&mut self, event: &Event, out: &mut Vec<u8>) -> Result<(), ApiError> {
        let (kind, object) = match event {
            Event::Added(object) => ("ADDED", object),
            Event::Modified(object) => ("MODIFIED", object),
            Event::Deleted(object) => ("DELETED", object),
            Event::Bookmark {
                revision,
                initial_events_end,
            } => {
                let mut metadata = json!({"resourceVersion": revision.to_string()});
                if *initial_events_end {
                    metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
                }
                let empty = json!({"kind": self.resource.kind, "apiVersion": self.resource.api_version(),
                                   "metadata": metadata});
                let object = match codec::conform(self.resource.schema, empty.clone(), FieldValidation::Ignore) {
                    Ok(conformed) => conformed.value,
                    Err(_) => empty,
                };
                let object = Arc::new(Object::from_value(self.resource, object));
                return self.frame("BOOKMARK", &object, out);
            }
        };
        self.frame(kind, object, out)
    }

    fn frame(&mut self, kind: &str, object: &Arc<Object>, out: &mut Vec<u8>) -> Result<(), ApiError> {
        match (&self.answer.transform, self.answer.format) {
            (Transform::None, Format::Json) => json_frame(kind, out, |out| object.write_json(out)),
            (Transform::Partial(version) | Transform::PartialList(version), Format::Json) => {
                json_frame(kind, out, |out| object.write_partial(out, version));
            }
            (Transform::Table(version), _) => {
                let table = self.table(object, version)?;
                self.columns_sent = true;
                json_frame(kind, out, |out| out.extend_from_slice(table.to_string().as_bytes()));
            }
            (Transform::None, format) => {
                self.protobuf_frame(kind, &codec::encode(&object.to_value(), format)?, out);
            }
            (Transform::Partial(version) | Transform::PartialList(version), format) => {
                let partial = codec::encode(&convert::partial(object, version), format)?;
                self.protobuf_frame(kind, &partial, out);
            }
        }
        Ok(())
    }

    fn table(&self, object: &Arc<Object>, version: &str) -> Result<Value, ApiError> {
        let now = self.front.registry.env().now();
        let objects = std::slice::from_ref(object);
        let mut table = convert::table(self.resource, objects, version, &self.query, now)?;
        runs::add(&self.front, self.resource, objects, &self.answer, &mut table);
        table["metadata"] = json!({"resourceVersion": object.revision().to_string()});
        if self.columns_sent {
            table["columnDefinitions"] = Value::Null;
        }
        Ok(table)
    }

    fn protobuf_frame(&self, kind: &str, object: &[u8], out: &mut Vec<u8>) {
        if self.in_messages {
            out.extend_from_slice(&protobuf_event(kind, object));
        } else {
            protobuf_frame(kind, object, out);
        }
    }

    /// The frame of a fault.
    fn error(&self, error: &ApiError) -> Vec<u8> {
        let status = error.to_value();
        let mut out = Vec::new();
        match self.answer.format {
            Format::Protobuf => {
                if let Ok(status) = codec::encode(&status, Format::Protobuf) {
                    self.protobuf_frame("ERROR", &status, &mut out);
                }
            }
            Format::Json | Format::Yaml => {
                json_frame("ERROR", &mut out, |out| {
                    out.extend_from_slice(status.to_string().as_bytes());
                });
            }
        }
        out
    }
}

fn json_frame(kind: &str, out: &mut Vec<u8>, object: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    object(out);
    out.extend_from_slice(b"}\n");
}

/// A length of four bytes, then the event.
fn protobuf_frame(kind: &str, object: &[u8], out: &mut Vec<u8>) {
    let event = protobuf_event(kind, object);
    let length = u32::try_from(event.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&event);
}

/// A bare `WatchEvent {type = 1, object = 2 {raw = 1}}`.
fn protobuf_event(kind: &str, object: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(object.len() + 8);
    field(1, object, &mut raw);
    let mut event = Vec::with_capacity(raw.len() + 24);
    field(1, kind.as_bytes(), &mut event);
    field(2, &raw, &mut event);
    event
}

/// A length-delimited field of a protobuf message.
fn field(number: u8, content: &[u8], out: &mut Vec<u8>) {
    const LENGTH_DELIMITED: u8 = 2;
    out.push(number << 3 | LENGTH_DELIMITED);
    let mut length = content.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protobuf_frames_carry_their_length_and_the_object_as_it_is() {
        let mut out = Vec::new();
        protobuf_frame("ADDED", &[7; 200], &mut out);
        assert_eq!(&out[..4], &[0, 0, 0, 213]);
        assert_eq!(&out[4..11], b"\x0a\x05ADDED");
        // field 2, 203 bytes: field 1, 200 bytes
        assert_eq!(&out[11..17], &[0x12, 0xcb, 0x01, 0x0a, 0xc8, 0x01]);
        assert_eq!(out.len(), 4 + 213);
    }

    #[test]
    fn the_last_bookmark_comes_shortly_before_the_end() {
        let now = Instant::now();
        let end = now + Duration::from_secs(90);
        let first = next_bookmark(now, end);
        assert_eq!(first - now, Duration::from_secs(60));
        assert_eq!(end - next_bookmark(first, end), BOOKMARK_BEFORE_END);
    }
}
