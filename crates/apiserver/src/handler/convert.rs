//! One object in the form that a client asked for.
//!
//! Source: `spec/api.md` §1.6.

use std::sync::Arc;

use http::StatusCode;
use rota_api::codec::Format;
use rota_api::print::{self, IncludeObject};
use rota_api::{ApiError, Object, Reason, Resource, Revision, Timestamp};
use serde_json::{Value, json};

use super::runs;
use crate::front::Front;
use crate::negotiation::{Answer, Transform};
use crate::query::Query;
use crate::reply::{self, Reply};

/// A reply with one object.
///
/// Errors: 406 when the form is one of lists.
pub(crate) fn reply(
    front: &Front,
    code: StatusCode,
    resource: &'static Resource,
    object: &Arc<Object>,
    answer: &Answer,
    query: &Query,
) -> Result<Reply, ApiError> {
    match &answer.transform {
        Transform::None => reply::object(code, object, answer),
        Transform::Partial(version) if answer.format == Format::Json && !answer.pretty => {
            let mut body = Vec::new();
            object.write_partial(&mut body, version);
            Ok(reply::encoded(code, body, answer))
        }
        Transform::Partial(version) => reply::value(code, &partial(object, version), answer),
        Transform::PartialList(_) => Err(ApiError::new(
            Reason::NotAcceptable,
            format!(
                "you requested PartialObjectMetadataList, but the requested object is not a list (*{}.{})",
                internal_group(resource),
                resource.kind
            ),
        )),
        Transform::Table(version) => {
            let objects = std::slice::from_ref(object);
            let mut table = table(resource, objects, version, query, front.registry.env().now())?;
            runs::add(front, resource, objects, answer, &mut table);
            // What is not stored has no version.
            table["metadata"] = match object.revision() {
                Revision(0) => json!({}),
                revision => json!({"resourceVersion": revision.to_string()}),
            };
            reply::value(code, &table, answer)
        }
    }
}

/// A reply with the scale of a workload.
///
/// Errors: 406 when the form is one of lists.
pub(crate) fn scale(
    front: &Front,
    code: StatusCode,
    scale: &Value,
    answer: &Answer,
    query: &Query,
) -> Result<Reply, ApiError> {
    let shown = match &answer.transform {
        Transform::None => return reply::value(code, scale, answer),
        Transform::Partial(version) => json!({
            "kind": "PartialObjectMetadata",
            "apiVersion": format!("meta.k8s.io/{version}"),
            "metadata": scale["metadata"],
        }),
        Transform::PartialList(_) => {
            let message =
                "you requested PartialObjectMetadataList, but the requested object is not a list (*autoscaling.Scale)";
            return Err(ApiError::new(Reason::NotAcceptable, message));
        }
        Transform::Table(version) => {
            let table = print::scale_table(scale, include(query)?, front.registry.env().now());
            let mut table = headed(table, version, query);
            table["metadata"] = json!({"resourceVersion": scale["metadata"]["resourceVersion"]});
            table
        }
    };
    reply::value(code, &shown, answer)
}

/// A table of objects, without list metadata.
///
/// Errors: 400 when the query asks for rows of a kind that does not exist.
pub(crate) fn table(
    resource: &'static Resource,
    objects: &[Arc<Object>],
    version: &str,
    query: &Query,
    now: Timestamp,
) -> Result<Value, ApiError> {
    let table = print::table(resource, objects, include(query)?, now);
    Ok(headed(table, version, query))
}

/// How much of each object its row holds.
///
/// Errors: 400.
fn include(query: &Query) -> Result<IncludeObject, ApiError> {
    match query.text("includeObject") {
        "" | "Metadata" => Ok(IncludeObject::Metadata),
        "None" => Ok(IncludeObject::None),
        "Object" => Ok(IncludeObject::Object),
        other => Err(ApiError::bad_request(format!(
            "unrecognized includeObject value: {other:?}"
        ))),
    }
}

fn headed(mut table: Value, version: &str, query: &Query) -> Value {
    let api_version = Value::from(format!("meta.k8s.io/{version}"));
    for row in table["rows"].as_array_mut().into_iter().flatten() {
        let object = &mut row["object"];
        if object["kind"] == "PartialObjectMetadata" {
            object["apiVersion"] = api_version.clone();
        }
    }
    table["apiVersion"] = api_version;
    if query.flag("noHeaders").unwrap_or_default() {
        table["columnDefinitions"] = Value::Null;
    }
    table
}

/// The metadata of an object, as a value.
pub(crate) fn partial(object: &Object, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": object.metadata_alone(),
    })
}

/// The group as upstream's messages name it: its first part, `core` for the group without a name.
pub(crate) fn internal_group(resource: &Resource) -> &'static str {
    match resource.group.split('.').next() {
        None | Some("") => "core",
        Some(name) => name,
    }
}
