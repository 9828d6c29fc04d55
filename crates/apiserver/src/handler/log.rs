//! `pods/log`: what a container has written.
//!
//! Source: `spec/api.md` §4.1; kubernetes `pkg/apis/core/validation` (`ValidatePodLogOptions`).

use std::sync::Arc;

use http::StatusCode;
use http::header::{CACHE_CONTROL, TRANSFER_ENCODING};
use rota_api::{ApiError, FieldError, FieldErrorKind, Object, Timestamp};
use serde_json::json;

use super::list::integer;
use super::pod::{self, Connection};
use crate::body::Body;
use crate::front::{Front, Request};
use crate::node_access::{LogOptions, LogStream};
use crate::query::Query;
use crate::reply::{self, Reply};
use crate::stream::{serve, websocket};

const PLAIN_TEXT: &str = "text/plain";

/// Answers a request for a log.
///
/// Errors: 400 and 422 for options and containers, and what the node says.
pub(super) async fn handle(front: &Arc<Front>, request: &mut Request, pod: &Object) -> Result<Reply, ApiError> {
    let options = options(&request.query, front.registry.env().now())?;
    let container = pod::locate(pod, request.query.text("container"), Connection::Log)?;
    let in_messages = websocket::is_wanted(&request.headers);
    let Some(container) = container else {
        if in_messages {
            return serve::log(pod::switch(front, request), futures::stream::empty());
        }
        return Ok(reply::with_type(StatusCode::OK, PLAIN_TEXT, Body::empty()));
    };
    let log = front.nodes.logs(&container, options).await?;
    let ending = front.ending.clone();
    let pieces = futures::StreamExt::take_until(log, async move { ending.cancelled().await });
    if in_messages {
        return serve::log(pod::switch(front, request), pieces);
    }
    let mut reply = reply::with_type(StatusCode::OK, PLAIN_TEXT, Body::stream(pieces));
    reply::set(&mut reply, CACHE_CONTROL, "no-cache, private");
    reply.headers_mut().remove(TRANSFER_ENCODING);
    Ok(reply)
}

/// Reads the options of a request for a log.
///
/// Errors: 400 and 422.
pub(crate) fn options(query: &Query, now: Timestamp) -> Result<LogOptions, ApiError> {
    let mut errors = Vec::new();
    let mut at_least = |name: &str, least: i64, detail: &str| -> Result<Option<i64>, ApiError> {
        let value = integer(query, name)?;
        if let Some(value) = value.filter(|value| *value < least) {
            errors.push(invalid(name, value, detail));
        }
        Ok(value)
    };
    let tail_lines = at_least("tailLines", 0, "must be greater than or equal to 0")?;
    let limit_bytes = at_least("limitBytes", 1, "must be greater than 0")?;
    let since_seconds = at_least("sinceSeconds", 1, "must be greater than 0")?;
    let since_time = match query.text("sinceTime") {
        "" => None,
        text => Some(
            text.parse::<Timestamp>()
                .map_err(|_| ApiError::bad_request(no_time(text)))?,
        ),
    };
    if since_seconds.is_some() && since_time.is_some() {
        let detail = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        errors.push(FieldError::new(FieldErrorKind::Forbidden, "", None, detail));
    }
    let stream = match query.text("stream") {
        "" | "All" => LogStream::All,
        "Stdout" => LogStream::Stdout,
        "Stderr" => LogStream::Stderr,
        other => {
            errors.push(FieldError::new(
                FieldErrorKind::NotSupported,
                "stream",
                Some(&json!(other)),
                "supported values: \"All\", \"Stderr\", \"Stdout\"",
            ));
            LogStream::All
        }
    };
    if stream != LogStream::All && tail_lines.is_some() {
        let detail = "`tailLines` and specific `stream` are mutually exclusive for now";
        errors.push(FieldError::new(FieldErrorKind::Forbidden, "", None, detail));
    }
    if !errors.is_empty() {
        return Err(ApiError::invalid("", "PodLogOptions", "", &errors));
    }
    let since_seconds = since_seconds.and_then(|s| now.checked_sub(jiff::SignedDuration::from_secs(s)).ok());
    Ok(LogOptions {
        follow: query.flag("follow").unwrap_or_default(),
        previous: query.flag("previous").unwrap_or_default(),
        timestamps: query.flag("timestamps").unwrap_or_default(),
        since: since_time.or(since_seconds),
        tail_lines: tail_lines.and_then(|n| n.try_into().ok()),
        limit_bytes: limit_bytes.and_then(|n| n.try_into().ok()),
        stream,
    })
}

/// What upstream's reader of times says.
fn no_time(text: &str) -> String {
    const FORM: &str = "2006-01-02T15:04:05Z07:00";
    format!("parsing time {text:?} as {FORM:?}: cannot parse {text:?} as \"2006\"")
}

fn invalid(path: &str, value: i64, detail: &str) -> FieldError {
    FieldError::new(FieldErrorKind::Invalid, path, Some(&json!(value)), detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_000).unwrap()
    }

    #[test]
    fn seconds_count_back_from_now() {
        let read = options(&Query::parse("sinceSeconds=10&tailLines=5&follow=true"), now()).unwrap();
        assert_eq!(read.since, Timestamp::from_second(990).ok());
        assert_eq!((read.tail_lines, read.follow), (Some(5), true));
    }

    #[test]
    fn options_that_make_no_sense_are_named() {
        for (query, field) in [
            ("tailLines=-1", "tailLines"),
            ("limitBytes=0", "limitBytes"),
            ("sinceSeconds=0", "sinceSeconds"),
            ("stream=Both", "stream"),
        ] {
            let error = options(&Query::parse(query), now()).unwrap_err();
            assert_eq!(error.code(), 422, "{query}");
            assert_eq!(error.details().unwrap()["causes"][0]["field"], field);
        }
    }
}
