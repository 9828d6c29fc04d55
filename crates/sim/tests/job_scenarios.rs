//! The recorded scenarios of Jobs, their ttl and pod garbage collection, on a simulated cluster.

use rota_reconcile::job::{JobController, OrphanPods};
use rota_reconcile::pod_gc::PodGc;
use rota_reconcile::ttl::TtlController;
use rota_sim::Mode;
use rota_sim::replay::{Pace, Suite};

const SUITE: Suite = Suite {
    recordings: &[
        include_bytes!("data/job.jsonl.gz"),
        include_bytes!("data/pod_gc.jsonl.gz"),
    ],
    recorded: 198,
    differ: include_str!("data/job.differ"),
    controllers: || {
        vec![
            Box::new(JobController::default()),
            Box::new(OrphanPods::default()),
            Box::new(TtlController),
            Box::new(PodGc::default()),
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
