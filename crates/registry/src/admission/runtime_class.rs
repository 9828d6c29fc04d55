//! What a pod's runtime class costs, and where it can run.
//!
//! Source: kubernetes `plugin/pkg/admission/runtimeclass`.

use rota_api::{ApiError, resource};
use serde_json::{Map, Value};

use super::deny;
use crate::fields;
use crate::session::Session;

/// Copies the class's overhead and scheduling into the pod.
pub(super) fn admit(session: &Session<'_>, pod: &mut Value) -> Result<(), ApiError> {
    let class_name = pod["spec"]["runtimeClassName"].as_str().unwrap_or_default();
    let class = if class_name.is_empty() {
        None
    } else {
        let Some(class) = session.look(resource::RUNTIME_CLASSES, "", class_name) else {
            let why = format!("pod rejected: RuntimeClass {class_name:?} not found");
            return Err(deny(resource::PODS, pod, why));
        };
        Some(class.into_owned())
    };
    let own = pod["spec"]["overhead"]
        .as_object()
        .filter(|overhead| !overhead.is_empty());
    match (
        class
            .as_ref()
            .and_then(|class| class["overhead"]["podFixed"].as_object()),
        own,
    ) {
        (None, Some(_)) => {
            let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
            return Err(deny(resource::PODS, pod, why));
        }
        (Some(fixed), Some(own)) if fixed != own => {
            let why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
            return Err(deny(resource::PODS, pod, why));
        }
        (Some(fixed), _) => {
            let fixed = fixed.clone();
            fields::object(pod, "spec").insert("overhead".to_owned(), fixed.into());
        }
        (None, None) => {}
    }
    match &class {
        Some(class) => schedule(pod, &class["scheduling"]),
        None => Ok(()),
    }
}

fn schedule(pod: &mut Value, scheduling: &Value) -> Result<(), ApiError> {
    let wanted = scheduling["nodeSelector"].as_object().cloned().unwrap_or_default();
    let own = pod["spec"]["nodeSelector"].as_object().cloned().unwrap_or_default();
    if let Some((key, _)) = wanted
        .iter()
        .find(|(key, value)| own.get(*key).is_some_and(|own| own != *value))
    {
        let why = format!(
            "pod rejected: conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
            wanted[key].as_str().unwrap_or_default(),
            own[key].as_str().unwrap_or_default()
        );
        return Err(deny(resource::PODS, pod, why));
    }
    let spec = fields::object(pod, "spec");
    if !wanted.is_empty() {
        let merged: Map<String, Value> = own.into_iter().chain(wanted).collect();
        spec.insert("nodeSelector".to_owned(), merged.into());
    }
    for toleration in scheduling["tolerations"].as_array().into_iter().flatten() {
        let tolerations = fields::list(spec, "tolerations");
        if !tolerations.contains(toleration) {
            tolerations.push(toleration.clone());
        }
    }
    Ok(())
}
