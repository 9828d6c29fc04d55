//! The dump of a Go value, from the JSON of that value and the table of Go types.
//!
//! Source: specification §16.2.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use serde_json::Value;

use super::quantity;

/// A field of a Go type.
struct Field {
    name: &'static str,
    /// Empty for an embedded type, whose fields stand among those of the outer one.
    json: &'static str,
    go: &'static str,
}

/// The Go types of one release.
pub(super) struct Types(HashMap<&'static str, Vec<Field>>);

static OF_THIS_RELEASE: LazyLock<Types> = LazyLock::new(|| Types::parse(include_str!("../data/go-types.tsv")));

impl Types {
    /// Those of the release that this version of the program speaks.
    pub(super) fn of_this_release() -> &'static Self {
        &OF_THIS_RELEASE
    }

    fn parse(table: &'static str) -> Self {
        let mut types: HashMap<&'static str, Vec<Field>> = HashMap::new();
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            let mut columns = line.split('\t');
            if let (Some(of), Some(name), Some(json), Some(go)) =
                (columns.next(), columns.next(), columns.next(), columns.next())
            {
                types.entry(of).or_default().push(Field { name, json, go });
            }
        }
        Self(types)
    }

    /// Those of an older release, told by what differs: `-` type, field: it has no such field; `+` type, field, JSON name,
    /// Go type, field before it: it has one more.
    #[cfg(test)]
    pub(super) fn of_older_release(differences: &'static str) -> Self {
        let mut types = Self::parse(include_str!("../data/go-types.tsv"));
        for line in differences.lines().filter(|line| !line.starts_with('#')) {
            let columns: Vec<&'static str> = line.split('\t').collect();
            let position = |fields: &[Field], name: &str| {
                let found = fields.iter().position(|field| field.name == name);
                found.unwrap_or_else(|| panic!("{line}: no such field"))
            };
            let fields = types
                .0
                .get_mut(columns[1])
                .unwrap_or_else(|| panic!("{line}: no such type"));
            match columns[..] {
                ["-", _, name] => drop(fields.remove(position(fields, name))),
                ["+", _, name, json, go, before] => {
                    let at = position(fields, before) + 1;
                    fields.insert(at, Field { name, json, go });
                }
                _ => panic!("{line}: neither - nor +"),
            }
        }
        types
    }
}

/// The dump of a pod template.
pub(super) fn pod_template(types: &Types, template: &Value) -> String {
    let mut out = String::with_capacity(8 * 1024);
    typed(types, &mut out, "PodTemplateSpec", Some(template));
    out
}

/// `(type)value`.
fn typed(types: &Types, out: &mut String, go: &str, value: Option<&Value>) {
    write!(out, "({})", type_name(go)).expect("writing into a string cannot fail");
    plain(types, out, go, value);
}

/// The value without its type. Nothing and null are Go's zero value.
fn plain(types: &Types, out: &mut String, go: &str, value: Option<&Value>) {
    let value = value.filter(|value| !value.is_null());
    if let Some(target) = go.strip_prefix('*') {
        match value {
            None => out.push_str("<nil>"),
            Some(value) => plain(types, out, target, Some(value)),
        }
    } else if let Some(item) = go.strip_prefix("[]") {
        list(
            types,
            out,
            item,
            value.and_then(Value::as_array).filter(|items| !items.is_empty()),
        );
    } else if let Some(fields) = types.0.get(go) {
        structure(types, out, fields, value);
    } else {
        scalar(out, go, value);
    }
}

fn list(types: &Types, out: &mut String, item: &str, items: Option<&Vec<Value>>) {
    let Some(items) = items else {
        out.push_str("<nil>");
        return;
    };
    out.push('[');
    for (position, value) in items.iter().enumerate() {
        if position > 0 {
            out.push(' ');
        }
        plain(types, out, item, Some(value));
    }
    out.push(']');
}

fn structure(types: &Types, out: &mut String, fields: &[Field], value: Option<&Value>) {
    out.push('{');
    for (position, field) in fields.iter().enumerate() {
        if position > 0 {
            out.push(' ');
        }
        out.push_str(field.name);
        out.push(':');
        let of_field = if field.json.is_empty() {
            value
        } else {
            value.and_then(|value| value.get(field.json))
        };
        typed(types, out, field.go, of_field);
    }
    out.push('}');
}

fn scalar(out: &mut String, go: &str, value: Option<&Value>) {
    match go {
        "bool" => out.push_str(if value.and_then(Value::as_bool) == Some(true) {
            "true"
        } else {
            "false"
        }),
        "int32" | "int64" => out.push_str(&value.and_then(Value::as_i64).unwrap_or_default().to_string()),
        "map[string]string" => map(out, value, |out, text| out.push_str(text.as_str().unwrap_or_default())),
        "ResourceList" => map(out, value, |out, amount| quantity::dump(out, &text_of(amount))),
        "resource.Quantity" => quantity::dump(out, &value.map_or_else(|| "0".to_owned(), text_of)),
        "intstr.IntOrString" => int_or_string(out, value),
        // The zone record of upstream's machine goes into this dump, so that such a hash cannot be reproduced anyway.
        "Time" => out.push_str("{Time:(time.Time){wall:(uint64)0 ext:(int64)0 loc:(*time.Location)<nil>}}"),
        _ => out.push_str(value.and_then(Value::as_str).unwrap_or_default()),
    }
}

fn map(out: &mut String, value: Option<&Value>, write_value: impl Fn(&mut String, &Value)) {
    let Some(fields) = value.and_then(Value::as_object).filter(|fields| !fields.is_empty()) else {
        out.push_str("<nil>");
        return;
    };
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_by(|a, b| a.0.cmp(b.0));
    out.push_str("map[");
    for (position, (key, field)) in fields.into_iter().enumerate() {
        if position > 0 {
            out.push(' ');
        }
        out.push_str(key);
        out.push(':');
        write_value(out, field);
    }
    out.push(']');
}

fn int_or_string(out: &mut String, value: Option<&Value>) {
    let text = value.and_then(Value::as_str);
    let (kind, number) = (
        i32::from(text.is_some()),
        value.and_then(Value::as_i64).unwrap_or_default(),
    );
    let text = text.unwrap_or_default();
    write!(
        out,
        "{{Type:(intstr.Type){kind} IntVal:(int32){number} StrVal:(string){text}}}"
    )
    .expect("writing into a string cannot fail");
}

fn text_of(amount: &Value) -> String {
    amount.as_str().map_or_else(|| amount.to_string(), str::to_owned)
}

/// The name of a type as Go prints it: types of the API have a package in front.
fn type_name(go: &str) -> String {
    let bare = go.trim_start_matches(['*', '[', ']']);
    let marks = &go[..go.len() - bare.len()];
    let is_basic = matches!(bare, "string" | "bool" | "int32" | "int64") || bare.contains(['.', '[']);
    if is_basic {
        go.to_owned()
    } else {
        format!("{marks}v1.{bare}")
    }
}
