//! Replacing objects, and what replacing and patching have in common.
//!
//! Source: `spec/api.md` §2.3; kubernetes `apiserver/pkg/registry/rest/update.go`, `generic/registry/store.go`.

use std::sync::Arc;

use rota_api::object::Encoded;
use rota_api::{
    ApiError, FieldError, FieldErrorKind, Precondition, Reason, Resource, Revision, Write, codec, defaults, resource,
    strategy, validate,
};
use serde_json::{Value, json};

use super::create::{check_namespace, create};
use super::{Draft, Effect, ownership, precondition};
use crate::fields::{self, metadata, text};
use crate::session::{Place, Session};
use crate::{admission, view};

/// Kinds of which a PUT to a name that does not exist creates the object.
const CREATED_ON_UPDATE: &[&Resource] = &[
    resource::SERVICES,
    resource::ENDPOINTS,
    resource::EVENTS,
    resource::LIMIT_RANGES,
    resource::LEASES,
    resource::ROLES,
    resource::ROLE_BINDINGS,
    resource::CLUSTER_ROLES,
    resource::CLUSTER_ROLE_BINDINGS,
    resource::RUNTIME_CLASSES,
];

/// Kinds of which a PUT must say which revision it replaces.
const UPDATED_BY_REVISION_ONLY: &[&Resource] = &[
    resource::LEASES,
    resource::RUNTIME_CLASSES,
    resource::POD_DISRUPTION_BUDGETS,
    resource::CSI_NODES,
    resource::CSI_DRIVERS,
    resource::VOLUME_ATTACHMENTS,
];

/// Replaces the object, or the part of it that belongs to `subresource`.
pub(super) fn put(
    session: &mut Session<'_>,
    write: &Write,
    mut body: Value,
    subresource: Option<&str>,
) -> Result<Draft, ApiError> {
    let resource = write.resource;
    let stored = resource.stored();
    check_name(&write.name, &body)?;
    check_namespace(resource, &write.namespace, &body)?;
    let place = session.place(stored, &write.namespace, &write.name);
    let Some(old) = session.value(place) else {
        if subresource.is_none() && CREATED_ON_UPDATE.contains(&stored) {
            return create_by_put(session, write, body);
        }
        return Err(ApiError::not_found(resource, &write.name));
    };
    let meant = Precondition {
        uid: Some(text(&body, "uid").to_owned()).filter(|uid| !uid.is_empty()),
        ..Precondition::default()
    };
    let revision = session.revision(place);
    precondition::check_write(
        resource,
        &write.namespace,
        &write.name,
        &meant,
        text(&old, "uid"),
        revision,
    )?;
    let named = named_revision(&body)?.or(write.precondition.revision);
    if named.is_none() && UPDATED_BY_REVISION_ONLY.contains(&stored) {
        return Err(unconditional(resource, &write.name));
    }
    view::to_stored(resource, &mut body);
    change(session, write, place, &old, body, subresource)
}

fn create_by_put(session: &mut Session<'_>, write: &Write, mut body: Value) -> Result<Draft, ApiError> {
    if let Some(revision) = named_revision(&body)?
        && revision > Revision(0)
    {
        return Err(ApiError::not_found(write.resource, &write.name));
    }
    metadata(&mut body).remove("resourceVersion");
    create(session, write, body)
}

/// Makes `old` become `new` (both in the stored form, `old` with its resource version), or refuses it.
pub(super) fn change(
    session: &mut Session<'_>,
    write: &Write,
    place: Place,
    old: &Value,
    mut new: Value,
    subresource: Option<&str>,
) -> Result<Draft, ApiError> {
    let resource = write.resource;
    let stored = resource.stored();
    let revision = session.revision(place);
    let uid = text(old, "uid");
    if let Some(named) = named_revision(&new)?
        && named != revision
    {
        return Err(ApiError::modified(resource, &write.name));
    }
    check_precondition(write, uid, revision)?;
    if stored == resource::NAMESPACES && subresource == Some("finalize") {
        new = with_finalizers_of(old, &new);
    }
    defaults::apply(stored, &mut new);
    ownership::record(session, write, Some(old), &mut new, subresource);
    // A scale is a way to write the object itself; only its owners are told apart.
    let subresource = subresource.filter(|name| *name != "scale");
    keep_system_fields(&mut new, old);
    admission::change_update(session, stored, &mut new, old, subresource)?;
    strategy::prepare_update(stored, &mut new, old, subresource);
    let checks = &session.registry.settings().checks;
    let errors = match resource == stored {
        true => validate::update(stored, &new, old, subresource, checks),
        false => {
            let (mut shown, mut shown_old) = (new.clone(), old.clone());
            view::from_stored(resource, &mut shown);
            view::from_stored(resource, &mut shown_old);
            validate::update(resource, &shown, &shown_old, subresource, checks)
        }
    };
    if !errors.is_empty() {
        return Err(ApiError::invalid(
            resource.stored_group,
            resource.kind,
            &write.name,
            &errors,
        ));
    }
    let remarks = admission::check_update(session, stored, &new, old, subresource)?;
    if !session.caller.dry_run {
        // Not stored; a rehearsal shows what it was sent.
        metadata(&mut new).remove("selfLink");
    }
    fields::set_resource_version(&mut new, revision);
    codec::settle(stored.schema, &mut new);
    let mut draft = Draft::new(resource, place, Effect::Changed);
    draft.warnings = strategy::warnings(stored, &new, Some(old), subresource);
    draft.warnings.extend(remarks);
    if is_finished(stored, &new) {
        draft.effect = Effect::Removed;
        // The answer shows what was asked for; watchers are shown what was stored last, as upstream does.
        draft.shown = Some((Arc::new(Encoded::new(stored, new)), revision));
        session.remove(place, None);
    } else if new == *old || differs_in_times_only(&new, old) {
        draft.effect = Effect::Unchanged;
    } else {
        session.set(place, new);
    }
    Ok(draft)
}

/// Refuses a write whose precondition does not hold.
pub(super) fn check_precondition(write: &Write, uid: &str, revision: Revision) -> Result<(), ApiError> {
    if write.precondition.revision.is_some_and(|meant| meant != revision) {
        return Err(ApiError::modified(write.resource, &write.name));
    }
    precondition::check_write(
        write.resource,
        &write.namespace,
        &write.name,
        &write.precondition,
        uid,
        revision,
    )
}

/// True when an object that is being deleted has nothing left to wait for.
///
/// Source: kubernetes `generic/registry/store.go`, `ShouldDeleteDuringUpdate`; `core/namespace/storage`.
pub(super) fn is_finished(resource: &'static Resource, value: &Value) -> bool {
    fields::is_deleting(value)
        && fields::finalizers(value).next().is_none()
        && value["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && (resource != resource::NAMESPACES || value["spec"]["finalizers"].as_array().is_none_or(Vec::is_empty))
}

/// What a client sends for fields that only the server sets does not count. A deletion that it makes up stays in `new` for
/// the validation to refuse.
fn keep_system_fields(new: &mut Value, old: &Value) {
    let metadata = metadata(new);
    for kept in ["creationTimestamp", "generation"] {
        match &old["metadata"][kept] {
            Value::Null => drop(metadata.remove(kept)),
            value => drop(metadata.insert(kept.to_owned(), value.clone())),
        }
    }
    if let Some(deleted) = old["metadata"].get("deletionTimestamp") {
        metadata.insert("deletionTimestamp".to_owned(), deleted.clone());
    }
    if let Some(grace) = old["metadata"].get("deletionGracePeriodSeconds") {
        metadata
            .entry("deletionGracePeriodSeconds")
            .or_insert_with(|| grace.clone());
    }
    for filled in ["uid", "name", "namespace"] {
        if metadata.get(filled).and_then(Value::as_str).is_none_or(str::is_empty)
            && let Some(value) = old["metadata"].get(filled)
        {
            metadata.insert(filled.to_owned(), value.clone());
        }
    }
}

/// True when the objects are the same but for the times of `managedFields`: a write that repeats what is there changes
/// nothing. Source: `apimachinery/pkg/util/managedfields`, kubernetes `handlers/fieldmanager/equality.go`.
fn differs_in_times_only(new: &Value, old: &Value) -> bool {
    fn same_but_for(new: &Value, old: &Value, field: &str, same: fn(&Value, &Value) -> bool) -> bool {
        let (Value::Object(new), Value::Object(old)) = (new, old) else {
            return false;
        };
        new.len() == old.len()
            && new.iter().all(|(key, value)| {
                old.get(key).is_some_and(|other| match key == field {
                    true => value == other || same(value, other),
                    false => value == other,
                })
            })
    }
    same_but_for(new, old, "metadata", |new, old| {
        same_but_for(new, old, "managedFields", |new, old| match (new, old) {
            (Value::Array(new), Value::Array(old)) => {
                let same = |(new, old)| same_but_for(new, old, "time", |_, _| true);
                new.len() == old.len() && new.iter().zip(old).all(same)
            }
            _ => false,
        })
    })
}

/// `/finalize` of a namespace changes `spec.finalizers` and nothing else.
fn with_finalizers_of(old: &Value, new: &Value) -> Value {
    let mut result = old.clone();
    let spec = fields::object(&mut result, "spec");
    match &new["spec"]["finalizers"] {
        Value::Null => drop(spec.remove("finalizers")),
        finalizers => drop(spec.insert("finalizers".to_owned(), finalizers.clone())),
    }
    result
}

fn named_revision(body: &Value) -> Result<Option<Revision>, ApiError> {
    fields::resource_version(body).map_err(|error| ApiError::new(Reason::Unknown, error))
}

/// Refuses a body that names no object, or another one than the request.
pub(super) fn check_name(name: &str, body: &Value) -> Result<(), ApiError> {
    let own = text(body, "name");
    if own == name {
        return Ok(());
    }
    if own.is_empty() {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )));
    }
    Err(ApiError::bad_request(format!(
        "the name of the object ({own}) does not match the name on the URL ({name})"
    )))
}

/// The refusal of an update that does not say what it replaces. Upstream names the resource here, not the kind.
fn unconditional(resource: &Resource, name: &str) -> ApiError {
    let value = json!(0);
    let error = FieldError::new(
        FieldErrorKind::Invalid,
        "metadata.resourceVersion",
        Some(&value),
        "must be specified for an update",
    );
    ApiError::invalid(resource.group, resource.plural, name, &[error])
}
