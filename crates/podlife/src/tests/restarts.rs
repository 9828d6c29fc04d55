//! How containers that end are started again, and what a restart of the agent changes (nothing).

use serde_json::json;

use super::bench::{Bench, at, pod};
use crate::{Input, ProbeKind, ProbeVerdict, StartFailure};

#[test]
fn the_first_restart_is_immediate_and_the_next_waits() {
    let mut bench = Bench::new(json!({"restartPolicy": "OnFailure"}));
    bench.settle().skip().until(1).exit("c", 1).check(
        "1 = Running, c exit 1 Error x0
         1   Pulled: Container image \"i\" already present on machine and can be accessed by the pod
         1 > start c 1
         1   Created: Container created
         1   Started: Container started
         1 = Running, c+ running x1",
    );
    bench.until(2).exit("c", 1).until(12).check(
        "2   BackOff: Back-off restarting failed container c in pod p_d(u)
         2 = Running, c CrashLoopBackOff x1
         12   Pulled: Container image \"i\" already present on machine and can be accessed by the pod
         12 > remove c 0
         12 > start c 2
         12   Created: Container created
         12   Started: Container started
         12 = Running, c+ running x2",
    );
    bench.exit("c", 0).check(
        "12 = Succeeded, c exit 0 Completed x2
         12 > stop-sandbox
         12 > remove-sandbox",
    );
}

#[test]
fn an_end_that_is_told_again_changes_nothing() {
    let mut bench = Bench::new(json!({"restartPolicy": "OnFailure"}));
    bench.hangs.insert("start");
    bench.settle().skip();
    bench.tell_end("c", 0, 1).check(
        "0   Created: Container created
         0   Started: Container started
         0 = Running, c exit 1 Error x0
         0   Pulled: Container image \"i\" already present on machine and can be accessed by the pod
         0 > start c 1",
    );
    // The next run is on its way: it is not asked for twice, nor told of before it is there.
    bench.tell_end("c", 0, 1).check("");
}

#[test]
fn a_container_with_another_image_is_started_again_with_it_whatever_its_pod_says() {
    for (policy, code) in [("Always", 143), ("OnFailure", 0), ("Never", 1)] {
        let mut bench = Bench::new(json!({"restartPolicy": policy}));
        bench.hangs.insert("stop");
        bench.settle().skip().until(5).set_image("j").check(
            "5   Killing: Container c definition changed, will be restarted
             5 > stop c within 30s",
        );
        bench.exit("c", code).skip().check("");
        assert_eq!(bench.told(), "Running, c+ running x1", "{policy}");
        // What it is restarted with is the image it has: it stays, and ends as its policy says.
        bench.until(10).check("");
    }
}

#[test]
fn a_container_that_cannot_be_started_with_its_new_image_waits_or_ends_as_its_policy_says() {
    for (policy, told) in [
        ("Always", "Running, c CrashLoopBackOff x2"),
        ("Never", "Failed, c exit 128 StartError x1"),
    ] {
        let mut bench = Bench::new(json!({"restartPolicy": policy}));
        bench.settle();
        let failure = StartFailure::Run("exec: no such file".to_owned());
        bench.start_failures.insert("c".to_owned(), failure);
        bench.set_image("j").until(5);
        assert_eq!(bench.told(), told, "{policy}");
    }
}

#[test]
fn a_liveness_probe_that_fails_restarts_the_container() {
    let container =
        json!({"name": "c", "image": "i", "livenessProbe": {"failureThreshold": 1, "initialDelaySeconds": 60}});
    let mut bench = Bench::new(json!({"containers": [container], "terminationGracePeriodSeconds": 7}));
    let verdict = ProbeVerdict::Failure("HTTP probe failed with statuscode: 500".to_owned());
    let (id, kind) = ("rota://c0".to_owned(), ProbeKind::Liveness);
    bench
        .settle()
        .skip()
        .see(Input::Probed {
            container: "c".to_owned(),
            id,
            kind,
            verdict,
        })
        .check(
            "0   Unhealthy: Liveness probe failed: HTTP probe failed with statuscode: 500
         0   Killing: Container c failed liveness probe, will be restarted
         0 > stop c within 7s
         0 = Running, c exit 143 Error x0
         0   Pulled: Container image \"i\" already present on machine and can be accessed by the pod
         0 > start c 1
         0   Created: Container created
         0   Started: Container started
         0 = Running, c+ running x1",
        );
}

#[test]
fn a_container_found_running_is_neither_restarted_nor_unready() {
    let mut pod =
        pod(json!({"containers": [{"name": "c", "image": "i", "readinessProbe": {"initialDelaySeconds": 60}}]}));
    pod["status"] = json!({"phase": "Running", "containerStatuses": [{"name": "c", "image": "i", "imageID": "",
        "containerID": "rota://c3", "ready": true, "started": true, "restartCount": 3, "state": {"running": {}}}]});
    Bench::of(pod).find("c", 3).settle().check("0 = Running, c+ running x3");
}

#[test]
fn a_run_nobody_knows_of_any_more_is_not_repeated_where_it_may_run_only_once() {
    let mut pod = pod(json!({"restartPolicy": "Never"}));
    pod["status"] = json!({"phase": "Running", "containerStatuses": [{"name": "c", "image": "i", "imageID": "",
        "containerID": "rota://c0", "ready": true, "restartCount": 0, "state": {"running": {}}}]});
    Bench::of(pod)
        .settle()
        .check("0 = Failed, c exit 137 ContainerStatusUnknown x0");
}

#[test]
fn a_lost_sandbox_is_made_again_and_containers_restart_in_it() {
    let mut bench = Bench::new(json!({}));
    bench.settle().skip();
    bench.life.see(Input::SandboxStopped, at(0));
    bench.exit("c", 137).check(
        "0   SandboxChanged: Pod sandbox changed, it will be killed and re-created.
         0 = Running, c exit 137 Error x0
         0 > sandbox 1
         0   Pulled: Container image \"i\" already present on machine and can be accessed by the pod
         0 > start c 1
         0   Created: Container created
         0   Started: Container started
         0 = Running, c+ running x1",
    );
}

#[test]
fn a_finished_pod_is_reported_as_it_was_after_a_restart_of_the_agent() {
    let mut pod = pod(json!({"restartPolicy": "Never"}));
    pod["status"] = json!({"phase": "Failed", "containerStatuses": [{"name": "c", "image": "i", "imageID": "",
        "containerID": "rota://c0", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 42, "reason": "Error"}}}]});
    Bench::of(pod).settle().check("0 = Failed, c exit 42 Error x0");
}
