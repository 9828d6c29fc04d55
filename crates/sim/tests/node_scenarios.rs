//! The recorded scenarios about taints and the health of nodes against the controllers that deal with them.

use rota_reconcile::daemonset::DaemonSetController;
use rota_reconcile::job::{JobController, OrphanPods};
use rota_reconcile::node_lifecycle::NodeLifecycleController;
use rota_reconcile::pod_gc::PodGc;
use rota_reconcile::taint_eviction::TaintEvictionController;
use rota_sim::Mode;
use rota_sim::replay::{Pace, Suite};

const SUITE: Suite = Suite {
    recordings: &[include_bytes!("data/nodes.jsonl.gz")],
    recorded: 12,
    differ: "",
    controllers: || {
        vec![
            Box::new(DaemonSetController::default()),
            Box::new(JobController::default()),
            Box::new(OrphanPods::default()),
            Box::new(PodGc::default()),
            Box::new(TaintEvictionController::default()),
            Box::new(NodeLifecycleController::default()),
        ]
    },
};

#[test]
fn recorded_scenarios_agree_when_plans_are_transactions() {
    SUITE.check(Mode::Transaction, Pace::Batched);
}

#[test]
fn recorded_scenarios_agree_when_plans_run_write_by_write() {
    SUITE.check(Mode::Sequential, Pace::Batched);
}

#[test]
fn recorded_scenarios_agree_when_each_change_is_looked_at_at_once() {
    SUITE.check(Mode::Transaction, Pace::Eager);
}
