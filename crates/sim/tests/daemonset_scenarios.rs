//! The recorded DaemonSet scenarios against the DaemonSet controller on a simulated cluster.

#![expect(clippy::print_stdout, reason = "the counts are the result")]

use std::io::Read;

use rota_reconcile::Controller;
use rota_reconcile::daemonset::DaemonSetController;
use rota_reconcile::node_lifecycle::NodeLifecycleController;
use rota_reconcile::pod_gc::PodGc;
use rota_reconcile::taint_eviction::TaintEvictionController;
use rota_sim::Mode;
use rota_sim::replay::{Pace, replay};
use serde_json::Value;

/// Seconds that no scenario lasts: its nodes do not renew their leases, and were not meant to fall silent.
const NEVER_SILENT: i64 = 1_000_000;

/// How many scenarios were recorded.
const RECORDED: usize = 101;

fn controllers() -> Vec<Box<dyn Controller>> {
    vec![
        Box::new(DaemonSetController::default()),
        Box::new(PodGc::default()),
        Box::new(TaintEvictionController::default()),
        Box::new(NodeLifecycleController::new(NEVER_SILENT)),
    ]
}

fn scenarios() -> Vec<Value> {
    let mut text = String::new();
    let data = &include_bytes!("data/daemonset.jsonl.gz")[..];
    flate2::read::GzDecoder::new(data)
        .read_to_string(&mut text)
        .expect("the recordings are text");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line is a JSON object"))
        .collect()
}

fn check(mode: Mode, pace: Pace) {
    let only = std::env::var("SCENARIO").ok();
    let (mut passed, mut differing) = (0, Vec::new());
    for scenario in scenarios() {
        let id = scenario["id"].as_str().expect("a scenario has an id").to_owned();
        if only.as_ref().is_some_and(|only| *only != id) {
            continue;
        }
        let differences = replay(&scenario, controllers, mode, pace);
        if differences.is_empty() {
            passed += 1;
        } else {
            differing.push(format!("{id}: {}", differences.join("\n  ")));
        }
    }
    println!("{mode:?} {pace:?}: {passed} agree, {} differ", differing.len());
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    assert!(passed == RECORDED || only.is_some(), "{passed} scenarios were played");
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
