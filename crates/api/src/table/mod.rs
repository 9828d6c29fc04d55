//! The type table: what every API type looks like, as data.
//!
//! Field names, targets, list keys, patch strategies, defaults and protobuf numbers of the Kubernetes v1.36 types. Strict
//! decoding, protobuf, strategic merge, server-side apply and the OpenAPI documents all walk this table; none of them
//! knows a type by name. What a type *means* (defaulting beyond plain constants, validation) is not here.
//!
//! Source: the three files of `data/`, facts of `spec/api.md` §9.1, which `load` reads once.

mod equal;
mod load;
mod nesting;

pub(crate) use equal::means_the_same;
pub(crate) use nesting::embedded_in;

use std::collections::HashMap;
use std::ops::Index;
use std::sync::OnceLock;

use serde_json::Value;

/// The table, parsed at the first call and shared from then on.
pub fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(load::load)
}

/// Every API type.
#[derive(Debug)]
pub struct Schema {
    types: Vec<Type>,
    by_name: HashMap<&'static str, TypeId>,
    by_kind: HashMap<(&'static str, &'static str, &'static str), TypeId>,
}

/// The number of a type in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(u16);

impl Schema {
    /// The type of that name, such as `io.k8s.api.batch.v1.Job`.
    pub fn id(&self, name: &str) -> Option<TypeId> {
        self.by_name.get(name).copied()
    }

    /// The type of that name, such as `io.k8s.api.batch.v1.Job`.
    pub fn by_name(&self, name: &str) -> Option<&Type> {
        self.id(name).map(|id| &self[id])
    }

    /// The type whose objects carry that group, version and kind; the group of the core API is empty.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<TypeId> {
        self.by_kind.get(&(group, version, kind)).copied()
    }

    /// All types in the order of their names.
    pub fn types(&self) -> impl Iterator<Item = (TypeId, &Type)> {
        (0u16..).map(TypeId).zip(&self.types)
    }
}

impl Index<TypeId> for Schema {
    type Output = Type;

    fn index(&self, id: TypeId) -> &Type {
        // Ids are made by this table only, and types are never removed.
        &self.types[usize::from(id.0)]
    }
}

/// An API type.
#[derive(Debug)]
pub struct Type {
    /// The full name, such as `io.k8s.api.batch.v1.JobSpec`.
    pub name: &'static str,
    /// What values of the type are in JSON.
    pub shape: Shape,
    /// True when server-side apply treats values as wholes (`x-kubernetes-map-type: atomic`).
    pub atomic: bool,
    /// The fields, sorted by name.
    pub fields: Vec<Field>,
    /// The number of the message in which embedded structs stand in protobuf; 0: there is none.
    pub nested: u32,
    /// The group, version and kind of objects of this type, sorted; empty for types that are only parts of others.
    pub kinds: Vec<GroupVersionKind>,
    by_number: HashMap<(u32, u32), u16>,
    defaults: Vec<u16>,
    always: Vec<u16>,
    proto_order: Vec<u16>,
}

impl Type {
    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        let position = self.fields.binary_search_by(|f| f.name.cmp(name)).ok()?;
        self.fields.get(position)
    }

    /// The field with that protobuf number, inside the nested message `inside` (0: directly in this message).
    pub fn field_by_number(&self, inside: u32, number: u32) -> Option<&Field> {
        let position = *self.by_number.get(&(inside, number))?;
        self.fields.get(usize::from(position))
    }

    /// The fields that have a constant default.
    pub fn defaults(&self) -> impl Iterator<Item = &Field> {
        self.defaults.iter().filter_map(|i| self.fields.get(usize::from(*i)))
    }

    /// The fields that are written even when nothing was said about them.
    pub fn always(&self) -> impl Iterator<Item = &Field> {
        self.always.iter().filter_map(|i| self.fields.get(usize::from(*i)))
    }

    /// The fields that have a place in protobuf, in the order in which they are written; those of the nested message come
    /// one after the other.
    pub fn by_proto_order(&self) -> impl Iterator<Item = &Field> {
        self.proto_order.iter().filter_map(|i| self.fields.get(usize::from(*i)))
    }

    /// The last part of the name, such as `JobSpec`.
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    /// The last two parts of the name, such as `v1.JobSpec`: how messages of upstream's language runtime name a type.
    pub fn go_name(&self) -> &'static str {
        let package = self.name.len() - self.short_name().len();
        let start = self.name[..package.saturating_sub(1)]
            .rfind('.')
            .map_or(0, |dot| dot + 1);
        &self.name[start..]
    }
}

/// What values of a type are in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An object with the fields of the table.
    Struct,
    /// `resource.Quantity`: a string, accepted as a number too.
    Quantity,
    /// `meta.v1.Time`: RFC 3339 in whole seconds.
    Time,
    /// `meta.v1.MicroTime`: RFC 3339 with six fractional digits.
    MicroTime,
    /// `intstr.IntOrString`.
    IntOrString,
    /// Anything, kept as it is: embedded objects, ownership tries, JSON schemas' defaults.
    Any,
}

/// A kind under its group and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupVersionKind {
    /// The group; empty for the core API.
    pub group: &'static str,
    /// The version.
    pub version: &'static str,
    /// The kind.
    pub kind: &'static str,
}

/// A field of a type.
#[derive(Debug)]
pub struct Field {
    /// The name in JSON.
    pub name: &'static str,
    /// What its values are.
    pub target: Target,
    /// True when the field must be present.
    pub required: bool,
    /// What an empty value means.
    pub presence: Presence,
    /// The constant that stands in for an absent field.
    pub default: Option<Value>,
    /// How lists and maps behave in server-side apply.
    pub list: ListType,
    /// How strategic merge treats the field.
    pub patch: PatchStrategy,
    /// Where the field stands in protobuf; `None` for fields that have no place there (`apiVersion`, `kind`).
    pub proto: Option<Proto>,
}

/// What an empty value (`""`, 0, false, `[]`, `{}`) of a field means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// It differs from no value; both are kept as the author wrote them.
    #[default]
    Explicit,
    /// It equals no value and is left out.
    OmitEmpty,
    /// It equals no value and is written.
    Always,
}

/// What the values of a field are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A string.
    String,
    /// A string that holds bytes in base64.
    Bytes,
    /// A boolean.
    Bool,
    /// A 32-bit integer.
    Int32,
    /// A 64-bit integer.
    Int64,
    /// A floating point number.
    Double,
    /// Anything, kept as it is.
    Any,
    /// A value of a type of the table.
    Type(TypeId),
    /// A list.
    List(Box<Target>),
    /// A map with string keys.
    Map(Box<Target>),
}

/// How a list or map behaves in server-side apply (`x-kubernetes-list-type`, `x-kubernetes-map-type`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    /// Lists are wholes, maps merge by key, structs as their type says.
    #[default]
    Unstated,
    /// One value with one owner.
    Atomic,
    /// Every member has its owners.
    Granular,
    /// A list of distinct scalars.
    Set,
    /// A list of objects told apart by these fields.
    Map(Vec<&'static str>),
}

/// How strategic merge treats a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists merge element by element instead of being replaced.
    pub merge: bool,
    /// Maps are replaced instead of merged.
    pub replace: bool,
    /// A patch may say which members are kept.
    pub retain_keys: bool,
    /// The field that tells elements of a merged list apart; `None` for lists of scalars.
    pub merge_key: Option<&'static str>,
}

/// Where a field stands in a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proto {
    /// The number of the nested message that upstream's embedded structs bring about; 0: directly in the message.
    pub inside: u32,
    /// The field number.
    pub number: u32,
    /// True where the values of a list are wrapped in a message of their own with the list as field 1.
    pub wrapped: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_lead_to_types_and_types_know_their_fields() {
        let schema = schema();
        let job = &schema[schema.by_kind("batch", "v1", "Job").expect("Job is a kind")];
        assert_eq!(job.name, "io.k8s.api.batch.v1.Job");
        assert_eq!(job.go_name(), "v1.Job");
        let spec = schema
            .by_name("io.k8s.api.batch.v1.JobSpec")
            .expect("JobSpec is a type");
        assert_eq!(spec.field("parallelism").map(|f| &f.target), Some(&Target::Int32));
        assert_eq!(spec.field("paralelism").map(|f| f.name), None);
    }

    #[test]
    fn lists_know_their_keys() {
        let schema = schema();
        let container = schema
            .by_name("io.k8s.api.core.v1.Container")
            .expect("Container is a type");
        let ports = container.field("ports").expect("a container has ports");
        assert_eq!(ports.list, ListType::Map(vec!["containerPort", "protocol"]));
        assert_eq!(ports.patch.merge_key, Some("containerPort"));
        let Target::List(port) = &ports.target else {
            panic!("ports are a list")
        };
        let Target::Type(port) = **port else {
            panic!("ports are structs")
        };
        assert_eq!(
            schema[port].defaults().map(|f| f.name).collect::<Vec<_>>(),
            ["protocol"]
        );
    }

    #[test]
    fn every_field_of_a_served_message_has_a_place_in_protobuf() {
        let schema = schema();
        let mut missing = Vec::new();
        for resource in crate::resource::ALL {
            let mut seen = std::collections::BTreeSet::new();
            let mut todo = vec![schema.id(resource.schema).expect("served types are in the table")];
            while let Some(id) = todo.pop() {
                if !seen.insert(id) {
                    continue;
                }
                for field in &schema[id].fields {
                    if field.proto.is_none() && field.name != "apiVersion" && field.name != "kind" {
                        missing.push(format!("{}.{}", schema[id].name, field.name));
                    }
                    let mut target = &field.target;
                    while let Target::List(inner) | Target::Map(inner) = target {
                        target = inner;
                    }
                    if let Target::Type(id) = target {
                        todo.push(*id);
                    }
                }
            }
        }
        assert_eq!(missing, [""; 0]);
    }
}
