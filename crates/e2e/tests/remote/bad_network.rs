//! A proxy in between that refuses, breaks off, keeps silent when the work is done, and shows what happens late.

use std::time::Duration;

use rota_api::resource;
use rota_e2e::laws::Witness;
use rota_e2e::proxy::{Faults, Proxy};
use rota_e2e::{Cluster, NO_CONTROLLERS};
use serde_json::json;

use crate::words::{apply, daemon_set, job, roll, until_ended, until_rolled_out};

const NODES: usize = 6;

fn cluster() -> Cluster {
    Cluster::start(&["--sim-nodes", "6", "--sim-run-ms", "150", NO_CONTROLLERS], &[])
}

#[test]
fn nothing_is_done_twice_however_answers_get_lost() {
    let cluster = cluster();
    let seed = std::env::var("ROTA_SEED").map_or(7, |seed| seed.parse().expect("a number"));
    let proxy = Proxy::start(&cluster.kubeconfig(), cluster.dir(), Faults::all(seed));
    let witness = Witness::of(&cluster.kubeconfig());
    let options = ["--leader-elect=false", "--request-timeout", "2s"];
    let _controllers = cluster.controllers("controllers", &proxy.kubeconfig(), &options);
    let mut objects = vec![daemon_set("agent")];
    for n in 0..6 {
        let spec = json!({"completions": 10, "parallelism": 4});
        objects.push(job(&format!("plain-{n}"), &spec, &json!({})));
    }
    for n in 0..3 {
        let spec = json!({"completions": 10, "parallelism": 5, "completionMode": "Indexed"});
        objects.push(job(&format!("indexed-{n}"), &spec, &json!({})));
    }
    let spec = json!({"completions": 4, "parallelism": 2, "backoffLimit": 0});
    objects.push(job("failing", &spec, &json!({"rota.dev/sim-exit-code": "1"})));
    apply(&cluster, "work", &objects);
    until_ended(&cluster, 10);
    until_rolled_out(&cluster, "agent", NODES);
    roll(&cluster, "agent", 2);
    until_rolled_out(&cluster, "agent", NODES);

    let most = witness.check();
    assert!(most.values().all(|most| *most <= 5), "{most:?}");
    let counts = proxy.counts();
    for what in [
        "busy",
        "fault",
        "conflict",
        "cut_before",
        "cut_after",
        "fault_after",
        "cut_watch",
    ] {
        assert!(counts.contains_key(what), "{what} never happened: {counts:?}");
    }
}

#[test]
fn an_instant_of_a_schedule_is_one_job_on_a_bad_network_too() {
    let cluster = cluster();
    let proxy = Proxy::start(&cluster.kubeconfig(), cluster.dir(), Faults::all(11));
    let witness = Witness::of(&cluster.kubeconfig());
    let options = ["--leader-elect=false", "--request-timeout", "2s"];
    let _controllers = cluster.controllers("controllers", &proxy.kubeconfig(), &options);
    let template = job("x", &json!({}), &json!({}))["spec"].clone();
    let cron_jobs: Vec<_> = (0..10)
        .map(|n| {
            json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": format!("tick-{n}")},
                   "spec": {"schedule": "* * * * *", "concurrencyPolicy": "Forbid", "jobTemplate": {"spec": template}}})
        })
        .collect();
    apply(&cluster, "cron", &cron_jobs);
    until_ended(&cluster, 10);
    witness.check();
    let names = cluster.run(&[
        "get",
        "cronjobs",
        "-o",
        r#"jsonpath={range .items[*]}{.status.lastScheduleTime}{"\n"}{end}"#,
    ]);
    assert_eq!(names.lines().filter(|line| !line.is_empty()).count(), 10, "{names}");
}

#[test]
fn watches_that_are_seconds_late_do_not_make_pods_twice() {
    let cluster = cluster();
    let proxy = Proxy::start(
        &cluster.kubeconfig(),
        cluster.dir(),
        Faults::lag(Duration::from_secs(2)),
    );
    let witness = Witness::of(&cluster.kubeconfig());
    let _controllers = cluster.controllers("controllers", &proxy.kubeconfig(), &["--leader-elect=false"]);
    let spec = json!({"completions": 6, "parallelism": 3});
    apply(&cluster, "work", &[daemon_set("agent"), job("slow", &spec, &json!({}))]);
    until_ended(&cluster, 1);
    until_rolled_out(&cluster, "agent", NODES);
    let most = witness.check();
    assert_eq!(most.get("slow"), Some(&3));
    let pods = witness.list(resource::PODS);
    let of_set = |pod: &&serde_json::Value| pod["metadata"]["labels"]["app"] == "agent";
    assert_eq!(pods.iter().filter(of_set).count(), NODES);
    assert_eq!(pods.len(), NODES + 6, "and no pod more than the Job needs");
}
