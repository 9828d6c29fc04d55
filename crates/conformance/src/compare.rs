//! Comparing a reply with what was recorded.

use serde_json::Value;

use crate::pattern::Bindings;

/// Compares two documents; returns the first differences, each with its path.
pub fn differences(expected: &Value, actual: &Value, bindings: &mut Bindings) -> Vec<String> {
    let mut found = Vec::new();
    walk(expected, actual, "", bindings, &mut found);
    found
}

fn walk(expected: &Value, actual: &Value, path: &str, bindings: &mut Bindings, found: &mut Vec<String>) {
    const SHOWN_MAX: usize = 12;
    if found.len() >= SHOWN_MAX {
        return;
    }
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            // Keys may hold labels too.
            let mut left: Vec<&String> = actual.keys().collect();
            for (key, value) in expected {
                let same = left.iter().position(|other| *other == key);
                let same = same.or_else(|| {
                    left.iter()
                        .position(|other| key.contains('<') && bindings.matches(key, other))
                });
                match same {
                    Some(at) => {
                        let name = left.remove(at);
                        walk(value, &actual[name], &format!("{path}/{key}"), bindings, found);
                    }
                    None => found.push(format!("{path}/{key}: missing, expected {}", short(value))),
                }
            }
            for key in left {
                found.push(format!("{path}/{key}: unexpected {}", short(&actual[key])));
            }
        }
        (Value::Array(expected), Value::Array(actual)) => {
            for (at, value) in expected.iter().enumerate() {
                match actual.get(at) {
                    Some(other) => walk(value, other, &format!("{path}/{at}"), bindings, found),
                    None => found.push(format!("{path}/{at}: missing, expected {}", short(value))),
                }
            }
            for (at, value) in actual.iter().enumerate().skip(expected.len()) {
                found.push(format!("{path}/{at}: unexpected {}", short(value)));
            }
        }
        (Value::String(expected), Value::String(actual)) => {
            if !bindings.matches(expected, actual) {
                found.push(format!("{path}: expected {expected:?}, found {actual:?}"));
            }
        }
        (Value::String(expected), Value::Number(actual)) if expected.contains('<') => {
            if !bindings.matches(expected, &actual.to_string()) {
                found.push(format!("{path}: expected {expected:?}, found {actual}"));
            }
        }
        _ if expected == actual => {}
        _ => found.push(format!("{path}: expected {}, found {}", short(expected), short(actual))),
    }
}

/// Compares types of leaves only; one element of a list stands for all.
pub fn shape_differences(expected: &Value, actual: &Value, path: &str) -> Vec<String> {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            let missing = expected.iter().flat_map(|(key, value)| match actual.get(key) {
                Some(other) => shape_differences(value, other, &format!("{path}/{key}")),
                None => vec![format!("{path}/{key}: missing")],
            });
            let extra = actual.keys().filter(|key| !expected.contains_key(*key));
            missing
                .chain(extra.map(|key| format!("{path}/{key}: unexpected")))
                .collect()
        }
        (Value::Array(expected), Value::Array(actual)) => match (expected.first(), actual.first()) {
            (Some(expected), Some(actual)) => shape_differences(expected, actual, &format!("{path}/0")),
            (None, None) => Vec::new(),
            _ => vec![format!("{path}: one of the lists is empty")],
        },
        (Value::String(kind), actual) => {
            let is = match actual {
                Value::String(_) => "<string>",
                Value::Number(_) => "<number>",
                Value::Bool(_) => "<bool>",
                Value::Null => "<null>",
                Value::Array(_) | Value::Object(_) => "a structure",
            };
            if kind == is {
                Vec::new()
            } else {
                vec![format!("{path}: expected {kind}, found {is}")]
            }
        }
        _ => vec![format!("{path}: structures differ")],
    }
}

/// The part of a document that is compared.
pub fn pick(document: &Value, part: &str) -> Value {
    if let Some(name) = part.strip_prefix("paths/") {
        return document["paths"][name].clone();
    }
    let Some((list, condition)) = part.strip_suffix(']').and_then(|part| part.split_once('[')) else {
        return Value::Null;
    };
    let elements = document[list].as_array().cloned().unwrap_or_default();
    let field = |element: &Value, path: &str| {
        let value = path.split('.').try_fold(element, |value, name| value.get(name));
        value.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    if let Some((path, names)) = condition.split_once(" in ") {
        let names: Vec<&str> = names.split(',').collect();
        let kept = elements
            .into_iter()
            .filter(|element| names.contains(&field(element, path).as_str()));
        return Value::Array(kept.collect());
    }
    let (path, name) = condition.split_once('=').unwrap_or((condition, ""));
    elements
        .into_iter()
        .find(|element| field(element, path) == name)
        .unwrap_or_default()
}

/// Removes a value by a pointer in which `*` stands for every element.
pub fn remove(document: &mut Value, pointer: &str) {
    let parts: Vec<&str> = pointer.split('/').skip(1).collect();
    remove_at(document, &parts);
}

fn remove_at(value: &mut Value, parts: &[&str]) {
    let unescape = |part: &str| part.replace("~1", "/").replace("~0", "~");
    match (parts, value) {
        ([last], Value::Object(map)) => drop(map.remove(&unescape(last))),
        (["*", rest @ ..], Value::Array(list)) => list.iter_mut().for_each(|element| remove_at(element, rest)),
        ([first, rest @ ..], Value::Object(map)) => {
            if let Some(value) = map.get_mut(&unescape(first)) {
                remove_at(value, rest);
            }
        }
        ([first, rest @ ..], Value::Array(list)) => {
            if let Some(value) = first.parse::<usize>().ok().and_then(|at| list.get_mut(at)) {
                remove_at(value, rest);
            }
        }
        _ => {}
    }
}

/// Removes a field of that name wherever it is.
pub fn remove_everywhere(value: &mut Value, parent: &str, name: &str) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                if key == parent {
                    match value {
                        Value::Object(map) => drop(map.remove(name)),
                        Value::Array(list) => list.iter_mut().filter_map(Value::as_object_mut).for_each(|map| {
                            map.remove(name);
                        }),
                        _ => {}
                    }
                }
                remove_everywhere(value, parent, name);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| remove_everywhere(value, parent, name)),
        _ => {}
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
