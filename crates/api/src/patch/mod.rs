//! Patches of objects.

mod merge;

use serde_json::Value;

use crate::{ApiError, PatchKind};

/// Applies a patch document to an object.
///
/// Errors: 400 for a document that is not a patch, 422 for one that does not fit the object.
pub fn patch(schema_type: &str, kind: PatchKind, original: &Value, patch: &Value) -> Result<Value, ApiError> {
    let _ = schema_type;
    match kind {
        PatchKind::Merge => Ok(merge::apply(original, patch)),
        PatchKind::Json | PatchKind::Strategic | PatchKind::Apply => {
            Err(ApiError::bad_request("this kind of patch is not understood"))
        }
    }
}
