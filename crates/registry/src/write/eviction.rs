//! Evicting a pod: deleting it if its disruption budget allows.
//!
//! Source: `spec/api.md` §2.12; kubernetes `registry/core/pod/storage/eviction.go`.

use std::sync::Arc;

use rota_api::selector::LabelSelector;
use rota_api::{ApiError, DeleteOptions, Object, Precondition, Reason, Write, disruption, resource};
use serde_json::{Map, Value, json};

use super::subresource::{check_name, set_condition};
use super::{Draft, delete};
use crate::admission;
use crate::env::whole_seconds;
use crate::fields::{self, text};
use crate::session::Session;

/// More evictions than this at the same time are refused. Source: `eviction.go`, `MaxDisruptedPodSize`.
const DISRUPTED_PODS_MAX: usize = 2000;

/// When to ask again about a budget whose status is behind.
const STALE_RETRY_SECS: u64 = 10;

/// Deletes the pod with the options in `eviction`, taking the disruption from its budget.
pub(super) fn evict(session: &mut Session<'_>, write: &Write, eviction: &Value) -> Result<Draft, ApiError> {
    check_name(write, eviction, "Eviction")?;
    let place = session.place(resource::PODS, &write.namespace, &write.name);
    let Some(mut pod) = session.value(place) else {
        return Err(ApiError::not_found(write.resource, &write.name));
    };
    admission::check_eviction(session, &pod)?;
    if !is_free(&pod) {
        let budgets = budgets_of(session, &write.namespace, &pod);
        match budgets.as_slice() {
            [] => {}
            [budget] if is_unhealthy_surplus(&budget.to_value(), &pod) => {}
            [budget] => disrupt(session, budget, &pod)?,
            _ => {
                return Err(ApiError::new(
                    Reason::Unknown,
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                ));
            }
        }
    }
    // What the delete asks for is looked at by the delete: the budget was asked first.
    let (delete, options) = delete_of(write, &eviction["deleteOptions"])?;
    super::precondition::check_delete(
        write.resource,
        &write.name,
        &delete.precondition,
        text(&pod, "uid"),
        session.revision(place),
    )?;
    let now = whole_seconds(session.now);
    let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting"});
    set_condition(&mut pod, condition, &now);
    session.set(place, pod);
    delete::delete(session, &delete, &options)
}

/// True for pods whose disruption costs nothing: not running yet, finished, or ending anyway.
fn is_free(pod: &Value) -> bool {
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    matches!(phase, "Succeeded" | "Failed" | "Pending") || fields::is_deleting(pod)
}

/// True for a pod that is not ready and may go without using the budget: because the budget says so, or because enough
/// others are healthy.
fn is_unhealthy_surplus(budget: &Value, pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    if conditions.any(|c| c["type"] == "Ready" && c["status"] == "True") {
        return false;
    }
    let number = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
    let desired = number("desiredHealthy");
    budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        || (desired > 0 && number("currentHealthy") >= desired)
}

fn delete_of(write: &Write, options: &Value) -> Result<(Write, DeleteOptions), ApiError> {
    let (options, own) = DeleteOptions::read(options)
        .map_err(|errors| ApiError::invalid("meta.k8s.io", "DeleteOptions", "", &errors))?;
    let mut delete = Write::delete(write.resource, &write.namespace, &write.name, options.clone());
    delete.precondition = Precondition {
        uid: own.uid.or_else(|| write.precondition.uid.clone()),
        revision: own.revision.or(write.precondition.revision),
        absent: Vec::new(),
    };
    Ok((delete, options))
}

fn budgets_of(session: &Session<'_>, namespace: &str, pod: &Value) -> Vec<Arc<Object>> {
    let labels = rota_api::Meta::of(pod).labels;
    let state = session.read(resource::POD_DISRUPTION_BUDGETS);
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
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    if number("observedGeneration") < budget["metadata"]["generation"].as_i64().unwrap_or(0) {
        let cause = format!(
            "The disruption budget {} is still being processed by the server.",
            meta.name
        );
        return Err(refuse(&cause, Some(STALE_RETRY_SECS)));
    }
    let forbid = |why: &str| {
        let message = format!("poddisruptionbudget.policy {:?} is forbidden: {why}", meta.name);
        let details = json!({"name": meta.name, "group": "policy", "kind": "poddisruptionbudget"});
        Err(ApiError::new(Reason::Forbidden, message).with_details(details))
    };
    let allowed = number("disruptionsAllowed");
    if allowed < 0 {
        return forbid("pdb disruptions allowed is negative");
    }
    if status["disruptedPods"].as_object().map_or(0, Map::len) > DISRUPTED_PODS_MAX {
        return forbid("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    if allowed == 0 {
        return Err(refuse(&why_none(&meta.name, status), None));
    }
    let now = whole_seconds(session.now);
    let status = fields::object(&mut budget, "status");
    status.insert("disruptionsAllowed".to_owned(), (allowed - 1).into());
    let pods = status.entry("disruptedPods".to_owned()).or_insert_with(|| json!({}));
    if let Some(pods) = pods.as_object_mut() {
        pods.insert(text(pod, "name").to_owned(), now.as_str().into());
    }
    if allowed == 1 {
        let condition = disruption::allowed_condition(status);
        disruption::set_condition(status, condition, &now);
    }
    session.set(place, budget);
    Ok(())
}

/// Why a budget allows no disruption. Its counts mean nothing when they could not be computed.
fn why_none(name: &str, status: &Value) -> String {
    let refusal = status
        .as_object()
        .and_then(disruption::condition_of)
        .filter(|c| c["status"] == "False" && c["message"].as_str().is_some_and(|message| !message.is_empty()));
    let said = |c: &Value, field: &str| c[field].as_str().unwrap_or_default().to_owned();
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    let (desired, current) = (number("desiredHealthy"), number("currentHealthy"));
    let not_now = format!("The disruption budget {name} does not allow evicting pods currently");
    match refusal {
        Some(c) if c["reason"] == disruption::SYNC_FAILED => {
            format!("{not_now} because it failed sync: {}", said(c, "message"))
        }
        _ if current <= desired => {
            format!("The disruption budget {name} needs {desired} healthy pods and has {current} currently")
        }
        Some(c) => format!("{not_now} ({}): {}", said(c, "reason"), said(c, "message")),
        None => not_now,
    }
}

fn refuse(cause: &str, retry_after_secs: Option<u64>) -> ApiError {
    let mut details = json!({"causes": [{"reason": "DisruptionBudget", "message": cause}]});
    if let Some(secs) = retry_after_secs {
        details["retryAfterSeconds"] = secs.into();
    }
    ApiError::new(
        Reason::TooManyRequests,
        "Cannot evict pod as it would violate the pod's disruption budget.",
    )
    .with_details(details)
}
