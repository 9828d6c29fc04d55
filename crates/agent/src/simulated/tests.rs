//! The lives of simulated pods, as the writes they lead to.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rota_api::{ApiError, Change, Object, Timestamp, resource};
use rota_cluster::{EventKind, WatchEvent};
use serde_json::{Value, json};

use super::fleet::{Due, Fleet, Pace};

fn fleet() -> Fleet {
    let node = ("n".to_owned(), IpAddr::from([198, 18, 0, 1]));
    Fleet::new(
        [node],
        Pace {
            start: Duration::from_secs(1),
            run: Duration::from_secs(10),
        },
    )
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn pod(policy: &str, annotations: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "namespace": "d", "uid": "u"},
        "spec": {"nodeName": "n", "restartPolicy": policy, "containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Pending"},
    });
    pod["metadata"]["annotations"] = annotations;
    pod
}

fn see(fleet: &mut Fleet, pod: &Value, now: Timestamp) {
    let object = Arc::new(Object::from_value(resource::PODS, pod.clone()));
    fleet.observe(
        &WatchEvent {
            kind: EventKind::Modified,
            object,
        },
        now,
    );
}

/// What a write amounts to, in a word or two.
fn word(due: &Due) -> String {
    match &due.write.change {
        Change::Patch { patch, .. } => {
            let container = &patch["status"]["containerStatuses"][0];
            let state = container["state"]
                .as_object()
                .and_then(|s| s.keys().next())
                .cloned()
                .unwrap_or_default();
            let code = container["state"]["terminated"]["exitCode"]
                .as_i64()
                .map(|c| format!(" {c}"))
                .unwrap_or_default();
            format!(
                "{} {state}{code} x{}",
                patch["status"]["phase"].as_str().unwrap_or_default(),
                container["restartCount"]
            )
        }
        Change::Delete(options) => format!("delete {:?}", options.grace_period_secs),
        Change::Create(_) | Change::Update { .. } | Change::Post { .. } => "unexpected".to_owned(),
    }
}

/// Runs the fleet until nothing is due before `until`, and tells what was written when.
fn run(fleet: &mut Fleet, until: i64) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(due) = fleet.next_due().filter(|due| *due <= at(until)) {
        let now = due.max(at(0));
        told.extend(
            fleet
                .take_due(now, 100)
                .iter()
                .map(|due| format!("{} {}", now.as_second(), word(due))),
        );
    }
    told
}

/// A pod seen at second 0 leads to these writes within an hour.
fn check(pod: &Value, expected: &[&str]) {
    let mut fleet = fleet();
    see(&mut fleet, pod, at(0));
    assert_eq!(run(&mut fleet, 3600), expected);
}

#[test]
fn a_pod_that_may_end_runs_and_succeeds() {
    check(
        &pod("Never", json!({})),
        &["1 Running running x0", "11 Succeeded terminated 0 x0"],
    );
}

#[test]
fn a_pod_that_always_restarts_stays_running() {
    check(&pod("Always", json!({})), &["1 Running running x0"]);
}

#[test]
fn annotations_set_the_pace_and_the_exit_code() {
    let annotations =
        json!({"rota.dev/sim-start-ms": "2000", "rota.dev/sim-run-ms": "3000", "rota.dev/sim-exit-code": "42"});
    check(
        &pod("Never", annotations),
        &["2 Running running x0", "5 Failed terminated 42 x0"],
    );
}

#[test]
fn a_container_that_fails_is_restarted_at_once_then_with_back_off_until_it_succeeds() {
    check(
        &pod("OnFailure", json!({"rota.dev/sim-exit-code": "1,1,0"})),
        &[
            "1 Running running x0",
            "11 Running waiting x0",
            "11 Running running x1",
            "21 Running waiting x1",
            "31 Running running x2",
            "41 Succeeded terminated 0 x2",
        ],
    );
}

#[test]
fn only_the_indexes_that_are_to_fail_fail() {
    let annotations = |index| json!({"rota.dev/sim-exit-code": "1", "rota.dev/sim-fail-indexes": "1,3", "batch.kubernetes.io/job-completion-index": index});
    check(
        &pod("Never", annotations("1")),
        &["1 Running running x0", "11 Failed terminated 1 x0"],
    );
    check(
        &pod("Never", annotations("2")),
        &["1 Running running x0", "11 Succeeded terminated 0 x0"],
    );
}

#[test]
fn a_deleted_pod_is_given_a_terminal_status_and_then_confirmed() {
    let mut fleet = fleet();
    let mut pod = pod("Always", json!({"rota.dev/sim-stop-ms": "5000"}));
    see(&mut fleet, &pod, at(0));
    assert_eq!(run(&mut fleet, 10), ["1 Running running x0"]);
    pod["metadata"]["deletionTimestamp"] = "1970-01-01T00:00:50Z".into();
    see(&mut fleet, &pod, at(20));
    assert_eq!(
        run(&mut fleet, 100),
        ["25 Failed terminated 143 x0", "25 delete Some(0)"]
    );
}

#[test]
fn a_terminal_pod_that_is_deleted_is_only_confirmed() {
    let mut fleet = fleet();
    let mut pod = pod("Never", json!({}));
    pod["status"]["phase"] = "Failed".into();
    pod["metadata"]["deletionTimestamp"] = "1970-01-01T00:00:50Z".into();
    see(&mut fleet, &pod, at(0));
    see(&mut fleet, &pod, at(1));
    assert_eq!(run(&mut fleet, 100), ["0 delete Some(0)"]);
}

#[test]
fn a_pod_that_a_client_failed_is_left_alone() {
    let mut fleet = fleet();
    let mut pod = pod("Always", json!({}));
    see(&mut fleet, &pod, at(0));
    pod["status"]["phase"] = "Failed".into();
    see(&mut fleet, &pod, at(0));
    assert_eq!(run(&mut fleet, 100), Vec::<String>::new());
}

#[test]
fn a_pod_that_ran_before_the_process_started_is_not_started_again() {
    let mut pod = pod("Never", json!({}));
    pod["status"] = json!({"phase": "Running", "podIP": "100.64.0.9", "containerStatuses": [
        {"name": "c", "restartCount": 2, "state": {"running": {"startedAt": "1970-01-01T00:00:05Z"}}, "image": "", "imageID": "", "ready": true}]});
    let mut fleet = fleet();
    see(&mut fleet, &pod, at(7));
    assert_eq!(run(&mut fleet, 100), ["15 Succeeded terminated 0 x2"]);
}

#[test]
fn an_ephemeral_container_that_is_added_to_a_running_pod_runs_until_the_pod_ends() {
    let mut fleet = fleet();
    let mut pod = pod("Always", json!({}));
    pod["metadata"]["generation"] = 1.into();
    see(&mut fleet, &pod, at(0));
    let mut write = |pod: &mut Value, now: i64| -> Value {
        see(&mut fleet, pod, at(now));
        let due = fleet.take_due(at(now), 10);
        let Some(Change::Patch { patch, .. }) = due.first().map(|due| &due.write.change) else {
            return Value::Null;
        };
        let told = patch["status"]["ephemeralContainerStatuses"].clone();
        pod["status"]["ephemeralContainerStatuses"] = told.clone();
        assert_eq!(patch["status"]["observedGeneration"], pod["metadata"]["generation"]);
        told[0]["state"].clone()
    };
    assert_eq!(write(&mut pod, 1), Value::Null);
    pod["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "i"}]);
    pod["metadata"]["generation"] = 2.into();
    let running = json!({"running": {"startedAt": "1970-01-01T00:00:20Z"}});
    assert_eq!(write(&mut pod, 20), running);
    assert_eq!(write(&mut pod, 21), Value::Null, "there is no news");
    // Another one does not start the first again.
    pod["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "i"}, {"name": "another", "image": "i"}]);
    pod["metadata"]["generation"] = 3.into();
    assert_eq!(write(&mut pod, 30), running);
    pod["metadata"]["deletionTimestamp"] = "1970-01-01T00:00:50Z".into();
    assert_eq!(write(&mut pod, 40)["terminated"]["exitCode"], 143);
}

#[test]
fn pods_of_other_nodes_and_pods_that_are_gone_lead_to_nothing() {
    let mut fleet = fleet();
    let mut other = pod("Never", json!({}));
    other["spec"]["nodeName"] = "another".into();
    see(&mut fleet, &other, at(0));
    let gone = pod("Never", json!({}));
    see(&mut fleet, &gone, at(0));
    fleet.reset(&[], at(0));
    assert_eq!(run(&mut fleet, 100), Vec::<String>::new());
}

#[test]
fn a_write_the_server_could_not_take_is_made_again() {
    let mut fleet = fleet();
    see(&mut fleet, &pod("Always", json!({})), at(0));
    let due = fleet.take_due(at(1), 10);
    fleet.refused(&due[0].uid, &ApiError::internal("disk"), at(1));
    assert_eq!(run(&mut fleet, 100), ["2 Running running x0"]);
}
