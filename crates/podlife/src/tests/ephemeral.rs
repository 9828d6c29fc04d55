//! How containers that are added to a pod that is there run, and that they change nothing about the pod.

use serde_json::json;

use super::bench::{Bench, pod};
use crate::StartFailure;

#[test]
fn a_container_that_is_added_is_started_once_and_is_not_ready() {
    let mut bench = Bench::new(json!({}));
    bench.settle().skip();
    bench.until(5).add(&json!({"name": "e", "image": "x"})).check(
        "5 = Running, c+ running x0, e ContainerCreating x0
         5   Pulled: Container image \"x\" already present on machine and can be accessed by the pod
         5 > start e 0
         5   Created: Container created
         5   Started: Container started
         5 = Running, c+ running x0, e running x0",
    );
    bench
        .until(6)
        .exit("e", 1)
        .until(100)
        .check("6 = Running, c+ running x0, e exit 1 Error x0");
}

#[test]
fn it_is_started_although_the_pod_does_not_come_up() {
    let mut bench = Bench::new(json!({"initContainers": [{"name": "a", "image": "i"}]}));
    bench.settle().skip();
    bench.add(&json!({"name": "e", "image": "x"})).check(
        "0 = Pending, a running x0, c PodInitializing x0, e PodInitializing x0
         0   Pulled: Container image \"x\" already present on machine and can be accessed by the pod
         0 > start e 0
         0   Created: Container created
         0   Started: Container started
         0 = Pending, a running x0, c PodInitializing x0, e running x0",
    );
}

#[test]
fn it_is_stopped_with_the_others() {
    let mut bench = Bench::new(json!({}));
    bench.settle().add(&json!({"name": "e", "image": "x"})).skip();
    bench.until(5).delete(30).check(
        "5   Killing: Stopping container c
         5   Killing: Stopping container e
         5 > stop c within 30s
         5 > stop e within 30s
         5 = Failed, c exit 143 Error x0, e exit 143 Error x0
         5 > stop-sandbox
         5 > remove-sandbox
         5 > confirm",
    );
}

#[test]
fn a_pod_whose_containers_are_done_does_not_wait_for_it() {
    let mut bench = Bench::new(json!({"restartPolicy": "Never"}));
    bench.settle().add(&json!({"name": "e", "image": "x"})).skip();
    bench.until(5).exit("c", 0).check(
        "5   Killing: Stopping container e
         5 = Succeeded, c exit 0 Completed x0, e running x0
         5 > stop e within 30s
         5 = Succeeded, c exit 0 Completed x0, e exit 143 Error x0
         5 > stop-sandbox
         5 > remove-sandbox",
    );
}

#[test]
fn one_that_cannot_be_made_is_tried_again() {
    let mut bench = Bench::new(json!({}));
    let why = "container \"c\" does not run".to_owned();
    bench.start_failures.insert("e".to_owned(), StartFailure::Create(why));
    bench.settle().skip();
    bench.add(&json!({"name": "e", "image": "x"})).check(
        "0 = Running, c+ running x0, e ContainerCreating x0
         0   Pulled: Container image \"x\" already present on machine and can be accessed by the pod
         0 > start e 0
         0   Failed: Error: container \"c\" does not run
         0 = Running, c+ running x0, e CreateContainerError x0",
    );
    bench.start_failures.clear();
    bench.until(2).check(
        "2   Pulled: Container image \"x\" already present on machine and can be accessed by the pod
         2 = Running, c+ running x0, e ContainerCreating x0
         2 > start e 0
         2   Created: Container created
         2   Started: Container started
         2 = Running, c+ running x0, e running x0",
    );
}

#[test]
fn one_that_ran_is_not_started_again_after_a_restart_of_the_agent() {
    let mut pod = pod(json!({"ephemeralContainers": [{"name": "e", "image": "x"}]}));
    pod["status"] = json!({"phase": "Running",
        "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "containerID": "rota://c0", "ready": true,
            "restartCount": 0, "state": {"running": {}}}],
        "ephemeralContainerStatuses": [{"name": "e", "image": "x", "imageID": "", "containerID": "rota://e0",
            "ready": false, "restartCount": 0, "state": {"running": {}}}]});
    Bench::of(pod)
        .find("c", 0)
        .settle()
        .check("0 = Running, c+ running x0, e exit 137 ContainerStatusUnknown x0");
}
