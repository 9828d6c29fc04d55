//! How pods end.

use serde_json::json;

use super::bench::{Bench, pod};
use crate::Input;

#[test]
fn a_deleted_pod_is_stopped_reported_and_only_then_confirmed() {
    Bench::new(json!({})).settle().skip().until(5).delete(30).check(
        "5   Killing: Stopping container c
         5 > stop c within 30s
         5 = Failed, c exit 143 Error x0
         5 > stop-sandbox
         5 > remove-sandbox
         5 > confirm",
    );
}

#[test]
fn a_later_delete_may_only_shorten_the_grace() {
    let mut bench = Bench::new(json!({}));
    bench.hangs.insert("stop");
    bench.settle().delete(30).skip();
    bench.until(1).delete(100).check("");
    bench.until(2).delete(5).check("2 > stop c within 5s, again");
    bench.until(3).delete(0).check("3 > stop c within 2s, again");
    bench.exit("c", 137).check(
        "3 = Failed, c exit 137 Error x0
         3 > stop-sandbox
         3 > remove-sandbox
         3 > confirm",
    );
}

#[test]
fn a_container_whose_end_nobody_saw_does_not_hold_its_pod() {
    let mut bench = Bench::new(json!({}));
    bench.hangs.insert("stop");
    bench.settle().delete(30).skip();
    let lost = |id: &str| Input::Lost {
        container: "c".to_owned(),
        id: id.to_owned(),
    };
    // Another run of it is not meant.
    bench.see(lost("rota://c7")).check("");
    bench.see(lost("rota://c0")).check(
        "0 = Failed, c exit 137 ContainerStatusUnknown x0
         0 > stop-sandbox
         0 > remove-sandbox
         0 > confirm",
    );
}

#[test]
fn regular_containers_are_stopped_together_then_sidecars_in_reverse_within_one_grace() {
    let sidecar = |name| json!({"name": name, "image": "i", "restartPolicy": "Always"});
    let mut bench = Bench::new(json!({"initContainers": [sidecar("s"), sidecar("t")]}));
    bench.hangs.insert("stop");
    bench.settle().skip().delete(30).skip();
    bench.until(10).exit("c", 0).check(
        "10   Killing: Stopping container t
         10 = Running, s+ running x0, t+ running x0, c exit 0 Completed x0
         10 > stop t within 20s",
    );
    bench.until(29).exit("t", 0).check(
        "29   Killing: Stopping container s
         29 = Running, s+ running x0, t exit 0 Completed x0, c exit 0 Completed x0
         29 > stop s within 2s",
    );
}

#[test]
fn the_hook_of_a_sidecar_runs_at_once_and_its_end_waits_for_its_turn_and_for_the_hook() {
    let sidecar = json!({"name": "s", "image": "i", "restartPolicy": "Always",
        "lifecycle": {"preStop": {"sleep": {"seconds": 8}}}});
    let mut bench = Bench::new(json!({"initContainers": [sidecar]}));
    bench.hangs.extend(["stop", "pre-stop"]);
    bench.settle().skip().delete(30).check(
        "0   Killing: Stopping container c
         0   Killing: Stopping container s
         0 > stop c within 30s
         0 > pre-stop s within 30s",
    );
    let mut late = bench.clone();
    bench
        .until(5)
        .exit("c", 0)
        .check("5 = Running, s+ running x0, c exit 0 Completed x0");
    let done = Input::PreStopped {
        container: "s".to_owned(),
        id: "rota://s0".to_owned(),
    };
    bench.until(8).see(done).check("8 > stop s within 22s, again");
    // A hook that takes all of the time is not waited for any longer.
    late.until(5)
        .exit("c", 0)
        .skip()
        .until(31)
        .check("30 > stop s within 2s, again");
}

#[test]
fn a_container_that_is_being_started_is_waited_for_and_then_stopped() {
    let mut bench = Bench::new(json!({}));
    bench.hangs.insert("sandbox");
    bench.settle().skip().delete(30).check("");
}

#[test]
fn a_pod_deleted_before_anything_ran_counts_as_failed() {
    let mut bench = Bench::new(json!({"containers": [{"name": "c", "image": "i", "imagePullPolicy": "Always"}]}));
    bench.settle().skip().delete(0).check(
        "0 = Failed, c exit 137 ContainerStatusUnknown x0
         0 > stop-sandbox
         0 > remove-sandbox
         0 > confirm",
    );
}

#[test]
fn a_pod_that_is_active_too_long_fails() {
    Bench::new(json!({"activeDeadlineSeconds": 60}))
        .settle()
        .skip()
        .until(60)
        .check(
            "60   DeadlineExceeded: Pod was active on the node longer than the specified deadline
         60   Killing: Stopping container c
         60 > stop c within 30s
         60 = Failed, c exit 143 Error x0
         60 > stop-sandbox
         60 > remove-sandbox",
        );
}

#[test]
fn a_pod_that_a_client_failed_is_stopped_and_stays_failed() {
    let mut bench = Bench::new(json!({}));
    bench.settle().skip();
    let mut failed = pod(json!({}));
    failed["status"] = json!({"phase": "Failed"});
    bench
        .see(Input::Pod(
            serde_json::from_value(failed).map(std::sync::Arc::new).unwrap(),
        ))
        .check(
            "0   Killing: Stopping container c
         0 = Failed, c+ running x0
         0 > stop c within 30s
         0 = Failed, c exit 143 Error x0
         0 > stop-sandbox
         0 > remove-sandbox",
        );
}

#[test]
fn a_pod_that_is_gone_from_the_cluster_is_stopped_without_a_word() {
    let mut bench = Bench::new(json!({}));
    bench.settle().skip().see(Input::Removed).check(
        "0   Killing: Stopping container c
         0 > stop c within 30s
         0 = Failed, c exit 143 Error x0
         0 > stop-sandbox
         0 > remove-sandbox",
    );
    assert!(bench.life.step(super::bench::at(0)).over);
}

#[test]
fn a_start_time_at_the_end_of_time_has_a_deadline_all_the_same() {
    let mut pod = pod(json!({"activeDeadlineSeconds": 5}));
    pod["status"] = json!({"startTime": "9999-12-30T21:59:59Z"});
    Bench::of(pod).settle().check(
        "0 = Pending, c ContainerCreating x0
         0 > sandbox 0
         0   Pulled: Container image \"i\" already present on machine and can be accessed by the pod
         0 > start c 0
         0   Created: Container created
         0   Started: Container started
         0 = Running, c+ running x0",
    );
}

#[test]
fn a_pod_that_was_refused_says_nothing_of_its_containers_after_a_restart_of_the_agent_either() {
    let mut pod = pod(json!({}));
    pod["status"] = json!({"phase": "Failed", "reason": "OutOfcpu", "message": "Pod was rejected: too big"});
    Bench::of(pod).settle().check("0 = Failed");
}
