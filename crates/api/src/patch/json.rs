//! JSON patch, RFC 6902, with the leniencies of the library that upstream uses.
//!
//! Where the standard and upstream differ, clients depend on upstream: replacing or copying a missing member works, a
//! missing `value` is null, `test` of a missing member against null succeeds, negative indexes count from the end, and
//! what stands before the first slash of a path is ignored.
//!
//! Source: `gopkg.in/evanphx/json-patch.v4`; `spec/api.md` §2.5.

use serde_json::Value;

use super::kind;
use crate::{ApiError, Reason};

/// How many operations a patch may have.
pub(super) const OPERATIONS_MAX: usize = 10_000;

/// How many bytes of JSON the `copy` operations of a patch may add.
const COPIED_MAX: usize = 3 << 20;

/// `original` changed by the operations of `patch`, all or none.
pub(super) fn apply(original: &Value, patch: &Value) -> Result<Value, ApiError> {
    let operations = match patch {
        Value::Array(operations) => operations.as_slice(),
        // No operations.
        _ => &[],
    };
    if operations.len() > OPERATIONS_MAX {
        return Err(ApiError::new(
            Reason::RequestEntityTooLarge,
            format!(
                "The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {}",
                operations.len()
            ),
        ));
    }
    let mut document = original.clone();
    let mut copied = 0;
    for operation in operations {
        run(&mut document, operation, &mut copied).ok_or_else(rejected)?;
    }
    Ok(document)
}

/// Completes `reports`, which name repeated members, by the members of operations that none has; operation by operation.
pub(super) fn report_members(patch: &Value, reports: &mut Vec<String>) {
    let repeated = std::mem::take(reports);
    for (index, operation) in patch.as_array().into_iter().flatten().enumerate() {
        let own = format!("duplicate field \"[{index}]");
        let own = repeated.iter().filter(|report| report.starts_with(&own));
        reports.extend(own.map(|report| format!("json patch {report}")));
        let members = operation.as_object().into_iter().flatten();
        let unknown = members.filter(|(name, _)| !matches!(name.as_str(), "op" | "path" | "from" | "value"));
        reports.extend(unknown.map(|(name, _)| format!("json patch unknown field \"[{index}].{name}\"")));
    }
}

/// What of the operations is of a type that no operation has.
pub(super) fn misfit(patch: &Value) -> Option<String> {
    patch.as_array().into_iter().flatten().find_map(|operation| {
        let Value::Object(members) = operation else {
            return (!operation.is_null())
                .then(|| format!("{} into Go value of type handlers.jsonPatchOp", kind(operation)));
        };
        members.iter().find_map(|(name, value)| {
            let is_text = matches!(name.as_str(), "op" | "path" | "from");
            (is_text && !value.is_string() && !value.is_null()).then(|| {
                let kind = kind(value);
                format!("{kind} into Go struct field jsonPatchOp.{name} of type string")
            })
        })
    })
}

/// Upstream's answer to every operation that cannot be done: it does not say which one.
fn rejected() -> ApiError {
    ApiError::new(
        Reason::Invalid,
        "the server rejected our request due to an error in our request",
    )
    .with_details(Value::Object(serde_json::Map::new()))
}

/// Does one operation; `None` when it cannot be done.
fn run(document: &mut Value, operation: &Value, copied: &mut usize) -> Option<()> {
    let text = |field: &str| operation.get(field).and_then(Value::as_str);
    let path = text("path")?;
    let value = || operation.get("value").cloned().unwrap_or(Value::Null);
    match text("op")? {
        "add" => add(document, path, value()),
        "remove" => remove(document, path).map(drop),
        "replace" => replace(document, path, value()),
        "move" => {
            let moved = remove(document, text("from")?)?;
            add(document, path, moved)
        }
        "copy" => {
            let value = get(document, text("from")?)?;
            *copied += value.to_string().len();
            (*copied <= COPIED_MAX).then_some(())?;
            add(document, path, value)
        }
        "test" => (get(document, path)? == value()).then_some(()),
        _ => None,
    }
}

/// The container that the last part of a path names a member of, and that part.
fn locate<'a>(document: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let mut parts = path
        .split('/')
        .skip(1)
        .map(|part| part.replace("~1", "/").replace("~0", "~"));
    let mut last = parts.next()?;
    let mut container = document;
    for part in parts {
        container = match container {
            Value::Object(members) => members.get_mut(&last)?,
            Value::Array(items) => {
                let index = index(&last, items.len())?;
                items.get_mut(index)?
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
        };
        last = part;
    }
    Some((container, last))
}

fn index(part: &str, length: usize) -> Option<usize> {
    if let Some(back) = part.strip_prefix('-') {
        return length.checked_sub(back.parse().ok()?);
    }
    part.parse().ok()
}

fn add(document: &mut Value, path: &str, value: Value) -> Option<()> {
    match locate(document, path)? {
        (Value::Object(members), name) => drop(members.insert(name, value)),
        (Value::Array(items), part) => {
            let at = match part.as_str() {
                "-" => items.len(),
                // A negative index counts from the end of the list as it will be.
                part if part.starts_with('-') => index(part, items.len() + 1)?,
                part => part.parse().ok()?,
            };
            (at <= items.len()).then(|| items.insert(at, value))?;
        }
        _ => return None,
    }
    Some(())
}

fn remove(document: &mut Value, path: &str) -> Option<Value> {
    match locate(document, path)? {
        (Value::Object(members), name) => members.remove(&name),
        (Value::Array(items), part) => {
            let at = index(&part, items.len())?;
            (at < items.len()).then(|| items.remove(at))
        }
        _ => None,
    }
}

fn replace(document: &mut Value, path: &str, value: Value) -> Option<()> {
    if path.is_empty() {
        *document = value;
        return Some(());
    }
    match locate(document, path)? {
        (Value::Object(members), name) => drop(members.insert(name, value)),
        (Value::Array(items), part) => {
            let at = index(&part, items.len())?;
            *items.get_mut(at)? = value;
        }
        _ => return None,
    }
    Some(())
}

/// The value at a path; a missing member of an object is null.
fn get(document: &mut Value, path: &str) -> Option<Value> {
    if path.is_empty() {
        return Some(document.clone());
    }
    match locate(document, path)? {
        (Value::Object(members), name) => Some(members.get(&name).cloned().unwrap_or(Value::Null)),
        (Value::Array(items), part) => items.get(index(&part, items.len())?).cloned(),
        _ => None,
    }
}
