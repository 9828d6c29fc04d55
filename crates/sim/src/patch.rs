//! The patches that writes carry, over plain JSON.
//!
//! The strategic form knows the lists that controllers and the recorded scenarios patch, by their merge keys.

use rota_api::PatchKind;
use serde_json::{Map, Value};

/// `original` with `patch` applied. JSON Patch knows `add`, `replace`, `remove` and `test`.
pub fn apply(kind: PatchKind, original: &Value, patch: &Value) -> Option<Value> {
    match kind {
        PatchKind::Merge | PatchKind::Apply => Some(merge(original, patch)),
        PatchKind::Strategic => Some(strategic("", original, patch)),
        PatchKind::Json => {
            let mut value = original.clone();
            patch
                .as_array()?
                .iter()
                .try_for_each(|operation| step(&mut value, operation))?;
            Some(value)
        }
    }
}

fn merge(original: &Value, patch: &Value) -> Value {
    let Value::Object(changes) = patch else {
        return patch.clone();
    };
    let mut merged = original.as_object().cloned().unwrap_or_default();
    for (key, change) in changes {
        if change.is_null() {
            merged.remove(key);
        } else {
            let value = merge(merged.get(key).unwrap_or(&Value::Null), change);
            merged.insert(key.clone(), value);
        }
    }
    merged.into()
}

fn strategic(field: &str, original: &Value, patch: &Value) -> Value {
    match patch {
        Value::Object(changes) => strategic_object(original, changes),
        Value::Array(items) => match (merge_key(field), field) {
            (Some(key), _) => strategic_list(key, original, items),
            (None, "finalizers") => {
                let mut all = original.as_array().cloned().unwrap_or_default();
                all.extend(items.iter().filter(|item| !contains(original, item)).cloned());
                all.into()
            }
            (None, _) => patch.clone(),
        },
        _ => patch.clone(),
    }
}

fn strategic_object(original: &Value, changes: &Map<String, Value>) -> Value {
    let mut merged = original.as_object().cloned().unwrap_or_default();
    for (key, change) in changes {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            if let Some(items) = merged.get_mut(list).and_then(Value::as_array_mut) {
                items.retain(|item| !contains(change, item));
                if items.is_empty() {
                    merged.remove(list);
                }
            }
        } else if change.is_null() {
            merged.remove(key);
        } else {
            let value = strategic(key, merged.get(key).unwrap_or(&Value::Null), change);
            if value.as_array().is_some_and(Vec::is_empty) {
                merged.remove(key);
            } else {
                merged.insert(key.clone(), value);
            }
        }
    }
    merged.into()
}

fn strategic_list(key: &str, original: &Value, changes: &[Value]) -> Value {
    let mut items = original.as_array().cloned().unwrap_or_default();
    for change in changes {
        let place = items.iter().position(|item| item[key] == change[key]);
        match (change["$patch"] == "delete", place) {
            (true, Some(place)) => {
                items.remove(place);
            }
            (true, None) => {}
            (false, Some(place)) => items[place] = strategic("", &items[place], change),
            (false, None) => items.push(change.clone()),
        }
    }
    items.into()
}

fn merge_key(list: &str) -> Option<&'static str> {
    match list {
        "ownerReferences" => Some("uid"),
        "conditions" => Some("type"),
        "containers" | "initContainers" | "env" | "volumes" => Some("name"),
        _ => None,
    }
}

fn contains(list: &Value, item: &Value) -> bool {
    list.as_array().is_some_and(|list| list.contains(item))
}

fn step(value: &mut Value, operation: &Value) -> Option<()> {
    let path = operation["path"].as_str()?;
    let (parent, last) = path.rsplit_once('/')?;
    let last = last.replace("~1", "/").replace("~0", "~");
    let holder = value.pointer_mut(parent)?;
    match (operation["op"].as_str()?, holder) {
        ("test", holder) => (holder.get(&last)? == &operation["value"]).then_some(()),
        ("remove", Value::Object(map)) => map.remove(&last).map(|_| ()),
        ("add" | "replace", Value::Object(map)) => {
            map.insert(last, operation["value"].clone());
            Some(())
        }
        ("remove", Value::Array(list)) => {
            let at: usize = last.parse().ok()?;
            (at < list.len()).then(|| list.remove(at)).map(|_| ())
        }
        ("add", Value::Array(list)) => {
            let at = if last == "-" { list.len() } else { last.parse().ok()? };
            (at <= list.len()).then(|| list.insert(at, operation["value"].clone()))
        }
        _ => None,
    }
}
