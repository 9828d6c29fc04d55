//! Patches of objects: JSON patch, JSON merge patch, strategic merge patch.
//!
//! [`read`] turns a request body into a patch document, [`patch`] applies it, [`fitted`] brings the result into the form of
//! its type. Which fields a patch may change, and server-side apply, are not known here.
//!
//! Limits: documents are bounded by the codec; a JSON patch has at most 10,000 operations.
//!
//! Source: `spec/api.md` §2.5; `apiserver/pkg/endpoints/handlers/patch.go`.

mod json;
mod merge;
mod order;
mod strategic;
mod unstructured;

use serde_json::{Value, json};

use crate::codec::{self, Decoded, Document, FieldValidation, Format};
use crate::value::shown;
use crate::{ApiError, PatchKind, Reason};

/// Reads the text of a patch.
///
/// Errors: 400 when the text is not JSON (YAML for [`PatchKind::Apply`]) or no patch of that kind.
pub fn read(kind: PatchKind, body: &[u8]) -> Result<Document, ApiError> {
    let (format, said, wanted) = match kind {
        PatchKind::Json => (Format::Json, "error decoding patch: ", "[]handlers.jsonPatchOp"),
        PatchKind::Merge => (Format::Json, "error decoding patch: ", "map[string]interface {}"),
        PatchKind::Strategic => (Format::Json, "", "map[string]interface {}"),
        PatchKind::Apply => (Format::Yaml, "error decoding YAML: ", "map[string]interface {}"),
    };
    let mut document = codec::read(body, format).map_err(|e| ApiError::bad_request(format!("{said}{e}")))?;
    if matches!(kind, PatchKind::Apply | PatchKind::Strategic) && document.value.is_null() {
        document.value = json!({});
    }
    if kind == PatchKind::Json {
        json::report_members(&document.value, &mut document.repeated);
    }
    let misfit = match &document.value {
        Value::Object(_) if kind != PatchKind::Json => None,
        Value::Array(_) | Value::Null if kind == PatchKind::Json => json::misfit(&document.value),
        Value::Null if kind == PatchKind::Merge => return Err(ApiError::bad_request("Invalid JSON Patch")),
        other => Some(format!("{} into Go value of type {wanted}", self::kind(other))),
    };
    match misfit {
        None => Ok(document),
        Some(what) => Err(ApiError::bad_request(format!("{said}json: cannot unmarshal {what}"))),
    }
}

/// What messages of upstream's language runtime call a value of this kind.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Applies a patch document to an object. `schema_type` matters to strategic merge only.
///
/// Errors: 422 for a JSON patch that does not fit the object, 400 and 500 for documents that are no patches (upstream
/// answers some of these with a server's fault; clients depend on the codes). [`PatchKind::Apply`] is not applied here.
pub fn patch(schema_type: &str, kind: PatchKind, original: &Value, patch: &Value) -> Result<Value, ApiError> {
    match kind {
        PatchKind::Json => json::apply(original, patch),
        PatchKind::Merge => Ok(merge::apply(original, patch)),
        PatchKind::Strategic => strategic::apply(schema_type, original, patch),
        PatchKind::Apply => Err(ApiError::internal(
            "an apply configuration is merged by server-side apply, not as a patch",
        )),
    }
}

/// Applies a patch document and brings the result into the form of its type.
///
/// Errors: those of [`patch`] and [`fitted`].
pub fn patched(
    schema_type: &str,
    kind: PatchKind,
    original: &Value,
    document: &Value,
    repeated: &[String],
    validation: FieldValidation,
) -> Result<Decoded, ApiError> {
    let result = patch(schema_type, kind, original, document)?;
    fitted(schema_type, kind, result, document, repeated, validation)
}

/// Brings the result of a patch into the form of its type, as [`codec::conform`] does. `repeated` are the reports that [`read`]
/// made about the document.
///
/// Errors: 422 when the result does not fit the type or, under strict validation, has fields that its type does not have.
pub fn fitted(
    schema_type: &str,
    kind: PatchKind,
    result: Value,
    document: &Value,
    repeated: &[String],
    validation: FieldValidation,
) -> Result<Decoded, ApiError> {
    // What strict validation refuses is collected as warnings first, so that all of it is told.
    let collected = match validation {
        FieldValidation::Ignore => FieldValidation::Ignore,
        FieldValidation::Strict | FieldValidation::Warn => FieldValidation::Warn,
    };
    let refuse = |why: &dyn std::fmt::Display| match kind {
        PatchKind::Strategic => refusal(&format!("{:?}", shown(document)), why),
        PatchKind::Json | PatchKind::Merge | PatchKind::Apply => unfit(document, why),
    };
    let misfit = (kind == PatchKind::Strategic).then(|| unstructured::misfit(schema_type, &result));
    if let Some(why) = misfit.flatten() {
        return Err(refuse(&why));
    }
    let mut decoded = codec::conform(schema_type, result, collected).map_err(|e| refuse(&e))?;
    if validation != FieldValidation::Ignore {
        decoded.warnings.splice(0..0, repeated.iter().cloned());
    }
    if validation == FieldValidation::Strict && !decoded.warnings.is_empty() {
        let why = format!("strict decoding error: {}", decoded.warnings.join(", "));
        return Err(refuse(&why));
    }
    Ok(decoded)
}

/// 422 for a patch whose result is not an object of the type.
pub fn unfit(document: &Value, why: &dyn std::fmt::Display) -> ApiError {
    refusal(&document.to_string(), why)
}

fn refusal(shown: &str, why: &dyn std::fmt::Display) -> ApiError {
    let body = format!("Invalid value: {shown}: {why}");
    ApiError::new(Reason::Invalid, format!(" \"\" is invalid: patch: {body}")).with_details(json!({
        "causes": [{"reason": "FieldValueInvalid", "message": body, "field": "patch"}],
    }))
}

#[cfg(test)]
mod tests;
