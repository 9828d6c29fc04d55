//! Preconditions, and how upstream words their failure: differently for writes and for deletes.

use rota_api::{ApiError, Precondition, Reason, Resource, Revision, resource};
use serde_json::json;

/// Refuses a write to an object that is not the one meant. Source: kubernetes `apiserver/pkg/storage/errors.go`.
pub(super) fn check_write(
    resource: &Resource,
    namespace: &str,
    name: &str,
    meant: &Precondition,
    uid: &str,
    revision: Revision,
) -> Result<(), ApiError> {
    let failed = |what: &str, meant: &dyn std::fmt::Display, found: &dyn std::fmt::Display| {
        let namespace = if namespace.is_empty() {
            String::new()
        } else {
            format!("{namespace}/")
        };
        let key = format!("/registry/{}/{namespace}{name}", resource.plural);
        ApiError::conflict(
            resource,
            name,
            format!(
                "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: \
                 Precondition failed: {what} in precondition: {meant}, {what} in object meta: {found}"
            ),
        )
    };
    match meant {
        Precondition { uid: Some(meant), .. } if meant != uid => Err(failed("UID", meant, &uid)),
        Precondition {
            revision: Some(meant), ..
        } if *meant != revision => Err(failed("ResourceVersion", meant, &revision)),
        _ => Ok(()),
    }
}

/// Refuses to delete an object that is not the one meant. Source: kubernetes `apiserver/pkg/registry/rest/delete.go`.
pub(super) fn check_delete(
    resource: &Resource,
    name: &str,
    meant: &Precondition,
    uid: &str,
    revision: Revision,
) -> Result<(), ApiError> {
    if let Some(meant) = &meant.uid
        && meant != uid
    {
        if resource == resource::NAMESPACES {
            let why = format!("Precondition failed: UID in precondition: {meant}, UID in object meta: {uid}");
            return Err(ApiError::conflict(resource, name, why));
        }
        return Err(conflict_of_kind(
            resource,
            name,
            &format!(
                "the UID in the precondition ({meant}) does not match the UID in record ({uid}). The object might have \
                 been deleted and then recreated"
            ),
        ));
    }
    if let Some(meant) = meant.revision
        && meant != revision
    {
        return Err(conflict_of_kind(
            resource,
            name,
            &format!(
                "the ResourceVersion in the precondition ({meant}) does not match the ResourceVersion in record \
                 ({revision}). The object might have been modified"
            ),
        ));
    }
    Ok(())
}

/// A conflict whose message names the kind where others name the resource.
fn conflict_of_kind(resource: &Resource, name: &str, why: &str) -> ApiError {
    let group = match resource.group {
        "" => String::new(),
        group => format!(".{group}"),
    };
    let mut details = json!({"name": name, "kind": resource.kind});
    if !resource.group.is_empty() {
        details["group"] = resource.group.into();
    }
    ApiError::new(
        Reason::Conflict,
        format!(
            "Operation cannot be fulfilled on {}{group} {name:?}: {why}",
            resource.kind
        ),
    )
    .with_details(details)
}
