//! `metadata.managedFields`: recording whose fields a write changes, and server-side apply, which decides by the record.
//!
//! Objects are compared in the form they are written in. Ownership is recorded from an object's creation on, except for
//! objects that the control plane makes for itself (see [`Caller::creates_unowned`]): those have no owners until somebody
//! applies to them, as upstream has it for objects older than the record. The rules themselves are `rota_api::apply`'s.
//!
//! Source: `spec/api.md` §2.5; kubernetes `apiserver/pkg/endpoints/handlers/{create,update,patch}.go`.
//!
//! [`Caller::creates_unowned`]: crate::Caller::creates_unowned

use rota_api::apply::{self, Writer};
use rota_api::codec::{self, Decoded, FieldValidation};
use rota_api::{ApiError, Change, PatchKind, Reason, Resource, Write};
use serde_json::Value;

use crate::fields::metadata;
use crate::session::Session;
use crate::view;

/// Gives `new` (decoded and defaulted, in the stored form) its owners; `old` is `None` when the object is created.
pub(super) fn record(
    session: &Session<'_>,
    write: &Write,
    old: Option<&Value>,
    new: &mut Value,
    subresource: Option<&str>,
) {
    if is_apply(&write.change) {
        return;
    }
    if old.is_none() && session.caller.creates_unowned {
        metadata(new).remove("managedFields");
        return;
    }
    let resource = write.resource;
    let api_version = resource.api_version();
    let writer = writer(session, &api_version, subresource);
    if resource == resource.stored() {
        *new = apply::track(resource.schema, old, std::mem::take(new), &writer);
        return;
    }
    let shown = |value: &Value| {
        let mut value = value.clone();
        view::from_stored(resource, &mut value);
        value
    };
    let mut tracked = apply::track(resource.schema, old.map(shown).as_ref(), shown(new), &writer);
    match metadata(&mut tracked).remove("managedFields") {
        Some(owners) => drop(metadata(new).insert("managedFields".to_owned(), owners)),
        None => drop(metadata(new).remove("managedFields")),
    }
}

/// Merges an apply configuration into `live` (`None`: the object is to be created), both in the form of the request.
///
/// Errors: those of [`apply::apply`]; 400 for repeated fields under strict validation.
pub(super) fn merged(
    session: &Session<'_>,
    resource: &Resource,
    live: Option<&Value>,
    config: &Value,
    subresource: Option<&str>,
) -> Result<Decoded, ApiError> {
    let caller = session.caller;
    let validation = caller.field_validation.unwrap_or(FieldValidation::Ignore);
    if validation == FieldValidation::Strict && !caller.repeated_fields.is_empty() {
        return Err(ApiError::bad_request(format!(
            "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  {}",
            caller.repeated_fields.join("\n  ")
        )));
    }
    let api_version = resource.api_version();
    let writer = writer(session, &api_version, subresource);
    let merged = apply::apply(resource.schema, live, config, &writer, caller.force)?;
    let mut decoded = codec::conform(resource.schema, merged, validation)
        .map_err(|error| ApiError::new(Reason::Unknown, error.to_string()))?;
    if validation == FieldValidation::Warn {
        let repeated = caller.repeated_fields.iter().cloned();
        decoded.warnings.splice(0..0, repeated);
    }
    Ok(decoded)
}

/// Refuses an apply configuration that does not fit `schema`, the type of a subresource.
///
/// Errors: those of [`apply::apply`].
pub(super) fn check_config(
    session: &Session<'_>,
    schema: &str,
    api_version: &str,
    config: &Value,
) -> Result<(), ApiError> {
    apply::apply(schema, None, config, &writer(session, api_version, None), false).map(drop)
}

/// True for the writes whose owners [`merged`] settles.
fn is_apply(change: &Change) -> bool {
    matches!(
        change,
        Change::Patch {
            kind: PatchKind::Apply,
            ..
        }
    )
}

fn writer<'a>(session: &'a Session<'_>, api_version: &'a str, subresource: Option<&'a str>) -> Writer<'a> {
    Writer {
        manager: &session.caller.field_manager,
        api_version,
        subresource,
        now: session.now,
    }
}
