//! Carrying a plan out.
//!
//! Where the cluster is transactional a plan is one transaction: all of it or nothing. Elsewhere its stages run one after
//! another, the actions of one stage at the same time, up to the first refusal; plans are ordered so that stopping
//! between any two of their actions is harmless.
//!
//! Plans create in growing batches, a stage each, so that a server that refuses is asked a few times only. As long as
//! nothing speaks for a refusal, that would be one wait after another for nothing: then all go out together ([`Pace`]).
//!
//! Behind a creation that was refused, what the plan reports is still written, with what was really done
//! ([`rota_reconcile::IfRefused`]).

use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;
use futures::stream;
use rota_api::{ApiError, Change, Reason, Write};
use rota_reconcile::{Action, Plan};
use serde_json::Value;

use crate::port::{Cluster, Written};

/// How many requests of one stage are under way at once against a cluster without transactions.
const IN_FLIGHT_MAX: usize = 256;

/// How creations of growing batches go out where there are no transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// All at once; no more are begun once one is refused.
    Eager,
    /// Batch after batch: the plan before was refused.
    Careful,
}

/// What came of a plan.
#[derive(Debug, Default)]
pub struct Outcome {
    /// For each action what it left behind; `None`: not done.
    pub written: Vec<Option<Written>>,
    /// The refused actions, by index.
    pub refused: Vec<(usize, ApiError)>,
}

impl Outcome {
    /// True when every action was done.
    pub fn is_complete(&self) -> bool {
        self.refused.is_empty()
    }

    /// True when all that was refused was refused because the world had moved on: worth a fresh plan at once.
    pub fn is_stale(&self) -> bool {
        !self.refused.is_empty() && self.refused.iter().all(|(_, error)| is_stale(error))
    }
}

/// Carries out the actions of `plan`.
pub async fn carry_out(cluster: &dyn Cluster, plan: &Plan, pace: Pace) -> Outcome {
    if plan.actions.is_empty() {
        return Outcome::default();
    }
    let mut pace = pace;
    if cluster.is_transactional() {
        match cluster.transact(&writes(plan)).await {
            Ok(written) => return complete(plan, written),
            Err(refusal) if is_stale(&refusal.error) => {
                return Outcome {
                    written: plan.actions.iter().map(|_| None).collect(),
                    refused: vec![(position(plan, refusal.at), refusal.error)],
                };
            }
            // One write is not allowed (a quota, a policy): the others need not wait for it.
            Err(_) => pace = Pace::Careful,
        }
    }
    stage_by_stage(cluster, plan, pace).await
}

/// The writes of a plan that goes through.
pub(crate) fn writes(plan: &Plan) -> Vec<&Write> {
    let wanted = plan.actions.iter().filter(|action| !action.is_told_of_refusal());
    wanted.map(|action| &action.write).collect()
}

/// What came of a plan whose [`writes`] were all made.
pub(crate) fn complete(plan: &Plan, written: Vec<Written>) -> Outcome {
    let mut written = written.into_iter();
    let of = |action: &Action| (!action.is_told_of_refusal()).then(|| written.next()).flatten();
    Outcome {
        written: plan.actions.iter().map(of).collect(),
        refused: Vec::new(),
    }
}

async fn stage_by_stage(cluster: &dyn Cluster, plan: &Plan, pace: Pace) -> Outcome {
    let mut outcome = Outcome {
        written: plan.actions.iter().map(|_| None).collect(),
        refused: Vec::new(),
    };
    let mut from = 0;
    while from < plan.actions.len() && outcome.is_complete() {
        if plan.actions[from].is_told_of_refusal() {
            from += 1;
            continue;
        }
        let len = together(&plan.actions[from..], pace);
        let is_refused = AtomicBool::new(false);
        let linked: Vec<Result<Write, ApiError>> = plan.actions[from..from + len]
            .iter()
            .map(|action| link(action, &outcome.written))
            .collect();
        let results: Vec<_> = stream::iter(linked.into_iter().enumerate())
            .map(|(offset, write)| {
                let is_refused = &is_refused;
                async move {
                    if is_refused.load(Ordering::Relaxed) {
                        return (offset, None);
                    }
                    let done = match write {
                        Ok(write) => cluster.write(write).await,
                        Err(error) => Err(error),
                    };
                    // Within a batch each is tried; beyond it a refusal is taken at its word.
                    if pace == Pace::Eager && done.as_ref().is_err_and(|error| !is_stale(error)) {
                        is_refused.store(true, Ordering::Relaxed);
                    }
                    (offset, Some(done))
                }
            })
            .buffer_unordered(IN_FLIGHT_MAX)
            .collect()
            .await;
        for (offset, result) in results {
            match result {
                Some(Ok(written)) => outcome.written[from + offset] = Some(written),
                Some(Err(error)) => outcome.refused.push((from + offset, error)),
                None => {}
            }
        }
        from += len;
    }
    outcome.refused.sort_by_key(|(at, _)| *at);
    report(cluster, plan, from, &mut outcome).await;
    outcome
}

/// Writes what is still told of a plan of which a creation was refused, from the action `from` on.
async fn report(cluster: &dyn Cluster, plan: &Plan, from: usize, outcome: &mut Outcome) {
    if outcome.refused.iter().any(|(_, error)| is_stale(error)) {
        return;
    }
    let Some((at, words)) = outcome.refused.first().map(|(at, error)| (*at, error.to_string())) else {
        return;
    };
    for (position, action) in plan.actions.iter().enumerate().skip(from) {
        let is_done = |action: usize| outcome.written[action].is_some();
        if let Some(write) = action.after_refusal(is_done, (at, &words)) {
            match cluster.write(write).await {
                Ok(written) => outcome.written[position] = Some(written),
                Err(error) => outcome.refused.push((position, error)),
            }
        }
    }
}

/// Where the write of this number stands in a plan of which only what is carried out in any case was counted.
fn position(plan: &Plan, at: usize) -> usize {
    let wanted = plan
        .actions
        .iter()
        .enumerate()
        .filter(|(_, action)| !action.is_told_of_refusal());
    wanted.map(|(position, _)| position).nth(at).unwrap_or(at)
}

/// How many of the actions, which begin a stage, go out together.
fn together(actions: &[Action], pace: Pace) -> usize {
    let is_create = |action: &Action| matches!(action.write.change, Change::Create(_)) && action.write.links.is_empty();
    let Some(first) = actions.first() else { return 0 };
    let is_next = |action: &&Action| action.stage == first.stage && !action.is_told_of_refusal();
    let stage = actions.iter().take_while(is_next).count();
    if pace == Pace::Eager && actions[..stage].iter().all(is_create) {
        let of_a_kind = |action: &&Action| is_create(action) && action.write.resource == first.write.resource;
        return actions.iter().take_while(of_a_kind).count();
    }
    stage
}

/// The action's write with its links filled in from what earlier creates made.
fn link(action: &Action, written: &[Option<Written>]) -> Result<Write, ApiError> {
    let mut write = action.write.clone();
    for link in std::mem::take(&mut write.links) {
        let value = written
            .get(link.created_by)
            .and_then(Option::as_ref)
            .and_then(|made| made.object().to_value().pointer(&link.field).cloned())
            .ok_or_else(|| {
                ApiError::internal(format!("action {} of the plan left no {}", link.created_by, link.field))
            })?;
        if let Some(place) = body(&mut write.change).and_then(|body| body.pointer_mut(&link.pointer)) {
            *place = value;
        }
    }
    Ok(write)
}

fn body(change: &mut Change) -> Option<&mut Value> {
    match change {
        Change::Create(body)
        | Change::Update { object: body, .. }
        | Change::Patch { patch: body, .. }
        | Change::Post { body, .. } => Some(body),
        Change::Delete(_) => None,
    }
}

/// True for a refusal that says only that the world has moved on since the plan was made.
pub fn is_stale(error: &ApiError) -> bool {
    matches!(
        error.reason(),
        Reason::Conflict | Reason::NotFound | Reason::AlreadyExists
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_api::resource;
    use serde_json::json;

    /// A plan that deletes a pod, creates three in batches of one and two, and writes a status.
    fn plan() -> Plan {
        let mut plan = Plan::default();
        let pod = || {
            Write::create(
                resource::PODS,
                json!({"metadata": {"namespace": "d", "generateName": "p-"}}),
            )
        };
        plan.then(
            Write::delete(resource::PODS, "d", "old", rota_api::DeleteOptions::default()),
            "too many",
        );
        plan.then(pod(), "missing");
        plan.then(pod(), "missing");
        plan.act(pod(), "missing");
        plan.then(Write::merge_status(resource::JOBS, "d", "j", json!({})), "report");
        plan
    }

    #[test]
    fn batches_of_creations_go_out_together_until_one_was_refused() {
        let plan = plan();
        assert_eq!(
            together(&plan.actions, Pace::Eager),
            1,
            "what comes before is done before"
        );
        assert_eq!(together(&plan.actions[1..], Pace::Eager), 3);
        assert_eq!(
            together(&plan.actions[4..], Pace::Eager),
            1,
            "and what comes behind, behind"
        );
        assert_eq!(together(&plan.actions[1..], Pace::Careful), 1);
        assert_eq!(together(&plan.actions[2..], Pace::Careful), 2);
    }
}
