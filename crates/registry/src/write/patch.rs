//! Patching objects.
//!
//! A patch that names no resource version is made on whatever is there: when another writer was faster, the registry
//! evaluates it afresh. Source: `spec/api.md` §2.5; kubernetes `apiserver/pkg/endpoints/handlers/patch.go`.

use rota_api::codec::Decoded;
use rota_api::{ApiError, PatchKind, Resource, Write, patch as patches};
use serde_json::{Value, json};

use super::Draft;
use super::create::{check_namespace, create};
use super::update::{change, check_name};
use crate::caller::Caller;
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
    let Decoded {
        value: mut new,
        warnings,
    } = if resource == resource.stored() {
        patched(session.caller, resource, kind, &old, document)?
    } else {
        let mut shown = old.clone();
        view::from_stored(resource, &mut shown);
        patched(session.caller, resource, kind, &shown, document)?
    };
    view::to_stored(resource, &mut new);
    check_name(&write.name, &new)?;
    check_namespace(resource, &write.namespace, &new)?;
    let mut draft = change(session, write, place, &old, new, subresource)?;
    draft.warnings.splice(0..0, warnings);
    Ok(draft)
}

/// The patched object, still of its kind, in the form of its type if the caller wants that checked.
fn patched(
    caller: &Caller,
    resource: &Resource,
    kind: PatchKind,
    object: &Value,
    document: &Value,
) -> Result<Decoded, ApiError> {
    let decoded = match caller.field_validation {
        None => Decoded {
            value: patches::patch(resource.schema, kind, object, document)?,
            warnings: Vec::new(),
        },
        Some(validation) => patches::patched(
            resource.schema,
            kind,
            object,
            document,
            &caller.repeated_fields,
            validation,
        )?,
    };
    let text = |field: &str| decoded.value[field].as_str().unwrap_or_default();
    if (text("kind"), text("apiVersion")) == (resource.kind, resource.api_version().as_str()) {
        return Ok(decoded);
    }
    if text("kind").is_empty() && decoded.value["metadata"]["name"].is_null() {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )));
    }
    let why = format!(
        "no kind {:?} is registered for version {:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
        text("kind"),
        text("apiVersion")
    );
    Err(patches::unfit(document, &why))
}
