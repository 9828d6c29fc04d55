//! Writes YAML in block style, members sorted, as `sigs.k8s.io/yaml` does.
//!
//! Strings are plain where every reader takes them for strings, literal blocks where they have lines, double-quoted
//! otherwise (JSON's escapes are YAML's). What is written is not known here.

use serde_json::Value;

use super::scalar::needs_quotes;

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
            for (name, member) in members {
                pad(out, indent);
                key(out, name);
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
            for (index, (name, member)) in members.iter().enumerate() {
                if index == 0 {
                    out.push(' ');
                } else {
                    pad(out, indent + 2);
                }
                key(out, name);
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
        Value::String(text) if is_block(text) => block(out, text, indent),
        Value::String(text) if !needs_quotes(text) => out.push_str(text),
        other => out.push_str(&other.to_string()),
    }
}

/// True for texts of several lines that a literal block can hold as they are.
fn is_block(text: &str) -> bool {
    text.contains('\n')
        && !text.starts_with([' ', '\n', '\t'])
        && !text.chars().any(|c| {
            (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{feff}' | '\u{85}' | '\u{2028}' | '\u{2029}')
        })
}

fn block(out: &mut String, text: &str, indent: usize) {
    let body = text.trim_end_matches('\n');
    out.push('|');
    match text.len() - body.len() {
        0 => out.push('-'),
        1 => {}
        _ => out.push('+'),
    }
    let kept = if text.len() - body.len() > 1 {
        &text[..text.len() - 1]
    } else {
        body
    };
    for line in kept.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            pad(out, indent);
            out.push_str(line);
        }
    }
}

fn key(out: &mut String, name: &str) {
    if needs_quotes(name) {
        out.push_str(&Value::String(name.to_owned()).to_string());
    } else {
        out.push_str(name);
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}
