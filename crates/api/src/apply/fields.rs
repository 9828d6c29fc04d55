//! Sets of fields, and their form in `managedFields`: a trie whose keys name members.
//!
//! `f:name` is a field or the key of a map, `k:{…}` an element of a keyed list, `v:…` an element of a set. A node that is
//! owned itself besides its members says so with `.`.
//!
//! Source: `structured-merge-diff/v6/fieldpath` (`serialize.go`, `set.go`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A set of fields below one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    /// The place itself is in the set.
    pub(super) owned: bool,
    /// What is in the set below it, by the serialised name of the member; no member is empty.
    pub(super) members: BTreeMap<String, Fields>,
}

impl Fields {
    /// The place itself and nothing below.
    pub(super) fn leaf() -> Self {
        Self {
            owned: true,
            members: BTreeMap::new(),
        }
    }

    /// True when nothing is in the set.
    pub(super) fn is_empty(&self) -> bool {
        !self.owned && self.members.is_empty()
    }

    /// Adds what is in the set below a member.
    pub(super) fn insert(&mut self, member: String, fields: Self) {
        if !fields.is_empty() {
            self.members.insert(member, fields);
        }
    }

    /// What is in either set.
    pub(super) fn union(mut self, other: Self) -> Self {
        self.owned |= other.owned;
        for (member, fields) in other.members {
            let have = self.members.remove(&member).unwrap_or_default();
            self.members.insert(member, have.union(fields));
        }
        self
    }

    /// What is in this set and not in the other.
    pub(super) fn minus(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine && !theirs, true)
    }

    /// What is in both sets.
    pub(super) fn both(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine && theirs, false)
    }

    fn combine(&self, other: &Self, keep: fn(bool, bool) -> bool, keep_alone: bool) -> Self {
        let mut result = Self {
            owned: keep(self.owned, other.owned),
            members: BTreeMap::new(),
        };
        for (member, fields) in &self.members {
            match other.members.get(member) {
                Some(theirs) => result.insert(member.clone(), fields.combine(theirs, keep, keep_alone)),
                None if keep_alone => result.insert(member.clone(), fields.clone()),
                None => {}
            }
        }
        result
    }

    /// Reads the form of `managedFields`; `None` when it is not one.
    pub(super) fn from_value(value: &Value) -> Option<Self> {
        let mut fields = Self::default();
        let members = value.as_object()?;
        for (name, inner) in members {
            if name == "." {
                fields.owned = true;
            } else if ["f:", "k:", "v:", "i:"].iter().any(|kind| name.starts_with(kind)) {
                let mut inner = Self::from_value(inner)?;
                // A member without members of its own is there for itself.
                inner.owned |= inner.members.is_empty();
                fields.members.insert(name.clone(), inner);
            } else {
                return None;
            }
        }
        Some(fields)
    }

    /// The form of `managedFields`.
    pub(super) fn to_value(&self) -> Value {
        let mut object = Map::new();
        if self.owned && !self.members.is_empty() {
            object.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (member, fields) in &self.members {
            object.insert(member.clone(), fields.to_value());
        }
        Value::Object(object)
    }

    /// The paths of the set as messages show them, such as `.spec.containers[name="a"].image`: at each place first what is in
    /// the set itself, then what is below.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.collect(&mut String::new(), &mut found);
        found
    }

    fn collect(&self, path: &mut String, found: &mut Vec<String>) {
        for (member, _) in self.members.iter().filter(|(_, fields)| fields.owned) {
            found.push(format!("{path}{}", shown(member)));
        }
        let length = path.len();
        for (member, fields) in &self.members {
            path.push_str(&shown(member));
            fields.collect(path, found);
            path.truncate(length);
        }
    }
}

/// A member as paths show it.
pub(super) fn shown(member: &str) -> String {
    let (kind, rest) = member.split_at_checked(2).unwrap_or(("", member));
    match kind {
        "f:" => format!(".{rest}"),
        "v:" => format!("[={rest}]"),
        "k:" => {
            let keys: Map<String, Value> = serde_json::from_str(rest).unwrap_or_default();
            let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        _ => format!("[{rest}]"),
    }
}
