//! Patching objects.
//!
//! A patch that names no resource version is made on whatever is there: when another writer was faster, the registry
//! evaluates it afresh. Source: `spec/api.md` §2.5; kubernetes `apiserver/pkg/endpoints/handlers/patch.go`.

use rota_api::{ApiError, PatchKind, Write, patch as patches};
use serde_json::{Value, json};

use super::Draft;
use super::create::create;
use super::update::change;
use crate::session::Session;
use crate::view;

/// Applies a patch to the object, or to the part of it that belongs to `subresource`.
pub(super) fn patch(
    session: &mut Session<'_>,
    write: &Write,
    kind: PatchKind,
    document: &Value,
    subresource: Option<&str>,
) -> Result<Draft, ApiError> {
    let resource = write.resource;
    let place = session.place(resource.stored(), &write.namespace, &write.name);
    let Some(old) = session.value(place) else {
        if kind == PatchKind::Apply && subresource.is_none() {
            let mut empty = json!({"apiVersion": resource.api_version(), "kind": resource.kind,
                "metadata": {"name": write.name}});
            if resource.is_namespaced() {
                empty["metadata"]["namespace"] = write.namespace.as_str().into();
            }
            let object = patches::patch(resource.schema, kind, &empty, document)?;
            return create(session, write, object);
        }
        return Err(ApiError::not_found(resource, &write.name));
    };
    let mut new = if resource == resource.stored() {
        patches::patch(resource.schema, kind, &old, document)?
    } else {
        let mut shown = old.clone();
        view::from_stored(resource, &mut shown);
        patches::patch(resource.schema, kind, &shown, document)?
    };
    view::to_stored(resource, &mut new);
    change(session, write, place, &old, new, subresource)
}
