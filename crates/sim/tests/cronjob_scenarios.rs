//! The recorded CronJob scenarios against the CronJob, Job and garbage controllers on a simulated cluster.
#![expect(
    clippy::print_stdout,
    reason = "the counts are what a reader of the test's output wants to see"
)]

use rota_reconcile::cronjob::CronJobController;
use rota_reconcile::garbage::GarbageCollector;
use rota_reconcile::job::{JobController, OrphanPods};
use rota_sim::Mode;
use rota_sim::replay::{Pace, Suite};

const SUITE: Suite = Suite {
    recordings: include_bytes!("data/cronjob.jsonl.gz"),
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

#[track_caller]
fn check(mode: Mode, pace: Pace) {
    let surprises = SUITE.surprises(mode, pace);
    println!("{}, {} surprises", SUITE.summary(), surprises.len());
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

#[test]
fn recorded_scenarios_agree_when_plans_are_transactions() {
    check(Mode::Transaction, Pace::Batched);
}

#[test]
fn recorded_scenarios_agree_when_plans_run_write_by_write() {
    check(Mode::Sequential, Pace::Batched);
}

#[test]
fn recorded_scenarios_agree_when_each_change_is_looked_at_at_once() {
    check(Mode::Transaction, Pace::Eager);
}
