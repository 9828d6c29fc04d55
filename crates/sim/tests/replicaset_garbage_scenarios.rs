//! The recorded scenarios of ReplicaSets and of owners that go, against the ReplicaSet and garbage controllers on a
//! simulated cluster.

use rota_reconcile::garbage::GarbageCollector;
use rota_reconcile::replicaset::ReplicaSetController;
use rota_sim::Mode;
use rota_sim::replay::{Pace, Suite};

const SUITE: Suite = Suite {
    recordings: &[include_bytes!("data/replicaset_garbage.jsonl.gz")],
    recorded: 14,
    differ: "",
    controllers: || vec![Box::new(ReplicaSetController), Box::new(GarbageCollector::default())],
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
