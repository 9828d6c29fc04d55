//! Recorded scenarios through the API of `rota up --no-nodes`, in real time, many at once.
//!
//! What is played here is a part; `ROTA_FULL=1` plays all. With `ROTA_CONTROLLERS=remote` or `proxy` the controllers reach the
//! server over HTTPS, as in every story.

#![expect(clippy::print_stdout, reason = "the counts are the result")]

use std::path::Path;

use rota_e2e::Cluster;
use rota_sim::replay::{Outcome, recordings, server};

/// How many are played at the same time: as many as a server keeps up with to the second, fewer where each of its answers comes
/// over the network to controllers beside it.
fn at_once() -> usize {
    if std::env::var_os("ROTA_CONTROLLERS").is_some() {
        8
    } else {
        24
    }
}

/// Plays one of `one_of` recordings, or all; `list` names those that are known to differ.
async fn check(recorded: &[u8], list: &str, one_of: usize) {
    let one_of = if std::env::var_os("ROTA_FULL").is_some() {
        1
    } else {
        one_of
    };
    let cluster = Cluster::start(&["--no-nodes"], &[]);
    let all = recordings::read(recorded).expect("recordings");
    let scenarios: Vec<_> = all.into_iter().step_by(one_of).collect();
    assert!(!scenarios.is_empty());
    let server = server::connect(Path::new(&cluster.kubeconfig()))
        .await
        .expect("a connection");
    let played = server::play_all(server, scenarios, at_once()).await;
    let outcome = Outcome::of(&played, list);
    println!("{outcome}");
    outcome.expect_no_surprise();
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_job_scenarios_agree_through_the_api() {
    let recorded = include_bytes!("../../sim/tests/data/job.jsonl.gz");
    check(recorded, include_str!("../../sim/tests/data/job.differ"), 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_daemon_set_scenarios_agree_through_the_api() {
    let recorded = include_bytes!("../../sim/tests/data/daemonset.jsonl.gz");
    check(
        recorded,
        include_str!("../../sim/tests/data/daemonset.server.differ"),
        6,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_node_scenarios_agree_through_the_api() {
    // Most have the server for themselves, one after another.
    let recorded = include_bytes!("../../sim/tests/data/nodes.jsonl.gz");
    check(recorded, "", 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_cron_job_scenarios_agree_through_the_api() {
    // Each takes two or three minutes of real time.
    let recorded = include_bytes!("../../sim/tests/data/cronjob.jsonl.gz");
    check(recorded, include_str!("../../sim/tests/data/cronjob.server.differ"), 6).await;
}
