//! Every recorded case that is not known to fail passes.

use std::collections::BTreeSet;

use rota_conformance::case;
use rota_conformance::replay::{self, Outcome};

const FAILING: &str = include_str!("../data/failing.txt");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_cases_pass_unless_they_are_known_to_fail() {
    let known: BTreeSet<&str> = FAILING.lines().chain(case::deviations()).collect();
    let outcomes = replay::run(case::all()).await;
    let regressions: Vec<String> = outcomes
        .iter()
        .filter_map(|(id, outcome)| match outcome {
            Outcome::Failed(why) if !known.contains(id.as_str()) => Some(format!("{id}\n    {why}")),
            Outcome::Failed(_) | Outcome::Passed => None,
        })
        .collect();
    assert!(
        regressions.is_empty(),
        "{} cases no longer pass:\n{}",
        regressions.len(),
        regressions.join("\n")
    );
}
