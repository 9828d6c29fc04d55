//! A document as it was written: members in their order, repetitions included.
//!
//! Values of `serde_json` sort members and keep the last of equal keys; reports about unknown and duplicate fields need
//! to know better. What a document means is not known here.

use serde_json::{Number, Value};

/// A node of a document.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Number(Numeral),
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

/// A number, and how it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Numeral {
    number: Number,
    /// The spelling, where it is not the usual one of the number.
    written: Option<Box<str>>,
}

impl Numeral {
    /// Reads a number as it stands in JSON. What is larger than any is the largest one.
    pub(super) fn read(text: &str) -> Self {
        let is_whole = !text.contains(['.', 'e', 'E']);
        let integer = || -> Option<Number> {
            let unsigned = text.parse::<u64>().map(Number::from);
            unsigned.or_else(|_| text.parse::<i64>().map(Number::from)).ok()
        };
        let number = match is_whole.then(integer).flatten() {
            Some(number) => number,
            None => {
                let float = text.parse::<f64>().unwrap_or_default().clamp(f64::MIN, f64::MAX);
                Number::from_f64(float).unwrap_or_else(|| 0.into())
            }
        };
        let written = (number.is_f64() || text == "-0").then(|| text.into());
        Self { number, written }
    }

    /// The text of the number: as it was written, or else as upstream writes it.
    pub(super) fn text(&self) -> String {
        match (&self.written, self.number.as_f64()) {
            (Some(text), _) => text.to_string(),
            (None, Some(float)) if self.number.is_f64() => float_text(float),
            (None, _) => self.number.to_string(),
        }
    }

    /// The integer that the text says. One with a fraction or an exponent is none, whatever its value.
    pub(super) fn integer(&self) -> Option<i64> {
        match (&self.written, self.number.is_f64()) {
            (None, false) => self.number.as_i64(),
            _ => self.text().parse().ok(),
        }
    }

    /// The number.
    pub(super) fn into_number(self) -> Number {
        self.number
    }
}

impl From<Number> for Numeral {
    fn from(number: Number) -> Self {
        Self { number, written: None }
    }
}

/// A number that is not known to be whole, as Go's `encoding/json` writes it: with an exponent only where it is very large or very
/// small.
fn float_text(float: f64) -> String {
    let magnitude = float.abs();
    if magnitude == 0.0 || (1e-6..1e21).contains(&magnitude) {
        return float.to_string();
    }
    let text = format!("{float:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => text,
    }
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
            Self::Number(n) => Value::Number(n.into_number()),
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
            Value::Number(n) => Self::Number(n.into()),
            Value::String(s) => Self::String(s),
            Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Value::Object(members) => Self::Map(members.into_iter().map(|(k, v)| (k, Self::from(v))).collect()),
        }
    }
}
