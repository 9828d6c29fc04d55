//! Two instances, of which one works. The one that works is stopped for longer than its lease lasts, and goes on later.

use std::time::Duration;

use rota_api::resource;
use rota_e2e::laws::Witness;
use rota_e2e::{Cluster, Controllers, NO_CONTROLLERS};
use serde_json::json;

use crate::words::{apply, daemon_set, job, roll, until_ended, until_rolled_out};

const NODES: usize = 8;

/// How often the leader is stopped: a few times in a usual run; `ROTA_PAUSES=50` for the promise.
fn pauses() -> usize {
    std::env::var("ROTA_PAUSES").map_or(3, |pauses| pauses.parse().expect("a number"))
}

fn instance(cluster: &Cluster, name: &str) -> Controllers {
    let options = [
        "--leader-elect-lease-duration=5s",
        "--leader-elect-renew-deadline=3s",
        "--leader-elect-retry-period=500ms",
    ];
    cluster.controllers(name, &cluster.kubeconfig(), &options)
}

fn until_led(cluster: &Cluster, what: &str, by: impl Fn(&str) -> bool) -> String {
    let path = "jsonpath={.spec.holderIdentity}";
    let args = ["get", "lease", "rota-controllers", "-n", "kube-system", "-o", path];
    cluster.until(what, &args, by)
}

#[test]
fn a_leader_that_was_stopped_beyond_its_lease_does_nothing_when_it_goes_on() {
    let cluster = Cluster::start(&["--sim-nodes", "8", "--sim-run-ms", "200", NO_CONTROLLERS], &[]);
    let witness = Witness::of(&cluster.kubeconfig());
    let instances = [instance(&cluster, "first"), instance(&cluster, "second")];
    apply(&cluster, "set", &[daemon_set("agent")]);
    let per_round = 6;
    for round in 0..pauses() {
        // The load of one round at a time: what piled up would only make the rounds longer.
        until_ended(&cluster, round * per_round);
        let leader = until_led(&cluster, "a leader", |holder| !holder.is_empty());
        let jobs: Vec<_> = (0..per_round)
            .map(|n| {
                let spec = json!({"completions": 15, "parallelism": 5});
                job(&format!("load-{round}-{n}"), &spec, &json!({}))
            })
            .collect();
        apply(&cluster, "load", &jobs);
        roll(&cluster, "agent", round);
        let stopped = instances.iter().find(|instance| instance.identity() == leader);
        let stopped = stopped.expect("one of the two leads");
        stopped.pause();
        until_led(&cluster, "another leader", |holder| {
            !holder.is_empty() && holder != leader
        });
        stopped.resume();
    }
    until_ended(&cluster, pauses() * per_round);
    until_rolled_out(&cluster, "agent", NODES);
    let most = witness.check();
    assert!(most.values().all(|most| *most <= 5), "{most:?}");
    let pods = witness.list(resource::PODS);
    let of_set = |pod: &&serde_json::Value| pod["metadata"]["labels"]["app"] == "agent";
    assert_eq!(pods.iter().filter(of_set).count(), NODES);
}

#[test]
fn a_leader_that_is_asked_to_stop_gives_its_lease_back_at_once() {
    let cluster = Cluster::start(&["--sim-nodes", "1", NO_CONTROLLERS], &[]);
    let mut first = cluster.controllers("first", &cluster.kubeconfig(), &[]);
    until_led(&cluster, "the first to lead", |holder| holder == first.identity());
    first.stop();
    assert_eq!(until_led(&cluster, "nobody to lead", str::is_empty), "");
    let began = std::time::Instant::now();
    let second = cluster.controllers("second", &cluster.kubeconfig(), &[]);
    until_led(&cluster, "the second to lead", |holder| holder == second.identity());
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "it need not wait for the lease to run out"
    );
    let metrics = second.http("/metrics");
    assert!(
        metrics.contains("leader_election_master_status{name=\"rota-controllers\"} 1"),
        "{metrics}"
    );
    assert!(second.http("/readyz").starts_with("HTTP/1.1 200"));
    assert!(second.http("/nothing").starts_with("HTTP/1.1 404"));
}
