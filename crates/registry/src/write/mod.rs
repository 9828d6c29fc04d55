//! What the writes of a transaction do.
//!
//! Each form of change has a module: [`create`], [`update`] (whole objects and patches), [`delete`], and [`subresource`] for
//! posts to actions. They work on a session and refuse with what the client is told; the commit is the registry's.
//!
//! Source: `spec/api.md` §2; kubernetes `apiserver/pkg/registry/generic/registry/store.go`, `rest/{create,update,delete}.go`.

mod create;
mod delete;
mod eviction;
mod finalizers;
mod link;
mod ownership;
mod patch;
mod precondition;
pub mod scale;
mod subresource;
mod update;

pub use delete::delete_warnings;

use std::sync::Arc;

use rota_api::object::Encoded;
use rota_api::{ApiError, Change, Object, Resource, Revision, Write};
use serde_json::Value;

use crate::session::{Objects, Place, Session};
use crate::view;

/// What a write did.
#[derive(Clone, Debug)]
pub struct Written {
    /// The object afterwards; of a removed one, its last state.
    pub object: Arc<Object>,
    /// What became of it.
    pub effect: Effect,
    /// Remarks for the author of the write.
    pub warnings: Vec<String>,
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It was created.
    Created,
    /// It was changed.
    Changed,
    /// It already was as it should be; nothing was stored.
    Unchanged,
    /// It is marked for deletion and stays until its grace period is over and its finalizers are gone.
    Ending,
    /// It is gone.
    Removed,
}

impl Effect {
    /// True when the object no longer exists.
    pub fn is_removed(self) -> bool {
        self == Self::Removed
    }
}

/// A transaction was refused; nothing of it took effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// Index of the write that was refused.
    pub at: usize,
    /// Why.
    pub error: ApiError,
}

/// What a write will have done once the session is committed.
pub(crate) struct Draft {
    place: Place,
    effect: Effect,
    warnings: Vec<String>,
    /// The form in which the result is shown.
    shown_as: &'static Resource,
    /// The result and its revision, where it is not what the session holds.
    shown: Option<(Arc<Encoded>, Revision)>,
}

impl Draft {
    fn new(shown_as: &'static Resource, place: Place, effect: Effect) -> Self {
        Self {
            place,
            effect,
            warnings: Vec::new(),
            shown_as,
            shown: None,
        }
    }
}

/// Evaluates writes in order.
///
/// Errors: the first that is refused.
pub(crate) fn evaluate(session: &mut Session<'_>, writes: &[&Write]) -> Result<Vec<Draft>, Refused> {
    let mut drafts: Vec<Draft> = Vec::with_capacity(writes.len());
    for (at, write) in writes.iter().enumerate() {
        let draft = link::fill_in(session, &drafts, write)
            .and_then(|write| one(session, &write))
            .map_err(|error| Refused { at, error })?;
        drafts.push(draft);
    }
    Ok(drafts)
}

/// What the writes did; `committed` is `None` when nothing was stored.
pub(crate) fn results(objects: &Objects, drafts: Vec<Draft>, committed: Option<Revision>) -> Vec<Written> {
    drafts
        .into_iter()
        .map(|draft| {
            let object = match draft.shown {
                Some((shown, revision)) => Arc::new(Object::new(shown, revision)),
                None => objects
                    .result(draft.place, committed)
                    .expect("a write that was not refused leaves an object or its last state"),
            };
            Written {
                object: view::show(draft.shown_as, &object),
                effect: draft.effect,
                warnings: draft.warnings,
            }
        })
        .collect()
}

fn one(session: &mut Session<'_>, write: &Write) -> Result<Draft, ApiError> {
    if !write.resource.is_stored() {
        return Err(ApiError::method_not_supported(write.resource, verb(&write.change)));
    }
    for absent in &write.precondition.absent {
        // The commit depends on the place: the object cannot come into being meanwhile.
        let place = session.place(absent.resource, &absent.namespace, &absent.name);
        let found = session.field(place, "/metadata/uid");
        absent.check(write, found.as_ref().and_then(Value::as_str))?;
    }
    match &write.change {
        Change::Create(body) => create::create(session, write, body.clone()),
        Change::Update {
            object,
            subresource: Some("scale"),
        } => scale::update(session, write, object),
        Change::Update { object, subresource } => update::put(session, write, object.clone(), *subresource),
        Change::Patch {
            kind,
            patch,
            subresource: Some("scale"),
        } => scale::patch(session, write, *kind, patch),
        Change::Patch {
            kind,
            patch,
            subresource,
        } => match finalizers::patch(session, write)? {
            Some(draft) => Ok(draft),
            None => patch::patch(session, write, *kind, patch, *subresource),
        },
        Change::Delete(options) => delete::delete(session, write, options),
        Change::Post { subresource, body } => subresource::post(session, write, subresource, body),
    }
}

fn verb(change: &Change) -> &'static str {
    match change {
        Change::Create(_) | Change::Post { .. } => "create",
        Change::Update { .. } => "update",
        Change::Patch { .. } => "patch",
        Change::Delete(_) => "delete",
    }
}
