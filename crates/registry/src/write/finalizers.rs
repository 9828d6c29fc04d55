//! Patches of finalizers alone, without a look at the rest of the object.
//!
//! A Job lets go of each of its pods when it has counted it: of all writes of a cluster that runs Jobs this is one in five.
//! No rule relates finalizers to spec or status, so only the metadata is read, changed and written; the other bytes stay as
//! they are. Whatever is not that simple goes the way of every patch ([`super::patch`]), with the same outcome.

use std::sync::Arc;

use rota_api::{ApiError, Change, PatchKind, Write, patch as patches, resource, validate};
use serde_json::Value;

use super::update::{check_precondition, is_finished};
use super::{Draft, Effect};
use crate::fields::{metadata, text};
use crate::session::Session;

/// What a strategic merge patch can say about the finalizers of an object, beside naming them.
const DIRECTIVES: [&str; 2] = ["$deleteFromPrimitiveList/finalizers", "$setElementOrder/finalizers"];

/// Makes the change if it is one of finalizers alone, by a writer that is known to write the right fields.
///
/// Errors: the precondition does not hold. Any other refusal is left to the long way.
pub(super) fn patch(session: &mut Session<'_>, write: &Write) -> Result<Option<Draft>, ApiError> {
    let resource = write.resource;
    let caller = session.caller;
    let Change::Patch {
        kind: kind @ (PatchKind::Merge | PatchKind::Strategic),
        patch: document,
        subresource: None,
    } = &write.change
    else {
        return Ok(None);
    };
    if !is_about_finalizers(document, *kind)
        || resource != resource.stored()
        || resource == resource::NAMESPACES
        || caller.field_validation.is_some()
        || caller.node().is_some()
    {
        return Ok(None);
    }
    let place = session.place(resource, &write.namespace, &write.name);
    let Some(before) = session.unchanged(place).cloned() else {
        return Ok(None);
    };
    let Some(old) = before.head() else { return Ok(None) };
    // Where owners of fields are recorded, the change has one.
    if !old["metadata"]["managedFields"].is_null() {
        return Ok(None);
    }
    let Ok(mut new) = patches::patch(resource.schema, *kind, &old, document) else {
        return Ok(None);
    };
    check_precondition(write, text(&old, "uid"), before.revision())?;
    if new["metadata"]["finalizers"].as_array().is_some_and(Vec::is_empty) {
        metadata(&mut new).remove("finalizers");
    }
    if !validate::update_metadata(resource, &new, &old).is_empty() {
        return Ok(None);
    }
    let mut draft = Draft::new(resource, place, Effect::Changed);
    if is_finished(resource, &new) {
        draft.effect = Effect::Removed;
        let last = before.encoded().with_metadata(&new["metadata"]);
        draft.shown = Some((Arc::new(last), before.revision()));
        session.remove(place, None);
    } else if new == old {
        draft.effect = Effect::Unchanged;
    } else {
        session.set_metadata(place, new["metadata"].take());
    }
    Ok(Some(draft))
}

fn is_about_finalizers(document: &Value, kind: PatchKind) -> bool {
    let is_known =
        |member: &str| member == "finalizers" || (kind == PatchKind::Strategic && DIRECTIVES.contains(&member));
    let only = document.as_object().filter(|members| members.len() == 1);
    only.and_then(|members| members.get("metadata"))
        .and_then(Value::as_object)
        .is_some_and(|metadata| metadata.keys().all(|member| is_known(member)))
}
