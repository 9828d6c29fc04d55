//! The recorded DaemonSet scenarios against the DaemonSet controller on a simulated cluster.

use rota_reconcile::daemonset::DaemonSetController;
use rota_reconcile::node_lifecycle::NodeLifecycleController;
use rota_reconcile::pod_gc::PodGc;
use rota_reconcile::taint_eviction::TaintEvictionController;
use rota_sim::Mode;
use rota_sim::replay::{Pace, Suite};

const SUITE: Suite = Suite {
    recordings: &[include_bytes!("data/daemonset.jsonl.gz")],
    recorded: 101,
    differ: "",
    controllers: || {
        vec![
            Box::new(DaemonSetController::default()),
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
