//! Carrying a plan out.
//!
//! Where the cluster is transactional a plan is one transaction: all of it or nothing. Elsewhere its stages run one after
//! another, the actions of one stage at the same time, up to the first refusal; plans are ordered so that stopping
//! between any two of their actions is harmless.

use futures::StreamExt;
use futures::stream;
use rota_api::{ApiError, Change, Reason, Write};
use rota_reconcile::{Action, Plan};
use serde_json::Value;

use crate::port::{Cluster, Written};

/// How many requests of one stage are under way at once against a cluster without transactions.
const IN_FLIGHT_MAX: usize = 256;

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
pub async fn carry_out(cluster: &dyn Cluster, plan: &Plan) -> Outcome {
    if plan.actions.is_empty() {
        return Outcome::default();
    }
    if cluster.is_transactional() {
        let writes = plan.actions.iter().map(|action| action.write.clone()).collect();
        match cluster.transact(writes).await {
            Ok(written) => {
                return Outcome {
                    written: written.into_iter().map(Some).collect(),
                    refused: Vec::new(),
                };
            }
            Err(refusal) if is_stale(&refusal.error) => {
                return Outcome {
                    written: plan.actions.iter().map(|_| None).collect(),
                    refused: vec![(refusal.at, refusal.error)],
                };
            }
            // One write is not allowed (a quota, a policy): the others need not wait for it.
            Err(_) => {}
        }
    }
    stage_by_stage(cluster, plan).await
}

async fn stage_by_stage(cluster: &dyn Cluster, plan: &Plan) -> Outcome {
    let mut outcome = Outcome {
        written: plan.actions.iter().map(|_| None).collect(),
        refused: Vec::new(),
    };
    let mut from = 0;
    while from < plan.actions.len() && outcome.is_complete() {
        let stage = plan.actions[from].stage;
        let len = plan.actions[from..]
            .iter()
            .take_while(|action| action.stage == stage)
            .count();
        let linked: Vec<Result<Write, ApiError>> = plan.actions[from..from + len]
            .iter()
            .map(|action| link(action, &outcome.written))
            .collect();
        let results: Vec<_> = stream::iter(linked.into_iter().enumerate())
            .map(|(offset, write)| async move {
                (
                    offset,
                    match write {
                        Ok(write) => cluster.write(write).await,
                        Err(error) => Err(error),
                    },
                )
            })
            .buffer_unordered(IN_FLIGHT_MAX)
            .collect()
            .await;
        for (offset, result) in results {
            match result {
                Ok(written) => outcome.written[from + offset] = Some(written),
                Err(error) => outcome.refused.push((from + offset, error)),
            }
        }
        from += len;
    }
    outcome.refused.sort_by_key(|(at, _)| *at);
    outcome
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

fn is_stale(error: &ApiError) -> bool {
    matches!(
        error.reason(),
        Reason::Conflict | Reason::NotFound | Reason::AlreadyExists
    )
}
