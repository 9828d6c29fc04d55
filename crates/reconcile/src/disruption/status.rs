//! What the status says: how many pods are healthy, and how many of them may be disrupted.

use std::sync::Arc;

use jiff::SignedDuration;
use rota_api::{Object, Timestamp, Write, disruption, resource};
use serde_json::{Map, Value};

use super::budget::{SeenBudget, is_ready};
use super::expected::Expected;
use crate::json::time;

/// For how long a pod counts as gone whose eviction was granted: if it has not been deleted by then, it will not be.
pub(super) const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_mins(2);

/// The pods of a budget whose evictions were granted.
pub(super) struct Disrupted<'w> {
    /// Those that are about to be deleted, and the time of the grant as the status has it.
    pub(super) pending: Vec<(&'w str, Timestamp)>,
    /// Those that should have been deleted long ago.
    pub(super) not_deleted: Vec<&'w Arc<Object>>,
    /// When the next of the first become some of the second.
    pub(super) next_expiry: Option<Timestamp>,
}

impl<'w> Disrupted<'w> {
    pub(super) fn of(budget: &SeenBudget<'_>, pods: &[&'w Arc<Object>], now: Timestamp) -> Self {
        let mut found = Self {
            pending: Vec::new(),
            not_deleted: Vec::new(),
            next_expiry: None,
        };
        for pod in pods.iter().filter(|pod| pod.meta().deleting.is_none()) {
            let name = pod.meta().name.as_str();
            let Some(granted) = budget.disrupted_at(name) else {
                continue;
            };
            let expiry = granted.saturating_add(DELETION_TIMEOUT).unwrap_or(Timestamp::MAX);
            if expiry <= now {
                found.not_deleted.push(pod);
            } else {
                found.pending.push((name, granted));
                found.next_expiry = Some(found.next_expiry.map_or(expiry, |at| at.min(expiry)));
            }
        }
        found
    }

    fn contains(&self, name: &str) -> bool {
        self.pending.iter().any(|(pending, _)| *pending == name)
    }
}

/// The write that makes the status true; `None` when it is.
pub(super) fn write(
    budget: &SeenBudget<'_>,
    pods: &[&Arc<Object>],
    expected: &Expected,
    disrupted: &Disrupted<'_>,
    now: Timestamp,
) -> Option<Write> {
    let healthy = pods
        .iter()
        .filter(|pod| pod.meta().deleting.is_none() && !disrupted.contains(&pod.meta().name) && is_ready(pod))
        .count();
    let healthy = i64::try_from(healthy).unwrap_or(i64::MAX);
    // A budget that expects no pod allows nothing, so that it is safe when its first pods come and it does not know yet.
    let allowed = match expected.pods {
        ..=0 => 0,
        _ => (healthy - expected.healthy).max(0),
    };
    let mut status = present(budget);
    status.insert("observedGeneration".to_owned(), budget.object.meta().generation.into());
    status.insert("disruptionsAllowed".to_owned(), allowed.into());
    status.insert("currentHealthy".to_owned(), healthy.into());
    status.insert("desiredHealthy".to_owned(), expected.healthy.into());
    status.insert("expectedPods".to_owned(), expected.pods.into());
    let pending = disrupted.pending.iter();
    let pending: Map<String, Value> = pending
        .map(|(name, at)| ((*name).to_owned(), time(*at).into()))
        .collect();
    if pending.is_empty() {
        status.remove("disruptedPods");
    } else {
        status.insert("disruptedPods".to_owned(), pending.into());
    }
    let condition = disruption::allowed_condition(&status);
    let is_said = |old: &Value| old["status"] == condition["status"] && old["reason"] == condition["reason"];
    if status == present(budget) && disruption::condition_of(&status).is_some_and(is_said) {
        return None;
    }
    disruption::set_condition(&mut status, condition, &time(now));
    Some(replace(budget, status))
}

/// The write that lets nothing be disrupted, because the pods could not be counted; `None` when the status says so.
pub(super) fn fail(budget: &SeenBudget<'_>, why: &str, now: Timestamp) -> Option<Write> {
    let mut status = present(budget);
    status.insert("disruptionsAllowed".to_owned(), 0.into());
    let condition = disruption::failed_condition(&status, why);
    disruption::set_condition(&mut status, condition, &time(now));
    for count in ["currentHealthy", "desiredHealthy", "expectedPods"] {
        status.entry(count).or_insert_with(|| 0.into());
    }
    (status != present(budget)).then(|| replace(budget, status))
}

fn present(budget: &SeenBudget<'_>) -> Map<String, Value> {
    budget.object.to_value()["status"]
        .as_object()
        .cloned()
        .unwrap_or_default()
}

/// An eviction in between makes this plan void: the disruption it took must not be given back.
fn replace(budget: &SeenBudget<'_>, status: Map<String, Value>) -> Write {
    let mut value = budget.object.to_value();
    value["status"] = status.into();
    Write::update(resource::POD_DISRUPTION_BUDGETS, value, Some("status")).if_revision(budget.object.revision())
}
