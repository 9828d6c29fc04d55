//! Writes YAML in block style, members in natural order, as `sigs.k8s.io/yaml` does.
//!
//! What is written is not known here; how a string is written is decided in `style`.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::style;

/// The value as one YAML document.
pub(super) fn yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(members) if !members.is_empty() => write(&mut out, value, 0),
        Value::Array(items) if !items.is_empty() => write(&mut out, value, 0),
        leaf => {
            inline(&mut out, leaf, 0);
            out.push('\n');
        }
    }
    out
}

/// Writes a collection that is not empty, each entry on a line of its own.
fn write(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(members) => {
            for (name, member) in in_order(members) {
                pad(out, indent);
                style::key(out, name);
                out.push(':');
                member_of(out, member, indent);
            }
        }
        Value::Array(items) => {
            for item in items {
                pad(out, indent);
                out.push('-');
                element_of(out, item, indent);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => inline(out, value, indent),
    }
}

/// What follows `name:`. Lists stand at the indent of their name.
fn member_of(out: &mut String, member: &Value, indent: usize) {
    match member {
        Value::Object(members) if !members.is_empty() => {
            out.push('\n');
            write(out, member, indent + 2);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            write(out, member, indent);
        }
        leaf => {
            out.push(' ');
            inline(out, leaf, indent + 2);
            out.push('\n');
        }
    }
}

/// What follows `-`: the first member of a map stands on the same line.
fn element_of(out: &mut String, item: &Value, indent: usize) {
    match item {
        Value::Object(members) if !members.is_empty() => {
            for (index, (name, member)) in in_order(members).into_iter().enumerate() {
                if index == 0 {
                    out.push(' ');
                } else {
                    pad(out, indent + 2);
                }
                style::key(out, name);
                out.push(':');
                member_of(out, member, indent + 2);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, inner) in items.iter().enumerate() {
                if index == 0 {
                    out.push(' ');
                } else {
                    pad(out, indent + 2);
                }
                out.push('-');
                element_of(out, inner, indent + 2);
            }
        }
        leaf => {
            out.push(' ');
            inline(out, leaf, indent + 2);
            out.push('\n');
        }
    }
}

fn inline(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::String(text) => style::text(out, text, indent),
        other => out.push_str(&other.to_string()),
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// The members with numbers inside names counted as such: `a2` stands before `a10`.
fn in_order(members: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
    sorted.sort_by(|a, b| natural(a.0, b.0));
    sorted
}

/// Source: `go.yaml.in/yaml/v2` `sorter.go`.
fn natural(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(at) = a.iter().zip(&b).position(|(a, b)| a != b) else {
        return a.len().cmp(&b.len());
    };
    match (a[at].is_alphabetic(), b[at].is_alphabetic()) {
        (true, true) => return a[at].cmp(&b[at]),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // A zero inside a number does not begin one.
    let before = a[..at].iter().rev().take_while(|c| c.is_ascii_digit());
    let inside = (a[at] == '0' || b[at] == '0') && before.into_iter().any(|c| *c != '0');
    let number = |text: &[char]| {
        let digits = text[at..].iter().map_while(|c| c.to_digit(10));
        let (length, value) = digits.fold((0, u64::from(inside)), |(length, value), digit| {
            (length + 1, value.saturating_mul(10).saturating_add(u64::from(digit)))
        });
        (value, length)
    };
    number(&a).cmp(&number(&b)).then(a[at].cmp(&b[at]))
}

#[cfg(test)]
mod tests {
    use super::yaml;
    use serde_json::json;

    #[test]
    fn members_stand_in_natural_order() {
        let text = yaml(&json!({"a10": 1, "a2": 2, "B": 3, "a/b": 4, "a": {"x": []}}));
        assert_eq!(text, "B: 3\na:\n  x: []\na/b: 4\na2: 2\na10: 1\n");
    }

    #[test]
    fn long_texts_are_folded_at_spaces_behind_the_eightieth_column() {
        let text = yaml(&json!({"message": format!("{} {} x: y", "a".repeat(65), "b".repeat(10))}));
        let (a, b) = ("a".repeat(65), "b".repeat(10));
        assert_eq!(text, format!("message: '{a} {b}\n  x: y'\n"));
    }
}
