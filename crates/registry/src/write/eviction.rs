//! Evicting a pod: deleting it if its disruption budget allows.
//!
//! Source: `spec/api.md` §2.12; kubernetes `registry/core/pod/storage/eviction.go`.

use std::sync::Arc;

use rota_api::selector::LabelSelector;
use rota_api::{ApiError, DeleteOptions, Object, Propagation, Reason, Revision, Write, resource};
use serde_json::{Value, json};

use super::subresource::{check_name, set_condition};
use super::{Draft, delete};
use crate::admission;
use crate::env::whole_seconds;
use crate::fields::{self, text};
use crate::session::Session;

/// More evictions than this at the same time are refused. Source: `eviction.go`, `MaxDisruptedPodSize`.
const DISRUPTED_PODS_MAX: usize = 2000;

/// Deletes the pod with the options in `eviction`, taking the disruption from its budget.
pub(super) fn evict(session: &mut Session<'_>, write: &Write, eviction: &Value) -> Result<Draft, ApiError> {
    check_name(write, eviction, "Eviction")?;
    let place = session.place(resource::PODS, &write.namespace, &write.name);
    let Some(mut pod) = session.value(place) else {
        return Err(ApiError::not_found(write.resource, &write.name));
    };
    admission::check_eviction(session, &pod)?;
    let (delete, options) = delete_of(write, &eviction["deleteOptions"]);
    super::precondition::check_delete(
        write.resource,
        &write.name,
        &delete.precondition,
        text(&pod, "uid"),
        session.revision(place),
    )?;
    if !is_free(&pod) {
        let budgets = budgets_of(session, &write.namespace, &pod);
        match budgets.as_slice() {
            [] => {}
            [budget] => disrupt(session, budget, &pod)?,
            _ => {
                return Err(ApiError::internal(
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                ));
            }
        }
        let now = whole_seconds(session.now);
        let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting"});
        set_condition(&mut pod, condition, &now);
        session.set(place, pod);
    }
    delete::delete(session, &delete, &options)
}

/// True for pods whose disruption costs nothing: not running yet, finished, or ending anyway.
fn is_free(pod: &Value) -> bool {
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    matches!(phase, "Succeeded" | "Failed" | "Pending") || fields::is_deleting(pod)
}

fn delete_of(write: &Write, options: &Value) -> (Write, DeleteOptions) {
    let parsed = DeleteOptions {
        grace_period_secs: options["gracePeriodSeconds"].as_i64(),
        propagation: match options["propagationPolicy"].as_str() {
            Some("Orphan") => Some(Propagation::Orphan),
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            _ => None,
        },
        orphan_dependents: options["orphanDependents"].as_bool(),
    };
    let mut delete = Write::delete(write.resource, &write.namespace, &write.name, parsed.clone());
    delete.precondition = write.precondition.clone();
    if let Some(uid) = options["preconditions"]["uid"].as_str() {
        delete.precondition.uid = Some(uid.to_owned());
    }
    if let Some(revision) = options["preconditions"]["resourceVersion"].as_str() {
        delete.precondition.revision = revision.parse().ok().map(Revision);
    }
    (delete, parsed)
}

fn budgets_of(session: &Session<'_>, namespace: &str, pod: &Value) -> Vec<Arc<Object>> {
    let labels = rota_api::Meta::of(pod).labels;
    let state = session.registry.cache().read();
    state
        .kind(resource::POD_DISRUPTION_BUDGETS)
        .into_iter()
        .flat_map(|kind| kind.with_prefix(format!("{namespace}/").as_bytes()))
        .filter(|budget| {
            let selector = &budget.to_value()["spec"]["selector"];
            LabelSelector::from_value(selector).is_ok_and(|selector| selector.matches(&labels))
        })
        .cloned()
        .collect()
}

/// Takes one disruption from the budget, or refuses.
fn disrupt(session: &mut Session<'_>, budget: &Object, pod: &Value) -> Result<(), ApiError> {
    let meta = budget.meta();
    let place = session.place(budget.resource(), &meta.namespace, &meta.name);
    let Some(mut budget) = session.value(place) else {
        return Ok(());
    };
    let status = &budget["status"];
    let observed = status["observedGeneration"].as_i64().unwrap_or(0);
    if observed < budget["metadata"]["generation"].as_i64().unwrap_or(0) {
        return Err(refuse(&format!(
            "The disruption budget {} is still being processed by the server.",
            meta.name
        )));
    }
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    let allowed = number("disruptionsAllowed");
    let disrupted = status["disruptedPods"].as_object().map_or(0, serde_json::Map::len);
    if allowed <= 0 || disrupted > DISRUPTED_PODS_MAX {
        return Err(refuse(&format!(
            "The disruption budget {} needs {} healthy pods and has {} currently",
            meta.name,
            number("desiredHealthy"),
            number("currentHealthy")
        )));
    }
    let now = whole_seconds(session.now);
    let status = fields::object(&mut budget, "status");
    status.insert("disruptionsAllowed".to_owned(), (allowed - 1).into());
    let pods = status.entry("disruptedPods".to_owned()).or_insert_with(|| json!({}));
    if let Some(pods) = pods.as_object_mut() {
        pods.insert(text(pod, "name").to_owned(), now.into());
    }
    session.set(place, budget);
    Ok(())
}

fn refuse(cause: &str) -> ApiError {
    ApiError::new(
        Reason::TooManyRequests,
        "Cannot evict pod as it would violate the pod's disruption budget.",
    )
    .with_details(json!({"causes": [{"reason": "DisruptionBudget", "message": cause}]}))
}
