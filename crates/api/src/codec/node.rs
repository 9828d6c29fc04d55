//! A document as it was written: members in their order, repetitions included.
//!
//! Values of `serde_json` sort members and keep the last of equal keys; reports about unknown and duplicate fields need
//! to know better. What a document means is not known here.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use super::{SyntaxError, json_complaint};

/// A node of a document.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The member of a map; of several the last, as it is the one that counts.
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        let Self::Map(members) = self else { return None };
        members
            .iter()
            .rev()
            .find(|(have, _)| have == name)
            .map(|(_, node)| node)
    }
}

/// Reads JSON. Its depth is bounded by the parser. Bytes and escapes that are no characters are read as U+FFFD.
pub(super) fn from_json(body: &[u8]) -> Result<Node, SyntaxError> {
    let text = repaired(body);
    // What is JSON all the same goes beyond the limits of the parser.
    serde_json::from_slice(&text)
        .map_err(|error| SyntaxError(json_complaint(body).unwrap_or_else(|| error.to_string())))
}

/// The text with each byte that is part of no character, and each escaped half of a pair without its other half, replaced.
fn repaired(body: &[u8]) -> Cow<'_, [u8]> {
    let valid = match std::str::from_utf8(body) {
        Ok(_) => Cow::Borrowed(body),
        Err(_) => Cow::Owned(with_characters_only(body)),
    };
    if !valid.windows(3).any(|part| matches!(part, [b'\\', b'u', b'd' | b'D'])) {
        return valid;
    }
    Cow::Owned(with_whole_pairs(&valid))
}

fn with_characters_only(body: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(body.len() + 8);
    for chunk in body.utf8_chunks() {
        text.extend_from_slice(chunk.valid().as_bytes());
        for _ in chunk.invalid() {
            text.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    text
}

fn with_whole_pairs(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let mut length = 1;
        if *first == b'\\' {
            length = match (escaped(rest), rest.get(6..).and_then(escaped)) {
                (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
                (Some(0xd800..=0xdfff), _) => {
                    out.extend_from_slice(br"\ufffd");
                    rest = &rest[6..];
                    continue;
                }
                _ => 1 + usize::from(!behind.is_empty()),
            };
        }
        out.extend_from_slice(&rest[..length]);
        rest = &rest[length..];
    }
    out
}

/// The number in an escape such as `\u00e9` at the beginning of the text.
fn escaped(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(br"\u")?.get(..4)?;
    let all_hex = digits.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| all_hex)?;
    u16::from_str_radix(digits, 16).ok()
}

impl Node {
    /// What messages of upstream's language runtime call a node of this kind.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::List(_) => "array",
            Self::Map(_) => "object",
        }
    }

    /// The text of the last member of that name; empty where there is none.
    ///
    /// Errors: what it is instead of a text.
    pub(super) fn said(&self, name: &str) -> Result<String, &'static str> {
        let Self::Map(members) = self else {
            return Ok(String::new());
        };
        match members.iter().rev().find(|(key, _)| key == name) {
            None | Some((_, Self::Null)) => Ok(String::new()),
            Some((_, Self::String(text))) => Ok(text.clone()),
            Some((_, other)) => Err(other.kind()),
        }
    }

    /// The same content without order and repetitions.
    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(b) => Value::Bool(b),
            Self::Number(n) => Value::Number(n),
            Self::String(s) => Value::String(s),
            Self::List(items) => Value::Array(items.into_iter().map(Self::into_value).collect()),
            Self::Map(members) => Value::Object(members.into_iter().map(|(k, v)| (k, v.into_value())).collect()),
        }
    }

    /// Reports repeated members below `path`, in the order of the document.
    pub(super) fn repeated(&self, path: &mut String, found: &mut Vec<String>) {
        let length = path.len();
        match self {
            Self::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    path.push_str(&format!("[{index}]"));
                    item.repeated(path, found);
                    path.truncate(length);
                }
            }
            Self::Map(members) => {
                let mut seen = std::collections::BTreeSet::new();
                for (name, member) in members {
                    if length > 0 {
                        path.push('.');
                    }
                    path.push_str(name);
                    if !seen.insert(name) {
                        found.push(format!("duplicate field {path:?}"));
                    }
                    member.repeated(path, found);
                    path.truncate(length);
                }
            }
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) => {}
        }
    }
}

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(b) => Self::Bool(b),
            Value::Number(n) => Self::Number(n),
            Value::String(s) => Self::String(s),
            Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Value::Object(members) => Self::Map(members.into_iter().map(|(k, v)| (k, Self::from(v))).collect()),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Number::from_f64(value).map_or(Node::Null, Node::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(Node::Map(members))
    }
}
