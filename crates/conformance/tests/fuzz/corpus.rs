//! What the inputs are made of: the bodies, patches, queries and texts of the recorded cases.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rota_api::codec::{self, Format};
use rota_api::{PatchKind, Resource, resource};
use rota_conformance::case::{self, Step};
use rota_conformance::pattern::Bindings;
use serde_json::Value;

/// Everything that was recorded, by what it is fed to.
#[derive(Default)]
pub(crate) struct Corpus {
    /// Objects, each with its resource.
    pub(crate) objects: Vec<(&'static Resource, Value)>,
    /// Bodies of requests as they were sent, or encoded anew.
    pub(crate) bodies: Vec<Body>,
    /// Patches.
    pub(crate) patches: Vec<Patch>,
    /// Texts: names, quantities, selectors, schedules, whatever stands in an object or a query.
    pub(crate) texts: Vec<String>,
    /// Requests: method, path with its query, headers, body.
    pub(crate) requests: Vec<Request>,
}

/// The body of a request.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    /// What it is an object of.
    pub(crate) resource: &'static Resource,
    /// How it is encoded.
    pub(crate) format: Format,
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
}

/// The body of a patch.
#[derive(Clone, Debug)]
pub(crate) struct Patch {
    /// What it patches.
    pub(crate) resource: &'static Resource,
    /// How.
    pub(crate) kind: PatchKind,
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
}

/// A request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// The method.
    pub(crate) method: String,
    /// The path and the query.
    pub(crate) uri: String,
    /// The media types that are accepted.
    pub(crate) accept: String,
    /// The media type of the body.
    pub(crate) content_type: String,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Corpus {
    /// All of it.
    pub(crate) fn load() -> Self {
        let mut corpus = Self::default();
        for case in case::all() {
            for step in &case.steps {
                corpus.take(step);
            }
        }
        corpus.texts.sort();
        corpus.texts.dedup();
        for (resource, object) in &corpus.objects {
            for format in [Format::Json, Format::Yaml, Format::Protobuf] {
                if let Ok(bytes) = codec::encode(object, format) {
                    corpus.bodies.push(Body {
                        resource,
                        format,
                        bytes,
                    });
                }
            }
        }
        corpus
    }

    fn take(&mut self, step: &Step) {
        let labels = Bindings::new("default");
        let body = body_of(step, &labels);
        let query: Vec<String> = step
            .query
            .iter()
            .flat_map(|(name, value)| {
                let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
                values
                    .into_iter()
                    .map(move |value| format!("{name}={}", text_of(&value)))
            })
            .collect();
        let query = step.raw_query.clone().unwrap_or_else(|| query.join("&"));
        self.texts.extend(step.query.values().map(text_of));
        let content_type = step
            .content_type
            .clone()
            .unwrap_or_else(|| "application/json".to_owned());
        let patch_kind = match content_type.as_str() {
            "application/json-patch+json" => Some(PatchKind::Json),
            "application/merge-patch+json" => Some(PatchKind::Merge),
            "application/strategic-merge-patch+json" => Some(PatchKind::Strategic),
            "application/apply-patch+yaml" => Some(PatchKind::Apply),
            _ => None,
        };
        if let Some(resource) = resource_of(&step.path) {
            if let Some(kind) = patch_kind {
                let bytes = body.clone();
                self.patches.push(Patch { resource, kind, bytes });
            } else if !body.is_empty() && matches!(step.method.as_str(), "POST" | "PUT") {
                let format = match content_type.as_str() {
                    "application/yaml" => Format::Yaml,
                    "application/vnd.kubernetes.protobuf" => Format::Protobuf,
                    _ => Format::Json,
                };
                if let Ok(decoded) = codec::decode(resource.schema, &body, format, codec::FieldValidation::Ignore) {
                    leaves(&decoded.value, &mut self.texts);
                    let mut object = decoded.value;
                    object["apiVersion"] = resource.api_version().into();
                    object["kind"] = resource.kind.into();
                    self.objects.push((resource, object));
                }
                let bytes = body.clone();
                self.bodies.push(Body {
                    resource,
                    format,
                    bytes,
                });
            }
        }
        if let Some(Value::Object(object)) = &step.expect.body {
            let named = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
            if let Some(resource) = resource::find_kind(named("apiVersion"), named("kind")) {
                self.objects.push((resource, Value::Object(object.clone())));
            }
        }
        if !step.method.is_empty() {
            self.requests.push(Request {
                method: step.method.clone(),
                uri: labels.fill(&format!("{}?{query}", step.path)),
                accept: step.accept.clone().unwrap_or_default(),
                content_type,
                body,
            });
        }
    }
}

fn body_of(step: &Step, labels: &Bindings) -> Vec<u8> {
    match (&step.body, &step.body_text, &step.body_b64) {
        (Some(json), _, _) => labels.fill(&json.0).into_bytes(),
        (_, Some(text), _) => labels.fill(text).into_bytes(),
        (_, _, Some(encoded)) => STANDARD.decode(encoded).unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn leaves(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| leaves(item, texts)),
        Value::Object(fields) => fields.values().for_each(|field| leaves(field, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The resource that a path names, by its first part that is one.
fn resource_of(path: &str) -> Option<&'static Resource> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let (["namespaces", _, plural, ..] | [plural, ..]) = rest else {
        return None;
    };
    resource::find(group, version, plural)
}
