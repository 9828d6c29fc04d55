//! Strategic merge patch: a merge patch that merges lists element by element where the type table says so.
//!
//! Directives inside the patch (`$patch`, `$retainKeys`, `$setElementOrder/…`, `$deleteFromPrimitiveList/…`) steer the
//! merge and never reach the result. Recursion is as deep as the patch, which decoding bounds.
//!
//! Source: `spec/api.md` §2.5; `apimachinery/pkg/util/strategicpatch/patch.go`.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::order::{agrees, arrange, identities, identity};
use crate::table::{Field, PatchStrategy, Schema, Target, TypeId, schema};
use crate::value::{shown, type_in_memory};
use crate::{ApiError, Reason};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

/// `original`, an object of the type `schema_type`, changed by `patch`.
pub(super) fn apply(schema_type: &str, original: &Value, patch: &Value) -> Result<Value, ApiError> {
    let (Value::Object(original), Value::Object(patch)) = (original, patch) else {
        return Err(ApiError::bad_request("expected a map"));
    };
    let schema = schema();
    let merger = Merger { schema };
    let inside = schema.id(schema_type).map_or(Inside::Unknown, Inside::Type);
    merger.map(original.clone(), patch, inside).map(Value::Object)
}

/// What is known about the members of a map.
#[derive(Clone, Copy)]
enum Inside {
    /// They are the fields of a type.
    Type(TypeId),
    /// They are all alike.
    Values(&'static Target),
    /// Nothing.
    Unknown,
}

impl Inside {
    fn of(target: &'static Target) -> Self {
        match target {
            Target::Type(id) => Self::Type(*id),
            Target::Map(values) => Self::Values(values),
            Target::List(_)
            | Target::Any
            | Target::String
            | Target::Bytes
            | Target::Bool
            | Target::Int32
            | Target::Int64
            | Target::Double => Self::Unknown,
        }
    }
}

struct Merger {
    schema: &'static Schema,
}

impl Merger {
    fn field(&self, inside: Inside, name: &str) -> Option<&'static Field> {
        match inside {
            Inside::Type(id) => self.schema[id].field(name),
            Inside::Values(_) | Inside::Unknown => None,
        }
    }

    fn map(
        &self,
        mut original: Map<String, Value>,
        patch: &Map<String, Value>,
        inside: Inside,
    ) -> Result<Map<String, Value>, ApiError> {
        if let Some(directive) = patch.get(PATCH) {
            return replaced(directive, patch);
        }
        if let Some(keys) = patch.get(RETAIN_KEYS) {
            retain(&mut original, patch, keys)?;
        }
        let mut ordered: Vec<&str> = Vec::new();
        for (name, order) in patch {
            if let Some(field) = name.strip_prefix(ELEMENT_ORDER) {
                self.ordered_list(&mut original, patch, field, order, inside)?;
                ordered.push(field);
            }
        }
        for (name, value) in patch {
            if let Some(field) = name.strip_prefix(DELETE_PRIMITIVES) {
                delete_primitives(&mut original, field, value)?;
            } else if name == RETAIN_KEYS || name.starts_with(ELEMENT_ORDER) || ordered.contains(&name.as_str()) {
                // Dealt with above.
            } else if value.is_null() {
                original.remove(name);
            } else if let Some(have) = original.get_mut(name) {
                match self.member(Some(have.take()), value, name, inside)? {
                    Some(merged) => *have = merged,
                    None => drop(original.remove(name)),
                }
            } else if let Some(merged) = self.member(None, value, name, inside)? {
                original.insert(name.clone(), merged);
            }
        }
        Ok(original)
    }

    /// The new value of one member.
    fn member(
        &self,
        original: Option<Value>,
        patch: &Value,
        name: &str,
        inside: Inside,
    ) -> Result<Option<Value>, ApiError> {
        let field = self.field(inside, name);
        let plain = PatchStrategy::default();
        let strategy = field.map_or(&plain, |f| &f.patch);
        match (original, patch) {
            (Some(Value::Object(original)), Value::Object(patch)) => {
                if strategy.replace {
                    return Ok(without_directives(&Value::Object(patch.clone())));
                }
                let within = match (field, inside) {
                    (Some(field), _) => Inside::of(&field.target),
                    (None, Inside::Values(target)) => Inside::of(target),
                    (None, Inside::Type(_) | Inside::Unknown) => Inside::Unknown,
                };
                self.map(original, patch, within).map(|map| Some(Value::Object(map)))
            }
            (Some(Value::Array(original)), Value::Array(patch)) if strategy.merge => {
                self.list(original, patch, field).map(|list| Some(Value::Array(list)))
            }
            (Some(_), Value::Array(_)) => Ok(Some(patch.clone())),
            (_, patch) => Ok(without_directives(patch)),
        }
    }

    /// Merges a list and puts it in the patch's order.
    fn list(
        &self,
        original: Vec<Value>,
        patch: &[Value],
        field: Option<&'static Field>,
    ) -> Result<Vec<Value>, ApiError> {
        let merge_key = field.and_then(|f| f.patch.merge_key);
        let server = identities(&original, merge_key);
        let (merged, plain) = self.unordered(original, patch, field)?;
        let wanted: Vec<Option<&Value>> = plain.into_iter().map(|item| identity(item, merge_key)).collect();
        Ok(arrange(merged, &wanted, &server, merge_key))
    }

    /// Merges a list; also returns the patch's elements without those that are directives.
    fn unordered<'p>(
        &self,
        mut original: Vec<Value>,
        patch: &'p [Value],
        field: Option<&'static Field>,
    ) -> Result<(Vec<Value>, Vec<&'p Value>), ApiError> {
        let Some(merge_key) = field.and_then(|f| f.patch.merge_key) else {
            let mut merged = original;
            merged.extend(patch.iter().cloned());
            let mut seen = HashSet::with_capacity(merged.len());
            merged.retain(|item| seen.insert(item.to_string()));
            return Ok((merged, patch.iter().collect()));
        };
        let mut plain = Vec::with_capacity(patch.len());
        let mut replace = false;
        for item in patch {
            match item.get(PATCH).map(|directive| (directive, directive.as_str())) {
                None => plain.push(item),
                Some((_, Some("replace"))) => replace = true,
                Some((_, Some("delete"))) => {
                    check_key(item, merge_key)?;
                    original.retain(|have| have.get(merge_key) != item.get(merge_key));
                }
                Some((_, Some("merge"))) => return Err(fault("merging lists cannot yet be specified in the patch")),
                Some((directive, _)) => {
                    let (directive, item) = (shown(directive), shown(item));
                    return Err(fault(format!("unknown patch type: {directive} in map: {item}")));
                }
            }
        }
        if replace {
            return Ok((plain.iter().copied().cloned().collect(), plain));
        }
        let element = match field.map(|f| &f.target) {
            Some(Target::List(element)) => Inside::of(element),
            _ => Inside::Unknown,
        };
        for item in plain.iter().copied() {
            check_key(item, merge_key)?;
            let Value::Object(patch) = item else { continue };
            let id = patch.get(merge_key);
            let found = original.iter_mut().find(|have| have.get(merge_key) == id);
            match found {
                Some(have) => {
                    let Value::Object(map) = have.take() else { continue };
                    *have = Value::Object(self.map(map, patch, element)?);
                }
                None => original.extend(without_directives(item)),
            }
        }
        Ok((original, plain))
    }

    /// A list whose order the patch states.
    fn ordered_list(
        &self,
        original: &mut Map<String, Value>,
        patch: &Map<String, Value>,
        name: &str,
        order: &Value,
        inside: Inside,
    ) -> Result<(), ApiError> {
        let Value::Array(order) = order else {
            return Err(misplaced("[]interface {}", order));
        };
        let field = self.field(inside, name);
        match inside {
            Inside::Type(id) if field.is_none() => {
                let of = self.schema[id].short_name();
                return Err(fault(format!(
                    "unable to find api field in struct {of} for the json field {name:?}"
                )));
            }
            Inside::Values(_) => {
                return Err(fault(
                    "merging an object in json but data type is not struct, instead is: map",
                ));
            }
            Inside::Type(_) | Inside::Unknown => {}
        }
        let merge_key = field.and_then(|f| f.patch.merge_key);
        let changes = match patch.get(name) {
            Some(Value::Array(items)) => items.as_slice(),
            Some(Value::Null) => {
                original.remove(name);
                return Ok(());
            }
            _ => &[],
        };
        if let Some(key) = merge_key {
            for item in changes.iter().chain(order) {
                check_keyed(item, key)?;
            }
        }
        if !agrees(changes, order, merge_key) {
            return Err(fault(format!(
                "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                shown(&Value::from(changes)),
                shown(&Value::from(order.as_slice()))
            )));
        }
        let server = match original.remove(name) {
            Some(Value::Array(items)) => items,
            _ if changes.is_empty() => return Ok(()),
            _ => Vec::new(),
        };
        let before = identities(&server, merge_key);
        let (merged, _) = self.unordered(server, changes, field)?;
        let wanted: Vec<Option<&Value>> = order.iter().map(|item| identity(item, merge_key)).collect();
        original.insert(name.to_owned(), arrange(merged, &wanted, &before, merge_key).into());
        Ok(())
    }
}

/// `$patch: replace` and `$patch: delete` of a map.
fn replaced(directive: &Value, patch: &Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
    match directive.as_str() {
        Some("replace") => {
            let mut patch = patch.clone();
            patch.remove(PATCH);
            Ok(patch)
        }
        Some("delete") => Ok(Map::new()),
        _ => Err(fault(format!(
            "unknown patch type: {} in map: {}",
            shown(directive),
            shown(&Value::Object(patch.clone()))
        ))),
    }
}

/// `$retainKeys`: drops from the original what the patch does not list; the patch may only set what it lists.
fn retain(original: &mut Map<String, Value>, patch: &Map<String, Value>, keys: &Value) -> Result<(), ApiError> {
    let malformed = || ApiError::bad_request("invalid patch format of retainKeys");
    let keys: Vec<&str> = keys
        .as_array()
        .ok_or_else(malformed)?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let is_listed = |name: &str| {
        name == RETAIN_KEYS
            || name.starts_with(ELEMENT_ORDER)
            || name.starts_with(DELETE_PRIMITIVES)
            || keys.contains(&name)
    };
    if patch.iter().any(|(name, value)| !value.is_null() && !is_listed(name)) {
        return Err(malformed());
    }
    original.retain(|name, _| keys.contains(&name.as_str()));
    Ok(())
}

/// `$deleteFromPrimitiveList`: removes these scalars.
fn delete_primitives(original: &mut Map<String, Value>, name: &str, values: &Value) -> Result<(), ApiError> {
    let Value::Array(values) = values else {
        return Err(ApiError::bad_request("invalid patch format of primitive list"));
    };
    if let Some(Value::Array(items)) = original.get_mut(name) {
        items.retain(|item| !values.iter().any(|v| identity(v, None) == Some(item)));
    }
    Ok(())
}

/// What of a patch is a value: nulls go, and maps that carry a directive go as wholes.
fn without_directives(patch: &Value) -> Option<Value> {
    match patch {
        Value::Object(members) if members.contains_key(PATCH) => None,
        Value::Object(members) => Some(Value::Object(
            members
                .iter()
                .filter(|(name, value)| {
                    !value.is_null()
                        && *name != RETAIN_KEYS
                        && !name.starts_with(ELEMENT_ORDER)
                        && !name.starts_with(DELETE_PRIMITIVES)
                })
                .filter_map(|(name, value)| Some((name.clone(), without_directives(value)?)))
                .collect(),
        )),
        Value::Array(items) => Some(Value::Array(items.iter().filter_map(without_directives).collect())),
        scalar => Some(scalar.clone()),
    }
}

/// Refuses an element of a list that has no key to be told by.
fn check_key(item: &Value, merge_key: &str) -> Result<(), ApiError> {
    let Value::Object(members) = item else {
        return Err(misplaced("map[string]interface {}", item));
    };
    if members.contains_key(merge_key) {
        return Ok(());
    }
    let item = shown(item);
    Err(fault(format!(
        "map: {item} does not contain declared merge key: {merge_key}"
    )))
}

/// As [`check_key`], but for directives to do something with the whole list.
fn check_keyed(item: &Value, merge_key: &str) -> Result<(), ApiError> {
    if item.get(PATCH).is_some() {
        return Ok(());
    }
    check_key(item, merge_key)
}

/// A value where another type is wanted.
fn misplaced(wanted: &str, have: &Value) -> ApiError {
    let have = match have {
        Value::Null => "%!s(<nil>)",
        other => type_in_memory(other),
    };
    fault(format!("expected a {wanted}, but received a {have}"))
}

/// A document that is no strategic patch. Upstream takes it for its own fault.
fn fault(message: impl Into<String>) -> ApiError {
    ApiError::new(Reason::Unknown, message)
}
