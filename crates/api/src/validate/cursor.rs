//! A place in an object: a value and the path that leads to it, and the list of what is wrong.
//!
//! Rules step through an object with a [`Cursor`]; a broken rule takes its field path from it.

use std::fmt;

use serde_json::Value;

use crate::names;
use crate::quantity::Quantity;
use crate::value;
use crate::{FieldError, FieldErrorKind};

static NULL: Value = Value::Null;

/// A value in an object and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub(super) value: &'a Value,
    parent: Option<&'a Cursor<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Cursor<'a> {
    /// The object itself.
    pub(super) fn root(value: &'a Value) -> Self {
        Self {
            value,
            parent: None,
            step: Step::Root,
        }
    }

    fn step<'b>(&'b self, value: &'b Value, step: Step<'b>) -> Cursor<'b>
    where
        'a: 'b,
    {
        Cursor {
            value,
            parent: Some(self),
            step,
        }
    }

    /// A field; null when absent.
    pub(super) fn at<'b>(&'b self, field: &'b str) -> Cursor<'b>
    where
        'a: 'b,
    {
        self.step(self.value.get(field).unwrap_or(&NULL), Step::Field(field))
    }

    /// The elements of a list.
    pub(super) fn items<'b>(&'b self) -> impl Iterator<Item = Cursor<'b>>
    where
        'a: 'b,
    {
        let list = self.value.as_array().into_iter().flatten();
        list.enumerate()
            .map(move |(index, value)| self.step(value, Step::Index(index)))
    }

    /// The members of a map, in the order of their keys; their paths end in `[key]`.
    pub(super) fn members<'b>(&'b self) -> impl Iterator<Item = (&'b str, Cursor<'b>)>
    where
        'a: 'b,
    {
        let map = self.value.as_object().into_iter().flatten();
        map.map(move |(key, value)| (key.as_str(), self.step(value, Step::Key(key))))
    }

    /// The member of a map with that key; its path ends in `[key]`.
    pub(super) fn key<'b>(&'b self, key: &'b str) -> Cursor<'b>
    where
        'a: 'b,
    {
        self.step(self.value.get(key).unwrap_or(&NULL), Step::Key(key))
    }

    /// The element of a list at an index, absent or not.
    pub(super) fn index<'b>(&'b self, index: usize) -> Cursor<'b>
    where
        'a: 'b,
    {
        self.step(self.value.get(index).unwrap_or(&NULL), Step::Index(index))
    }

    /// The same place with another value.
    pub(super) fn with(&self, value: &'a Value) -> Self {
        Self { value, ..*self }
    }

    /// The text; empty when there is none.
    pub(super) fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    /// The integer, where there is one.
    pub(super) fn integer(&self) -> Option<i64> {
        self.value.as_i64()
    }

    /// The boolean; false when there is none.
    pub(super) fn flag(&self) -> bool {
        self.value.as_bool().unwrap_or_default()
    }

    /// True unless absent or null.
    pub(super) fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    /// True for absent, null, and empty texts, lists and maps.
    pub(super) fn is_empty(&self) -> bool {
        match self.value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        }
    }

    /// The number of elements or members.
    pub(super) fn len(&self) -> usize {
        match self.value {
            Value::Array(list) => list.len(),
            Value::Object(map) => map.len(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        }
    }

    /// The amount of a resource; `None` for what is none.
    pub(super) fn quantity(&self) -> Option<Quantity> {
        if self.is_set() {
            Quantity::from_value(self.value).ok()
        } else {
            None
        }
    }

    /// Equal to another place's value, absent and empty being one.
    pub(super) fn same_as(&self, other: &Cursor<'_>) -> bool {
        value::semantically_equal(self.value, other.value)
    }

    /// The path in upstream's notation.
    pub(super) fn path(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Cursor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = self.parent.filter(|parent| !matches!(parent.step, Step::Root));
        if let Some(parent) = within {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Field(name) if within.is_some() => write!(f, ".{name}"),
            Step::Field(name) => f.write_str(name),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => write!(f, "[{key}]"),
        }
    }
}

/// Below zero.
pub(super) const NEGATIVE: &str = "must be greater than or equal to 0";
/// Changed after it was set.
pub(super) const IMMUTABLE: &str = "field is immutable";

/// The broken rules found so far, in the order found.
#[derive(Default)]
pub(super) struct Errors(Vec<FieldError>);

impl Errors {
    /// The broken rules.
    pub(super) fn into_list(self) -> Vec<FieldError> {
        self.0
    }

    /// True while nothing is wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// A broken rule made elsewhere.
    pub(super) fn add(&mut self, error: FieldError) {
        self.0.push(error);
    }

    /// A broken rule with everything given.
    pub(super) fn push(
        &mut self,
        kind: FieldErrorKind,
        path: impl Into<String>,
        value: Option<&Value>,
        detail: impl Into<String>,
    ) {
        self.0.push(FieldError::new(kind, path, value, detail));
    }

    /// A required field is missing.
    pub(super) fn required(&mut self, at: &Cursor<'_>, detail: impl Into<String>) {
        self.push(FieldErrorKind::Required, at.path(), None, detail);
    }

    /// The value breaks a rule.
    pub(super) fn invalid(&mut self, at: &Cursor<'_>, detail: impl Into<String>) {
        self.push(FieldErrorKind::Invalid, at.path(), Some(at.value), detail);
    }

    /// As `invalid`, with another value shown.
    pub(super) fn invalid_as(&mut self, at: &Cursor<'_>, shown: impl Into<Value>, detail: impl Into<String>) {
        self.push(FieldErrorKind::Invalid, at.path(), Some(&shown.into()), detail);
    }

    /// As `invalid`, with no value shown.
    pub(super) fn wrong(&mut self, at: &Cursor<'_>, detail: impl Into<String>) {
        self.push(FieldErrorKind::Invalid, at.path(), None, detail);
    }

    /// One error for each complaint about a text.
    pub(super) fn complaints(&mut self, at: &Cursor<'_>, complaints: Vec<String>) {
        for complaint in complaints {
            self.invalid(at, complaint);
        }
    }

    /// The field may not be set or changed here.
    pub(super) fn forbidden(&mut self, at: &Cursor<'_>, detail: impl Into<String>) {
        self.push(FieldErrorKind::Forbidden, at.path(), None, detail);
    }

    /// The value is not one of a closed set.
    pub(super) fn unsupported(&mut self, at: &Cursor<'_>, supported: &[&str]) {
        self.unsupported_as(at, at.value.clone(), supported);
    }

    /// As `unsupported`, with another value shown; null is shown as the empty text.
    pub(super) fn unsupported_as(&mut self, at: &Cursor<'_>, shown: Value, supported: &[&str]) {
        let shown = if shown.is_null() { "".into() } else { shown };
        let quoted: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        let detail = format!("supported values: {}", quoted.join(", "));
        self.push(FieldErrorKind::NotSupported, at.path(), Some(&shown), detail);
    }

    /// Equal to an earlier element.
    pub(super) fn duplicate(&mut self, at: &Cursor<'_>) {
        self.duplicate_as(at, at.value.clone());
    }

    /// As `duplicate`, with another value shown.
    pub(super) fn duplicate_as(&mut self, at: &Cursor<'_>, shown: impl Into<Value>) {
        self.push(FieldErrorKind::Duplicate, at.path(), Some(&shown.into()), "");
    }

    /// A reference that leads nowhere.
    pub(super) fn not_found(&mut self, at: &Cursor<'_>, shown: &str) {
        self.push(FieldErrorKind::NotFound, at.path(), Some(&shown.into()), "");
    }

    /// A text with too many bytes.
    pub(super) fn too_long(&mut self, at: &Cursor<'_>, max: usize) {
        let detail = format!("may not be more than {max} bytes");
        self.push(FieldErrorKind::TooLong, at.path(), None, detail);
    }

    /// A list with too many elements.
    pub(super) fn too_many(&mut self, at: &Cursor<'_>, max: usize) {
        let detail = format!("must have at most {max} items");
        self.push(FieldErrorKind::TooMany, at.path(), Some(&at.len().into()), detail);
    }

    // Rules that many kinds share.

    /// An integer, where there is one, is not below zero.
    pub(super) fn check_not_negative(&mut self, at: &Cursor<'_>) {
        if at.integer().is_some_and(|value| value < 0) {
            self.invalid(at, NEGATIVE);
        }
    }

    /// A value that stays as it was.
    pub(super) fn check_immutable(&mut self, new: &Cursor<'_>, old: &Cursor<'_>) {
        if !new.same_as(old) {
            self.invalid(new, IMMUTABLE);
        }
    }

    /// A text that is one of a closed set.
    pub(super) fn check_one_of(&mut self, at: &Cursor<'_>, supported: &[&str]) {
        if !supported.contains(&at.text()) {
            self.unsupported(at, supported);
        }
    }

    /// A number that may name a port.
    pub(super) fn check_port(&mut self, at: &Cursor<'_>) {
        if !at.integer().is_some_and(|port| (1..=65_535).contains(&port)) {
            let shown = at.integer().unwrap_or_default();
            self.invalid_as(at, shown, "must be between 1 and 65535, inclusive");
        }
    }

    /// A number or a name of a port.
    pub(super) fn check_port_or_name(&mut self, at: &Cursor<'_>) {
        match at.value {
            Value::String(name) => self.complaints(at, names::port_name(name)),
            _ => self.check_port(at),
        }
    }
}
