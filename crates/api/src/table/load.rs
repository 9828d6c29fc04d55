//! Reads the type table from its files.
//!
//! The files are part of the program, so a line that does not parse is a fault of the build: the loader stops with a
//! sentence that names the line, and the first test that touches the table shows it.

use std::collections::HashMap;

use super::{
    Field, GroupVersionKind, ListType, PatchStrategy, Presence, Proto, Schema, Shape, Target, Type, TypeId,
    nesting::nesting_of,
};

const FIELDS: &str = include_str!("../../data/api-schema.tsv");
const KINDS: &str = include_str!("../../data/api-kinds.tsv");
const PRESENCE: &str = include_str!("../../data/api-presence.tsv");

/// Types that server-side apply treats as wholes. Upstream marks them at the type, not at the fields that use them.
const ATOMIC: &[&str] = &[
    "io.k8s.api.autoscaling.v1.CrossVersionObjectReference",
    "io.k8s.api.core.v1.ConfigMapKeySelector",
    "io.k8s.api.core.v1.ConfigMapNodeConfigSource",
    "io.k8s.api.core.v1.EndpointAddress",
    "io.k8s.api.core.v1.EndpointPort",
    "io.k8s.api.core.v1.FileKeySelector",
    "io.k8s.api.core.v1.LocalObjectReference",
    "io.k8s.api.core.v1.NodeSelector",
    "io.k8s.api.core.v1.NodeSelectorTerm",
    "io.k8s.api.core.v1.ObjectFieldSelector",
    "io.k8s.api.core.v1.ObjectReference",
    "io.k8s.api.core.v1.ResourceFieldSelector",
    "io.k8s.api.core.v1.ScopeSelector",
    "io.k8s.api.core.v1.ScopedResourceSelectorRequirement",
    "io.k8s.api.core.v1.SecretKeySelector",
    "io.k8s.api.core.v1.SecretReference",
    "io.k8s.api.core.v1.TopologySelectorTerm",
    "io.k8s.api.core.v1.TypedLocalObjectReference",
    "io.k8s.api.discovery.v1.EndpointPort",
    "io.k8s.api.networking.v1.ServiceBackendPort",
    "io.k8s.api.rbac.v1.RoleRef",
    "io.k8s.api.rbac.v1.Subject",
    "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector",
    "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference",
];

/// Parses the files.
pub(super) fn load() -> Schema {
    let rows: Vec<Row> = lines(FIELDS).map(Row::parse).collect();
    let by_name = number_types(&rows);
    let mut types: Vec<Type> = Vec::with_capacity(by_name.len());
    for row in &rows {
        if types.last().is_none_or(|t| t.name != row.owner) {
            types.push(Type {
                name: row.owner,
                shape: shape_of(row.owner, row.is_field()),
                atomic: ATOMIC.contains(&row.owner),
                fields: Vec::new(),
                kinds: Vec::new(),
                by_number: HashMap::new(),
                defaults: Vec::new(),
                always: Vec::new(),
                proto_order: Vec::new(),
                nested: 0,
            });
        }
        if let (true, Some(owner)) = (row.is_field(), types.last_mut()) {
            owner.fields.push(row.field(&by_name));
        }
    }
    read_presence(&mut types, &by_name);
    number_fields(&mut types);
    let by_kind = read_kinds(&mut types, &by_name);
    Schema {
        types,
        by_name,
        by_kind,
    }
}

fn lines(file: &'static str) -> impl Iterator<Item = &'static str> {
    file.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

/// One line of the field file, split into columns.
struct Row {
    owner: &'static str,
    name: &'static str,
    target: &'static str,
    format: &'static str,
    required: bool,
    default: &'static str,
    list: &'static str,
    keys: &'static str,
    strategy: &'static str,
    merge_key: &'static str,
    number: &'static str,
    message: &'static str,
}

impl Row {
    fn parse(line: &'static str) -> Self {
        let columns: Vec<&'static str> = line.split('\t').collect();
        let [
            owner,
            name,
            target,
            format,
            required,
            default,
            list,
            keys,
            strategy,
            merge_key,
            number,
            message,
        ] = columns[..]
        else {
            panic!("the type table has a line without its twelve columns: {line}")
        };
        Self {
            owner,
            name,
            target,
            format,
            required: required == "req",
            default,
            list,
            keys,
            strategy,
            merge_key,
            number,
            message,
        }
    }

    fn is_field(&self) -> bool {
        !self.name.is_empty()
    }

    fn field(&self, by_name: &HashMap<&'static str, TypeId>) -> Field {
        Field {
            name: self.name,
            target: self.target(self.target, by_name),
            required: self.required,
            presence: Presence::default(),
            default: (!self.default.is_empty()).then(|| {
                serde_json::from_str(self.default)
                    .unwrap_or_else(|e| panic!("the default of {}.{} is not JSON: {e}", self.owner, self.name))
            }),
            list: match self.list {
                "atomic" => ListType::Atomic,
                "granular" => ListType::Granular,
                "set" => ListType::Set,
                "map" => ListType::Map(self.keys.split(',').collect()),
                _ => ListType::Unstated,
            },
            patch: PatchStrategy {
                merge: self.strategy.contains("merge"),
                replace: self.strategy.contains("replace"),
                retain_keys: self.strategy.contains("retainKeys"),
                merge_key: (!self.merge_key.is_empty()).then_some(self.merge_key),
            },
            proto: self.proto(),
        }
    }

    fn target(&self, text: &'static str, by_name: &HashMap<&'static str, TypeId>) -> Target {
        if let Some(element) = text.strip_prefix("[]") {
            return Target::List(Box::new(self.target(element, by_name)));
        }
        if let Some(value) = text.strip_prefix("map:") {
            return Target::Map(Box::new(self.target(value, by_name)));
        }
        match text {
            "string" if self.format == "byte" || self.message.contains("bytes") => Target::Bytes,
            "string" => Target::String,
            "boolean" => Target::Bool,
            "integer" if self.format == "int64" || self.message.contains("int64") => Target::Int64,
            "integer" => Target::Int32,
            "number" => Target::Double,
            "" | "object" => Target::Any,
            name => Target::Type(*by_name.get(name).unwrap_or_else(|| {
                panic!(
                    "{}.{} is of type {name}, which is not in the type table",
                    self.owner, self.name
                )
            })),
        }
    }

    fn proto(&self) -> Option<Proto> {
        if self.number.is_empty() {
            let (inside, number) = nesting_of(self.owner, self.name)?;
            return Some(Proto {
                inside,
                number,
                wrapped: false,
            });
        }
        let number = self.number.parse().unwrap_or_else(|e| {
            panic!(
                "the protobuf number of {}.{} does not parse: {e}",
                self.owner, self.name
            )
        });
        let wrapped = self.message.ends_with("ExtraValue>") || self.message == "Verbs";
        Some(Proto {
            inside: 0,
            number,
            wrapped,
        })
    }
}

fn shape_of(name: &str, has_fields: bool) -> Shape {
    match name.rsplit('.').next() {
        Some("Quantity") if !has_fields => Shape::Quantity,
        Some("Time") if !has_fields => Shape::Time,
        Some("MicroTime") if !has_fields => Shape::MicroTime,
        Some("IntOrString") if !has_fields => Shape::IntOrString,
        Some("BasicSchedulingPolicy" | "StorageVersionSpec" | "CustomResourceSubresourceStatus") => Shape::Struct,
        _ if has_fields => Shape::Struct,
        _ => Shape::Any,
    }
}

fn number_types(rows: &[Row]) -> HashMap<&'static str, TypeId> {
    let mut by_name = HashMap::new();
    for row in rows {
        let next = u16::try_from(by_name.len()).expect("the table has some 900 types, far below 65536");
        by_name.entry(row.owner).or_insert(TypeId(next));
    }
    by_name
}

fn read_presence(types: &mut [Type], by_name: &HashMap<&'static str, TypeId>) {
    for line in lines(PRESENCE) {
        let columns: Vec<&'static str> = line.split('\t').collect();
        let [name, omitted, written] = columns[..] else {
            panic!("the presence table has a line without its three columns: {line}")
        };
        let Some(id) = by_name.get(name) else { continue };
        for field in &mut types[usize::from(id.0)].fields {
            if omitted.split(',').any(|f| f == field.name) {
                field.presence = Presence::OmitEmpty;
            } else if written.split(',').any(|f| f == field.name) {
                field.presence = Presence::Always;
            }
        }
    }
}

fn number_fields(types: &mut [Type]) {
    for owner in types {
        owner.fields.sort_by_key(|f| f.name);
        for (index, field) in (0u16..).zip(&owner.fields) {
            if let Some(proto) = field.proto {
                owner.by_number.insert((proto.inside, proto.number), index);
                owner.proto_order.push(index);
                owner.nested = owner.nested.max(proto.inside);
            }
            if field.default.is_some() {
                owner.defaults.push(index);
            }
            if field.presence == Presence::Always {
                owner.always.push(index);
            }
        }
        let fields = &owner.fields;
        owner.proto_order.sort_by_key(|index| {
            let proto = fields.get(usize::from(*index)).and_then(|f| f.proto)?;
            // What stands in the nested message is written where that message is.
            Some((if proto.inside > 0 { proto.inside } else { proto.number }, proto.number))
        });
    }
}

fn read_kinds(
    types: &mut [Type],
    by_name: &HashMap<&'static str, TypeId>,
) -> HashMap<(&'static str, &'static str, &'static str), TypeId> {
    let mut by_kind = HashMap::new();
    for line in lines(KINDS) {
        let columns: Vec<&'static str> = line.split('\t').collect();
        let [group, version, kind, name] = columns[..] else {
            panic!("the kinds table has a line without its four columns: {line}")
        };
        let Some(id) = by_name.get(name) else { continue };
        by_kind.insert((group, version, kind), *id);
        types[usize::from(id.0)]
            .kinds
            .push(GroupVersionKind { group, version, kind });
    }
    for owner in types {
        owner.kinds.sort_unstable();
    }
    by_kind
}
