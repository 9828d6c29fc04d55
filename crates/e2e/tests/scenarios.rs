//! Recorded scenarios through the API of `rota up --no-nodes`, in real time, many at once.
//!
//! What is played here is a part; all of it is played by hand: `cargo run -p rota-sim -- --help`.

#![expect(clippy::print_stdout, reason = "the counts are the result")]

use std::path::Path;

use rota_e2e::Cluster;
use rota_sim::replay::recordings;
use rota_sim::replay::server::{self, Played};

/// One scenario of so many is played.
const ONE_OF: usize = 4;

/// How many are played at the same time.
const AT_ONCE: usize = 24;

#[tokio::test(flavor = "multi_thread")]
async fn recorded_job_scenarios_agree_through_the_api() {
    let cluster = Cluster::start(&["--no-nodes"], &[]);
    let all = recordings::read(include_bytes!("../../sim/tests/data/job.jsonl.gz")).expect("recordings");
    let known = recordings::ids(include_str!("../../sim/tests/data/job.server.differ"));
    let scenarios: Vec<_> = all.into_iter().step_by(ONE_OF).collect();
    assert!(!scenarios.is_empty());
    let server = server::connect(Path::new(&cluster.kubeconfig()))
        .await
        .expect("a connection");
    let played = server::play_all(server, scenarios, AT_ONCE).await;
    let failed: Vec<&Played> = played.iter().filter(|played| !played.differences.is_empty()).collect();
    println!("{} passed, {} failed", played.len() - failed.len(), failed.len());
    let surprises = played
        .iter()
        .filter(|played| played.differences.is_empty() == known.contains(&played.id.as_str()));
    let told: Vec<String> = surprises
        .map(|played| format!("{}: {}", played.id, played.differences.join("\n  ")))
        .collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}
