//! Replies: status, headers and encoded bodies.
//!
//! Objects are written from their shared bytes wherever the client wants JSON as it is stored; only other encodings and
//! forms decode.

use std::collections::HashSet;
use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use rota_api::codec::{self, Format};
use rota_api::{ApiError, Object};
use serde_json::Value;

use crate::body::Body;
use crate::negotiation::{Answer, media_type};

/// A reply as it goes to the client.
pub(crate) type Reply = http::Response<Body>;

/// Bodies longer than this are compressed for clients that understand it. Unit: bytes.
const COMPRESSION_SIZE_MIN: usize = 128 * 1024;

/// Warnings: how long all of them together may be, and each once they are not all sent whole. Unit: characters.
///
/// Source: kubernetes `apiserver/pkg/endpoints/filters/warning.go`.
const WARNINGS_SIZE_MAX: usize = 4096;
const WARNING_SIZE_MAX: usize = 256;

/// A reply of plain text.
pub(crate) fn text(code: StatusCode, text: impl Into<Bytes>) -> Reply {
    with_type(code, "text/plain; charset=utf-8", text.into())
}

/// A reply with a body of that media type.
pub(crate) fn with_type(code: StatusCode, content_type: &str, body: impl Into<Body>) -> Reply {
    let mut reply = Reply::new(body.into());
    *reply.status_mut() = code;
    set(&mut reply, CONTENT_TYPE, content_type);
    reply
}

/// Sets a header; a value that is no header value is left out.
pub(crate) fn set(reply: &mut Reply, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
}

/// A reply with a value: an object, a list, a table, a status.
///
/// Errors: the value cannot be encoded so.
pub(crate) fn value(code: StatusCode, value: &Value, answer: &Answer) -> Result<Reply, ApiError> {
    let body = match answer.format {
        Format::Json if answer.pretty => serde_json::to_vec_pretty(value).map_err(ApiError::internal)?,
        format => codec::encode(value, format)?,
    };
    Ok(encoded(code, body, answer))
}

/// A reply with one object as it is.
///
/// Errors: the object cannot be encoded so.
pub(crate) fn object(code: StatusCode, object: &Arc<Object>, answer: &Answer) -> Result<Reply, ApiError> {
    if answer.format != Format::Json || answer.pretty {
        return value(code, &object.to_value(), answer);
    }
    let mut body = Vec::with_capacity(object.encoded().json.len() + 64);
    object.write_json(&mut body);
    Ok(encoded(code, body, answer))
}

/// A reply with a body that is encoded already. JSON ends with a line break, as upstream's encoder has it.
pub(crate) fn encoded(code: StatusCode, mut body: Vec<u8>, answer: &Answer) -> Reply {
    if answer.format == Format::Json && !answer.pretty {
        body.push(b'\n');
    }
    with_type(code, media_type(answer.format), body)
}

/// A refusal as a reply.
pub(crate) fn error(error: &ApiError, answer: &Answer) -> Reply {
    let code = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let status = error.to_value();
    let mut reply = value(code, &status, answer)
        .or_else(|_| value(code, &status, &Answer::default()))
        .unwrap_or_else(|_| text(code, error.message().to_owned()));
    let after = error
        .details()
        .and_then(|details| details["retryAfterSeconds"].as_i64());
    if let Some(seconds) = after {
        set(&mut reply, RETRY_AFTER, &seconds.to_string());
    }
    reply
}

/// Adds `Warning` headers: each text once; if all of them are too much, each is shortened, and as many are sent as fit.
pub(crate) fn warn(reply: &mut Reply, warnings: &[impl AsRef<str>]) {
    let mut seen = HashSet::new();
    let texts = warnings.iter().map(AsRef::as_ref);
    let mut texts: Vec<&str> = texts.filter(|text| !text.is_empty() && seen.insert(*text)).collect();
    let size = |text: &str| text.chars().count();
    if texts.iter().map(|text| size(text)).sum::<usize>() > WARNINGS_SIZE_MAX {
        let mut left = WARNINGS_SIZE_MAX;
        texts = texts.into_iter().map(shortened).collect();
        texts.retain(|text| match left.checked_sub(size(text)) {
            Some(rest) => {
                left = rest;
                true
            }
            None => {
                left = 0;
                false
            }
        });
    }
    for text in texts {
        let quoted: String = text.chars().flat_map(escaped).collect();
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            reply.headers_mut().append(http::header::WARNING, value);
        }
    }
}

fn escaped(c: char) -> impl Iterator<Item = char> {
    let escape = matches!(c, '"' | '\\').then_some('\\');
    let c = if c.is_control() { ' ' } else { c };
    escape.into_iter().chain(std::iter::once(c))
}

fn shortened(text: &str) -> &str {
    match text.char_indices().nth(WARNING_SIZE_MAX) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// Compresses a long body for a client that understands it.
pub(crate) fn compress(reply: Reply, request: &HeaderMap) -> Reply {
    let accepts = request
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.split(';').next().unwrap_or_default().trim() == "gzip");
    let (mut parts, body) = reply.into_parts();
    let bytes = match body {
        Body::Whole(Some(bytes))
            if accepts && bytes.len() > COMPRESSION_SIZE_MIN && !parts.headers.contains_key(CONTENT_ENCODING) =>
        {
            bytes
        }
        body => return Reply::from_parts(parts, body),
    };
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    let compressed = encoder.write_all(&bytes).and_then(|()| encoder.finish());
    // Writing into memory does not fail; if it ever did, the plain body is as good.
    let Ok(compressed) = compressed else {
        return Reply::from_parts(parts, bytes.into());
    };
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    Reply::from_parts(parts, compressed.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(texts: &[&str]) -> Vec<String> {
        let mut reply = text(StatusCode::OK, "");
        let texts: Vec<String> = texts.iter().map(|t| (*t).to_owned()).collect();
        warn(&mut reply, &texts);
        let values = reply.headers().get_all(http::header::WARNING).iter();
        values
            .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
            .collect()
    }

    #[test]
    fn each_warning_is_sent_once_and_quoted() {
        assert_eq!(
            warnings(&["a \"b\"", "a \"b\"", "c\nd"]),
            [r#"299 - "a \"b\"""#, r#"299 - "c d""#]
        );
    }

    #[test]
    fn warnings_are_cut_once_they_are_too_much_together() {
        let whole = |size: usize| size + "299 - \"\"".len();
        assert_eq!(warnings(&["x".repeat(300).as_str()])[0].len(), whole(300));
        let many: Vec<String> = (0..20).map(|n| format!("{n:300}")).collect();
        let sent = warnings(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!((sent.len(), sent[0].len()), (4096 / 256, whole(256)));
    }

    #[test]
    fn only_long_bodies_are_compressed_and_only_for_those_who_ask() {
        let asks = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("gzip"))]);
        let long = || text(StatusCode::OK, vec![b'a'; COMPRESSION_SIZE_MIN + 1]);
        assert!(compress(long(), &asks).headers().contains_key(CONTENT_ENCODING));
        assert!(
            !compress(long(), &HeaderMap::new())
                .headers()
                .contains_key(CONTENT_ENCODING)
        );
        assert!(
            !compress(text(StatusCode::OK, "a"), &asks)
                .headers()
                .contains_key(CONTENT_ENCODING)
        );
    }
}
