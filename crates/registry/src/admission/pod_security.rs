//! The Pod Security levels of a namespace: pods that miss what is enforced are refused; authors of pods, and of objects that
//! will make pods, are told what misses the level of warnings.
//!
//! Source: `spec/api.md` §8; kubernetes `pod-security-admission/admission/admission.go`.

use std::collections::BTreeMap;

use rota_api::pod_security::{self, Demand, Level, Policy};
use rota_api::{ApiError, FieldError, Resource, resource};
use serde_json::Value;

use super::deny;
use crate::fields::text;
use crate::session::Session;

/// How many pods of a namespace are looked at when it begins to enforce a level.
const PODS_CHECKED_MAX: usize = 3000;

/// Judges a new object; returns what its author should know.
pub(super) fn check_new(
    session: &Session<'_>,
    resource: &'static Resource,
    value: &Value,
) -> Result<Vec<String>, ApiError> {
    if resource == resource::NAMESPACES {
        let (_, errors) = policy_of(value);
        return match errors.is_empty() {
            true => Ok(Vec::new()),
            false => Err(invalid(value, &errors)),
        };
    }
    judge(session, resource, value)
}

/// Judges a changed object; returns what its author should know.
pub(super) fn check_update(
    session: &Session<'_>,
    resource: &'static Resource,
    value: &Value,
    old: &Value,
    subresource: Option<&str>,
) -> Result<Vec<String>, ApiError> {
    match subresource {
        None if resource == resource::NAMESPACES => change_policy(session, value, old),
        None | Some("ephemeralcontainers" | "resize") if resource == resource::PODS => {
            match runs_the_same(value, old) {
                true => Ok(Vec::new()),
                false => judge(session, resource, value),
            }
        }
        None => judge(session, resource, value),
        Some(_) => Ok(Vec::new()),
    }
}

fn policy_of(namespace: &Value) -> (Policy, Vec<FieldError>) {
    Policy::of_labels(&rota_api::Meta::of(namespace).labels)
}

fn invalid(namespace: &Value, errors: &[FieldError]) -> ApiError {
    ApiError::invalid("", "Namespace", text(namespace, "name"), errors)
}

/// Judges the pods that an object is or will make by the policy of its namespace.
fn judge(session: &Session<'_>, resource: &'static Resource, value: &Value) -> Result<Vec<String>, ApiError> {
    let Some((metadata, spec)) = pods_of(resource, value) else {
        return Ok(Vec::new());
    };
    let policy = session
        .read(resource::NAMESPACES)
        .get(resource::NAMESPACES, "", text(value, "namespace"))
        .map(|namespace| Policy::of_labels(&namespace.meta().labels));
    let Some((policy, _)) = policy else {
        return Ok(Vec::new());
    };
    if resource == resource::PODS {
        let violations = pod_security::violations(policy.enforce, metadata, spec);
        if !violations.is_empty() {
            let enforced = policy.enforce;
            let why = format!(
                "violates PodSecurity \"{enforced}\": {}",
                pod_security::describe(&violations)
            );
            return Err(deny(resource, value, why));
        }
    }
    let violations = pod_security::violations(policy.warn, metadata, spec);
    Ok(match violations.is_empty() {
        true => Vec::new(),
        false => vec![format!(
            "would violate PodSecurity \"{}\": {}",
            policy.warn,
            pod_security::describe(&violations)
        )],
    })
}

/// Metadata and spec of the pods that an object is or makes.
fn pods_of<'a>(resource: &Resource, value: &'a Value) -> Option<(&'a Value, &'a Value)> {
    let template = match resource.kind {
        "Pod" => value,
        "PodTemplate" => &value["template"],
        "CronJob" => &value["spec"]["jobTemplate"]["spec"]["template"],
        "DaemonSet" | "Deployment" | "Job" | "ReplicaSet" | "ReplicationController" | "StatefulSet" => {
            &value["spec"]["template"]
        }
        _ => return None,
    };
    template["spec"]
        .is_object()
        .then(|| (&template["metadata"], &template["spec"]))
}

/// True when a change of a pod touches nothing that a level judges: as many containers, of the same images.
fn runs_the_same(new: &Value, old: &Value) -> bool {
    let images = |pod: &Value, kind: &str| -> Vec<(String, String)> {
        let containers = pod["spec"][kind].as_array().into_iter().flatten();
        let of = |container: &Value, field: &str| container[field].as_str().unwrap_or_default().to_owned();
        containers.map(|c| (of(c, "name"), of(c, "image"))).collect()
    };
    let same = |kind: &str| images(new, kind) == images(old, kind);
    same("containers") && same("initContainers") && same("ephemeralContainers")
}

/// A namespace's labels may not become unreadable; whoever enforces more is told which pods would not be let in any more.
fn change_policy(session: &Session<'_>, new: &Value, old: &Value) -> Result<Vec<String>, ApiError> {
    let ((policy, errors), (old_policy, old_errors)) = (policy_of(new), policy_of(old));
    if !errors.is_empty() && errors != old_errors {
        return Err(invalid(new, &errors));
    }
    let (enforce, before) = (policy.enforce, old_policy.enforce);
    let is_relaxed = enforce.version == before.version && enforce.level <= before.level;
    if enforce == before || enforce.level == Level::Privileged || is_relaxed {
        return Ok(Vec::new());
    }
    Ok(pods_that_violate(session, text(new, "name"), enforce))
}

fn pods_that_violate(session: &Session<'_>, namespace: &str, enforce: Demand) -> Vec<String> {
    let pods: Vec<_> = {
        let state = session.read(resource::PODS);
        let kind = state.kind(resource::PODS);
        let pods = kind.map(|kind| kind.with_prefix(format!("{namespace}/").as_bytes()));
        pods.into_iter().flatten().cloned().collect()
    };
    // By what is wrong with them: the first pod, in order of name, and how many there are.
    let mut found: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for pod in pods.iter().take(PODS_CHECKED_MAX) {
        let value = pod.to_value();
        let violations = pod_security::violations(enforce, &value["metadata"], &value["spec"]);
        if !violations.is_empty() {
            let entry = found.entry(pod_security::reasons(&violations));
            entry.or_insert_with(|| (pod.meta().name.clone(), 0)).1 += 1;
        }
    }
    let mut remarks = Vec::new();
    if pods.len() > PODS_CHECKED_MAX {
        remarks.push(format!(
            "new PodSecurity enforce level only checked against the first {PODS_CHECKED_MAX} of {} existing pods",
            pods.len()
        ));
    }
    if !found.is_empty() {
        remarks.push(format!(
            "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{enforce}\""
        ));
    }
    let mut lines: Vec<String> = found
        .into_iter()
        .map(|(wrong, (pod, count))| match count {
            1 => format!("{pod}: {wrong}"),
            2 => format!("{pod} (and 1 other pod): {wrong}"),
            _ => format!("{pod} (and {} other pods): {wrong}", count - 1),
        })
        .collect();
    lines.sort();
    remarks.extend(lines);
    remarks
}
