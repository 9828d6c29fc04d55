//! The disruption controller: how many pods of a PodDisruptionBudget may be evicted now.
//!
//! | step | question | chapter |
//! | --- | --- | --- |
//! | select | which pods does the budget protect? | [`budget`] |
//! | expect | how many should there be, how many of them healthy? | [`expected`] |
//! | report | how many are healthy, so how many may go? | [`status`] |
//!
//! The eviction itself is the registry's: it takes a disruption from the budget and names the pod in the status, so that
//! the pod counts as gone until it is, for two minutes at most. A budget whose pods cannot be counted allows nothing.
//!
//! [`StaleDisruptions`] takes back the mark of a pod that was to be disrupted and was not.
//! Source: `pkg/controller/disruption` of Kubernetes v1.36.

mod budget;
mod expected;
mod stale;
mod status;
#[cfg(test)]
mod tests;

use rota_api::{Resource, Timestamp, resource};

use crate::{Controller, Key, NoteKind, Plan, World, WorldChange};
use budget::SeenBudget;
pub use stale::StaleDisruptions;

static WATCHED: [&Resource; 6] = [
    resource::POD_DISRUPTION_BUDGETS,
    resource::PODS,
    resource::REPLICATION_CONTROLLERS,
    resource::REPLICA_SETS,
    resource::DEPLOYMENTS,
    resource::STATEFUL_SETS,
];

/// Keeps the status of PodDisruptionBudgets.
#[derive(Default)]
pub struct DisruptionController;

impl Controller for DisruptionController {
    fn name(&self) -> &'static str {
        "disruption"
    }

    fn event_source(&self) -> &'static str {
        "controllermanager"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &WATCHED
    }

    fn touched(&mut self, change: &WorldChange, world: &World) -> Vec<Key> {
        if change.resource() == resource::POD_DISRUPTION_BUDGETS {
            return change.new.iter().map(|budget| Key::of(budget)).collect();
        }
        let budgets = world.in_namespace(resource::POD_DISRUPTION_BUDGETS, &change.latest().meta().namespace);
        if change.resource() == resource::PODS {
            let versions = || change.old.iter().chain(&change.new);
            return budgets
                .filter(|object| {
                    SeenBudget::of(object).is_some_and(|budget| versions().any(|pod| budget.protects(pod)))
                })
                .map(|object| Key::of(object))
                .collect();
        }
        // Whatever has a scale: only a new generation can have changed it.
        let generation = |object: &Option<_>| {
            object
                .as_ref()
                .map(|o: &std::sync::Arc<rota_api::Object>| o.meta().generation)
        };
        if generation(&change.old) == generation(&change.new) {
            return Vec::new();
        }
        budgets.map(|budget| Key::of(budget)).collect()
    }

    fn reconcile(&mut self, key: &Key, world: &World, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        let object = world.get(resource::POD_DISRUPTION_BUDGETS, &key.namespace, &key.name);
        let Some(budget) = object.and_then(SeenBudget::of) else {
            return plan;
        };
        let pods: Vec<_> = budget.pods(world).collect();
        let expected = expected::expected(&budget, &pods, world);
        let disrupted = status::Disrupted::of(&budget, &pods, now);
        let write = match &expected {
            Ok(expected) => status::write(&budget, &pods, expected, &disrupted, now),
            Err(why) => status::fail(&budget, why, now),
        };
        if let (Ok(_), Some(at)) = (&expected, disrupted.next_expiry) {
            plan.wake_at(at);
        }
        let Some(write) = write else { return plan };
        plan.act(write, "the status says something else");
        if pods.is_empty() {
            plan.note(NoteKind::Normal, budget.object, "NoPods", "No matching pods found");
        }
        match expected {
            Ok(expected) => {
                if expected.has_unmanaged {
                    plan.note(
                        NoteKind::Warning,
                        budget.object,
                        "UnmanagedPods",
                        budget.unmanaged_pods(),
                    );
                }
                for pod in disrupted.not_deleted {
                    // Upstream names the namespace twice.
                    let message = format!(
                        "Pod was expected by PDB {0}/{0} to be deleted but it wasn't",
                        key.namespace
                    );
                    plan.note(NoteKind::Warning, pod, "NotDeleted", message);
                }
            }
            Err(why) => {
                let message = format!("Failed to calculate the number of expected pods: {why}");
                plan.note(
                    NoteKind::Warning,
                    budget.object,
                    "CalculateExpectedPodCountFailed",
                    message,
                );
            }
        }
        plan
    }
}
