//! Objects in protobuf, both ways, driven by the type table.
//!
//! Field numbers come from the table, so no message is known by name; the few types whose protobuf form differs from
//! their JSON form (times, quantities, int-or-string, embedded JSON) are told apart by their shape. An object travels in
//! an envelope that names its kind: four magic bytes and a `runtime.Unknown`.
//!
//! Streams and media types are the front's business; [`watch_frame`] makes one frame of a watch.
//!
//! Source: `spec/api.md` §1.7; `apimachinery/pkg/runtime/serializer/protobuf`.

mod read;
pub(crate) mod wire;
mod write;

use serde_json::Value;

use crate::codec::{self, ConformError, FieldValidation};
use crate::table::{TypeId, schema};
use wire::{Content, Fields, put_bytes};

/// What every enveloped object begins with.
pub const MAGIC: [u8; 4] = *b"k8s\0";

/// The package of the kinds that are sent without an `apiVersion`.
///
/// Source: `apiserver/pkg/endpoints/discovery/util.go`, `stripVersionEncoder`.
const UNVERSIONED: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Why a text is no object in protobuf, or an object has no such form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// The body does not start with [`MAGIC`].
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    /// The bytes are no message.
    #[error("proto: illegal message")]
    Malformed,
    /// A string is not UTF-8.
    #[error("proto: invalid UTF-8 in string field {0}")]
    Utf8(&'static str),
    /// The type is not in the table, or has no protobuf form (`Table`).
    #[error("{0} has no protobuf form")]
    NoForm(String),
    /// A value does not fit its type.
    #[error(transparent)]
    Misfit(#[from] ConformError),
}

/// Reads a bare message as an object of the type `schema_type`. Unknown fields are skipped.
///
/// Errors: it is no such message.
pub(crate) fn read(schema_type: &str, message: &[u8]) -> Result<Value, ProtobufError> {
    let id = schema()
        .id(schema_type)
        .ok_or_else(|| ProtobufError::NoForm(schema_type.to_owned()))?;
    let value = read::message(id, message)?;
    Ok(codec::conform(schema_type, Value::Object(value), FieldValidation::Ignore)?.value)
}

/// Writes an object in its envelope. The type is found by the object's `apiVersion` and `kind`.
///
/// Errors: no such kind is in the table.
pub fn encode(value: &Value) -> Result<Vec<u8>, ProtobufError> {
    let text = |field: &str| value[field].as_str().unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    // What is told of the core group's versions and of their resources belongs to none of them.
    let unversioned = || {
        let is_known = api_version.is_empty() && matches!(kind, "APIVersions" | "APIResourceList");
        is_known
            .then(|| schema().id(&format!("{UNVERSIONED}.{kind}")))
            .flatten()
    };
    let id = schema()
        .by_kind(group, version, kind)
        .or_else(unversioned)
        .ok_or_else(|| ProtobufError::NoForm(format!("{api_version} {kind}")))?;
    let raw = message(id, value);
    let mut type_meta = Vec::with_capacity(api_version.len() + kind.len() + 4);
    put_bytes(&mut type_meta, 1, api_version.as_bytes());
    put_bytes(&mut type_meta, 2, kind.as_bytes());
    let mut out = Vec::with_capacity(raw.len() + type_meta.len() + 20);
    out.extend_from_slice(&MAGIC);
    put_bytes(&mut out, 1, &type_meta);
    put_bytes(&mut out, 2, &raw);
    put_bytes(&mut out, 3, b"");
    put_bytes(&mut out, 4, b"");
    Ok(out)
}

/// Writes a value as a bare message of a type, without an envelope.
pub fn message(id: TypeId, value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    write::message(&mut out, id, value);
    out
}

/// One frame of a watch: a big-endian length, then a bare `WatchEvent` around an enveloped object, as [`encode`] made it.
pub fn watch_frame(event: &str, object: &[u8]) -> Vec<u8> {
    let mut extension = Vec::with_capacity(object.len() + 8);
    put_bytes(&mut extension, 1, object);
    let mut body = Vec::with_capacity(extension.len() + event.len() + 12);
    put_bytes(&mut body, 1, event.as_bytes());
    put_bytes(&mut body, 2, &extension);
    let length = u32::try_from(body.len()).expect("an object is far smaller than 4 GiB: stores bound its size");
    let mut frame = Vec::with_capacity(body.len() + 4);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&body);
    frame
}

/// The parts of an envelope. A missing `apiVersion` or `kind` is empty: the caller knows the endpoint.
pub(crate) struct Envelope<'a> {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) raw: &'a [u8],
}

/// Takes an object out of its envelope.
///
/// Errors: the body has no envelope.
pub(crate) fn open(body: &[u8]) -> Result<Envelope<'_>, ProtobufError> {
    let unknown = body.strip_prefix(&MAGIC).ok_or(ProtobufError::Magic)?;
    let mut envelope = Envelope {
        api_version: String::new(),
        kind: String::new(),
        raw: &[],
    };
    let mut fields = Fields(unknown);
    while let Some((number, content)) = fields.next()? {
        match (number, content) {
            (1, Content::Bytes(type_meta)) => {
                let mut fields = Fields(type_meta);
                while let Some((number, content)) = fields.next()? {
                    match (number, content) {
                        (1, Content::Bytes(text)) => envelope.api_version = read::text(text, "apiVersion")?,
                        (2, Content::Bytes(text)) => envelope.kind = read::text(text, "kind")?,
                        _ => {}
                    }
                }
            }
            (2, Content::Bytes(raw)) => envelope.raw = raw,
            _ => {}
        }
    }
    Ok(envelope)
}

#[cfg(test)]
mod tests;
