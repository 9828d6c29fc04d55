//! Lists: options from the query, and the objects in the form that the client asked for.
//!
//! A list in JSON is put together from the shared bytes of its objects; nothing is decoded.
//!
//! Source: `spec/api.md` §1.9.

use std::sync::Arc;

use http::StatusCode;
use rota_api::codec::Format;
use rota_api::{ApiError, Object, Reason, Resource};
use rota_registry::{ListOptions, Listing};
use serde_json::{Map, Value, json};

use super::{convert, runs};
use crate::front::{Front, Request};
use crate::negotiation::{Answer, Route, Transform};
use crate::query::Query;
use crate::reply::{self, Reply};

/// Answers `list`.
///
/// Errors: those of the options, 406, 410.
pub(crate) async fn handle(
    front: &Arc<Front>,
    request: &Request,
    resource: &'static Resource,
) -> Result<Reply, ApiError> {
    let answer = Answer::choose(&request.headers, &request.query, Route::ObjectsAndEvents)?;
    let options = options(request)?;
    if !resource.is_stored() {
        let none = Listing {
            items: Vec::new(),
            revision: front.registry.revision(),
            continue_token: None,
            remaining: None,
        };
        return reply(front, resource, &none, &answer, &request.query);
    }
    let listing = front.registry.list(resource, &options).await?;
    reply(front, resource, &listing, &answer, &request.query)
}

/// The options of a list in its query.
///
/// Errors: 400 for numbers that are none.
pub(crate) fn options(request: &Request) -> Result<ListOptions, ApiError> {
    let query = &request.query;
    let limit = integer(query, "limit")?.unwrap_or_default();
    integer(query, "timeoutSeconds")?;
    Ok(ListOptions {
        namespace: namespace(request),
        labels: query.text("labelSelector").to_owned(),
        fields: query.text("fieldSelector").to_owned(),
        // A negative limit is none.
        limit: usize::try_from(limit).unwrap_or_default(),
        continue_token: query.text("continue").to_owned(),
        resource_version: query.text("resourceVersion").to_owned(),
        resource_version_match: query.text("resourceVersionMatch").to_owned(),
        send_initial_events: query.flag("sendInitialEvents"),
    })
}

/// The namespace a collection is limited to.
pub(crate) fn namespace(request: &Request) -> Option<String> {
    Some(request.info.namespace.clone()).filter(|namespace| !namespace.is_empty())
}

/// A whole number in the query.
///
/// Errors: 400 with the words of upstream's number parser.
pub(crate) fn integer(query: &Query, name: &str) -> Result<Option<i64>, ApiError> {
    query.integer(name).map_err(|text| {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(&text);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let why = if is_number {
            "value out of range"
        } else {
            "invalid syntax"
        };
        ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: {why}"))
    })
}

/// A reply with a list.
///
/// Errors: 406 when the form is one of single objects.
pub(crate) fn reply(
    front: &Front,
    resource: &'static Resource,
    listing: &Listing,
    answer: &Answer,
    query: &Query,
) -> Result<Reply, ApiError> {
    let kind = format!("{}List", resource.kind);
    let as_json = answer.format == Format::Json && !answer.pretty;
    match &answer.transform {
        Transform::None if as_json => {
            let body = write(&kind, &resource.api_version(), listing, Object::write_item);
            Ok(reply::encoded(StatusCode::OK, body, answer))
        }
        Transform::None => {
            let items = listing.items.iter().map(|object| untyped(object.to_value())).collect();
            let list = assemble(&kind, &resource.api_version(), listing, items);
            reply::value(StatusCode::OK, &list, answer)
        }
        Transform::PartialList(version) if as_json => {
            let api_version = format!("meta.k8s.io/{version}");
            let body = write("PartialObjectMetadataList", &api_version, listing, |object, out| {
                object.write_partial(out, version);
            });
            Ok(reply::encoded(StatusCode::OK, body, answer))
        }
        Transform::PartialList(version) => {
            let items = listing
                .items
                .iter()
                .map(|object| convert::partial(object, version))
                .collect();
            let api_version = format!("meta.k8s.io/{version}");
            let list = assemble("PartialObjectMetadataList", &api_version, listing, items);
            reply::value(StatusCode::OK, &list, answer)
        }
        Transform::Partial(_) => Err(ApiError::new(
            Reason::NotAcceptable,
            format!(
                "you requested PartialObjectMetadata, but the requested object is a list (*{}.{kind})",
                convert::internal_group(resource)
            ),
        )),
        Transform::Table(version) => {
            let now = front.registry.env().now();
            let mut table = convert::table(resource, &listing.items, version, query, now)?;
            runs::add(front, resource, &listing.items, answer, &mut table);
            table["metadata"] = metadata(listing);
            reply::value(StatusCode::OK, &table, answer)
        }
    }
}

fn write(kind: &str, api_version: &str, listing: &Listing, item: impl Fn(&Object, &mut Vec<u8>)) -> Vec<u8> {
    let size: usize = listing
        .items
        .iter()
        .map(|object| object.encoded().json.len() + 48)
        .sum();
    let mut out = Vec::with_capacity(size + 256);
    let head = format!(
        "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{},\"items\":[",
        Value::from(kind),
        Value::from(api_version),
        metadata(listing)
    );
    out.extend_from_slice(head.as_bytes());
    for (index, object) in listing.items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        item(object, &mut out);
    }
    out.extend_from_slice(b"]}");
    out
}

fn assemble(kind: &str, api_version: &str, listing: &Listing, items: Vec<Value>) -> Value {
    let mut list = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata(listing)});
    list["items"] = Value::Array(items);
    list
}

fn metadata(listing: &Listing) -> Value {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".to_owned(), listing.revision.to_string().into());
    if let Some(token) = &listing.continue_token {
        metadata.insert("continue".to_owned(), token.as_str().into());
    }
    if let Some(remaining) = listing.remaining {
        metadata.insert("remainingItemCount".to_owned(), remaining.into());
    }
    Value::Object(metadata)
}

fn untyped(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    object
}
