//! The text of a revision: the template as a patch, byte for byte as upstream writes it.
//!
//! Upstream's own controller, its conformance suite and `kubectl rollout undo` compare these bytes. Taking over a cluster
//! must find the revisions that are there, since a revision that is not recognised restarts every pod.
//! Source: specification §15, §17.3.

use serde_json::{Map, Value, json};

/// The patch that puts the template in place of another: `{"spec":{"template":{"$patch":"replace",…}}}`.
pub(super) fn patch(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(fields) = template.as_object_mut() {
        fields.insert("$patch".into(), "replace".into());
    }
    json!({"spec": {"template": template}})
}

/// JSON as Go writes it from unordered maps: keys sorted, no blanks, Go's escapes.
pub(super) fn canonical(value: &Value) -> String {
    let mut out = String::with_capacity(1024);
    write(value, &mut out);
    out
}

/// Whether a stored revision holds this patch: the same text, however it is spaced, ordered or escaped, give or take the
/// nulls and empty lists that older releases wrote.
pub(super) fn holds(data: &Value, patch: &Value) -> bool {
    data == patch || canonical(data) == canonical(patch) || without_nothing(data) == without_nothing(patch)
}

/// The value without nulls and empty lists. Empty objects stay: many of them mean something.
fn without_nothing(value: &Value) -> Value {
    let is_nothing = |v: &Value| v.is_null() || v.as_array().is_some_and(Vec::is_empty);
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, v)| !is_nothing(v));
            Value::Object(kept.map(|(k, v)| (k.clone(), without_nothing(v))).collect())
        }
        Value::Array(items) => items.iter().map(without_nothing).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// The value with the keys of every object sorted by their bytes.
pub(super) fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut entries: Vec<_> = fields.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            let entries = entries.into_iter().map(|(k, v)| (k.clone(), sorted(v)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

// The depth is that of an object the server has accepted, which the JSON parser bounds.
fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut entries: Vec<_> = fields.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            out.push('{');
            for (position, (key, field)) in entries.into_iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write_text(key, out);
                out.push(':');
                write(field, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::String(text) => write_text(text, out),
        Value::Null | Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_texts_escaped_as_go_does() {
        let value = json!({"b": "<a&b>\u{2028}\u{7f}/", "a": ["\u{1}\u{8}\n", 7, {"z": 1, "y": true}]});
        let expected =
            "{\"a\":[\"\\u0001\\b\\n\",7,{\"y\":true,\"z\":1}],\"b\":\"\\u003ca\\u0026b\\u003e\\u2028\u{7f}/\"}";
        assert_eq!(canonical(&value), expected);
        assert_eq!(serde_json::from_str::<Value>(expected).unwrap(), value);
    }

    #[test]
    fn a_revision_of_an_older_release_is_recognised() {
        let new = patch(&json!({"metadata": {"labels": {"a": "b"}}, "spec": {"volumes": [{"emptyDir": {}}]}}));
        let old = patch(
            &json!({"metadata": {"creationTimestamp": null, "labels": {"a": "b"}}, "spec": {"volumes": [{"emptyDir": {}}]}}),
        );
        let other = patch(&json!({"metadata": {"labels": {"a": "b"}}, "spec": {"volumes": [{}]}}));
        assert!(holds(&old, &new));
        assert!(!holds(&other, &new));
    }
}
