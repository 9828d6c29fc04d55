//! How pods come up.

use serde_json::json;

use super::bench::Bench;
use crate::{Input, StartFailure};

#[test]
fn a_pod_comes_up_and_runs() {
    Bench::new(json!({})).settle().check(
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
fn init_containers_run_one_after_the_other_before_the_rest() {
    let spec = json!({"initContainers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]});
    let mut bench = Bench::new(spec);
    bench.settle().skip();
    bench.exit("a", 0).exit("b", 0).check(
        "0 = Pending, a+ exit 0 Completed x0, b PodInitializing x0, c PodInitializing x0
         0   Pulled: Container image \"i\" already present on machine and can be accessed by the pod
         0 > start b 0
         0   Created: Container created
         0   Started: Container started
         0 = Pending, a+ exit 0 Completed x0, b running x0, c PodInitializing x0
         0 = Pending, a+ exit 0 Completed x0, b+ exit 0 Completed x0, c PodInitializing x0
         0   Pulled: Container image \"i\" already present on machine and can be accessed by the pod
         0 > start c 0
         0   Created: Container created
         0   Started: Container started
         0 = Running, a+ exit 0 Completed x0, b+ exit 0 Completed x0, c+ running x0",
    );
}

#[test]
fn an_init_container_that_fails_fails_a_pod_that_never_restarts() {
    let spec = json!({"restartPolicy": "Never", "initContainers": [{"name": "a", "image": "i"}]});
    Bench::new(spec).settle().skip().exit("a", 3).check(
        "0 = Failed, a exit 3 Error x0, c PodInitializing x0
         0 > stop-sandbox
         0 > remove-sandbox",
    );
}

#[test]
fn a_sidecar_starts_first_and_ends_last() {
    let spec =
        json!({"restartPolicy": "Never", "initContainers": [{"name": "s", "image": "i", "restartPolicy": "Always"}]});
    Bench::new(spec).settle().skip().until(5).exit("c", 0).check(
        "5   Killing: Stopping container s
         5 = Running, s+ running x0, c exit 0 Completed x0
         5 > stop s within 30s
         5 = Succeeded, s exit 143 Error x0, c exit 0 Completed x0
         5 > stop-sandbox
         5 > remove-sandbox",
    );
}

#[test]
fn containers_start_in_order_and_wait_for_the_hook_of_the_one_before() {
    let hook = json!({"postStart": {"exec": {"command": ["true"]}}});
    let spec = json!({"containers": [
        {"name": "z", "image": "i", "lifecycle": hook}, {"name": "b", "image": "i"}, {"name": "a", "image": "i"},
    ]});
    let mut bench = Bench::new(spec);
    bench.hangs.insert("post-start");
    bench.settle().check(
        "0 = Pending, z ContainerCreating x0, b ContainerCreating x0, a ContainerCreating x0
         0 > sandbox 0
         0   Pulled: Container image \"i\" already present on machine and can be accessed by the pod
         0 > start z 0
         0   Created: Container created
         0   Started: Container started
         0 = Pending, z running x0, b ContainerCreating x0, a ContainerCreating x0
         0 > post-start z",
    );
    let done = |error: Option<&str>| Input::PostStart {
        container: "z".to_owned(),
        id: "rota://z0".to_owned(),
        error: error.map(str::to_owned),
    };
    let mut failing = bench.clone();
    bench.see(done(None)).check(
        "0 = Pending, z+ running x0, b ContainerCreating x0, a ContainerCreating x0
         0   Pulled: Container image \"i\" already present on machine and can be accessed by the pod
         0 > start b 0
         0   Created: Container created
         0   Started: Container started
         0 = Pending, z+ running x0, b+ running x0, a ContainerCreating x0
         0   Pulled: Container image \"i\" already present on machine and can be accessed by the pod
         0 > start a 0
         0   Created: Container created
         0   Started: Container started
         0 = Running, z+ running x0, b+ running x0, a+ running x0",
    );
    // A container whose hook failed never counts as started.
    failing.hangs.insert("stop");
    failing.see(done(Some("exit 1"))).check(
        "0   FailedPostStartHook: PostStartHook failed: exit 1
         0   Killing: Container z failed postStart hook, will be restarted
         0 > stop z within 30s",
    );
}

#[test]
fn an_image_that_cannot_be_pulled_is_tried_again_with_back_off() {
    let mut bench = Bench::new(json!({"containers": [{"name": "c", "image": "i", "imagePullPolicy": "Always"}]}));
    bench.settle().until(12).check(
        "0 = Pending, c ContainerCreating x0
         0 > sandbox 0
         0   Pulling: Pulling image \"i\"
         0 > pull c
         0   Failed: Failed to pull image \"i\": no such host
         0   Failed: Error: ErrImagePull
         0 = Pending, c ErrImagePull x0
         1   BackOff: Back-off pulling image \"i\"
         1   Failed: Error: ImagePullBackOff
         1 = Pending, c ImagePullBackOff x0
         10   Pulling: Pulling image \"i\"
         10 > pull c
         10   Failed: Failed to pull image \"i\": no such host
         10   Failed: Error: ErrImagePull
         10 = Pending, c ErrImagePull x0
         11   BackOff: Back-off pulling image \"i\"
         11   Failed: Error: ImagePullBackOff
         11 = Pending, c ImagePullBackOff x0",
    );
}

#[test]
fn an_image_that_must_be_there_and_is_not_is_looked_for_again() {
    let mut bench = Bench::new(json!({"containers": [{"name": "c", "image": "i", "imagePullPolicy": "Never"}]}));
    bench.missing_images = true;
    bench.settle().check(
        "0 = Pending, c ContainerCreating x0
         0 > sandbox 0
         0   ErrImageNeverPull: Container image \"i\" is not present with pull policy of Never
         0   Failed: Error: ErrImageNeverPull
         0 = Pending, c ErrImageNeverPull x0",
    );
    bench.missing_images = false;
    bench.until(10).skip().check("");
    bench.exit("c", 0);
}

#[test]
fn a_container_whose_configuration_is_incomplete_waits_and_is_tried_again() {
    let mut bench = Bench::new(json!({}));
    bench.start_failures.insert(
        "c".to_owned(),
        StartFailure::Config("secret \"s\" not found".to_owned()),
    );
    bench.settle().skip().start_failures.clear();
    bench.until(2).check(
        "2   Pulled: Container image \"i\" already present on machine and can be accessed by the pod
         2 = Pending, c ContainerCreating x0
         2 > start c 0
         2   Created: Container created
         2   Started: Container started
         2 = Running, c+ running x0",
    );
}

#[test]
fn a_command_that_cannot_be_run_counts_as_a_run_that_failed() {
    let mut bench = Bench::new(json!({"restartPolicy": "Never"}));
    bench
        .start_failures
        .insert("c".to_owned(), StartFailure::Run("exec: no such file".to_owned()));
    bench.settle().check(
        "0 = Pending, c ContainerCreating x0
         0 > sandbox 0
         0   Pulled: Container image \"i\" already present on machine and can be accessed by the pod
         0 > start c 0
         0   Failed: Error: exec: no such file
         0 = Failed, c exit 128 StartError x0
         0 > stop-sandbox
         0 > remove-sandbox",
    );
}

#[test]
fn a_readiness_probe_decides_when_a_container_is_ready() {
    let probe = json!({"exec": {"command": ["true"]}, "initialDelaySeconds": 3, "periodSeconds": 5});
    let spec = json!({"containers": [{"name": "c", "image": "i", "readinessProbe": probe}]});
    Bench::new(spec).settle().skip().until(9).check(
        "3 > probe c Readiness
         3 = Running, c+ running x0
         8 > probe c Readiness",
    );
}

#[test]
fn a_startup_probe_holds_back_the_others_until_it_succeeds() {
    let container = json!({"name": "c", "image": "i",
        "startupProbe": {"initialDelaySeconds": 2}, "livenessProbe": {"periodSeconds": 5}});
    Bench::new(json!({"containers": [container]}))
        .settle()
        .skip()
        .until(6)
        .check(
            "2 > probe c Startup
         2 = Running, c+ running x0
         2 > probe c Liveness",
        );
}

#[test]
fn a_refused_pod_fails_without_a_word_about_its_containers() {
    let mut bench = Bench::new(json!({}));
    let (reason, message) = ("OutOfcpu".to_owned(), "Pod was rejected: too big".to_owned());
    bench.see(Input::Refused { reason, message }).check(
        "0   OutOfcpu: Pod was rejected: too big
         0 = Failed",
    );
}

#[test]
fn a_container_that_ends_before_its_start_is_told_was_created_and_started_all_the_same() {
    let mut bench = Bench::new(json!({"restartPolicy": "Never"}));
    bench.hangs.insert("start");
    bench.settle().skip().exit("c", 0).check(
        "0   Created: Container created
         0   Started: Container started
         0 = Succeeded, c exit 0 Completed x0
         0 > stop-sandbox
         0 > remove-sandbox",
    );
}
