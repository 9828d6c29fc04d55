//! Values of the type table as server-side apply sees them: compared, merged, pruned member by member.
//!
//! Recursion is as deep as the values, which decoding bounds.
//!
//! Source: `structured-merge-diff/v6/typed` (`compare.go`, `merge.go`, `tofieldset.go`, `remove.go`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::fields::{Fields, shown};
use crate::table::{ListType, Schema, Shape, Target, Type, schema};
use crate::value::type_in_memory;

/// How a value is made up.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// A whole: scalars, atomic lists and maps.
    Whole(&'static Target),
    /// An object with the fields of a type.
    Struct(&'static Type),
    /// A map with values alike.
    Map(&'static Target),
    /// A list of objects told apart by these fields.
    Keyed(&'static [&'static str], &'static Target),
    /// A list of distinct scalars.
    Set,
}

impl Form {
    /// The form of objects of a type.
    pub(super) fn of_type(schema_type: &str) -> Option<Self> {
        schema().by_name(schema_type).map(Self::Struct)
    }

    fn of(target: &'static Target, list: &'static ListType) -> Self {
        let schema: &'static Schema = schema();
        match (target, list) {
            (Target::List(element), ListType::Map(keys)) => Self::Keyed(keys, element),
            (Target::List(_), ListType::Set) => Self::Set,
            (Target::Map(_) | Target::Type(_), ListType::Atomic) => Self::Whole(target),
            (Target::Map(values), _) => Self::Map(values),
            (Target::Type(id), list) => {
                let of = &schema[*id];
                let is_whole = of.shape != Shape::Struct || (of.atomic && *list != ListType::Granular);
                if is_whole {
                    Self::Whole(target)
                } else {
                    Self::Struct(of)
                }
            }
            _ => Self::Whole(target),
        }
    }

    fn element(target: &'static Target) -> Self {
        Self::of(target, &ListType::Unstated)
    }

    /// The members of a value by their serialised names, each with its form; `None` for wholes and for values that do not
    /// fit the form.
    fn members(self, value: &Value) -> Option<Vec<(String, Form, &Value)>> {
        match (self, value) {
            (Self::Struct(of), Value::Object(members)) => Some(
                members
                    .iter()
                    .filter_map(|(name, value)| {
                        let field = of.field(name)?;
                        Some((format!("f:{name}"), Self::of(&field.target, &field.list), value))
                    })
                    .collect(),
            ),
            (Self::Map(values), Value::Object(members)) => {
                let form = Self::element(values);
                Some(
                    members
                        .iter()
                        .map(|(name, value)| (format!("f:{name}"), form, value))
                        .collect(),
                )
            }
            (Self::Keyed(keys, target), Value::Array(items)) => {
                let form = Self::element(target);
                Some(
                    items
                        .iter()
                        .map(|item| (key_of(item, keys, target), form, item))
                        .collect(),
                )
            }
            (Self::Set, Value::Array(items)) => {
                let form = Self::Whole(&Target::Any);
                Some(items.iter().map(|item| (format!("v:{item}"), form, item)).collect())
            }
            _ => None,
        }
    }

    fn is_list(self) -> bool {
        matches!(self, Self::Keyed(..) | Self::Set)
    }
}

/// The serialised name of an element of a keyed list; keys that are absent or null are filled in from the type's defaults.
fn key_of(item: &Value, keys: &[&str], target: &Target) -> String {
    let named: Map<String, Value> = keys
        .iter()
        .filter_map(|key| {
            Some((
                (*key).to_owned(),
                item.get(key)
                    .filter(|value| !value.is_null())
                    .cloned()
                    .or_else(|| key_default(key, target))?,
            ))
        })
        .collect();
    format!("k:{}", Value::Object(named))
}

/// What a key that an element leaves out stands for: the default of its field, or else the zero of its type, as upstream's
/// schema has it for every scalar that is always there.
fn key_default(key: &str, target: &Target) -> Option<Value> {
    let Target::Type(id) = target else { return None };
    let field = schema()[*id].field(key)?;
    field.default.clone().or(match field.target {
        Target::String | Target::Bytes => Some("".into()),
        Target::Int32 | Target::Int64 | Target::Double => Some(0.into()),
        Target::Bool => Some(false.into()),
        Target::Any | Target::Type(_) | Target::List(_) | Target::Map(_) => None,
    })
}

fn is_blank(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(members)) => members.is_empty(),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) => false,
    }
}

/// How two values differ.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: Fields,
    pub(super) modified: Fields,
    pub(super) removed: Fields,
}

impl Comparison {
    /// What is new or different.
    pub(super) fn changed(&self) -> Fields {
        self.added.clone().union(self.modified.clone())
    }
}

/// How `new` differs from `old`.
pub(super) fn compare(form: Form, old: Option<&Value>, new: Option<&Value>) -> Comparison {
    let mut result = Comparison::default();
    let old_members = old.and_then(|v| form.members(v));
    let new_members = new.and_then(|v| form.members(v));
    let is_container = old_members.is_some() || new_members.is_some();
    let fits = |value: Option<&Value>, is_container: bool| is_container || value.is_none_or(Value::is_null);
    let both_fit = fits(old, old_members.is_some()) && fits(new, new_members.is_some());
    if !is_container || !both_fit || (is_blank(old) && is_blank(new)) {
        match (old, new) {
            (None, Some(_)) => result.added.owned = true,
            (Some(_), None) => result.removed.owned = true,
            (old, new) => result.modified.owned = old != new,
        }
        return result;
    }
    let mut members: BTreeMap<&str, (Form, Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
    for (name, form, value) in old_members.iter().flatten() {
        members
            .entry(name)
            .or_insert((*form, Vec::new(), Vec::new()))
            .1
            .push(value);
    }
    for (name, form, value) in new_members.iter().flatten() {
        members
            .entry(name)
            .or_insert((*form, Vec::new(), Vec::new()))
            .2
            .push(value);
    }
    for (name, (form, old, new)) in members {
        note(&mut result, name, compare_member(form, &old, &new));
    }
    result.added.owned = old.is_none();
    result.removed.owned = new.is_none();
    result
}

/// How a member differs. A list may hold several elements of one name: these are compared as one whole that is there or not.
fn compare_member(form: Form, old: &[&Value], new: &[&Value]) -> Comparison {
    let mut result = match (old, new) {
        ([] | [_], [] | [_]) => return compare(form, old.first().copied(), new.first().copied()),
        ([_, _, ..], [_, _, ..]) => Comparison::default(),
        ([_, _, ..], new) => new
            .first()
            .map(|new| compare(form, None, Some(new)))
            .unwrap_or_default(),
        (old, _) => old
            .first()
            .map(|old| compare(form, Some(old), None))
            .unwrap_or_default(),
    };
    match (old.len() > 1, new.len() > 1) {
        (true, true) => result.modified.owned = old != new,
        (true, false) => result.removed.owned = true,
        (false, _) => result.added.owned = true,
    }
    result
}

fn note(result: &mut Comparison, name: &str, inner: Comparison) {
    result.added.insert(name.to_owned(), inner.added);
    result.modified.insert(name.to_owned(), inner.modified);
    result.removed.insert(name.to_owned(), inner.removed);
}

/// The fields that an apply configuration speaks about.
pub(super) fn fields_of(form: Form, value: &Value) -> Fields {
    let Some(members) = form.members(value) else {
        return Fields::leaf();
    };
    let mut fields = Fields::default();
    for (name, inner_form, inner) in members {
        let mut inner_fields = fields_of(inner_form, inner);
        let blank = inner.is_null() || inner.as_object().is_some_and(Map::is_empty);
        inner_fields.owned |= blank || form.is_list() || matches!(form, Form::Map(_));
        fields.insert(name, inner_fields);
    }
    fields
}

/// `live` with the configuration merged in.
pub(super) fn merge(form: Form, live: Option<&Value>, config: &Value) -> Value {
    let Some(live) = live else { return config.clone() };
    let (Some(live_members), Some(config_members)) = (form.members(live), form.members(config)) else {
        // A null says nothing about the members of a container, and an empty one nothing that a null does not say.
        let is_container = !matches!(form, Form::Whole(_));
        let is_kept = is_container && is_blank(Some(config)) && (config.is_null() || live.is_null());
        return if is_kept { live } else { config }.clone();
    };
    if form.is_list() {
        return merge_list(&live_members, &config_members);
    }
    let mut merged = live.as_object().cloned().unwrap_or_default();
    for (name, inner_form, value) in config_members {
        let key = name.strip_prefix("f:").unwrap_or(&name);
        let value = merge(inner_form, live.get(key), value);
        merged.insert(key.to_owned(), value);
    }
    Value::Object(merged)
}

/// Elements that only the live list has keep their place; those of the configuration come in its order.
///
/// Of several live elements of one name none is the one that the configuration means: they go, and its own comes.
///
/// Both lists are walked at once. Of the elements that both have, the configuration says which comes next; a live one that is not
/// the next is passed over, and comes where the configuration has it.
fn merge_list(live: &[(String, Form, &Value)], config: &[(String, Form, &Value)]) -> Value {
    let wanted: BTreeSet<&str> = config.iter().map(|(name, _, _)| name.as_str()).collect();
    let mut live_by_name: BTreeMap<&str, Option<&Value>> = BTreeMap::new();
    for (name, _, value) in live {
        let only = live_by_name.entry(name.as_str());
        only.and_modify(|only| *only = None).or_insert(Some(value));
    }
    let is_shared = |(name, _, _): &&(String, Form, &Value)| live_by_name.contains_key(name.as_str());
    let mut shared = config
        .iter()
        .filter(is_shared)
        .map(|(name, _, _)| name.as_str())
        .peekable();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut merged = Vec::with_capacity(live.len() + config.len());
    let (mut live, mut config) = (live.iter().peekable(), config.iter().peekable());
    loop {
        if let Some((have, _, value)) = live.peek() {
            let have = have.as_str();
            if !wanted.contains(have) {
                merged.push((*value).clone());
                live.next();
                continue;
            }
            let is_next = config.peek().is_some_and(|(name, _, _)| name == have);
            let is_passed_over = done.contains(have) || shared.peek().is_some_and(|next| *next != have);
            if !is_next && is_passed_over {
                live.next();
                continue;
            }
            if is_next {
                live.next();
            }
        }
        let Some((name, form, value)) = config.next() else {
            break;
        };
        merged.push(merge(*form, live_by_name.get(name.as_str()).copied().flatten(), value));
        done.insert(name);
        shared.next_if(|next| *next == name.as_str());
    }
    Value::Array(merged)
}

/// Takes out of `value` what is in `last` and owned by nobody any more: a field when nobody owns it or anything below it, an
/// element of a list when nobody owns the element itself, whatever is owned inside it.
///
/// Source: `structured-merge-diff/v6/merge/update.go` (`prune`), `fieldpath/set.go` (`EnsureNamedFieldsAreMembers`).
pub(super) fn prune(form: Form, value: &mut Value, last: &Fields, managed: &Fields) {
    let Some(members) = form.members(value) else { return };
    let names: Vec<(String, Form)> = members.into_iter().map(|(name, form, _)| (name, form)).collect();
    let mut keep = vec![true; names.len()];
    let nobody = Fields::default();
    for (at, ((name, inner_form), keep)) in names.iter().zip(&mut keep).enumerate() {
        let Some(last) = last.members.get(name) else { continue };
        let managed = managed.members.get(name);
        let is_left = if form.is_list() {
            last.owned && !managed.is_some_and(|managed| managed.owned)
        } else {
            managed.is_none()
        };
        if is_left {
            *keep = false;
        } else if let Some(inner) = member_mut(value, at, name) {
            // The keys of an element that stays are not taken from it.
            prune(
                *inner_form,
                inner,
                &without_keys(form, last),
                managed.unwrap_or(&nobody),
            );
            *keep = managed.is_some() || !is_blank(Some(inner));
        }
    }
    match value {
        Value::Object(object) => {
            for ((name, _), keep) in names.iter().zip(&keep) {
                if !keep {
                    object.remove(name.strip_prefix("f:").unwrap_or(name));
                }
            }
        }
        Value::Array(items) => {
            let mut keep = keep.iter();
            items.retain(|_| keep.next().copied().unwrap_or(true));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The member of that name, in a list the one at that place.
fn member_mut<'a>(value: &'a mut Value, at: usize, name: &str) -> Option<&'a mut Value> {
    match value {
        Value::Object(object) => object.get_mut(name.strip_prefix("f:").unwrap_or(name)),
        Value::Array(items) => items.get_mut(at),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn without_keys(form: Form, last: &Fields) -> Fields {
    let mut last = last.clone();
    if let Form::Keyed(keys, _) = form {
        last.members
            .retain(|name, _| !keys.iter().any(|key| name.strip_prefix("f:") == Some(key)));
    }
    last
}

/// What is wrong with an apply configuration, with the path of the place; `None` when it fits.
pub(super) fn misfit(form: Form, value: &Value, path: &mut String) -> Option<String> {
    if value.is_null() {
        return None;
    }
    if let (Form::Struct(of), Value::Object(members)) = (form, value)
        && let Some(unknown) = members.keys().find(|name| of.field(name).is_none())
    {
        return Some(format!("{path}.{unknown}: field not declared in schema"));
    }
    let Some(members) = form.members(value) else {
        let wanted = match form {
            Form::Struct(_) | Form::Map(_) => "map",
            Form::Keyed(..) | Form::Set => "list",
            Form::Whole(target) => return wrong_scalar(target, value).map(|wanted| wrong(path, wanted, value)),
        };
        return Some(wrong(path, wanted, value));
    };
    let mut seen = BTreeSet::new();
    let length = path.len();
    for (at, (name, inner_form, inner)) in members.iter().enumerate() {
        if let Some(why) = unnamed(form, inner) {
            return Some(format!("{path}: element {at}: {why}"));
        }
        if !seen.insert(name) {
            return Some(format!("{path}: duplicate entries for key {}", shown(name)));
        }
        path.push_str(&shown(name));
        let found = misfit(*inner_form, inner, path);
        if found.is_some() {
            return found;
        }
        path.truncate(length);
    }
    None
}

/// Why an element of a list cannot be told apart from the others.
fn unnamed(form: Form, element: &Value) -> Option<String> {
    let why = match (form, element) {
        (Form::Keyed(keys, target), Value::Object(fields)) => {
            let missing = keys
                .iter()
                .find(|key| !fields.contains_key(**key) && key_default(key, target).is_none())?;
            return Some(format!(
                "associative list with keys has an element that omits key field {missing:?} (and doesn't have default value)"
            ));
        }
        (Form::Keyed(..), Value::Null) => "associative list with keys may not have a null element",
        (Form::Keyed(..), _) => "associative list with keys may not have non-map elements",
        (Form::Set, Value::Object(_)) => "associative list without keys has an element that's a map type",
        (Form::Set, Value::Array(_)) => "not supported: associative list with lists as elements",
        (Form::Set, Value::Null) => "associative list without keys has an element that's an explicit null",
        _ => return None,
    };
    Some(why.to_owned())
}

/// Upstream shows what it got in three ways, all of them as it stands in memory.
fn wrong(path: &str, wanted: &str, value: &Value) -> String {
    let got = match wanted {
        NUMERIC => type_in_memory(value).to_owned(),
        "string" => format!("&value.valueUnstructured{{Value:{}}}", in_memory(value)),
        _ => format!("&{{{}}}", crate::value::shown(value)),
    };
    format!("{path}: expected {wanted}, got {got}")
}

const NUMERIC: &str = "numeric (int or float)";

/// A value as upstream's language writes it, such as `[]interface {}{"a", 1}`.
fn in_memory(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(in_memory).collect();
            format!("{}{{{}}}", type_in_memory(value), items.join(", "))
        }
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(name, value)| format!("{name:?}:{}", in_memory(value)));
            format!(
                "{}{{{}}}",
                type_in_memory(value),
                members.collect::<Vec<_>>().join(", ")
            )
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

/// What a whole should have been.
fn wrong_scalar(target: &Target, value: &Value) -> Option<&'static str> {
    let (fits, wanted) = match target {
        Target::String | Target::Bytes => (value.is_string(), "string"),
        Target::Bool => (value.is_boolean(), "boolean"),
        Target::Int32 | Target::Int64 | Target::Double => (value.is_number(), NUMERIC),
        Target::List(_) => (value.is_array(), "list"),
        Target::Map(_) => (value.is_object(), "map"),
        Target::Type(id) => match schema()[*id].shape {
            Shape::Struct => (value.is_object(), "map"),
            Shape::Time | Shape::MicroTime | Shape::Quantity | Shape::IntOrString => {
                (!value.is_array() && !value.is_object(), "any scalar")
            }
            Shape::Any => (true, ""),
        },
        Target::Any => (true, ""),
    };
    (!fits).then_some(wanted)
}
