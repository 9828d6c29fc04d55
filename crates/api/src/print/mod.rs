//! Objects as rows of a table: the columns that `kubectl get` shows for each kind.
//!
//! Source: `spec/api.md` §5; kubernetes `pkg/printers/internalversion/printers.go`.

mod age;
mod apps;
mod batch;
mod certificates;
mod core;
mod devices;
mod event;
mod network;
mod node;
mod pod;
mod rbac;
mod storage;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::selector::LabelSelector;
use crate::value::{list, members, present, text};
use crate::{Object, Resource};

pub use age::human_duration;
pub use batch::job_status;

/// How much of each object goes into its row beside the cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

/// A `meta.k8s.io/v1` Table of `objects`, without list metadata. Ages are counted back from `now`.
pub fn table(resource: &'static Resource, objects: &[Arc<Object>], include: IncludeObject, now: Timestamp) -> Value {
    let printer = printer_of(resource.kind);
    let row = |object: &Arc<Object>| row(printer, object.to_value(), || object.metadata_alone(), include, now);
    let rows: Vec<Value> = objects.iter().map(row).collect();
    assemble(printer, &rows)
}

/// The same of the scale of a workload, which is shown but not kept.
pub fn scale_table(scale: &Value, include: IncludeObject, now: Timestamp) -> Value {
    let printer = printer_of("Scale");
    let row = row(printer, scale.clone(), || scale["metadata"].clone(), include, now);
    assemble(printer, &[row])
}

fn assemble(printer: &Printer, rows: &[Value]) -> Value {
    let columns: Vec<Value> = printer.columns.iter().map(Column::to_value).collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {},
        "columnDefinitions": columns, "rows": rows,
    })
}

fn row(
    printer: &Printer,
    object: Value,
    metadata: impl FnOnce() -> Value,
    include: IncludeObject,
    now: Timestamp,
) -> Value {
    let mut row = json!({"cells": (printer.cells)(&object, now)});
    if printer.kind == "Pod"
        && let Some(conditions) = pod::row_conditions(&object)
    {
        row["conditions"] = conditions;
    }
    row["object"] = match include {
        IncludeObject::None => Value::Null,
        IncludeObject::Object => object,
        IncludeObject::Metadata => json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata(),
        }),
    };
    row
}

/// How the objects of a kind are printed.
struct Printer {
    kind: &'static str,
    columns: &'static [Column],
    cells: fn(&Value, Timestamp) -> Vec<Value>,
}

struct Column {
    name: &'static str,
    kind: &'static str,
    format: &'static str,
    /// 0: always shown; 1: shown in wide output.
    priority: i32,
}

impl Column {
    fn to_value(&self) -> Value {
        json!({
            "name": self.name, "type": self.kind, "format": self.format, "priority": self.priority,
            "description": format!("{} of the object", self.name),
        })
    }

    /// The same column, shown in wide output only.
    const fn wide(self) -> Self {
        Self { priority: 1, ..self }
    }

    /// The same column, holding the object's name.
    const fn named(self) -> Self {
        Self { format: "name", ..self }
    }
}

/// The definition of a further column of texts that wide output shows.
pub fn wide_column(name: &'static str) -> Value {
    string(name).wide().to_value()
}

const fn of_kind(name: &'static str, kind: &'static str) -> Column {
    Column {
        name,
        kind,
        format: "",
        priority: 0,
    }
}

const fn string(name: &'static str) -> Column {
    of_kind(name, "string")
}

const fn number(name: &'static str) -> Column {
    of_kind(name, "integer")
}

const fn boolean(name: &'static str) -> Column {
    of_kind(name, "boolean")
}

const NAME: Column = string("Name").named();
const AGE: Column = string("Age");
const CONTAINERS: Column = string("Containers").wide();
const IMAGES: Column = string("Images").wide();
const SELECTOR: Column = string("Selector").wide();

const PRINTERS: &[&[Printer]] = &[
    pod::PRINTERS,
    batch::PRINTERS,
    certificates::PRINTERS,
    apps::PRINTERS,
    core::PRINTERS,
    devices::PRINTERS,
    event::PRINTERS,
    network::PRINTERS,
    node::PRINTERS,
    rbac::PRINTERS,
    storage::PRINTERS,
];

/// Kinds without columns of their own: roles, limit ranges and the like.
static DEFAULT: Printer = Printer {
    kind: "",
    columns: &[NAME, of_kind("Created At", "date")],
    cells: |object, _| {
        let metadata = &object["metadata"];
        vec![metadata["name"].clone(), metadata["creationTimestamp"].clone()]
    },
};

fn printer_of(kind: &str) -> &'static Printer {
    PRINTERS
        .iter()
        .copied()
        .flatten()
        .find(|printer| printer.kind == kind)
        .unwrap_or(&DEFAULT)
}

const NONE: &str = "<none>";
const UNSET: &str = "<unset>";
const UNKNOWN: &str = "<unknown>";

fn name(object: &Value) -> Value {
    text(&object["metadata"], "name").into()
}

/// Time since the object's creation.
fn age(object: &Value, now: Timestamp) -> Value {
    age::since(&object["metadata"], "creationTimestamp", now).into()
}

fn or_none(text: &str) -> Value {
    if text.is_empty() { NONE.into() } else { text.into() }
}

/// A field that is a number or a text, as text; `absent` where it is not set.
fn scalar_or(object: &Value, field: &str, absent: &str) -> Value {
    match present(object, field) {
        Some(Value::String(text)) => text.as_str().into(),
        Some(value) => value.to_string().into(),
        None => absent.into(),
    }
}

fn integer(object: &Value, field: &str) -> Value {
    crate::value::integer(object, field).unwrap_or_default().into()
}

/// Names and images of a pod spec's containers.
fn containers_and_images(spec: &Value) -> [Value; 2] {
    let join = |field: &str| -> Value {
        let texts: Vec<&str> = list(spec, "containers").iter().map(|c| text(c, field)).collect();
        texts.join(",").into()
    };
    [join("name"), join("image")]
}

/// `k=v,k2=v2`, sorted.
fn pairs(object: &Value, field: &str) -> Value {
    let pairs: Vec<String> = members(object, field)
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    or_none(&pairs.join(","))
}

fn selector(value: &Value) -> Value {
    if value.is_null() {
        return NONE.into();
    }
    match LabelSelector::from_value(value) {
        Ok(selector) => or_none(&selector.to_string()),
        Err(_) => "<error>".into(),
    }
}

#[cfg(test)]
mod tests;
