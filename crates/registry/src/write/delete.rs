//! Deleting objects: at once, gracefully, or when their finalizers are gone.
//!
//! Source: `spec/api.md` §2.6; kubernetes `apiserver/pkg/registry/rest/delete.go`, `generic/registry/store.go`,
//! `registry/core/{pod,namespace}`.

use rota_api::{
    ApiError, DeleteOptions, FieldError, FieldErrorKind, Propagation, Resource, Timestamp, Write, resource,
};
use serde_json::{Value, json};

use super::update::is_finished;
use super::{Draft, Effect, precondition};
use crate::admission;
use crate::env::whole_seconds;
use crate::fields::{self, metadata, text};
use crate::session::{Place, Session};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// Namespaces that may not be deleted.
const IMMORTAL_NAMESPACES: &[&str] = &["default", "kube-system", "kube-public"];

/// Deletes the object, or marks it for deletion.
pub(super) fn delete(session: &mut Session<'_>, write: &Write, options: &DeleteOptions) -> Result<Draft, ApiError> {
    let mut draft = decide(session, write, options)?;
    draft.warnings = delete_warnings(write.resource, options);
    Ok(draft)
}

/// What the author of a delete, or of the delete of a collection, should know.
pub fn delete_warnings(resource: &'static Resource, options: &DeleteOptions) -> Vec<String> {
    if resource == resource::JOBS && options.propagation.is_none() && options.orphan_dependents.is_none() {
        return vec![
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or \
             set propagationPolicy=Orphan to suppress this warning"
                .to_owned(),
        ];
    }
    Vec::new()
}

fn decide(session: &mut Session<'_>, write: &Write, options: &DeleteOptions) -> Result<Draft, ApiError> {
    check_options(options)?;
    let resource = write.resource;
    let stored = resource.stored();
    let place = session.place(stored, &write.namespace, &write.name);
    if stored == resource::NAMESPACES && IMMORTAL_NAMESPACES.contains(&write.name.as_str()) {
        return Err(ApiError::forbidden(
            resource,
            &write.name,
            "this namespace may not be deleted",
        ));
    }
    if session.caller.node().is_some()
        && let Some(old) = session.value(place)
    {
        admission::check_delete(session, write, &old)?;
    }
    if let Some(draft) = at_once(session, write, place, options)? {
        return Ok(draft);
    }
    let Some(old) = session.value(place) else {
        return Err(ApiError::not_found(resource, &write.name));
    };
    let revision = session.revision(place);
    precondition::check_delete(resource, &write.name, &write.precondition, text(&old, "uid"), revision)?;
    let mut new = old.clone();
    set_finalizers(resource, &mut new, options);
    if stored == resource::NAMESPACES {
        mark_namespace(&mut new, session.now);
    } else {
        let grace = match stored == resource::PODS {
            true => pod_grace_secs(&new, options),
            false => 0,
        };
        mark(&mut new, grace, options.grace_period_secs.is_some(), session.now);
    }
    Ok(end(session, write, place, &old, new))
}

/// The common case without decoding anything: an object of a kind that ends at once and that nothing holds.
fn at_once(
    session: &mut Session<'_>,
    write: &Write,
    place: Place,
    options: &DeleteOptions,
) -> Result<Option<Draft>, ApiError> {
    let stored = write.resource.stored();
    if stored == resource::PODS || stored == resource::NAMESPACES {
        return Ok(None);
    }
    let Some(object) = session.unchanged(place) else {
        return Ok(None);
    };
    let meta = object.meta();
    if meta.deleting.is_some() || !meta.finalizers.is_empty() || finalizer_for(write.resource, &[], options).is_some() {
        return Ok(None);
    }
    precondition::check_delete(
        write.resource,
        &write.name,
        &write.precondition,
        &meta.uid,
        object.revision(),
    )?;
    session.remove(place, None);
    Ok(Some(Draft::new(write.resource, place, Effect::Removed)))
}

/// Removes the object if nothing holds it, stores its mark otherwise.
fn end(session: &mut Session<'_>, write: &Write, place: Place, old: &Value, new: Value) -> Draft {
    let stored = write.resource.stored();
    let effect = if is_finished(stored, &new) {
        session.remove(place, Some(new));
        Effect::Removed
    } else {
        if new != *old {
            session.set(place, new);
        }
        Effect::Ending
    };
    Draft::new(write.resource, place, effect)
}

fn check_options(options: &DeleteOptions) -> Result<(), ApiError> {
    if options.orphan_dependents.is_none() {
        return Ok(());
    }
    let Some(propagation) = options.propagation else {
        return Ok(());
    };
    let value = json!(propagation.as_str());
    let error = FieldError::new(
        FieldErrorKind::Invalid,
        "propagationPolicy",
        Some(&value),
        "orphanDependents and deletionPropagation cannot be both set",
    );
    Err(ApiError::invalid("meta.k8s.io", "DeleteOptions", "", &[error]))
}

/// The finalizer that stands for what is to become of the dependents.
fn finalizer_for(resource: &'static Resource, present: &[&str], options: &DeleteOptions) -> Option<&'static str> {
    match (options.orphan_dependents, options.propagation) {
        (Some(true), _) | (None, Some(Propagation::Orphan)) => return Some(ORPHAN),
        (Some(false), _) | (None, Some(Propagation::Background)) => return None,
        (None, Some(Propagation::Foreground)) => return Some(FOREGROUND),
        (None, None) => {}
    }
    if present.contains(&ORPHAN) {
        Some(ORPHAN)
    } else if present.contains(&FOREGROUND) {
        Some(FOREGROUND)
    } else {
        orphans_by_default(resource).then_some(ORPHAN)
    }
}

/// Kinds whose dependents stay when nothing else is asked for: a promise of their first API versions.
fn orphans_by_default(resource: &'static Resource) -> bool {
    [
        resource::JOBS,
        resource::CRON_JOBS_V1BETA1,
        resource::REPLICATION_CONTROLLERS,
    ]
    .contains(&resource)
}

fn set_finalizers(resource: &'static Resource, value: &mut Value, options: &DeleteOptions) {
    let present: Vec<&str> = fields::finalizers(value).collect();
    let wanted = finalizer_for(resource, &present, options);
    let is_standard = |finalizer: &str| finalizer == ORPHAN || finalizer == FOREGROUND;
    let standard: Vec<&str> = present.iter().copied().filter(|f| is_standard(f)).collect();
    if standard == wanted.as_slice() {
        return;
    }
    let finalizers: Vec<Value> = present
        .iter()
        .copied()
        .filter(|f| !is_standard(f))
        .chain(wanted)
        .map(Value::from)
        .collect();
    let metadata = metadata(value);
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".to_owned(), finalizers.into());
    }
}

/// How long a pod may take to end. Source: kubernetes `registry/core/pod/strategy.go`, `CheckGracefulDelete`.
fn pod_grace_secs(pod: &Value, options: &DeleteOptions) -> i64 {
    let is_bound = pod["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    if !is_bound || phase == "Succeeded" || phase == "Failed" {
        return 0;
    }
    let asked = options.grace_period_secs;
    let grace = asked.or_else(|| pod["spec"]["terminationGracePeriodSeconds"].as_i64());
    match grace.unwrap_or(0) {
        negative if negative < 0 => 1,
        grace => grace,
    }
}

/// Marks an object for deletion. One that is marked already can only be given less time, and only if that is `asked` for.
fn mark(value: &mut Value, grace_secs: i64, asked: bool, now: Timestamp) {
    let generation = value["metadata"]["generation"].as_i64().unwrap_or(0);
    let until: Option<Timestamp> = text(value, "deletionTimestamp").parse().ok();
    let granted = value["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    let metadata = metadata(value);
    let deadline = match until {
        None => {
            if generation > 0 {
                metadata.insert("generation".to_owned(), (generation + 1).into());
            }
            later(now, grace_secs)
        }
        Some(until) if asked && grace_secs < granted => later(until, grace_secs - granted),
        Some(_) => return,
    };
    metadata.insert("deletionTimestamp".to_owned(), whole_seconds(deadline).into());
    metadata.insert("deletionGracePeriodSeconds".to_owned(), grace_secs.into());
}

fn later(at: Timestamp, secs: i64) -> Timestamp {
    // Only a grace of thousands of years leaves the calendar.
    at.saturating_add(jiff::SignedDuration::from_secs(secs))
        .unwrap_or(Timestamp::MAX)
}

/// A namespace is marked, and goes when its content is gone and `spec.finalizers` with it.
fn mark_namespace(value: &mut Value, now: Timestamp) {
    if !fields::is_deleting(value) {
        metadata(value).insert("deletionTimestamp".to_owned(), whole_seconds(now).into());
    }
    fields::object(value, "status").insert("phase".to_owned(), "Terminating".into());
}
