//! The recorded scenarios about taints and the health of nodes against the controllers that deal with them.

use std::io::Read;

use rota_reconcile::Controller;
use rota_reconcile::job::{JobController, OrphanPods};
use rota_reconcile::node_lifecycle::NodeLifecycleController;
use rota_reconcile::pod_gc::PodGc;
use rota_reconcile::taint_eviction::TaintEvictionController;
use rota_sim::Mode;
use rota_sim::replay::{Pace, replay};
use serde_json::Value;

/// Seconds that no scenario lasts: its nodes do not renew their leases, and were not meant to fall silent.
const NEVER_SILENT: i64 = 1_000_000;

fn controllers() -> Vec<Box<dyn Controller>> {
    vec![
        Box::new(JobController::default()),
        Box::new(OrphanPods::default()),
        Box::new(PodGc::default()),
        Box::new(TaintEvictionController::default()),
        Box::new(NodeLifecycleController::new(NEVER_SILENT)),
    ]
}

fn check(mode: Mode, pace: Pace) {
    let mut text = String::new();
    let data = &include_bytes!("data/nodes.jsonl.gz")[..];
    flate2::read::GzDecoder::new(data)
        .read_to_string(&mut text)
        .expect("the recordings are text");
    let mut differing = Vec::new();
    for line in text.lines() {
        let scenario: Value = serde_json::from_str(line).expect("a line is a JSON object");
        let differences = replay(&scenario, controllers, mode, pace);
        if !differences.is_empty() {
            differing.push(format!("{}: {}", scenario["id"], differences.join("\n  ")));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn recorded_scenarios_agree_when_plans_are_transactions() {
    check(Mode::Transaction, Pace::Batched);
}

#[test]
fn recorded_scenarios_agree_when_plans_run_write_by_write() {
    check(Mode::Sequential, Pace::Batched);
}
