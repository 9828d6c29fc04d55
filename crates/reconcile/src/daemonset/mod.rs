//! The DaemonSet controller: one pod on every node that is eligible, replaced at a bounded pace when the template changes.
//!
//! What one DaemonSet needs now is found in steps, each a chapter of its own:
//!
//! | step | question | chapter |
//! | --- | --- | --- |
//! | claim | which pods and revisions are the DaemonSet's? | [`claim`] |
//! | remember | which revision is the template, what is its hash? | [`history`], [`revision_data`], [`hash`] |
//! | place | which nodes may have a pod, which pods aim at them? | [`eligibility`], [`tolerations`], [`placed`], [`standing`] |
//! | manage | which pods are missing, broken or too many? | [`manage`], [`failures`] |
//! | roll | which old pods may be replaced now? | [`budget`], [`rolling_update`], [`surge`] |
//! | report | what does the status say? | [`status`] |
//! | carry out | in which order is it written? | [`carry_out`], [`pods`] |
//!
//! All but the last two are kept up to date from change to change ([`memory`]): a look costs what has changed.
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
mod memory;
mod orders;
mod placed;
mod pods;
mod revision_data;
mod rolling_update;
mod seen;
mod standing;
mod status;
mod surge;
mod tolerations;
mod touched;

use rota_api::{Resource, Timestamp, resource};

use crate::{Controller, Index, Key, NoteKind, Plan, World, WorldChange};
use carry_out::Decided;
use failures::Failures;
use memory::Memories;
use orders::Orders;
use seen::SeenDaemonSet;

/// How many kinds it watches.
const KINDS: usize = 4;

static WATCHED: [&Resource; KINDS] = [
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
    /// What a look at everything would give. A shortcut: it is made anew whenever it may have missed something.
    memories: Memories,
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
        self.memories.hear(change);
        touched::touched(change, world)
    }

    fn reconcile(&mut self, key: &Key, world: &World, now: Timestamp) -> Plan {
        let object = world.get(resource::DAEMON_SETS, &key.namespace, &key.name);
        let Some(set) = object.and_then(SeenDaemonSet::of) else {
            self.failures.forget(key);
            self.memories.forget(key);
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
        let (history, placed) = self.memories.recall(key, set, world, now);
        let (failures, starts_over) = self.failures.of(key, set);
        if starts_over {
            placed.wake_all(now);
        }
        let mut orders = Orders::default();
        manage::manage(set, placed, failures, now, &mut orders);
        if let Some(budget) = set.budget(placed.desired()) {
            if budget.surge > 0 {
                surge::roll(placed, budget.surge, &mut orders);
            } else {
                rolling_update::roll(placed, budget.unavailable, &mut orders);
            }
        }
        let decided = Decided {
            history,
            placed,
            orders: &orders,
            failures,
        };
        let mut plan = carry_out::plan(set, &decided, world, now);
        for (node, until) in std::mem::take(&mut orders.resting) {
            placed.rest(&node, until);
        }
        if let Some(at) = placed.next_alarm() {
            plan.wake_at(at);
        }
        plan
    }
}

#[cfg(test)]
mod tests;
