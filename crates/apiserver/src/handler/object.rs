//! Reading one object, or a part of it with a path of its own.

use std::sync::Arc;

use http::StatusCode;
use rota_api::ApiError;
use rota_registry::scale;

use super::{Target, convert};
use crate::front::{Front, Request};
use crate::negotiation::{Answer, Route};
use crate::reply::Reply;

/// Answers `get`.
///
/// Errors: 404, 406, and those of the resource version.
pub(crate) async fn get(front: &Arc<Front>, request: &Request, target: Target) -> Result<Reply, ApiError> {
    let answer = Answer::choose(&request.headers, &request.query, Route::Objects)?;
    let Target { resource, subresource } = target;
    let info = &request.info;
    let version = request.query.text("resourceVersion");
    let namespace = if resource.is_namespaced() {
        info.namespace.as_str()
    } else {
        ""
    };
    let object = front
        .registry
        .get_at_least(resource, namespace, &info.name, version)
        .await?;
    if subresource.is_some_and(|subresource| subresource.name == "scale") {
        let scale = scale::of(&object);
        return convert::scale(front, StatusCode::OK, &scale, &answer, &request.query);
    }
    convert::reply(front, StatusCode::OK, resource, &object, &answer, &request.query)
}
