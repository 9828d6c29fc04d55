//! `/openapi/v2` and `/openapi/v3`: the types of objects for clients that check and merge them.
//!
//! Documents of version 3 are addressed by their hash, so that clients keep them for good.
//!
//! Source: `spec/api.md` §1.5; kube-openapi `pkg/handler`, `pkg/handler3`.

use bytes::Bytes;
use http::StatusCode;
use http::header::{ACCEPT, CACHE_CONTROL, EXPIRES, LOCATION};
use jiff::fmt::rfc2822;
use rota_api::openapi::Document;

use super::discovery::tagged;
use crate::front::{Front, Request, not_found_page};
use crate::reply::{self, Reply};

const JSON: &str = "application/json";
const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// The same as clients ask for it.
const V2_PROTOBUF_ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// How long a document under its hash is good. Unit: hours.
const IMMUTABLE_HOURS: i64 = 365 * 24;

/// Answers for the path behind `/openapi`, whatever the method.
pub(super) fn handle(front: &Front, request: &Request, path: &[&str]) -> Reply {
    let documents = &front.openapi;
    match path {
        ["v2"] => match accepted(request, &[JSON, V2_PROTOBUF_ASKED, V2_PROTOBUF]) {
            Some(JSON) => document(request, documents.v2_json(), JSON),
            Some(_) => document(request, documents.v2_protobuf(), V2_PROTOBUF),
            None => empty(StatusCode::NOT_ACCEPTABLE),
        },
        ["v3"] => document(request, documents.v3_index(), "text/plain; charset=utf-8"),
        ["v3", path @ ..] => {
            let path = path.join("/");
            match documents.v3_json(&path) {
                None => empty(StatusCode::NOT_FOUND),
                Some(_) if accepted(request, &[JSON]).is_none() => empty(StatusCode::NOT_ACCEPTABLE),
                Some(found) => by_hash(front, request, &path, found),
            }
        }
        _ => not_found_page(),
    }
}

/// The first media type of the request that is offered.
fn accepted(request: &Request, offered: &[&'static str]) -> Option<&'static str> {
    let accept = request
        .headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .unwrap_or_default();
    if accept.trim().is_empty() {
        return offered.first().copied();
    }
    accept
        .split(',')
        .find_map(|clause| match clause.split(';').next().unwrap_or_default().trim() {
            "*/*" | "application/*" => offered.first().copied(),
            name => offered.iter().copied().find(|offered| *offered == name),
        })
}

fn empty(code: StatusCode) -> Reply {
    let mut reply = Reply::new(crate::body::Body::empty());
    *reply.status_mut() = code;
    reply
}

fn document(request: &Request, document: &Document, content_type: &str) -> Reply {
    let bytes: &Bytes = &document.bytes;
    let mut reply = tagged(request, bytes, &format!("\"{}\"", document.hash), content_type);
    reply::set(&mut reply, CACHE_CONTROL, "no-cache, private");
    reply
}

fn by_hash(front: &Front, request: &Request, path: &str, found: &Document) -> Reply {
    let mut reply = document(request, found, JSON);
    match request.query.get("hash") {
        None => {}
        Some(hash) if hash == found.hash => {
            reply::set(&mut reply, CACHE_CONTROL, "public, immutable");
            let end = front.registry.env().now() + jiff::Span::new().hours(IMMUTABLE_HOURS);
            if let Ok(end) = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&end) {
                reply::set(&mut reply, EXPIRES, &end);
            }
        }
        Some(_) => {
            let right = format!("/openapi/v3/{path}?hash={}", found.hash);
            reply = reply::with_type(StatusCode::MOVED_PERMANENTLY, JSON, Bytes::new());
            reply::set(&mut reply, LOCATION, &right);
        }
    }
    reply
}
