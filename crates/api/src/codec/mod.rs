//! Bodies of requests and replies: JSON, YAML and protobuf to and from values.
//!
//! Reading has two steps: a reader turns text into a `Node`, a tree that still knows the order and the
//! repetitions of the text, and [`conform`] walks it along the type table. What a kind means is not known here; what the
//! media types are called is the front's business.
//!
//! Limits: documents are at most [`DEPTH_MAX`] levels deep, and what YAML aliases add is bounded.
//!
//! Source: `spec/api.md` §1.6, §2.8; `sigs.k8s.io/json`, `sigs.k8s.io/yaml`.

mod conform;
mod emit;
mod node;
mod scalar;
mod settle;
mod style;
mod syntax;
mod time;
mod yaml;

use std::fmt;

use serde_json::Value;

use crate::table::schema;
use crate::{ApiError, protobuf};

pub use conform::ConformError;
pub use settle::settle;
pub use syntax::json_complaint;

/// How deep a document may nest.
pub const DEPTH_MAX: usize = 128;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

/// What happens to unknown and duplicate fields of a request: the `fieldValidation` option.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// They are dropped silently.
    Ignore,
    /// They are dropped, each with a warning.
    #[default]
    Warn,
    /// The request is refused.
    Strict,
}

/// A decoded body.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The object: only fields of its type, nulls dropped.
    pub value: Value,
    /// What the client is to be warned of, without header framing.
    pub warnings: Vec<String>,
}

/// A text that is not JSON or not YAML, or nests too deep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError(String);

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SyntaxError {}

/// Reads a body as an object of the type `schema_type`, such as `io.k8s.api.batch.v1.Job`.
///
/// `apiVersion` and `kind` of the body are kept but not compared with anything: [`open`] tells them to those who care.
///
/// Errors: 400 when the body has no such form, or, under [`FieldValidation::Strict`], has unknown or duplicate fields.
pub fn decode(
    schema_type: &str,
    body: &[u8],
    format: Format,
    validation: FieldValidation,
) -> Result<Decoded, ApiError> {
    let (kind, version) = names_of(schema_type);
    let opened = open(body, format).map_err(|error| error.refuse(kind))?;
    opened.decode(schema_type, (kind, version), validation)
}

/// A body whose text was read, and of which it is known what it says it is.
pub struct Opened<'a> {
    kind: String,
    api_version: String,
    content: Content<'a>,
}

enum Content<'a> {
    /// A document, and the repetitions that its reader reports.
    Document(node::Node, Vec<String>),
    /// The message in the envelope.
    Message(&'a [u8]),
}

/// A body of which it is not known what it is. Tells why, without the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unrecognized {
    why: String,
    /// The beginning of the body.
    summary: String,
}

impl fmt::Display for Unrecognized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Unrecognized {}

impl Unrecognized {
    /// The refusal of a body that should have been of that kind.
    pub fn refuse(&self, expected: &str) -> ApiError {
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {expected}): {} ({})",
            self.why, self.summary
        ))
    }
}

/// What upstream reads first of a body, as messages show it.
const META: &str =
    r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;

/// Reads the text of a body.
///
/// Errors: it is no such text, or does not say what it is in a way that can be understood.
pub fn open(body: &[u8], format: Format) -> Result<Opened<'_>, Unrecognized> {
    let unrecognized = |why: String| Unrecognized {
        why,
        summary: summary(body),
    };
    let undecided =
        |why: &dyn fmt::Display| unrecognized(format!("couldn't get version/kind; json parse error: {why}"));
    let (node, repeated) = match format {
        Format::Json => syntax::read(body)
            .map(|node| (node, Vec::new()))
            .map_err(|error| undecided(&error))?,
        Format::Yaml => yaml::read(body).map_err(|error| unrecognized(error.to_string()))?,
        Format::Protobuf => {
            let envelope = protobuf::open(body).map_err(|error| unrecognized(error.to_string()))?;
            return Ok(Opened {
                kind: envelope.kind,
                api_version: envelope.api_version,
                content: Content::Message(envelope.raw),
            });
        }
    };
    if !matches!(node, node::Node::Map(_) | node::Node::Null) {
        return Err(undecided(&format!(
            "json: cannot unmarshal {} into Go value of type {META}",
            node.kind()
        )));
    }
    let said = |field: &str| {
        let text = node.said(field);
        text.map_err(|found| {
            undecided(&format!(
                "json: cannot unmarshal {found} into Go struct field .{field} of type string"
            ))
        })
    };
    let (api_version, kind) = (said("apiVersion")?, said("kind")?);
    if api_version.matches('/').count() > 1 {
        return Err(unrecognized(format!("unexpected GroupVersion string: {api_version}")));
    }
    Ok(Opened {
        kind,
        api_version,
        content: Content::Document(node, repeated),
    })
}

impl Opened<'_> {
    /// The kind that the body says it is of; empty where it does not say.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The `apiVersion` that the body says it is in; empty where it does not say.
    pub fn api_version(&self) -> &str {
        &self.api_version
    }

    /// The body as an object of the type `schema_type`, for those who expect `expected`: a kind, and the version of what does
    /// not say one.
    ///
    /// Errors: as [`decode`].
    pub fn decode(
        self,
        schema_type: &str,
        (expected, version): (&str, &str),
        validation: FieldValidation,
    ) -> Result<Decoded, ApiError> {
        let Self {
            kind,
            api_version,
            content,
        } = self;
        let read = match content {
            Content::Message(raw) => protobuf::read(schema_type, raw).map(|mut value| {
                for (name, text) in [("apiVersion", &api_version), ("kind", &kind)] {
                    if !text.is_empty() {
                        value[name] = text.as_str().into();
                    }
                }
                let warnings = Vec::new();
                Decoded { value, warnings }
            }),
            Content::Document(node, repeated) => {
                let repeated = match (validation, repeated.is_empty()) {
                    // Under strict validation upstream's YAML reader, the only one that reports, tells all it found as one.
                    (FieldValidation::Strict, false) => {
                        vec![format!("yaml: unmarshal errors:\n  {}", repeated.join("\n  "))]
                    }
                    _ => repeated,
                };
                conform::conform(schema_type, node, repeated, validation).map_err(Into::into)
            }
        };
        read.map_err(|error| {
            if is_option(schema_type) {
                return ApiError::bad_request(error.to_string());
            }
            let or = |said: &str, otherwise: &str| if said.is_empty() { otherwise } else { said }.to_owned();
            let (kind, said) = (or(&kind, expected), or(&api_version, version));
            let version = said.rsplit('/').next().unwrap_or_default();
            ApiError::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {expected}: {error}"
            ))
        })
    }
}

/// Brings a value that did not come from a request's text, such as a patched object, into the form of its type.
///
/// Errors: as [`decode`], but bare: the caller knows which sentence they belong into.
pub fn conform(schema_type: &str, value: Value, validation: FieldValidation) -> Result<Decoded, ConformError> {
    conform::conform(schema_type, node::Node::from(value), Vec::new(), validation)
}

/// A document as it is, without a type: patches, apply configurations, configuration files.
pub struct Document {
    /// The content; the last of repeated keys wins.
    pub value: Value,
    /// The repeated keys, as strict decoding reports them.
    pub repeated: Vec<String>,
}

/// Reads JSON or YAML (its first document) without a type.
///
/// Errors: the text is neither, or nests too deep. Protobuf has no form without a type.
pub fn read(body: &[u8], format: Format) -> Result<Document, SyntaxError> {
    match format {
        Format::Json => {
            let node = syntax::read(body).map_err(SyntaxError)?;
            let mut repeated = Vec::new();
            node.repeated(&mut String::new(), &mut repeated);
            Ok(Document {
                value: node.into_value(),
                repeated,
            })
        }
        Format::Yaml => {
            let (node, repeated) = yaml::read(body)
                .map_err(|SyntaxError(why)| SyntaxError(format!("error converting YAML to JSON: {why}")))?;
            Ok(Document {
                value: node.into_value(),
                repeated,
            })
        }
        Format::Protobuf => Err(SyntaxError("protobuf cannot be read without a type".into())),
    }
}

/// Writes a value in `format`.
///
/// Errors: the value has no protobuf form, since its `apiVersion` and `kind` are not in the type table.
pub fn encode(value: &Value, format: Format) -> Result<Vec<u8>, ApiError> {
    match format {
        Format::Json => serde_json::to_vec(value).map_err(ApiError::internal),
        Format::Yaml => Ok(emit::yaml(value).into_bytes()),
        Format::Protobuf => protobuf::encode(value).map_err(ApiError::internal),
    }
}

/// The beginning of a body, as messages show it: text where it looks like JSON, hexadecimal otherwise.
fn summary(body: &[u8]) -> String {
    const SHOWN_MAX: usize = 30;
    let shown = &body[..body.len().min(SHOWN_MAX)];
    let text = match shown.first() {
        None => return "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(shown).into_owned(),
        Some(_) => shown.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    if body.len() > SHOWN_MAX { text + " ..." } else { text }
}

/// Kind and version of a type, by its name.
fn names_of(schema_type: &str) -> (&str, &str) {
    let mut parts = schema_type.rsplit('.');
    let kind = parts.next().unwrap_or_default();
    (kind, parts.next().unwrap_or_default())
}

/// True for types that are options of requests and belong to no single group.
fn is_option(schema_type: &str) -> bool {
    let is_general = schema_type.starts_with("io.k8s.apimachinery.");
    is_general && schema().by_name(schema_type).is_some_and(|t| t.kinds.len() > 1)
}

#[cfg(test)]
mod tests;
