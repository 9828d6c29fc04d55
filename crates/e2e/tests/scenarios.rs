//! Recorded scenarios through the API of `rota up --no-nodes`, in real time, many at once: with the server's own controllers,
//! with controllers that reach it over HTTPS, and with a network in between that loses, delays and refuses.
//!
//! What is played here is a part; `ROTA_FULL=1` plays all.

#![expect(clippy::print_stdout, reason = "the counts are the result")]

use std::path::Path;
use std::time::Duration;

use rota_e2e::{Cluster, Reach};
use rota_sim::replay::server::{self, Manner};
use rota_sim::replay::{Outcome, recordings};

/// By how much a bad network may make things late: several answers in a row that are lost, each waited for, and pauses between
/// attempts that double.
const LATE_ON_BAD_NETWORK: Duration = Duration::from_secs(40);

/// How many are played at the same time: as many as a server keeps up with to the second, fewer where each of its answers comes
/// over the network to controllers beside it.
fn manner(reach: Reach) -> Manner {
    let (at_once, late) = match reach {
        Reach::Inside => (24, Duration::ZERO),
        Reach::Remote => (12, Duration::ZERO),
        Reach::BadNetwork => (24, LATE_ON_BAD_NETWORK),
    };
    Manner {
        at_once,
        late,
        is_remote: reach != Reach::Inside,
    }
}

/// Recordings of one kind.
struct Recorded {
    lines: &'static [u8],
    /// Those that are known to differ.
    differing: &'static str,
    /// One of so many is played with the server's own controllers, of twice as many with others.
    one_of: usize,
}

const JOBS: Recorded = Recorded {
    lines: include_bytes!("../../sim/tests/data/job.jsonl.gz"),
    differing: include_str!("../../sim/tests/data/job.differ"),
    one_of: 4,
};
const DAEMON_SETS: Recorded = Recorded {
    lines: include_bytes!("../../sim/tests/data/daemonset.jsonl.gz"),
    differing: include_str!("../../sim/tests/data/daemonset.server.differ"),
    one_of: 6,
};
/// Most have the server for themselves, one after another.
const NODES: Recorded = Recorded {
    lines: include_bytes!("../../sim/tests/data/nodes.jsonl.gz"),
    differing: "",
    one_of: 6,
};
/// Each takes two or three minutes of real time.
const CRON_JOBS: Recorded = Recorded {
    lines: include_bytes!("../../sim/tests/data/cronjob.jsonl.gz"),
    differing: include_str!("../../sim/tests/data/cronjob.server.differ"),
    one_of: 6,
};

async fn check(recorded: Recorded, reach: Reach) {
    let one_of = match (std::env::var_os("ROTA_FULL").is_some(), reach) {
        (true, _) => 1,
        (false, Reach::Inside) => recorded.one_of,
        (false, Reach::Remote | Reach::BadNetwork) => recorded.one_of * 2,
    };
    let cluster = Cluster::start_with(reach, &["--no-nodes"], &[]);
    let all = recordings::read(recorded.lines).expect("recordings");
    let scenarios: Vec<_> = all.into_iter().step_by(one_of).collect();
    assert!(!scenarios.is_empty());
    let server = server::connect(Path::new(&cluster.kubeconfig()))
        .await
        .expect("a connection");
    let played = server::play_all(&server, scenarios, manner(reach), recorded.differing).await;
    let outcome = Outcome::of(&played, recorded.differing);
    println!("{outcome}");
    if reach == Reach::BadNetwork {
        println!("what went wrong meanwhile: {:?}", cluster.faults());
    }
    outcome.expect_no_surprise();
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_job_scenarios_agree_through_the_api() {
    check(JOBS, Reach::Inside).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_daemon_set_scenarios_agree_through_the_api() {
    check(DAEMON_SETS, Reach::Inside).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_node_scenarios_agree_through_the_api() {
    check(NODES, Reach::Inside).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_cron_job_scenarios_agree_through_the_api() {
    check(CRON_JOBS, Reach::Inside).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_job_scenarios_agree_with_remote_controllers() {
    check(JOBS, Reach::Remote).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_daemon_set_scenarios_agree_with_remote_controllers() {
    check(DAEMON_SETS, Reach::Remote).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_cron_job_scenarios_agree_with_remote_controllers() {
    check(CRON_JOBS, Reach::Remote).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_job_scenarios_agree_on_a_bad_network() {
    check(JOBS, Reach::BadNetwork).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_daemon_set_scenarios_agree_on_a_bad_network() {
    check(DAEMON_SETS, Reach::BadNetwork).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_cron_job_scenarios_agree_on_a_bad_network() {
    check(CRON_JOBS, Reach::BadNetwork).await;
}
