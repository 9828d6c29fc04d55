//! What a pod's priority class means in numbers.
//!
//! Source: kubernetes `plugin/pkg/admission/priority`.

use rota_api::{ApiError, resource};
use serde_json::Value;

use super::deny;
use crate::fields::{self, text};
use crate::session::Session;

const DEFAULT_POLICY: &str = "PreemptLowerPriority";

/// Sets the pod's priority and preemption policy from its class.
pub(super) fn admit(session: &Session<'_>, pod: &mut Value) -> Result<(), ApiError> {
    let named = pod["spec"]["priorityClassName"].as_str().unwrap_or_default();
    let class = if named.is_empty() {
        default_class(session)
    } else {
        match session.look(resource::PRIORITY_CLASSES, "", named) {
            Some(class) => Some(class.into_owned()),
            None => {
                let why = format!("no PriorityClass with name {named} was found");
                return Err(deny(resource::PODS, pod, why));
            }
        }
    };
    let (name, value, policy) = match &class {
        Some(class) => (
            text(class, "name"),
            class["value"].as_i64().unwrap_or(0),
            class["preemptionPolicy"].as_str().unwrap_or(DEFAULT_POLICY),
        ),
        None => ("", 0, DEFAULT_POLICY),
    };
    if let Some(given) = pod["spec"]["priority"].as_i64()
        && given != value
    {
        let why = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
             computed {value} from the given PriorityClass name"
        );
        return Err(deny(resource::PODS, pod, why));
    }
    if let Some(given) = pod["spec"]["preemptionPolicy"].as_str()
        && given != policy
    {
        let why = format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
             controller computed {policy} from the given PriorityClass name"
        );
        return Err(deny(resource::PODS, pod, why));
    }
    let (name, policy) = (name.to_owned(), policy.to_owned());
    let spec = fields::object(pod, "spec");
    if !name.is_empty() {
        spec.insert("priorityClassName".to_owned(), name.into());
    }
    spec.insert("priority".to_owned(), value.into());
    spec.insert("preemptionPolicy".to_owned(), policy.into());
    Ok(())
}

/// Refuses a second class that is the default.
pub(super) fn check_default(session: &Session<'_>, class: &Value) -> Result<(), ApiError> {
    if class["globalDefault"] != true {
        return Ok(());
    }
    match default_class(session) {
        Some(other) if text(&other, "name") != text(class, "name") => {
            let why = format!(
                "PriorityClass {} is already marked as default. Only one default can exist",
                text(&other, "name")
            );
            Err(deny(resource::PRIORITY_CLASSES, class, why))
        }
        _ => Ok(()),
    }
}

/// The class of pods that name none: the lowest of those marked as default.
fn default_class(session: &Session<'_>) -> Option<Value> {
    let state = session.read(resource::PRIORITY_CLASSES);
    let classes = state.kind(resource::PRIORITY_CLASSES)?;
    classes
        .with_prefix(b"")
        .map(|class| class.to_value())
        .filter(|class| class["globalDefault"] == true)
        .min_by_key(|class| class["value"].as_i64().unwrap_or(0))
}
