//! Walks a document along the type table: keeps what belongs to the type, reports what does not.
//!
//! One walk does everything: unknown and repeated members are dropped and reported with their paths, nulls are dropped,
//! scalars are checked against their types and brought into canonical form. As upstream, the first type error decides
//! the answer, whatever else was found.
//!
//! Source: `spec/api.md` §1.6, §2.8; `sigs.k8s.io/json` (texts of the reports).

use std::collections::BTreeSet;
use std::fmt;
use std::num::IntErrorKind;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value, json};

use super::node::Node;
use super::{Decoded, FieldValidation, time};
use crate::quantity::Quantity;
use crate::strategy::TEMPLATE_GENERATION;
use crate::table::{Presence, Schema, Shape, Target, Type, embedded_in, schema};

/// How many unknown and repeated members are reported at most.
const REPORTS_MAX: usize = 100;

const QUANTITY_FORM: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true),
);

/// Why a document does not conform to a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConformError {
    /// The type is not in the table: a fault of the caller.
    UnknownType(String),
    /// A value does not fit its field.
    Mismatch(String),
    /// Unknown or repeated fields, under strict validation.
    Strict(Vec<String>),
}

impl fmt::Display for ConformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownType(name) => write!(f, "the type {name} is not known"),
            Self::Mismatch(text) => f.write_str(text),
            Self::Strict(reports) => write!(f, "strict decoding error: {}", reports.join(", ")),
        }
    }
}

impl std::error::Error for ConformError {}

/// The part of a document that belongs to the type. `repeated` holds reports of the reader, if it made any.
pub(super) fn conform(
    schema_type: &str,
    node: Node,
    repeated: Vec<String>,
    validation: FieldValidation,
) -> Result<Decoded, ConformError> {
    let schema = schema();
    let id = schema
        .id(schema_type)
        .ok_or_else(|| ConformError::UnknownType(schema_type.to_owned()))?;
    let mut walk = Walk {
        schema,
        path: Vec::new(),
        reports: Vec::new(),
        mismatch: None,
    };
    let resets_managers = resets_managers(&node);
    let value = walk.value(node, &Target::Type(id));
    if let Some(text) = walk.mismatch {
        return Err(ConformError::Mismatch(text));
    }
    let mut warnings = repeated;
    warnings.append(&mut walk.reports);
    match validation {
        FieldValidation::Strict if !warnings.is_empty() => return Err(ConformError::Strict(warnings)),
        FieldValidation::Ignore => warnings.clear(),
        FieldValidation::Strict | FieldValidation::Warn => {}
    }
    let mut value = value.unwrap_or_else(|| walk.empty(&Target::Type(id)));
    if resets_managers {
        value["metadata"]["managedFields"] = json!([{}]);
    }
    check_template_generation(schema_type, &value)?;
    Ok(Decoded { value, warnings })
}

/// True for an object whose `metadata.managedFields` is an empty list. That says something, that the record is to begin anew, although
/// an empty list is otherwise left out; it is kept as a list with one empty entry, which says the same.
///
/// Source: kubernetes `apimachinery/pkg/util/managedfields/internal/fieldmanager.go`, `isResetManagedFields`.
fn resets_managers(object: &Node) -> bool {
    let is_empty = |node: &Node| matches!(node, Node::List(items) if items.is_empty());
    object
        .member("metadata")
        .and_then(|metadata| metadata.member("managedFields"))
        .is_some_and(is_empty)
}

/// The annotation that counts a DaemonSet's templates is a field in disguise, and a number.
///
/// Source: kubernetes `pkg/apis/apps/v1/conversion.go`.
fn check_template_generation(schema_type: &str, value: &Value) -> Result<(), ConformError> {
    if schema_type != "io.k8s.api.apps.v1.DaemonSet" {
        return Ok(());
    }
    let Some(text) = value["metadata"]["annotations"][TEMPLATE_GENERATION].as_str() else {
        return Ok(());
    };
    let Err(error) = text.parse::<i64>() else {
        return Ok(());
    };
    let why = match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    Err(ConformError::Mismatch(format!(
        "strconv.ParseInt: parsing {text:?}: {why}"
    )))
}

/// True for values that equal no value where the field says so.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

/// One step from the document's root to the place the walk is at.
enum Step {
    /// A field of the type `owner`, perhaps of a struct that upstream embeds in it.
    Field {
        owner: &'static str,
        embedded: Option<&'static str>,
        name: &'static str,
    },
    /// An element of a list.
    Index(usize),
    /// A member of a map.
    Key(String),
}

struct Walk {
    schema: &'static Schema,
    path: Vec<Step>,
    reports: Vec<String>,
    mismatch: Option<String>,
}

impl Walk {
    /// The canonical value; `None` for null and for what does not fit (the mismatch is noted then).
    fn value(&mut self, node: Node, target: &Target) -> Option<Value> {
        match (target, node) {
            (_, Node::Null) => None,
            (Target::Any, node) => Some(node.into_value()),
            (Target::Type(id), node) => {
                let schema = self.schema;
                self.typed(node, &schema[*id])
            }
            (Target::List(element), Node::List(items)) => Some(self.list(items, element)),
            (Target::Map(element), Node::Map(members)) => Some(self.map(members, element)),
            (Target::String, Node::String(text)) => Some(Value::String(text)),
            (Target::Bytes, Node::String(text)) => self.bytes(text),
            (Target::Bool, Node::Bool(value)) => Some(Value::Bool(value)),
            (Target::Int32, Node::Number(n)) => match n.integer().map(i32::try_from) {
                Some(Ok(value)) => Some(value.into()),
                _ => self.refuse(&format!("number {}", n.text()), target),
            },
            (Target::Int64, Node::Number(n)) => match n.integer() {
                Some(value) => Some(value.into()),
                None => self.refuse(&format!("number {}", n.text()), target),
            },
            (Target::Double, Node::Number(n)) => Some(Value::Number(n.into_number())),
            (_, node) => self.refuse(node.kind(), target),
        }
    }

    fn typed(&mut self, node: Node, of: &'static Type) -> Option<Value> {
        match (of.shape, node) {
            (Shape::Struct, Node::Map(members)) => Some(self.object(members, of)),
            (Shape::Any, node) => Some(node.into_value()),
            (Shape::Quantity, node) => {
                let text = match node {
                    Node::String(text) => text,
                    Node::Number(n) => n.text(),
                    Node::Null | Node::Bool(_) | Node::List(_) | Node::Map(_) => return self.note(QUANTITY_FORM),
                };
                match Quantity::parse(text.trim()) {
                    Ok(quantity) => Some(Value::String(quantity.to_string())),
                    Err(error) => self.note(&error.to_string()),
                }
            }
            (Shape::Time, Node::String(text)) => self.instant(&text, time::seconds(&text), time::SECONDS),
            (Shape::MicroTime, Node::String(text)) => {
                self.instant(&text, time::microseconds(&text), time::MICROSECONDS)
            }
            (Shape::IntOrString, Node::String(text)) => Some(Value::String(text)),
            (Shape::IntOrString, node) => self.value(node, &Target::Int32),
            (Shape::Time | Shape::MicroTime, node) => self.refuse(node.kind(), &Target::String),
            (Shape::Struct, node) => self.refuse_as(node.kind(), of.go_name()),
        }
    }

    fn object(&mut self, members: Vec<(String, Node)>, of: &'static Type) -> Value {
        let mut seen = BTreeSet::new();
        let mut object = Map::new();
        for (name, node) in members {
            let Some(field) = of.field(&name) else {
                self.report("unknown", Step::Key(name));
                continue;
            };
            if !seen.insert(field.name) {
                self.report("duplicate", Step::Key(name.clone()));
            }
            self.path.push(Step::Field {
                owner: of.short_name(),
                embedded: field
                    .proto
                    .filter(|proto| proto.inside > 0)
                    .and_then(|_| embedded_in(of.name)),
                name: field.name,
            });
            match self.value(node, &field.target) {
                Some(value) if field.presence != Presence::OmitEmpty || !is_empty(&value) => {
                    object.insert(name, value);
                }
                _ => {
                    object.remove(&name);
                }
            }
            self.path.pop();
        }
        for field in of.always() {
            if !object.contains_key(field.name) {
                object.insert(field.name.to_owned(), self.empty(&field.target));
            }
        }
        Value::Object(object)
    }

    fn list(&mut self, items: Vec<Node>, element: &Target) -> Value {
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            self.path.push(Step::Index(index));
            let value = self.value(item, element);
            list.push(value.unwrap_or_else(|| self.zero(element)));
            self.path.pop();
        }
        Value::Array(list)
    }

    fn map(&mut self, members: Vec<(String, Node)>, element: &Target) -> Value {
        let mut map = Map::new();
        for (key, node) in members {
            if map.contains_key(&key) {
                self.report("duplicate", Step::Key(key.clone()));
            }
            self.path.push(Step::Key(key.clone()));
            let value = self.value(node, element);
            let value = value.unwrap_or_else(|| self.zero(element));
            let value = self.in_thousandths(value, element);
            self.path.pop();
            map.insert(key, value);
        }
        Value::Object(map)
    }

    /// Amounts in a list of resources are counted in thousandths, rounded up; other values stay as they are.
    fn in_thousandths(&self, value: Value, element: &Target) -> Value {
        match (element, value) {
            (target, Value::String(text)) if self.is_quantity(target) => match Quantity::parse(&text) {
                Ok(quantity) if !quantity.is_whole_millis() => quantity.rounded_up_to_millis().to_string().into(),
                _ => Value::String(text),
            },
            (_, value) => value,
        }
    }

    fn is_quantity(&self, target: &Target) -> bool {
        matches!(target, Target::Type(id) if self.schema[*id].shape == Shape::Quantity)
    }

    /// What a null stands for where something must stand: in lists and maps.
    fn zero(&self, target: &Target) -> Value {
        match target {
            Target::String | Target::Bytes => Value::String(String::new()),
            Target::Bool => Value::Bool(false),
            Target::Int32 | Target::Int64 | Target::Double => Value::from(0),
            Target::Any | Target::List(_) | Target::Map(_) => Value::Null,
            Target::Type(id) => match self.schema[*id].shape {
                Shape::Struct => self.empty(target),
                Shape::Quantity => Value::from("0"),
                Shape::IntOrString => Value::from(0),
                Shape::Time | Shape::MicroTime | Shape::Any => Value::Null,
            },
        }
    }

    /// What stands for an absent field that is always written.
    fn empty(&self, target: &Target) -> Value {
        match target {
            Target::Type(id) if self.schema[*id].shape == Shape::Struct => {
                let fields = self.schema[*id].always();
                Value::Object(fields.map(|f| (f.name.to_owned(), self.empty(&f.target))).collect())
            }
            _ => self.zero(target),
        }
    }

    fn bytes(&mut self, text: String) -> Option<Value> {
        // Line breaks inside are allowed, as MIME bodies have them.
        let compact: Vec<u8> = text.bytes().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
        match BASE64.decode(&compact) {
            Ok(_) if compact.len() == text.len() => Some(Value::String(text)),
            Ok(content) => Some(Value::String(BASE64.encode(content))),
            Err(base64::DecodeError::InvalidByte(at, _)) => {
                self.note(&format!("illegal base64 data at input byte {at}"))
            }
            Err(_) => self.note(&format!("illegal base64 data at input byte {}", compact.len() / 4 * 4)),
        }
    }

    fn instant(&mut self, text: &str, canonical: Option<String>, form: &str) -> Option<Value> {
        match canonical {
            Some(text) => Some(Value::String(text)),
            None => self.note(&time::complaint(text, form)),
        }
    }

    fn refuse(&mut self, what: &str, target: &Target) -> Option<Value> {
        let name = match (target, self.path.last()) {
            (Target::String, Some(Step::Field { name: "uid", .. })) => "types.UID".to_owned(),
            (Target::Map(amount), _) if self.is_quantity(amount) => "v1.ResourceList".to_owned(),
            _ => self.go_name(target),
        };
        self.refuse_as(what, &name)
    }

    fn refuse_as(&mut self, what: &str, target: &str) -> Option<Value> {
        if self.mismatch.is_none() {
            let names: Vec<&str> = self
                .path
                .iter()
                .flat_map(|step| match step {
                    Step::Field { embedded, name, .. } => [*embedded, Some(*name)],
                    Step::Index(_) | Step::Key(_) => [None, None],
                })
                .flatten()
                .collect();
            let owner = self.path.iter().rev().find_map(|step| match step {
                Step::Field { owner, .. } => Some(*owner),
                Step::Index(_) | Step::Key(_) => None,
            });
            let place = match owner {
                Some(owner) => format!("struct field {owner}.{}", names.join(".")),
                None => "value".to_owned(),
            };
            self.mismatch = Some(format!(
                "json: cannot unmarshal {what} into Go {place} of type {target}"
            ));
        }
        None
    }

    fn note(&mut self, text: &str) -> Option<Value> {
        self.mismatch.get_or_insert_with(|| text.to_owned());
        None
    }

    fn report(&mut self, what: &str, at: Step) {
        if self.reports.len() >= REPORTS_MAX {
            return;
        }
        self.path.push(at);
        let report = format!("{what} field {:?}", self.path_text());
        self.path.pop();
        if !self.reports.contains(&report) {
            self.reports.push(report);
        }
    }

    fn path_text(&self) -> String {
        let mut text = String::new();
        for step in &self.path {
            let name = match step {
                Step::Index(index) => {
                    text.push_str(&format!("[{index}]"));
                    continue;
                }
                Step::Field { name, .. } => *name,
                Step::Key(name) => name,
            };
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(name);
        }
        text
    }

    fn go_name(&self, target: &Target) -> String {
        match target {
            Target::String => "string".into(),
            Target::Bytes => "[]uint8".into(),
            Target::Bool => "bool".into(),
            Target::Int32 => "int32".into(),
            Target::Int64 => "int64".into(),
            Target::Double => "float64".into(),
            Target::Any => "interface {}".into(),
            Target::Type(id) => self.schema[*id].go_name().into(),
            Target::List(element) => format!("[]{}", self.go_name(element)),
            Target::Map(element) => format!("map[string]{}", self.go_name(element)),
        }
    }
}
