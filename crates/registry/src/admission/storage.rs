//! The default storage class of claims, which claims may grow, and since when a volume is in its phase.
//!
//! Source: kubernetes `plugin/pkg/admission/storage/{storageclass/setdefault,persistentvolume/resize}`,
//! `pkg/registry/core/persistentvolume/strategy.go`.

use rota_api::quantity::Quantity;
use rota_api::{ApiError, resource};
use serde_json::Value;

use super::deny;
use crate::env::whole_seconds;
use crate::fields::{self, text};
use crate::session::Session;

/// Where a claim named its class before it had a field.
const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// What marks the class of claims that name none, today and formerly.
const IS_DEFAULT: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

/// Gives a claim that names no class the default one, if there is one.
pub(super) fn admit(session: &Session<'_>, claim: &mut Value) {
    let names_class =
        !claim["spec"]["storageClassName"].is_null() || claim["metadata"]["annotations"][CLASS].is_string();
    if names_class {
        return;
    }
    if let Some(class) = default_class(session) {
        fields::object(claim, "spec").insert("storageClassName".to_owned(), text(&class, "name").into());
    }
}

/// The newest of the classes that are marked as default, the first of them by name.
fn default_class(session: &Session<'_>) -> Option<Value> {
    let state = session.read(resource::STORAGE_CLASSES);
    let classes = state.kind(resource::STORAGE_CLASSES)?.with_prefix(b"");
    let is_default = |class: &Value| {
        IS_DEFAULT
            .iter()
            .any(|key| class["metadata"]["annotations"][key] == "true")
    };
    let mut classes: Vec<Value> = classes.map(|class| class.to_value()).filter(is_default).collect();
    classes.sort_by(|a, b| text(a, "name").cmp(text(b, "name")));
    classes.sort_by(|a, b| text(b, "creationTimestamp").cmp(text(a, "creationTimestamp")));
    classes.into_iter().next()
}

/// Refuses a claim that grows although its class does not say that its volumes can.
pub(super) fn check_growth(session: &Session<'_>, claim: &Value, old: &Value) -> Result<(), ApiError> {
    let size = |claim: &Value| Quantity::from_value(&claim["spec"]["resources"]["requests"]["storage"]).ok();
    if size(claim).unwrap_or(Quantity::ZERO) <= size(old).unwrap_or(Quantity::ZERO) {
        return Ok(());
    }
    let class = class_of(claim);
    let grows = !class.is_empty()
        && class == class_of(old)
        && session
            .look(resource::STORAGE_CLASSES, "", class)
            .is_some_and(|class| class["allowVolumeExpansion"] == true);
    if grows {
        return Ok(());
    }
    let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
    Err(deny(resource::PERSISTENT_VOLUME_CLAIMS, claim, why))
}

fn class_of(claim: &Value) -> &str {
    let noted = claim["metadata"]["annotations"][CLASS].as_str();
    noted
        .or_else(|| claim["spec"]["storageClassName"].as_str())
        .unwrap_or_default()
}

/// Notes when a volume entered its phase, unless the writer says so.
pub(super) fn note_phase(session: &Session<'_>, volume: &mut Value, old: &Value) {
    const SINCE: &str = "lastPhaseTransitionTime";
    let before = old["status"][SINCE].clone();
    let status = fields::object(volume, "status");
    let phase = |phase: Option<&Value>| phase.and_then(Value::as_str).unwrap_or_default().to_owned();
    let changed = phase(status.get("phase")) != phase(old["status"].get("phase"));
    let given = status.get(SINCE).filter(|given| !given.is_null());
    let since = match (changed, given) {
        (false, None) => before,
        (true, given) if given.is_none_or(|given| *given == before) => whole_seconds(session.now).into(),
        _ => return,
    };
    if !since.is_null() {
        status.insert(SINCE.to_owned(), since);
    }
}
