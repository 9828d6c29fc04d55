//! The annotation in which `kubectl apply` without `--server-side` keeps what it applied.
//!
//! Who moves from that to server-side apply applies as `kubectl`: it may take over the fields that the annotation speaks
//! about, and the annotation is kept up so that one can move back. Other managers have nothing to do with it.
//!
//! Source: `apimachinery/pkg/util/managedfields/internal/{lastappliedmanager,lastappliedupdater}.go`.

use serde_json::Value;

use super::fields::Fields;
use super::typed::{Form, fields_of};

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The manager that stands for `kubectl apply`.
const KUBECTL: &str = "kubectl";

/// The most that all annotations of an object may hold together. Unit: bytes.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// The fields that this manager may take from others because the annotation says it applied them before.
pub(super) fn taken_over(form: Form, live: Option<&Value>, manager: &str) -> Fields {
    let config = live
        .filter(|_| manager == KUBECTL)
        .and_then(|live| live["metadata"]["annotations"][ANNOTATION].as_str())
        .and_then(|text| serde_json::from_str::<Value>(text).ok())
        .filter(Value::is_object);
    config.map(|config| fields_of(form, &config)).unwrap_or_default()
}

/// Brings the annotation up to date, where the object has it.
pub(super) fn keep_up(object: &mut Value, config: &Value, manager: &str) {
    if manager != KUBECTL {
        return;
    }
    let Some(annotations) = object
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    let others = annotations.iter().filter(|(name, _)| *name != ANNOTATION);
    let taken: usize = others
        .map(|(name, text)| name.len() + text.as_str().map_or(0, str::len))
        .sum();
    if let Some(annotation) = annotations.get_mut(ANNOTATION) {
        let text = format!("{config}\n");
        let fits = taken + ANNOTATION.len() + text.len() <= ANNOTATIONS_MAX;
        *annotation = if fits { text.into() } else { "".into() };
    }
}
