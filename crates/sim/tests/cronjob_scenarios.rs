//! The recorded CronJob scenarios against the CronJob, Job and garbage controllers on a simulated cluster.

use rota_reconcile::cronjob::CronJobController;
use rota_reconcile::garbage::GarbageCollector;
use rota_reconcile::job::{JobController, OrphanPods};
use rota_sim::Mode;
use rota_sim::replay::{Pace, Suite};

const SUITE: Suite = Suite {
    recordings: &[include_bytes!("data/cronjob.jsonl.gz")],
    recorded: 43,
    differ: include_str!("data/cronjob.differ"),
    controllers: || {
        vec![
            Box::new(CronJobController::default()),
            Box::new(JobController::default()),
            Box::new(OrphanPods::default()),
            Box::new(GarbageCollector::default()),
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
