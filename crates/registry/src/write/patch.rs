//! Patching objects.
//!
//! A patch that names no resource version is made on whatever is there: when another writer was faster, the registry
//! evaluates it afresh. Source: `spec/api.md` §2.5; kubernetes `apiserver/pkg/endpoints/handlers/patch.go`.

use rota_api::codec::{Decoded, FieldValidation};
use rota_api::scheme::{self, Mismatch};
use rota_api::{ApiError, PatchKind, Resource, Write, owners, patch as patches};
use serde_json::Value;

use super::create::{check_namespace, create};
use super::update::{change, check_name};
use super::{Draft, ownership};
use crate::caller::Caller;
use crate::fields::{metadata, text};
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
            return create_by_apply(session, write, document);
        }
        return Err(ApiError::not_found(resource, &write.name));
    };
    let Decoded {
        value: mut new,
        mut warnings,
    } = if resource == resource.stored() {
        changed(session, resource, kind, &old, document, subresource)?
    } else {
        let mut shown = old.clone();
        view::from_stored(resource, &mut shown);
        changed(session, resource, kind, &shown, document, subresource)?
    };
    view::to_stored(resource, &mut new);
    check_name(&write.name, &new)?;
    check_namespace(resource, &write.namespace, &new)?;
    warnings.extend(owners::drop_repeated(&mut new, " after mutating admission happens"));
    let mut draft = change(session, write, place, &old, new, subresource)?;
    draft.warnings.splice(0..0, warnings);
    Ok(draft)
}

/// Creates the object of an apply configuration that nothing is there for yet.
fn create_by_apply(session: &mut Session<'_>, write: &Write, config: &Value) -> Result<Draft, ApiError> {
    let Decoded { mut value, warnings } = ownership::merged(session, write.resource, None, config, None)?;
    check_name(&write.name, &value)?;
    let uid = text(&value, "uid");
    if !uid.is_empty() {
        let why = format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
        return Err(ApiError::conflict(write.resource, &write.name, &why));
    }
    metadata(&mut value).remove("resourceVersion");
    let mut draft = create(session, write, value)?;
    draft.warnings.splice(0..0, warnings);
    Ok(draft)
}

/// What becomes of `object`, in the form of the request.
fn changed(
    session: &Session<'_>,
    resource: &Resource,
    kind: PatchKind,
    object: &Value,
    document: &Value,
    subresource: Option<&str>,
) -> Result<Decoded, ApiError> {
    match kind {
        PatchKind::Apply => ownership::merged(session, resource, Some(object), document, subresource),
        _ => {
            let api_version = resource.api_version();
            let form = Form {
                schema: resource.schema,
                kind: resource.kind,
                api_version: &api_version,
            };
            patched(session.caller, &form, kind, object, document)
        }
    }
}

/// The form that the result of a patch must have: that of the object, or that of a subresource.
pub(super) struct Form<'a> {
    pub(super) schema: &'a str,
    pub(super) kind: &'a str,
    pub(super) api_version: &'a str,
}

/// True for a list or a map without elements, which the form of a type leaves out.
fn is_empty(field: &Value) -> bool {
    field.as_array().is_some_and(Vec::is_empty) || field.as_object().is_some_and(serde_json::Map::is_empty)
}

/// The patched object, still of its kind, in the form of its type if the caller wants that checked.
pub(super) fn patched(
    caller: &Caller,
    form: &Form<'_>,
    kind: PatchKind,
    object: &Value,
    document: &Value,
) -> Result<Decoded, ApiError> {
    let mut value = patches::patch(form.schema, kind, object, document)?;
    let text = |field: &str| value[field].as_str().unwrap_or_default();
    if kind == PatchKind::Strategic {
        // Works on the fields of the type, and what the result is called is not one of them.
        value["kind"] = form.kind.into();
        value["apiVersion"] = form.api_version.into();
    } else if text("apiVersion").is_empty() && matches!(text("kind"), kind if kind.is_empty() || kind == form.kind) {
        // Upstream reads such an object into its own form, which has other names for all fields.
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )));
    } else {
        if text("kind").is_empty() {
            value["kind"] = form.kind.into();
        }
        let text = |field: &str| value[field].as_str().unwrap_or_default();
        match scheme::mismatch((text("apiVersion"), text("kind")), (form.api_version, form.kind)) {
            None => {}
            Some(Mismatch::Version) => value["apiVersion"] = form.api_version.into(),
            Some(Mismatch::Unknown(why)) => return Err(patches::unfit(document, &why)),
            Some(Mismatch::Unrelated(why)) => {
                // Read as what it says it is first, as upstream does.
                if let Some(other) = scheme::type_of(text("apiVersion"), text("kind")) {
                    patches::fitted(other, kind, value, document, &[], FieldValidation::Ignore)?;
                }
                return Err(patches::unfit(document, &why));
            }
        }
    }
    match caller.field_validation {
        None => {
            // Writers in this process know the form of a type, but not what their patch leaves of a list.
            metadata(&mut value).retain(|_, field| !is_empty(field));
            Ok(Decoded {
                value,
                warnings: Vec::new(),
            })
        }
        Some(validation) => patches::fitted(form.schema, kind, value, document, &caller.repeated_fields, validation),
    }
}
