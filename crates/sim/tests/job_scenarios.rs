//! The recorded scenarios of Jobs, their ttl and pod garbage collection, on a simulated cluster.

#![expect(clippy::print_stdout, reason = "the counts are the result")]

use rota_reconcile::Controller;
use rota_reconcile::job::{JobController, OrphanPods};
use rota_reconcile::pod_gc::PodGc;
use rota_reconcile::ttl::TtlController;
use rota_sim::Mode;
use rota_sim::replay::{Pace, recordings, replay};
use serde_json::Value;

fn controllers() -> Vec<Box<dyn Controller>> {
    vec![
        Box::new(JobController::default()),
        Box::new(OrphanPods::default()),
        Box::new(TtlController),
        Box::new(PodGc::default()),
    ]
}

fn scenarios() -> Vec<Value> {
    let files = [
        &include_bytes!("data/job.jsonl.gz")[..],
        &include_bytes!("data/pod_gc.jsonl.gz")[..],
    ];
    let read = |file: &&[u8]| recordings::read(file).expect("recordings can be read");
    files.iter().flat_map(read).collect()
}

fn check(mode: Mode, pace: Pace, list: &str) {
    let known = recordings::ids(list);
    let only = std::env::var("SCENARIO").ok();
    let (mut passed, mut failed, mut surprises) = (0, 0, Vec::new());
    for scenario in scenarios() {
        let id = scenario["id"].as_str().expect("a scenario has an id").to_owned();
        if only.as_ref().is_some_and(|only| *only != id) {
            continue;
        }
        let differences = replay(&scenario, controllers, mode, pace);
        let is_known = known.contains(&id.as_str());
        if differences.is_empty() {
            passed += 1;
        } else {
            failed += 1;
        }
        if differences.is_empty() == is_known {
            surprises.push(format!("{id}: {}", differences.join("\n  ")));
        }
    }
    println!("{mode:?} {pace:?}: {passed} passed, {failed} failed");
    assert!(
        surprises.is_empty(),
        "{} surprises\n{}",
        surprises.len(),
        surprises.join("\n")
    );
}

#[test]
fn recorded_scenarios_agree_when_plans_are_transactions() {
    check(
        Mode::Transaction,
        Pace::Batched,
        include_str!("data/job.batched.differ"),
    );
}

#[test]
fn recorded_scenarios_agree_when_plans_run_write_by_write() {
    check(Mode::Sequential, Pace::Batched, include_str!("data/job.batched.differ"));
}

#[test]
fn recorded_scenarios_agree_when_each_change_is_looked_at_at_once() {
    check(Mode::Transaction, Pace::Eager, include_str!("data/job.eager.differ"));
}
