//! Creating objects.
//!
//! Source: `spec/api.md` §2.2; kubernetes `apiserver/pkg/registry/rest/create.go`, `endpoints/handlers/create.go`.

use std::sync::Arc;

use rota_api::object::Encoded;
use rota_api::{
    ApiError, Reason, Resource, Write, codec, defaults, names, namespace_objects, resource, strategy, validate,
};
use serde_json::{Value, json};

use super::{Draft, Effect, ownership};
use crate::env::{uuid, whole_seconds};
use crate::fields::{self, metadata, text};
use crate::session::Session;
use crate::{admission, view};

/// How many names are tried for an object that asks for a generated one.
const GENERATED_NAMES_MAX: usize = 8;

/// Creates the object in `body`.
pub(super) fn create(session: &mut Session<'_>, write: &Write, mut body: Value) -> Result<Draft, ApiError> {
    let resource = write.resource;
    check_namespace(resource, &write.namespace, &body)?;
    view::to_stored(resource, &mut body);
    fill_metadata(session, write, &mut body);
    let stored = resource.stored();
    name_object(session, resource, &mut body)?;
    admission::namespace_is_open(session, resource, &body)?;
    defaults::apply(stored, &mut body);
    ownership::record(session, write, None, &mut body, None);
    admission::change_new(session, stored, &mut body)?;
    strategy::prepare_create(stored, &mut body);
    let errors = match resource == stored {
        true => validate::create(stored, &body, &session.registry.settings().checks),
        false => {
            let mut shown = body.clone();
            view::from_stored(resource, &mut shown);
            validate::create(resource, &shown, &session.registry.settings().checks)
        }
    };
    let name = text(&body, "name").to_owned();
    if !errors.is_empty() {
        return Err(ApiError::invalid(resource.stored_group, resource.kind, &name, &errors));
    }
    let remarks = admission::check_new(session, stored, &body)?;
    // What is no number counts as none, as upstream has it.
    let named = fields::resource_version(&body).ok().flatten();
    if named.is_some() && !session.caller.dry_run {
        return Err(ApiError::new(
            Reason::Unknown,
            "resourceVersion should not be set on objects to be created",
        ));
    }
    let place = session.place(stored, &write.namespace, &name);
    if let Some(existing) = session.value(place) {
        return Err(exists(resource, &name, fields::is_deleting(&existing)));
    }
    codec::settle(stored.schema, &mut body);
    let mut draft = Draft::new(resource, place, Effect::Created);
    draft.warnings = strategy::warnings(stored, &body, None, None);
    draft.warnings.extend(remarks);
    if let Some(named) = named {
        // Only what would be stored is asked for a version; a rehearsal shows what it was sent.
        draft.shown = Some((Arc::new(Encoded::new(stored, body.clone())), named));
    }
    session.set(place, body);
    if stored == resource::NAMESPACES {
        publish_in_namespace(session, &name);
    }
    Ok(draft)
}

/// Refuses an object that names another namespace than the request.
pub(super) fn check_namespace(resource: &Resource, namespace: &str, body: &Value) -> Result<(), ApiError> {
    let own = text(body, "namespace");
    if own.is_empty() || own == namespace || !resource.is_namespaced() {
        return Ok(());
    }
    Err(ApiError::bad_request(
        "the namespace of the provided object does not match the namespace sent on the request",
    ))
}

fn fill_metadata(session: &Session<'_>, write: &Write, body: &mut Value) {
    let created = whole_seconds(session.now);
    let uid = uuid(session.registry.env());
    let metadata = metadata(body);
    for cleared in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        metadata.remove(cleared);
    }
    if write.resource.is_namespaced() {
        metadata.insert("namespace".to_owned(), write.namespace.as_str().into());
    } else {
        metadata.remove("namespace");
    }
    metadata.insert("uid".to_owned(), uid.into());
    metadata.insert("creationTimestamp".to_owned(), created.into());
    let unnamed = metadata.get("name").and_then(Value::as_str).is_none_or(str::is_empty);
    if unnamed && !write.name.is_empty() {
        metadata.insert("name".to_owned(), write.name.as_str().into());
    }
}

/// Gives an object that asks for it a generated name that no other has.
fn name_object(session: &mut Session<'_>, resource: &'static Resource, body: &mut Value) -> Result<(), ApiError> {
    let base = text(body, "generateName").to_owned();
    if base.is_empty() || !text(body, "name").is_empty() {
        return Ok(());
    }
    let namespace = text(body, "namespace").to_owned();
    let mut name = String::new();
    for _ in 0..GENERATED_NAMES_MAX {
        name = names::generate(&base, session.registry.env().random());
        if session.look(resource, &namespace, &name).is_none() {
            metadata(body).insert("name".to_owned(), name.into());
            return Ok(());
        }
    }
    let refused = exists(resource, &name, false);
    let mut details = refused.details().cloned().unwrap_or_else(|| json!({}));
    details["retryAfterSeconds"] = 1.into();
    Err(ApiError::new(
        Reason::AlreadyExists,
        format!(
            "{}, the server was not able to generate a unique name for the object",
            refused.message()
        ),
    )
    .with_details(details))
}

fn exists(resource: &Resource, name: &str, is_deleting: bool) -> ApiError {
    let refused = ApiError::already_exists(resource, name);
    if !is_deleting {
        return refused;
    }
    let deleting = ApiError::new(
        Reason::AlreadyExists,
        format!("object is being deleted: {}", refused.message()),
    );
    match refused.details() {
        Some(details) => deleting.with_details(details.clone()),
        None => deleting,
    }
}

/// What every namespace has from its first moment. Upstream's controllers add it a little later; ours
/// only put back what was taken away.
fn publish_in_namespace(session: &mut Session<'_>, namespace: &str) {
    for (resource, mut object) in namespace_objects::of_namespace(namespace, &session.registry.settings().cluster_ca) {
        let name = text(&object, "name").to_owned();
        let place = session.place(resource, namespace, &name);
        if session.exists(place) {
            continue;
        }
        let uid = uuid(session.registry.env());
        let created = whole_seconds(session.now);
        let metadata = metadata(&mut object);
        metadata.insert("uid".to_owned(), uid.into());
        metadata.insert("creationTimestamp".to_owned(), created.into());
        session.set(place, object);
    }
}
