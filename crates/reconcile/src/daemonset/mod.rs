//! The DaemonSet controller: one pod on every node that is eligible, replaced at a bounded pace when the template changes.
//!
//! What one DaemonSet needs now is found in steps, each a chapter of its own:
//!
//! | step | question | chapter |
//! | --- | --- | --- |
//! | claim | which pods and revisions are the DaemonSet's? | [`claim`] |
//! | remember | which revision is the template, what is its hash? | [`history`], [`revision_data`], [`hash`] |
//! | place | which nodes may have a pod, which pods aim at them? | [`eligibility`], [`tolerations`], [`placed`] |
//! | manage | which pods are missing, broken or too many? | [`manage`], [`failures`] |
//! | roll | which old pods may be replaced now? | [`budget`], [`rolling_update`], [`surge`] |
//! | report | what does the status say? | [`status`] |
//! | carry out | in which order is it written? | [`carry_out`], [`pods`] |
//!
//! Not known here: free resources, ports, other pods, readiness of nodes (the scheduler and the node decide on those), and
//! who carries a plan out.
//! Source: `pkg/controller/daemon` of Kubernetes v1.36; specification of the DaemonSet kind §3–§18.

mod budget;
mod carry_out;
mod claim;
mod eligibility;
mod failures;
mod hash;
mod history;
pub mod labels;
mod limits;
mod manage;
mod orders;
mod placed;
mod pods;
mod revision_data;
mod rolling_update;
mod seen;
mod status;
mod surge;
mod tolerations;
mod touched;

use rota_api::{Resource, Timestamp, resource};

use crate::{Controller, Index, Key, NoteKind, Plan, World, WorldChange};
use failures::Failures;
use orders::Orders;
use placed::Placed;
use seen::SeenDaemonSet;

static WATCHED: [&Resource; 4] = [
    resource::DAEMON_SETS,
    resource::CONTROLLER_REVISIONS,
    resource::PODS,
    resource::NODES,
];

/// The DaemonSet controller.
#[derive(Default)]
pub struct DaemonSetController {
    /// How often pods failed on each node. A shortcut: long waits are also written on the pods.
    failures: Failures,
}

impl Controller for DaemonSetController {
    fn name(&self) -> &'static str {
        "daemonset"
    }

    fn event_source(&self) -> &'static str {
        "daemonset-controller"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &WATCHED
    }

    fn indexes(&self) -> Vec<Index> {
        vec![claim::ORPHAN_PODS, claim::ORPHAN_REVISIONS]
    }

    fn touched(&mut self, change: &WorldChange, world: &World) -> Vec<Key> {
        touched::touched(change, world)
    }

    fn reconcile(&mut self, key: &Key, world: &World, now: Timestamp) -> Plan {
        let object = world.get(resource::DAEMON_SETS, &key.namespace, &key.name);
        let Some(set) = object.and_then(SeenDaemonSet::of) else {
            self.failures.forget(key);
            return Plan::default();
        };
        if set.selector.is_everything() {
            let mut plan = Plan::default();
            let message = "This daemon set is selecting all pods. A non-empty selector is required.";
            plan.note(NoteKind::Warning, set.object, "SelectingAll", message);
            return plan;
        }
        // Pods that the selector does not match would be released as soon as they are made, without end. Validation keeps
        // such a DaemonSet out of any cluster of ours.
        if set.is_deleting() || !set.selects_its_template() {
            return Plan::default();
        }
        self.plan(key, &set, world, now)
    }
}

impl DaemonSetController {
    /// What a DaemonSet that is not being deleted needs now.
    fn plan(&mut self, key: &Key, set: &SeenDaemonSet<'_>, world: &World, now: Timestamp) -> Plan {
        let pods = claim::pods(set, world);
        let history = history::remember(set, world, &pods.claimed);
        let placed = Placed::of(set, &history.hash, pods.claimed.iter().copied(), world);

        let mut orders = Orders::default();
        let failures = self.failures.of(key, set);
        manage::manage(set, &placed, failures, now, &mut orders);
        if let Some(budget) = set.budget(placed.desired()) {
            if budget.surge > 0 {
                surge::roll(set, &placed, budget.surge, now, &mut orders);
            } else {
                rolling_update::roll(set, &placed, budget.unavailable, now, &mut orders);
            }
        }
        let report = status::report(set, &placed, now);
        carry_out::plan(set, &pods, &history, &orders, report)
    }
}

#[cfg(test)]
mod tests;
