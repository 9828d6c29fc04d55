//! Field selectors: a few named fields per kind, compared as text.
//!
//! Which fields a kind offers, and where they stand in its stored form, is one table.

use serde_json::Value;

use super::label::SelectorError;
use crate::{Object, Resource, resource};

/// Requirements on fields, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    field: &'static Field,
    equal: bool,
    value: String,
}

/// Where a field's text comes from.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    Name,
    Namespace,
    Node,
    Phase,
    /// The value at a JSON pointer of the stored object; `absent` stands in where there is none.
    At {
        pointer: &'static str,
        absent: &'static str,
    },
    /// An event's source component, or its reporting controller.
    Reporter,
    /// Known but never compared: the text is empty.
    Empty,
}

#[derive(Debug, PartialEq, Eq)]
struct Field {
    label: &'static str,
    /// The name under which it is asked for when an alias is used.
    of: &'static str,
    source: Source,
}

const fn field(label: &'static str, source: Source) -> Field {
    Field {
        label,
        of: label,
        source,
    }
}

const fn at(label: &'static str, pointer: &'static str) -> Field {
    field(label, Source::At { pointer, absent: "" })
}

const fn at_or(label: &'static str, pointer: &'static str, absent: &'static str) -> Field {
    field(label, Source::At { pointer, absent })
}

const NAME: Field = field("metadata.name", Source::Name);
const NAMESPACE: Field = field("metadata.namespace", Source::Namespace);

/// How an unknown field is refused.
#[derive(Clone, Copy)]
enum Refusal {
    /// Kinds without fields of their own.
    OnlyMetadata,
    /// Kinds of the core group.
    Label,
    /// Kinds that name themselves.
    LabelFor(&'static str),
}

static COMMON: [Field; 2] = [NAME, NAMESPACE];
static PODS: [Field; 12] = [
    NAME,
    NAMESPACE,
    field("spec.nodeName", Source::Node),
    Field {
        label: "spec.host",
        of: "spec.nodeName",
        source: Source::Node,
    },
    at("spec.restartPolicy", "/spec/restartPolicy"),
    at("spec.schedulerName", "/spec/schedulerName"),
    at("spec.serviceAccountName", "/spec/serviceAccountName"),
    at_or("spec.hostNetwork", "/spec/hostNetwork", "false"),
    field("status.phase", Source::Phase),
    at("status.podIP", "/status/podIPs/0/ip"),
    field("status.podIPs", Source::Empty),
    at("status.nominatedNodeName", "/status/nominatedNodeName"),
];
static NODES: [Field; 2] = [NAME, at_or("spec.unschedulable", "/spec/unschedulable", "false")];
static NAMESPACES: [Field; 2] = [NAME, field("status.phase", Source::Phase)];
static SECRETS: [Field; 3] = [NAME, NAMESPACE, at("type", "/type")];
static SERVICES: [Field; 4] = [
    NAME,
    NAMESPACE,
    at("spec.clusterIP", "/spec/clusterIP"),
    at("spec.type", "/spec/type"),
];
static REPLICATION_CONTROLLERS: [Field; 3] = [NAME, NAMESPACE, at_or("status.replicas", "/status/replicas", "0")];
static JOBS: [Field; 3] = [NAME, NAMESPACE, at_or("status.successful", "/status/succeeded", "0")];
static EVENTS: [Field; 13] = [
    NAME,
    NAMESPACE,
    at("involvedObject.kind", "/involvedObject/kind"),
    at("involvedObject.namespace", "/involvedObject/namespace"),
    at("involvedObject.name", "/involvedObject/name"),
    at("involvedObject.uid", "/involvedObject/uid"),
    at("involvedObject.apiVersion", "/involvedObject/apiVersion"),
    at("involvedObject.resourceVersion", "/involvedObject/resourceVersion"),
    at("involvedObject.fieldPath", "/involvedObject/fieldPath"),
    at("reason", "/reason"),
    at("reportingComponent", "/reportingComponent"),
    field("source", Source::Reporter),
    at("type", "/type"),
];
static EVENTS_V1: [Field; 12] = [
    NAME,
    NAMESPACE,
    at("regarding.kind", "/involvedObject/kind"),
    at("regarding.namespace", "/involvedObject/namespace"),
    at("regarding.name", "/involvedObject/name"),
    at("regarding.uid", "/involvedObject/uid"),
    at("regarding.apiVersion", "/involvedObject/apiVersion"),
    at("regarding.resourceVersion", "/involvedObject/resourceVersion"),
    at("regarding.fieldPath", "/involvedObject/fieldPath"),
    at("reason", "/reason"),
    at("reportingController", "/reportingComponent"),
    at("type", "/type"),
];

static CERTIFICATE_SIGNING_REQUESTS: [Field; 2] = [NAME, at("spec.signerName", "/spec/signerName")];
static RESOURCE_SLICES: [Field; 3] = [
    NAME,
    at("spec.nodeName", "/spec/nodeName"),
    at("spec.driver", "/spec/driver"),
];

fn fields_of(resource: &'static Resource) -> (&'static [Field], Refusal) {
    for (known, fields) in [
        (resource::PODS, PODS.as_slice()),
        (resource::NODES, NODES.as_slice()),
        (resource::NAMESPACES, NAMESPACES.as_slice()),
        (resource::SECRETS, SECRETS.as_slice()),
        (resource::SERVICES, SERVICES.as_slice()),
        (resource::REPLICATION_CONTROLLERS, REPLICATION_CONTROLLERS.as_slice()),
        (resource::EVENTS, EVENTS.as_slice()),
        (resource::EVENTS_V1, EVENTS_V1.as_slice()),
    ] {
        if resource == known {
            return (fields, Refusal::Label);
        }
    }
    if resource == resource::CERTIFICATE_SIGNING_REQUESTS {
        return (&CERTIFICATE_SIGNING_REQUESTS, Refusal::Label);
    }
    if resource == resource::RESOURCE_SLICES {
        return (&RESOURCE_SLICES, Refusal::LabelFor("ResourceSlice"));
    }
    if resource == resource::JOBS {
        return (&JOBS, Refusal::LabelFor("Job"));
    }
    (&COMMON, Refusal::OnlyMetadata)
}

impl FieldSelector {
    /// Reads the text of a query, such as `spec.nodeName=n,status.phase!=Failed`.
    ///
    /// Errors: the text does not follow the grammar, or the kind does not offer the field.
    pub fn parse(resource: &'static Resource, text: &str) -> Result<Self, SelectorError> {
        let (fields, refusal) = fields_of(resource);
        let mut terms = Vec::new();
        // Of several that are wrong, the first in the order of their bytes is told of.
        let mut parts = split_terms(text);
        parts.sort_unstable();
        for term in parts.into_iter().filter(|term| !term.is_empty()) {
            let (label, equal, value) = split_term(term)
                .ok_or_else(|| SelectorError(format!("invalid selector: '{text}'; can't understand '{term}'")))?;
            let value = unescape(value)?;
            if !(label.is_empty() && value.is_empty()) {
                terms.push((label, equal, value));
            }
        }
        let terms = terms.into_iter().map(|(label, equal, value)| {
            let field = fields.iter().find(|field| field.label == label);
            let field = field.ok_or_else(|| SelectorError(unknown(refusal, label)))?;
            Ok(Term { field, equal, value })
        });
        Ok(Self {
            terms: terms.collect::<Result<_, SelectorError>>()?,
        })
    }

    /// True when every object is selected.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// The value that a field must have, where the selector says so; for callers that keep an index.
    pub fn exact(&self, label: &str) -> Option<&str> {
        self.terms
            .iter()
            .find(|term| term.equal && term.field.of == label)
            .map(|term| term.value.as_str())
    }

    /// True when the object meets every requirement. Decodes it only if the header does not suffice.
    pub fn matches(&self, object: &Object) -> bool {
        let mut decoded = None;
        self.terms.iter().all(|term| {
            let meta = object.meta();
            let equal = match term.field.source {
                Source::Name => meta.name == term.value,
                Source::Namespace => meta.namespace == term.value,
                Source::Node => meta.node == term.value,
                Source::Phase => meta.phase == term.value,
                Source::Empty => term.value.is_empty(),
                Source::At { .. } | Source::Reporter => {
                    let value = decoded.get_or_insert_with(|| object.to_value());
                    read(&term.field.source, value) == term.value
                }
            };
            equal == term.equal
        })
    }
}

fn read(source: &Source, object: &Value) -> String {
    let text = |pointer: &str, absent: &str| match object.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(value @ (Value::Bool(_) | Value::Number(_))) => value.to_string(),
        _ => absent.to_owned(),
    };
    match source {
        Source::Name => text("/metadata/name", ""),
        Source::Namespace => text("/metadata/namespace", ""),
        Source::Node => text("/spec/nodeName", ""),
        Source::Phase => text("/status/phase", ""),
        Source::At { pointer, absent } => text(pointer, absent),
        Source::Reporter => match text("/source/component", "") {
            component if component.is_empty() => text("/reportingComponent", ""),
            component => component,
        },
        Source::Empty => String::new(),
    }
}

fn unknown(refusal: Refusal, label: &str) -> String {
    match refusal {
        Refusal::OnlyMetadata => {
            format!("{label:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
        }
        Refusal::Label => format!("field label not supported: {label}"),
        Refusal::LabelFor(kind) => format!("field label {label:?} not supported for {kind}"),
    }
}

/// Splits at commas that no backslash precedes.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let at = term.char_indices().map(|(index, _)| index).find(|index| {
        let rest = &term[*index..];
        rest.starts_with("!=") || rest.starts_with('=')
    })?;
    let (label, rest) = term.split_at(at);
    if let Some(value) = rest.strip_prefix("!=") {
        return Some((label, false, value));
    }
    let value = rest.strip_prefix("==").or_else(|| rest.strip_prefix('='))?;
    Some((label, true, value))
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let bad_escape =
        |sequence: &str| SelectorError(format!("invalid field selector: invalid escape sequence: {sequence}"));
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some(escaped @ ('\\' | ',' | '=')) => plain.push(escaped),
                Some(other) => return Err(bad_escape(&format!("\\{other}"))),
                None => return Err(bad_escape("\\")),
            },
            ',' | '=' => {
                let why = format!("invalid field selector: unescaped character in value: {}", c as u32);
                return Err(SelectorError(why));
            }
            c => plain.push(c),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Object {
        Object::from_value(
            resource::PODS,
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "d"},
                   "spec": {"nodeName": "n", "restartPolicy": "Never"}, "status": {"phase": "Running"}}),
        )
    }

    #[track_caller]
    fn check(text: &str, expected: bool) {
        let selector = FieldSelector::parse(resource::PODS, text).unwrap();
        assert_eq!(selector.matches(&pod()), expected, "{text}");
    }

    #[test]
    fn pods_are_selected_by_header_and_by_body() {
        check("", true);
        check("=,==,!=", true);
        check("metadata.name=p,spec.nodeName==n", true);
        check("spec.host=n", true);
        check("status.phase!=Running", false);
        check("spec.restartPolicy=Never,spec.hostNetwork=false", true);
        check("status.nominatedNodeName=", true);
        check(r"metadata.name=p\,q", false);
    }

    #[test]
    fn exact_values_are_found_for_indexes() {
        let selector = FieldSelector::parse(resource::PODS, "spec.host=n,metadata.name!=x").unwrap();
        assert_eq!(selector.exact("spec.nodeName"), Some("n"));
        assert_eq!(selector.exact("metadata.name"), None);
    }

    #[test]
    fn each_kind_refuses_unknown_fields_in_its_own_words() {
        for (resource, text, message) in [
            (
                resource::LEASES,
                "spec.x=1",
                "\"spec.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
            ),
            (
                resource::PODS,
                "status.qosClass=x",
                "field label not supported: status.qosClass",
            ),
            (
                resource::JOBS,
                "status.active=1",
                "field label \"status.active\" not supported for Job",
            ),
            (
                resource::LEASES,
                "metadata.name in (a)",
                "invalid selector: 'metadata.name in (a)'; can't understand 'metadata.name in (a)'",
            ),
            (
                resource::LEASES,
                r"metadata.name=\a",
                r"invalid field selector: invalid escape sequence: \a",
            ),
            (
                resource::LEASES,
                r"x,\metadata.namespace",
                r"invalid selector: 'x,\metadata.namespace'; can't understand '\metadata.namespace'",
            ),
            (
                resource::LEASES,
                "spec.y=1,spec.x=1",
                "\"spec.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
            ),
        ] {
            assert_eq!(FieldSelector::parse(resource, text).unwrap_err().0, message);
        }
    }
}
