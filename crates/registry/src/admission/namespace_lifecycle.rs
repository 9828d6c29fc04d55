//! Objects are created only in namespaces that exist and are not being deleted.
//!
//! Source: kubernetes `apiserver/pkg/admission/plugin/namespace/lifecycle`.

use rota_api::{ApiError, Resource, resource};
use serde_json::{Value, json};

use crate::fields::{self, text};
use crate::session::Session;

/// Refuses a new object whose namespace is missing or terminating. The commit then depends on the namespace as it is: nothing
/// is created in one that is marked for deletion a moment earlier.
pub(crate) fn namespace_is_open(
    session: &mut Session<'_>,
    resource: &'static Resource,
    value: &Value,
) -> Result<(), ApiError> {
    if !resource.is_namespaced() {
        return Ok(());
    }
    let namespace = text(value, "namespace");
    let place = session.place(resource::NAMESPACES, "", namespace);
    let terminating = match session.unchanged(place) {
        Some(object) => object.meta().deleting.is_some() || object.meta().phase == "Terminating",
        None => match session.value(place) {
            Some(value) => fields::is_deleting(&value),
            None => return Err(ApiError::not_found(resource::NAMESPACES, namespace)),
        },
    };
    if !terminating {
        return Ok(());
    }
    let message = format!("namespace {namespace} is being terminated");
    let denied = super::deny(
        resource,
        value,
        format!("unable to create new content in namespace {namespace} because it is being terminated"),
    );
    let mut details = denied.details().cloned().unwrap_or_else(|| json!({}));
    details["causes"] = json!([{"reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace"}]);
    Err(denied.with_details(details))
}
