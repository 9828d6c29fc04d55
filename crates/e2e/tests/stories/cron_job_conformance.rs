//! The conformance tests of CronJobs (`test/e2e/apps/cronjob.go`, release 1.36), told with kubectl and real containers: what
//! they create, which commands run, and what they assert. All wait for the same minutes: one cluster, all CronJobs at once.

use std::time::{Duration, Instant};

use rota_e2e::{Cluster, Image, Kubectl};
use serde_json::{Value, json};

/// Upstream waits so long for each thing.
const FIVE_MINUTES: Duration = Duration::from_secs(300);

/// A CronJob as the tests make it.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the caller writes the value where it is used"
)]
fn cron_job(name: &str, schedule: &str, policy: &str, spec: Value) -> Value {
    let mut whole = json!({
        "schedule": schedule,
        "concurrencyPolicy": policy,
        "jobTemplate": {"spec": {
            "parallelism": 1, "completions": 1, "backoffLimit": 1,
            "template": {"spec": {
                "restartPolicy": "OnFailure", "terminationGracePeriodSeconds": 1,
                "volumes": [{"name": "data", "emptyDir": {}}],
                "containers": [{
                    "name": "c", "image": "busybox", "command": ["sleep", "300"],
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }],
            }},
        }},
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        whole[field] = value.clone();
    }
    json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name, "labels": {"story": name}}, "spec": whole})
}

fn create(cluster: &Kubectl, object: &Value) {
    let name = object["metadata"]["name"].as_str().expect("a name");
    let file = cluster.file(&format!("{name}.json"), &object.to_string());
    cluster.run(&["create", "-f", &file]);
}

/// The names in `status.active`.
fn active(cluster: &Kubectl, name: &str) -> Vec<String> {
    let object = cluster.json(&["get", "cronjob", name]);
    let entries = object["status"]["active"].as_array().into_iter().flatten();
    entries
        .filter_map(|entry| entry["name"].as_str())
        .map(str::to_owned)
        .collect()
}

/// The Jobs of a CronJob that have not ended and are not being deleted.
fn unfinished(cluster: &Kubectl, owner: &str) -> Vec<String> {
    let jobs = cluster.json(&["get", "jobs"]);
    let is_unfinished = |job: &&Value| {
        let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
        let has_ended = conditions
            .into_iter()
            .any(|c| (c["type"] == "Complete" || c["type"] == "Failed") && c["status"] == "True");
        job["metadata"]["ownerReferences"][0]["name"] == owner
            && job["metadata"]["deletionTimestamp"].is_null()
            && !has_ended
    };
    let items = jobs["items"].as_array().expect("a list");
    let names = items
        .iter()
        .filter(is_unfinished)
        .filter_map(|job| job["metadata"]["name"].as_str());
    names.map(str::to_owned).collect()
}

fn until_active(cluster: &Kubectl, name: &str, what: &str, is_so: impl Fn(&[String]) -> bool) -> Vec<String> {
    let what = format!("{name}: {what}");
    cluster.until_within(FIVE_MINUTES, &what, &["get", "cronjob", name], |_| {
        is_so(&active(cluster, name))
    });
    active(cluster, name)
}

#[test]
fn cron_jobs_keep_the_promises_of_their_policies() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    let each_minute = "*/1 * * * ?";
    create(&cluster, &cron_job("concurrent", each_minute, "Allow", json!({})));
    create(
        &cluster,
        &cron_job("suspended", each_minute, "Allow", json!({"suspend": true})),
    );
    create(&cluster, &cron_job("forbid", each_minute, "Forbid", json!({})));
    create(&cluster, &cron_job("replace", each_minute, "Replace", json!({})));
    let begun = Instant::now();

    // "should schedule multiple jobs concurrently"; beside it, at no poll two of "replace".
    let first = until_active(&cluster, "replace", "a job", |active| active.len() == 1);
    assert_eq!(unfinished(&cluster, "replace"), first);
    let forbidden = until_active(&cluster, "forbid", "a job", |active| active.len() == 1);
    assert_eq!(unfinished(&cluster, "forbid"), forbidden);
    while active(&cluster, "concurrent").len() < 2 {
        assert!(unfinished(&cluster, "replace").len() <= 1, "two of replace");
        assert!(begun.elapsed() < FIVE_MINUTES, "never two at once");
    }
    assert!(unfinished(&cluster, "concurrent").len() >= 2);

    // "should replace jobs when ReplaceConcurrent"
    let second = until_active(&cluster, "replace", "another job", |active| {
        active.len() == 1 && active != first
    });
    assert_eq!(unfinished(&cluster, "replace"), second);

    // "should not schedule new jobs when ForbidConcurrent"
    assert_eq!(active(&cluster, "forbid"), forbidden);
    assert_eq!(unfinished(&cluster, "forbid"), forbidden);

    // "should not schedule jobs when suspended"
    assert!(active(&cluster, "suspended").is_empty());
    assert!(unfinished(&cluster, "suspended").is_empty());

    // Nothing unexpected was seen on the way.
    let events = cluster.run(&["get", "events", "-o", "jsonpath={.items[*].reason}"]);
    assert!(
        !events.contains("UnexpectedJob") && !events.contains("MissingJob"),
        "{events}"
    );
    let wide = cluster.run(&["get", "cronjob", "forbid", "-o", "wide"]);
    assert!(
        wide.contains("NEXT") && wide.contains("LAST RESULT") && wide.contains("Running"),
        "{wide}"
    );
    cluster.run(&["delete", "cronjob", "--all"]);
    cluster.until(
        "jobs and pods to go",
        &["get", "jobs,pods", "-o", "name"],
        str::is_empty,
    );
}

#[test]
fn cron_jobs_support_the_operations_of_the_api() {
    let cluster = Cluster::start(&["--sim-nodes", "1"], &[]);
    create(&cluster, &cron_job("ops", "* */1 * * ?", "Allow", json!({})));
    let label = ["-l", "story=ops", "-o", "name"];
    let named = "cronjob.batch/ops\n";
    let get = cluster.json(&["get", "cronjob", "ops"]);
    let version = |object: &Value| -> u64 {
        let text = object["metadata"]["resourceVersion"].as_str().expect("a version");
        text.parse().expect("versions can be compared")
    };
    assert_eq!(cluster.run(&[&["get", "cronjobs"][..], &label].concat()), named);
    assert_eq!(cluster.run(&[&["get", "cronjobs", "-A"][..], &label].concat()), named);

    let patch = r#"{"metadata":{"annotations":{"patched":"true"}}}"#;
    cluster.run(&["patch", "cronjob", "ops", "--type=merge", "-p", patch]);
    let patched = cluster.json(&["get", "cronjob", "ops"]);
    assert_eq!(patched["metadata"]["annotations"]["patched"], "true");
    assert!(version(&patched) > version(&get));
    cluster.run(&["annotate", "cronjob", "ops", "updated=true"]);

    let time = "2020-06-01T12:30:45Z";
    let patch = json!({"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"lastScheduleTime": time}});
    cluster.run(&[
        "patch",
        "cronjob",
        "ops",
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch.to_string(),
    ]);
    let status = cluster.json(&["get", "cronjob", "ops", "--subresource=status"]);
    assert_eq!(status["metadata"]["annotations"]["patchedstatus"], "true");
    assert_eq!(status["metadata"]["uid"], get["metadata"]["uid"]);
    // The minute that is due by now may have been run meanwhile; what was written is a time of that form either way.
    let last = status["status"]["lastScheduleTime"].as_str().expect("a time");
    assert!(last >= time, "{last}");

    cluster.run(&["delete", "cronjob", "ops"]);
    create(
        &cluster,
        &cron_job("ops", "* */1 * * ?", "Allow", json!({"suspend": true})),
    );
    let raw = "/apis/batch/v1/namespaces/default/cronjobs?labelSelector=story%3Dops";
    cluster.run(&["delete", "--raw", raw]);
    cluster.until(
        "the collection to go",
        &["get", "cronjobs", "-o", "name"],
        str::is_empty,
    );
}

#[test]
fn a_schedule_that_never_comes_is_told_of_by_an_event() {
    let cluster = Cluster::start(&["--sim-nodes", "1"], &[]);
    let args = [
        "create",
        "cronjob",
        "pi",
        "--schedule=59 23 31 2 *",
        "--image=busybox",
        "--",
        "true",
    ];
    assert_eq!(cluster.run(&args), "cronjob.batch/pi created\n");
    cluster.until("the event", &["events", "--for=cronjob/pi"], |events| {
        events.contains("Warning") && events.contains("InvalidSchedule")
    });
    let described = cluster.run(&["describe", "cronjob", "pi"]);
    for line in [
        "Schedule:",
        "59 23 31 2 *",
        "Concurrency Policy:",
        "Allow",
        "Suspend:",
        "False",
        "Active Jobs:",
    ] {
        assert!(described.contains(line), "{described}");
    }
}
