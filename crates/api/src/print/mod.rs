//! Objects as rows of a table: the columns that `kubectl get` shows for each kind.
//!
//! Source: `spec/api.md` §5; kubernetes `pkg/printers/internalversion/printers.go`.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{Object, Resource};

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
    let _ = (resource, objects, include, now);
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": [], "rows": []})
}
