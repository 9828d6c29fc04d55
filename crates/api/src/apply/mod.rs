//! Server-side apply, and who owns which fields.
//!
//! [`apply`] merges an apply configuration into an object, [`track`] keeps `metadata.managedFields` up for every other
//! write. Both are functions of the objects before and after; storing, defaulting, validation and the retry after a lost
//! race are the registry's business.
//!
//! Limits: objects are bounded by the codec. Managers of different versions of one kind are compared as if the versions
//! were the same, which is so for every kind that is served in two.
//!
//! Source: `spec/api.md` §2.5; `structured-merge-diff/v6/merge/update.go`, `apimachinery/pkg/util/managedfields`.

mod fields;
mod last_applied;
mod managers;
mod typed;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::codec::{self, FieldValidation};
use crate::table::schema;
use crate::{ApiError, Reason};
use fields::Fields;
use managers::{ManagerId, Managers, Ownership};
use typed::{Comparison, Form, compare, fields_of, merge, misfit, prune};

/// The manager that gets what an object had before anyone's ownership was recorded.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Fields of the metadata that nobody owns.
const UNOWNED: [&str; 9] = [
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
];

/// Who writes, through which endpoint, when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The field manager's name.
    pub manager: &'a str,
    /// The `apiVersion` of the endpoint.
    pub api_version: &'a str,
    /// The subresource written to; `None` is the object itself.
    pub subresource: Option<&'a str>,
    /// The time of the write.
    pub now: Timestamp,
}

/// Merges an apply configuration into `live` (`None`: the object is created) and returns the object with its
/// `managedFields`; it still has to be brought into the form of its type, defaulted and validated.
///
/// Errors: 400 when the configuration names another kind or carries `managedFields`; 409 when it changes what others own
/// and `force` is not set; upstream's 500 when it does not fit the type.
pub fn apply(
    schema_type: &str,
    live: Option<&Value>,
    config: &Value,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Value, ApiError> {
    let form = form_of(schema_type)?;
    check(form, schema_type, config, writer)?;
    let blank = blank(schema_type);
    let mut managers = live.map(stored).unwrap_or_default();
    if let Some(live) = live.filter(|_| managers.0.is_empty()) {
        let fields = tracked(compare(form, Some(&blank), Some(live)).changed(), writer);
        if !fields.is_empty() {
            let id = ManagerId::update(BEFORE_FIRST_APPLY, writer.api_version, None);
            managers.0.insert(id, since(fields, None, true, writer));
        }
    }
    let id = ManagerId::apply(writer.manager, writer.api_version, writer.subresource);
    let last = managers.take(&id);
    let set = tracked(fields_of(form, config), writer);

    let before = live.unwrap_or(&blank);
    let mut merged = merge(form, Some(before), config);
    if let Some(last) = &last {
        let managed = managers.everything().union(set.clone()).union(identity());
        prune(form, &mut merged, &last.fields, &managed);
    }
    let difference = tracked_difference(compare(form, Some(before), Some(&merged)), writer);
    let conflicts = conflicts(&managers, &difference.changed());
    if !force && !conflicts.is_empty() {
        let taken_over = last_applied::taken_over(form, live, writer.manager);
        if conflicts
            .iter()
            .any(|(_, fields)| !fields.minus(&taken_over).is_empty())
        {
            return Err(conflict(&conflicts));
        }
    }
    for (id, fields) in &conflicts {
        managers.take_from(id, fields);
    }
    take_removed(&mut managers, &difference);
    if !set.is_empty() {
        let is_news = live != Some(&merged);
        managers.0.insert(id, since(set, last, is_news, writer));
    }
    last_applied::keep_up(&mut merged, config, writer.manager);
    write(&mut merged, &managers);
    Ok(merged)
}

/// Keeps `managedFields` up for a write that is no apply: `new` is what will be stored in place of `old` (`None`: it is
/// created), with the `managedFields` of the request if it had any. Returns `new` with the right ones.
pub fn track(schema_type: &str, old: Option<&Value>, mut new: Value, writer: &Writer<'_>) -> Value {
    let Ok(form) = form_of(schema_type) else { return new };
    let mut managers = requested(old, &new, writer);
    if old.is_some() && managers.0.is_empty() {
        // Nobody's ownership is recorded, or the request wiped it: that stays so until someone applies.
        write(&mut new, &managers);
        return new;
    }
    let blank = blank(schema_type);
    let difference = compare(form, Some(old.unwrap_or(&blank)), Some(&new));
    let difference = tracked_difference(difference, writer);
    let id = ManagerId::update(writer.manager, writer.api_version, writer.subresource);
    let last = managers.take(&id);
    for (other, fields) in conflicts(&managers, &difference.changed()) {
        managers.take_from(&other, &fields);
    }
    take_removed(&mut managers, &difference);
    let had = last.as_ref().map(|l| l.fields.clone()).unwrap_or_default();
    let set = had.minus(&difference.removed).union(difference.changed());
    if !set.is_empty() {
        managers
            .0
            .insert(id, since(set, last, !difference.changed().is_empty(), writer));
    }
    managers.cap();
    write(&mut new, &managers);
    new
}

/// What every configuration says, although nobody comes to own it by that.
fn identity() -> Fields {
    let mut metadata = Fields::default();
    metadata.insert("f:name".to_owned(), Fields::leaf());
    let mut identity = Fields::default();
    identity.insert("f:apiVersion".to_owned(), Fields::leaf());
    identity.insert("f:kind".to_owned(), Fields::leaf());
    identity.insert("f:metadata".to_owned(), metadata);
    identity
}

fn form_of(schema_type: &str) -> Result<Form, ApiError> {
    Form::of_type(schema_type).ok_or_else(|| ApiError::internal(format!("the type {schema_type} is not known")))
}

/// What an object of the type is before anything is said about it.
fn blank(schema_type: &str) -> Value {
    let empty = codec::conform(schema_type, Value::Object(Map::new()), FieldValidation::Ignore);
    empty.map(|decoded| decoded.value).unwrap_or_default()
}

fn check(form: Form, schema_type: &str, config: &Value, writer: &Writer<'_>) -> Result<(), ApiError> {
    let text = |field: &str| config[field].as_str().unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    let kind = schema()
        .by_name(schema_type)
        .map(|t| t.short_name())
        .unwrap_or_default();
    if text("apiVersion") != writer.api_version || text("kind") != kind {
        return Err(ApiError::bad_request(format!(
            "invalid object type: {group}/{version}, Kind={}",
            text("kind")
        )));
    }
    if !config["metadata"]["managedFields"].is_null() {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    match misfit(form, config, &mut String::new()) {
        None => Ok(()),
        Some(what) => {
            let name = |field: &str| config["metadata"][field].as_str().unwrap_or_default();
            let about = format!("{}/{}; {group}/{version}, Kind={kind}", name("namespace"), name("name"));
            let message = format!("failed to create typed patch object ({about}): {what}");
            Err(ApiError::new(Reason::Unknown, message))
        }
    }
}

/// The managers of a stored object; what cannot be read counts as none.
fn stored(object: &Value) -> Managers {
    Managers::read(&object["metadata"]["managedFields"]).unwrap_or_default()
}

/// The managers to start from: those of the request where it may and does set them, else the stored ones.
fn requested(old: Option<&Value>, new: &Value, writer: &Writer<'_>) -> Managers {
    let of_old = || old.map(stored).unwrap_or_default();
    if writer.subresource.is_some() {
        return of_old();
    }
    let list = &new["metadata"]["managedFields"];
    let is_reset = list.as_array().is_some_and(|entries| match entries.as_slice() {
        [] => true,
        [only] => only.as_object().is_some_and(Map::is_empty),
        _ => false,
    });
    if is_reset {
        return Managers::default();
    }
    match Managers::read(list) {
        Some(managers) if !managers.0.is_empty() => managers,
        _ => of_old(),
    }
}

/// A set without what nobody owns and without what the endpoint cannot change.
fn tracked(mut fields: Fields, writer: &Writer<'_>) -> Fields {
    fields.owned = false;
    for name in ["f:apiVersion", "f:kind"] {
        fields.members.remove(name);
    }
    match writer.subresource {
        None => drop(fields.members.remove("f:status")),
        Some("status") => drop(fields.members.remove("f:spec")),
        Some(_) => {}
    }
    if let Some(mut metadata) = fields.members.remove("f:metadata") {
        metadata.owned = false;
        for name in UNOWNED {
            metadata.members.remove(&format!("f:{name}"));
        }
        fields.insert("f:metadata".to_owned(), metadata);
    }
    fields
}

fn tracked_difference(difference: Comparison, writer: &Writer<'_>) -> Comparison {
    Comparison {
        added: tracked(difference.added, writer),
        modified: tracked(difference.modified, writer),
        removed: tracked(difference.removed, writer),
    }
}

/// What each manager owns of the changed fields.
fn conflicts(managers: &Managers, changed: &Fields) -> Vec<(ManagerId, Fields)> {
    let owned = managers.0.iter();
    owned
        .map(|(id, ownership)| (id.clone(), ownership.fields.both(changed)))
        .filter(|(_, fields)| !fields.is_empty())
        .collect()
}

fn take_removed(managers: &mut Managers, difference: &Comparison) {
    let ids: Vec<ManagerId> = managers.0.keys().cloned().collect();
    for id in ids {
        managers.take_from(&id, &difference.removed);
    }
}

/// The entry of the writer. Its time is that of the last write that was news: an entry that began with one that was none has
/// no time. An apply is news when the object, the order of its lists included, is not what it was; any other write is when it
/// added or changed a field, and not when it only removed some.
///
/// Source: `apimachinery/pkg/util/managedfields/internal/managedfieldsupdater.go`.
fn since(fields: Fields, last: Option<Ownership>, is_change: bool, writer: &Writer<'_>) -> Ownership {
    let time = match is_change {
        true => writer.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        false => last.map(|last| last.time).unwrap_or_default(),
    };
    Ownership { fields, time }
}

fn write(object: &mut Value, managers: &Managers) {
    let Some(object) = object.as_object_mut() else { return };
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    let Some(metadata) = metadata.as_object_mut() else {
        return;
    };
    if managers.0.is_empty() {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".to_owned(), managers.write());
    }
}

/// 409 that names every conflicting field and its manager.
fn conflict(conflicts: &[(ManagerId, Fields)]) -> ApiError {
    let mut by_manager: Vec<(String, Vec<String>)> = conflicts
        .iter()
        .map(|(id, fields)| (id.shown(), fields.paths()))
        .collect();
    by_manager.sort();
    let count: usize = by_manager.iter().map(|(_, paths)| paths.len()).sum();
    let told = match by_manager.as_slice() {
        [(manager, paths)] if count == 1 => format!("conflict with {manager}: {}", paths.concat()),
        many => {
            let each = many.iter().map(|(manager, paths)| {
                let listed: String = paths.iter().map(|path| format!("\n- {path}")).collect();
                format!("conflicts with {manager}:{listed}")
            });
            each.collect::<Vec<_>>().join("\n")
        }
    };
    let plural = if count == 1 { "" } else { "s" };
    let causes: Vec<Value> = by_manager
        .iter()
        .flat_map(|(manager, paths)| paths.iter().map(move |path| (manager, path)))
        .map(|(manager, path)| {
            json!({"reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": path})
        })
        .collect();
    let message = format!("Apply failed with {count} conflict{plural}: {told}");
    ApiError::new(Reason::Conflict, message).with_details(json!({"causes": causes}))
}

#[cfg(test)]
mod tests;
