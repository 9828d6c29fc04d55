//! Paths that are no resource: discovery, versions, health, metrics, keys.
//!
//! Source: `spec/api.md` §1.3, §1.4.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::{ACCEPT, CACHE_CONTROL, ETAG, IF_NONE_MATCH, VARY};
use rota_api::codec::Format;
use rota_api::resource::Served;
use rota_api::{ApiError, discovery};
use serde_json::{Value, json};

use super::{health, method_not_allowed, no_such_path, openapi, reads};
use crate::authentication::token::ISSUER;
use crate::documents::{Document, version};
use crate::front::{Front, Request, not_found_page};
use crate::negotiation::{self, Answer, Route, media_type};
use crate::reply::{self, Reply};

/// The parameters by which clients ask for discovery in one document.
const AGGREGATED: &str = ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Answers a request for a path that is no resource.
///
/// Errors: 404, 405, 406.
pub(super) fn handle(front: &Arc<Front>, request: &Request) -> Result<Reply, ApiError> {
    let path = request.info.path.trim_end_matches('/');
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match parts.as_slice() {
        ["healthz" | "livez" | "readyz", check @ ..] => return Ok(health::handle(front, request, parts[0], check)),
        ["openapi", rest @ ..] => return Ok(openapi::handle(front, request, rest)),
        _ => {}
    }
    let served = front.served;
    let known = matches!(
        parts.as_slice(),
        [] | ["api" | "apis" | "version" | "metrics"]
            | ["openid", "v1", "jwks"]
            | [".well-known", "openid-configuration"]
    ) || matches!(parts.as_slice(), ["api", version] if discovery::resources(served, "", version).is_some())
        || matches!(parts.as_slice(), ["apis", group, ..] if discovery::group(served, group).is_some());
    if !known {
        return if parts.first() == Some(&"api") {
            Err(no_such_path())
        } else {
            Ok(not_found_page())
        };
    }
    // Pages that are no part of the API are shown whatever the method.
    if matches!(parts.first(), Some(&("api" | "apis" | "version"))) && !reads(&request.method) {
        return Err(method_not_allowed());
    }
    match parts.as_slice() {
        [] => index(served, request),
        ["version"] => version_page(request),
        ["metrics"] => Ok(reply::with_type(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            front.metrics.render(),
        )),
        ["openid", ..] => {
            let keys = front.authenticator.tokens().key_set();
            Ok(reply::with_type(
                StatusCode::OK,
                "application/jwk-set+json",
                keys.to_string(),
            ))
        }
        [".well-known", ..] => Ok(reply::with_type(
            StatusCode::OK,
            "application/json",
            issuer().to_string(),
        )),
        ["api"] if wants_aggregated(request) => aggregated(front, request, || discovery::aggregated_core(served)),
        ["apis"] if wants_aggregated(request) => aggregated(front, request, || discovery::aggregated_groups(served)),
        ["api"] => {
            let address = request
                .headers
                .get(http::header::HOST)
                .and_then(|host| host.to_str().ok());
            let value = discovery::versions(served, address.unwrap_or_default());
            let answer = Answer::choose(&request.headers, &request.query, Route::Objects)?;
            reply::value(StatusCode::OK, &value, &answer)
        }
        ["apis"] => shared(front, request, "/apis", || discovery::groups(served)),
        ["api", version] => listed(front, request, path, || discovery::resources(served, "", version)),
        ["apis", group] => listed(front, request, path, || discovery::group(served, group)),
        ["apis", group, version] => listed(front, request, path, || discovery::resources(served, group, version)),
        _ => Err(no_such_path()),
    }
}

/// The paths that exist.
fn index(served: Served, request: &Request) -> Result<Reply, ApiError> {
    let mut paths = vec![
        "/.well-known/openid-configuration".to_owned(),
        "/api".to_owned(),
        "/apis".to_owned(),
    ];
    for resource in served.resources() {
        let version = resource.api_version();
        let prefix = if resource.group.is_empty() { "/api" } else { "/apis" };
        paths.push(format!("{prefix}/{version}"));
        if !resource.group.is_empty() {
            paths.push(format!("/apis/{}", resource.group));
        }
    }
    let others = [
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ];
    paths.extend(others.map(str::to_owned));
    paths.sort();
    paths.dedup();
    let answer = Answer::choose(&request.headers, &request.query, Route::Objects).unwrap_or_default();
    reply::value(
        StatusCode::OK,
        &json!({"paths": paths}),
        &Answer {
            format: Format::Json,
            ..answer
        },
    )
}

/// What those who verify service account tokens themselves need to know.
fn issuer() -> Value {
    json!({
        "issuer": ISSUER,
        "jwks_uri": format!("{ISSUER}/openid/v1/jwks"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })
}

fn listed(front: &Front, request: &Request, name: &str, make: impl Fn() -> Option<Value>) -> Result<Reply, ApiError> {
    if make().is_none() {
        return Err(no_such_path());
    }
    document(front, request, name, || make().unwrap_or_default())
}

fn document(front: &Front, request: &Request, name: &str, make: impl FnOnce() -> Value) -> Result<Reply, ApiError> {
    negotiation::offer(&request.headers, Route::Objects)?;
    shared(front, request, name, make)
}

/// The version, always as JSON in lines of its own: people read it.
///
/// Source: kubernetes `apiserver/pkg/server/routes/version.go`.
fn version_page(request: &Request) -> Result<Reply, ApiError> {
    negotiation::offer(&request.headers, Route::Document)?;
    let answer = Answer {
        pretty: true,
        ..Answer::default()
    };
    reply::value(StatusCode::OK, &version(), &answer)
}

/// A document in the encoding that the client wants.
fn shared(front: &Front, request: &Request, name: &str, make: impl FnOnce() -> Value) -> Result<Reply, ApiError> {
    let answer = Answer::choose(&request.headers, &request.query, Route::Objects)?;
    if answer.pretty {
        return reply::value(StatusCode::OK, &make(), &answer);
    }
    let document = front.documents.value(name, answer.format, make)?;
    Ok(reply::with_type(
        StatusCode::OK,
        media_type(answer.format),
        document.bytes,
    ))
}

fn accept(request: &Request) -> &str {
    request
        .headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .unwrap_or_default()
}

/// The first clause whose form is known decides: the aggregated one, or a plain one.
fn wants_aggregated(request: &Request) -> bool {
    accept(request)
        .split(',')
        .find_map(|clause| {
            aggregated_format(clause)
                .map(|_| true)
                .or((!clause.contains("as=")).then_some(false))
        })
        .unwrap_or_default()
}

/// The encoding of a clause that asks for the aggregated form in the version that is served.
fn aggregated_format(clause: &str) -> Option<Format> {
    let mut parts = clause.split(';').map(str::trim);
    let format = match parts.next()? {
        "application/json" => Format::Json,
        "application/vnd.kubernetes.protobuf" => Format::Protobuf,
        _ => return None,
    };
    let parameters: Vec<&str> = parts.collect();
    ["g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"]
        .iter()
        .all(|wanted| parameters.contains(wanted))
        .then_some(format)
}

fn aggregated(front: &Front, request: &Request, make: impl FnOnce() -> Value) -> Result<Reply, ApiError> {
    let format = accept(request)
        .split(',')
        .find_map(aggregated_format)
        .unwrap_or(Format::Json);
    let name = format!("aggregated {}", request.info.path.trim_end_matches('/'));
    let document = front.documents.value(&name, format, make)?;
    let content_type = format!("{}{AGGREGATED}", media_type(format));
    Ok(cacheable(request, &document, &content_type))
}

/// A reply with a document that clients keep; 304 for those who have it.
fn cacheable(request: &Request, document: &Document, content_type: &str) -> Reply {
    let mut reply = tagged(request, &document.bytes, &document.etag, content_type);
    reply::set(&mut reply, CACHE_CONTROL, "public");
    reply
}

/// A reply with a body that `etag` tells from any other; 304 for those who have it.
pub(super) fn tagged(request: &Request, bytes: &Bytes, etag: &str, content_type: &str) -> Reply {
    let has_it = request
        .headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| tag.trim() == etag || tag.trim() == "*");
    let mut reply = if has_it {
        let mut reply = Reply::new(crate::body::Body::empty());
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
        reply
    } else {
        reply::with_type(StatusCode::OK, content_type, bytes.clone())
    };
    reply::set(&mut reply, ETAG, etag);
    reply::set(&mut reply, VARY, "Accept");
    reply
}
