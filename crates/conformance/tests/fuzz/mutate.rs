//! Making new inputs of known ones.

use fastrand::Rng;
use serde_json::{Map, Value, json};

/// What readers of all kinds stumble over.
const TOKENS: [&str; 60] = [
    "\0",
    "\u{feff}",
    "\u{2028}",
    "\u{10ffff}",
    "é",
    "\\ud800",
    "\\u0000",
    "%00",
    "%",
    "%zz",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    ",",
    ":",
    "- ",
    "? ",
    "| ",
    "> ",
    "&a ",
    "*a ",
    "<<: ",
    "!!binary ",
    "---\n",
    "...\n",
    "#",
    "\t",
    "\r\n",
    "null",
    "~",
    "true",
    "NaN",
    "-0",
    "1e999",
    "-1e-999",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "0x7fffffff",
    "1_000",
    "0.1",
    "1Ei",
    "1e3m",
    "100n",
    "+",
    "=",
    "!=",
    " in (",
    " notin (",
    ")",
    "*/5",
    "0-59/7",
    "@every 1ns",
    "TZ=UTC ",
    "$patch",
    "$setElementOrder/containers",
];

/// Keys that change what an object or a patch means.
const KEYS: [&str; 24] = [
    "$patch",
    "$retainKeys",
    "$deleteFromPrimitiveList/finalizers",
    "$setElementOrder/containers",
    "metadata",
    "spec",
    "status",
    "name",
    "kind",
    "apiVersion",
    "managedFields",
    "fieldsV1",
    "f:spec",
    "k:{\"name\":\"c\"}",
    "v:1",
    ".",
    "i:0",
    "op",
    "path",
    "from",
    "value",
    "matchExpressions",
    "",
    "a/b~1~0",
];

/// Bytes near `bytes`: some of them changed, removed, repeated, or replaced by a part of `other`.
pub(crate) fn bytes(rng: &mut Rng, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..rng.usize(1..5) {
        let at = rng.usize(0..=out.len());
        match rng.u8(0..10) {
            0 if at < out.len() => out[at] ^= 1 << rng.u8(0..8),
            1 if at < out.len() => out[at] = rng.u8(..),
            2 => out.truncate(at),
            3 => {
                let end = (at + rng.usize(0..16)).min(out.len());
                out.drain(at..end);
            }
            4 => {
                let end = (at + rng.usize(0..64)).min(out.len());
                let part = out[at..end].to_vec();
                let times = rng.usize(1..20);
                out.splice(at..at, part.repeat(times));
            }
            5 | 6 => {
                let token = rng.choice(TOKENS).unwrap_or_default();
                let times = if rng.u8(0..40) == 0 { rng.usize(1..3000) } else { 1 };
                out.splice(at..at, token.repeat(times).into_bytes());
            }
            7 => {
                let from = rng.usize(0..=other.len());
                let end = (from + rng.usize(0..128)).min(other.len());
                out.splice(at..at, other[from..end].iter().copied());
            }
            8 if !out.is_empty() => {
                let from = rng.usize(0..out.len());
                let to = at.min(out.len() - 1);
                out.swap(from, to);
            }
            _ => {
                let token = rng.choice(TOKENS).unwrap_or_default().as_bytes();
                let end = (at + token.len()).min(out.len());
                out.splice(at..end, token.iter().copied());
            }
        }
    }
    out
}

/// A text near `text`.
pub(crate) fn text(rng: &mut Rng, text: &str, other: &str) -> String {
    String::from_utf8_lossy(&bytes(rng, text.as_bytes(), other.as_bytes())).into_owned()
}

/// A document near `value`: some of its nodes changed, moved, removed, repeated, or replaced by nodes of `other`.
pub(crate) fn document(rng: &mut Rng, value: &Value, other: &Value) -> Value {
    let mut out = value.clone();
    for _ in 0..rng.usize(1..4) {
        let count = count(&out);
        let target = rng.usize(0..count);
        let donor = node(other, rng.usize(0..self::count(other)))
            .cloned()
            .unwrap_or_default();
        if let Some(node) = node_mut(&mut out, target) {
            change(rng, node, donor);
        }
    }
    out
}

fn change(rng: &mut Rng, node: &mut Value, donor: Value) {
    match (rng.u8(0..12), &mut *node) {
        (0..=2, _) => *node = donor,
        (3, _) => *node = odd(rng),
        (4..=6, Value::Object(fields)) => {
            let keys: Vec<String> = fields.keys().cloned().collect();
            if let Some(key) = rng.choice(&keys) {
                fields.remove(key);
            }
        }
        (7 | 8, Value::Object(fields)) => {
            let key = rng.choice(KEYS).unwrap_or_default();
            fields.insert(key.to_owned(), donor);
        }
        (9, Value::Object(fields)) => {
            let keys: Vec<String> = fields.keys().cloned().collect();
            if let Some(moved) = rng.choice(&keys).and_then(|key| fields.remove(key)) {
                fields.insert(rng.choice(KEYS).unwrap_or_default().to_owned(), moved);
            }
        }
        (4 | 5, Value::Array(items)) => items.clear(),
        (6..=8, Value::Array(items)) => {
            if let Some(item) = rng.choice(&*items).cloned() {
                items.push(item);
            }
        }
        (9, Value::Array(items)) => items.push(donor),
        (4..=9, Value::String(own)) => *own = text(rng, own, donor.as_str().unwrap_or_default()),
        (4..=9, Value::Number(number)) => {
            let number = number.as_i64().unwrap_or_default();
            *node = match rng.u8(0..5) {
                0 => number.wrapping_neg().into(),
                1 => number.wrapping_add(1).into(),
                2 => i64::MAX.into(),
                3 => i64::from(i32::MIN).into(),
                _ => json!(1.5e300),
            };
        }
        (10, _) => {
            for _ in 0..rng.usize(1..200) {
                let inner = node.take();
                *node = if rng.bool() {
                    json!([inner])
                } else {
                    json!({ "a": inner })
                };
            }
        }
        _ => *node = json!([node.clone(), donor]),
    }
}

fn odd(rng: &mut Rng) -> Value {
    match rng.u8(0..12) {
        0 => Value::Null,
        1 => true.into(),
        2 => 0.into(),
        3 => (-1).into(),
        4 => i64::MAX.into(),
        5 => u64::MAX.into(),
        6 => json!(0.5),
        7 => "".into(),
        8 => json!([]),
        9 => Value::Object(Map::new()),
        10 => "x".repeat(rng.usize(1..70_000)).into(),
        _ => rng.choice(TOKENS).unwrap_or_default().into(),
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum::<usize>(),
        _ => 0,
    }
}

/// The node with that number, parents before children.
fn node(value: &Value, number: usize) -> Option<&Value> {
    fn find<'a>(value: &'a Value, left: &mut usize) -> Option<&'a Value> {
        if *left == 0 {
            return Some(value);
        }
        *left -= 1;
        match value {
            Value::Array(items) => items.iter().find_map(|item| find(item, left)),
            Value::Object(fields) => fields.values().find_map(|field| find(field, left)),
            _ => None,
        }
    }
    find(value, &mut { number })
}

fn node_mut(value: &mut Value, number: usize) -> Option<&mut Value> {
    fn find<'a>(value: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
        if *left == 0 {
            return Some(value);
        }
        *left -= 1;
        match value {
            Value::Array(items) => items.iter_mut().find_map(|item| find(item, left)),
            Value::Object(fields) => fields.values_mut().find_map(|field| find(field, left)),
            _ => None,
        }
    }
    find(value, &mut { number })
}
