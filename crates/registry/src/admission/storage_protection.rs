//! Volumes and claims carry a finalizer while they may be in use.
//!
//! Source: kubernetes `plugin/pkg/admission/storage/storageobjectinuseprotection`.

use rota_api::{Resource, resource};
use serde_json::Value;

use crate::fields;

/// The finalizer of a kind; `None` for kinds that have none.
fn finalizer_of(resource: &'static Resource) -> Option<&'static str> {
    if resource == resource::PERSISTENT_VOLUMES {
        Some("kubernetes.io/pv-protection")
    } else if resource == resource::PERSISTENT_VOLUME_CLAIMS {
        Some("kubernetes.io/pvc-protection")
    } else {
        None
    }
}

/// Adds the finalizer to a new object.
pub(super) fn admit(resource: &'static Resource, value: &mut Value) {
    let Some(finalizer) = finalizer_of(resource) else {
        return;
    };
    let finalizers = fields::list(fields::metadata(value), "finalizers");
    if finalizers.iter().all(|present| present != finalizer) {
        finalizers.push(finalizer.into());
    }
}
