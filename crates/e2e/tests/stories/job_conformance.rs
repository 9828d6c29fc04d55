//! The conformance tests of Jobs (`test/e2e/apps/job.go`, release 1.36), told with kubectl and real containers: what they
//! create, which commands run, and what they assert.

use std::time::Duration;

use rota_e2e::{Cluster, Image, Kubectl};
use serde_json::{Value, json};

/// A script that fails for odd indexes.
const ODD_FAILS: &str = "if [ $(expr $JOB_COMPLETION_INDEX % 2) -ne 0 ]; then exit 1; fi; exit 0";
/// A script that fails the first time it finds no mark.
const FAILS_ONCE: &str = "if [[ -r /data/foo ]]; then exit 0; fi; touch /data/foo; exit 1";
/// A script that runs until it is told to stop.
const STAYS: &str = "trap exit TERM; while true; do sleep 1; done";

/// A Job as the tests make it: a volume for its pods, a label by which they are found.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the caller writes the value where it is used"
)]
fn job(name: &str, spec: Value, restart_policy: &str, script: &str) -> Value {
    let mut whole = json!({
        "template": {
            "metadata": {"labels": {"job": name}},
            "spec": {
                "restartPolicy": restart_policy,
                "terminationGracePeriodSeconds": 1,
                "volumes": [{"name": "data", "emptyDir": {}}],
                "containers": [{
                    "name": "c", "image": "busybox", "command": ["sh", "-c", script],
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }],
            },
        },
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        whole[field] = value.clone();
    }
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": whole})
}

fn indexed(name: &str, spec: Value, script: &str) -> Value {
    let mut job = job(name, spec, "Never", script);
    job["spec"]["completionMode"] = "Indexed".into();
    job
}

fn create(cluster: &Kubectl, job: &Value) {
    let name = job["metadata"]["name"].as_str().expect("a name");
    let file = cluster.file(&format!("{name}.json"), &job.to_string());
    cluster.run(&["create", "-f", &file]);
}

fn status(cluster: &Kubectl, job: &str) -> Value {
    cluster.json(&["get", "job", job])["status"].take()
}

fn condition<'a>(status: &'a Value, type_: &str) -> Option<&'a Value> {
    let conditions = status["conditions"].as_array()?;
    conditions.iter().find(|c| c["type"] == type_ && c["status"] == "True")
}

fn until_condition(cluster: &Kubectl, job: &str, wanted: &str) -> Value {
    let wait = format!("--for=condition={wanted}");
    cluster.run(&["wait", &wait, &format!("job/{job}"), "--timeout=120s"]);
    status(cluster, job)
}

fn until_running(cluster: &Kubectl, job: &str, count: usize) -> Vec<Value> {
    let label = format!("job={job}");
    let what = format!("{count} running pods of {job}");
    cluster.until(&what, &["get", "pods", "-l", &label, "--no-headers"], |pods| {
        pods.lines().filter(|row| row.contains(" Running ")).count() == count
    });
    pods(cluster, job)
}

fn pods(cluster: &Kubectl, job: &str) -> Vec<Value> {
    let list = cluster.json(&["get", "pods", "-l", &format!("job={job}")]);
    list["items"].as_array().expect("a list").clone()
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().expect("a name")
}

#[track_caller]
fn assert_reason(status: &Value, type_: &str, reason: &str) {
    let found = condition(status, type_).unwrap_or_else(|| panic!("no {type_} in {status:#}"));
    assert_eq!(found["reason"], reason, "{status:#}");
}

/// Nothing is left of the Job, and it says so: the fields are there.
#[track_caller]
fn assert_nothing_is_left(status: &Value) {
    assert_eq!(status["active"], Value::Null, "{status:#}");
    assert_eq!(
        (&status["ready"], &status["terminating"]),
        (&json!(0), &json!(0)),
        "{status:#}"
    );
}

#[test]
fn a_job_adopts_matching_orphans_and_releases_pods_that_match_no_longer() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    create(
        &cluster,
        &job("adopt", json!({"parallelism": 2, "completions": 4}), "Never", STAYS),
    );
    let pod = until_running(&cluster, "adopt", 2).remove(0);
    let uid = cluster.json(&["get", "job", "adopt"])["metadata"]["uid"].clone();
    let replace = |change: &dyn Fn(&mut Value)| {
        let mut now = cluster.json(&["get", "pod", name(&pod)]);
        change(&mut now["metadata"]);
        let file = cluster.file("pod.json", &now.to_string());
        cluster.run(&["replace", "-f", &file]);
    };
    let owner = [
        "get",
        "pod",
        name(&pod),
        "-o",
        "jsonpath={.metadata.ownerReferences[*].uid}",
    ];
    replace(&|meta| meta["ownerReferences"] = Value::Null);
    cluster.until("the orphan to be adopted", &owner, |text| Some(text) == uid.as_str());
    replace(&|meta| meta["labels"] = Value::Null);
    cluster.until("the stranger to be released", &owner, str::is_empty);
}

#[test]
fn failures_by_disruption_are_ignored_where_the_policy_says_so() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    let directory = format!("/tmp/job-e2e-{}/disrupted", std::process::id());
    let script = "if [[ -r /data/foo-$JOB_COMPLETION_INDEX ]]; then exit 0; fi; \
                  touch /data/foo-$JOB_COMPLETION_INDEX; sleep 1000000";
    let ignore =
        json!({"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]});
    let spec = json!({"parallelism": 3, "completions": 3, "backoffLimit": 2, "podFailurePolicy": ignore});
    let mut disrupted = indexed("disrupted", spec, script);
    let pod = &mut disrupted["spec"]["template"]["spec"];
    let node = cluster.run(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    pod["nodeSelector"] = json!({"kubernetes.io/hostname": node});
    pod["volumes"][0] = json!({"name": "data", "hostPath": {"path": directory, "type": "DirectoryOrCreate"}});
    pod["containers"][0]["securityContext"] = json!({"privileged": true});
    let command = ["sh", "-c", "cat /data/foo-$JOB_COMPLETION_INDEX"];
    pod["containers"][0]["readinessProbe"] = json!({"exec": {"command": command}, "periodSeconds": 1});
    create(&cluster, &disrupted);
    let ready = ["get", "job", "disrupted", "-o", "jsonpath={.status.ready}"];
    cluster.until("three ready pods", &ready, |ready| ready == "3");
    let pods = until_running(&cluster, "disrupted", 3);
    for pod in &pods {
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": name(pod), "namespace": "default"}});
        let file = cluster.file("eviction.json", &eviction.to_string());
        let path = format!("/api/v1/namespaces/default/pods/{}/eviction", name(pod));
        cluster.run(&["create", "--raw", &path, "-f", &file]);
    }
    for pod in &pods {
        let uid = pod["metadata"]["uid"].as_str().expect("a uid");
        let all = ["get", "pods", "-o", "jsonpath={.items[*].metadata.uid}"];
        cluster.until("the evicted pod to be gone", &all, |uids| !uids.contains(uid));
    }
    let done = until_condition(&cluster, "disrupted", "Complete");
    assert_eq!(
        (&done["succeeded"], &done["failed"]),
        (&json!(3), &Value::Null),
        "{done:#}"
    );
    assert_reason(&done, "Complete", "CompletionsReached");
    std::fs::remove_dir_all(format!("/tmp/job-e2e-{}", std::process::id())).expect("the directory of the pods");
}

#[test]
fn an_exit_code_fails_the_job_early() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    let fail = json!({"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}]});
    let spec = json!({"parallelism": 2, "completions": 4, "backoffLimit": 6, "podFailurePolicy": fail});
    create(&cluster, &job("early", spec, "Never", FAILS_ONCE));
    let failed = until_condition(&cluster, "early", "Failed");
    assert_reason(&failed, "Failed", "PodFailurePolicy");
    assert_eq!(condition(&failed, "Complete"), None);
}

#[test]
fn a_status_can_be_changed_by_others_and_keeps_their_conditions() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    create(
        &cluster,
        &job("told", json!({"parallelism": 2, "completions": 4}), "Never", STAYS),
    );
    until_running(&cluster, "told", 2);
    let condition = json!({"type": "CustomConditionType", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "", "message": ""});
    let patch = json!({"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"conditions": [condition]}});
    let patch = patch.to_string();
    let status_of = ["--subresource=status", "-o", "json"];
    let args = [&["patch", "job", "told", "--type=merge", "-p", &patch][..], &status_of].concat();
    let patched: Value = serde_json::from_str(&cluster.run(&args)).expect("JSON");
    assert_eq!(patched["status"]["conditions"][0]["type"], "CustomConditionType");
    assert_eq!(patched["metadata"]["annotations"]["patchedstatus"], "true");

    let mut replaced = patched;
    replaced["status"]["conditions"][0]["lastTransitionTime"] = "2026-01-02T00:00:00Z".into();
    replaced["metadata"]["resourceVersion"].take();
    let file = cluster.file("told-status.json", &replaced.to_string());
    cluster.run(&["replace", "--subresource=status", "-f", &file]);
    let now = cluster.json(&["get", "job", "told", "--subresource=status"]);
    assert_eq!(
        now["status"]["conditions"][0]["lastTransitionTime"],
        "2026-01-02T00:00:00Z"
    );
    assert_eq!(now["metadata"]["uid"], replaced["metadata"]["uid"]);
}

#[test]
fn an_indexed_job_gives_its_pods_indexes_and_host_names() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    create(
        &cluster,
        &indexed("numbered", json!({"parallelism": 2, "completions": 4}), "exit 0"),
    );
    let done = until_condition(&cluster, "numbered", "Complete");
    assert_reason(&done, "Complete", "CompletionsReached");
    assert_eq!(done["succeeded"], 4);
    let mut hosts: Vec<String> = Vec::new();
    for pod in pods(&cluster, "numbered") {
        assert_eq!(pod["status"]["phase"], "Succeeded");
        let index = &pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"];
        assert_eq!(
            pod["spec"]["hostname"],
            format!("numbered-{}", index.as_str().expect("an index"))
        );
        hosts.push(pod["spec"]["hostname"].as_str().expect("a host name").to_owned());
    }
    hosts.sort();
    assert_eq!(hosts, ["numbered-0", "numbered-1", "numbered-2", "numbered-3"]);
}

#[test]
fn a_deleted_job_takes_its_pods_along() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    create(
        &cluster,
        &job("gone", json!({"parallelism": 2, "completions": 4}), "Never", STAYS),
    );
    until_running(&cluster, "gone", 2);
    cluster.run(&["delete", "job", "gone", "--cascade=background"]);
    cluster.until("its pods to go", &["get", "pods", "-o", "name"], str::is_empty);
    assert!(cluster.fails(&["get", "job", "gone"]).contains("NotFound"));
}

#[test]
fn every_index_is_tried_although_some_fail() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    let spec = json!({"parallelism": 2, "completions": 4, "backoffLimitPerIndex": 1});
    create(&cluster, &indexed("some", spec, ODD_FAILS));
    let failed = until_condition(&cluster, "some", "Failed");
    assert_reason(&failed, "Failed", "FailedIndexes");
    assert_eq!(
        (&failed["failedIndexes"], &failed["completedIndexes"]),
        (&json!("1,3"), &json!("0,2"))
    );
    assert_eq!((&failed["failed"], &failed["succeeded"]), (&json!(4), &json!(2)));
}

#[test]
fn a_job_is_managed_through_its_life() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    let spec = json!({"parallelism": 2, "completions": 4, "suspend": true});
    let mut life = job("life", spec, "Never", "exit 0");
    life["metadata"]["labels"] = json!({"e2e-job-label": "life"});
    create(&cluster, &life);
    let version = |job: &Value| -> u64 {
        let text = job["metadata"]["resourceVersion"].as_str().expect("a version");
        text.parse().expect("a number")
    };
    let before = version(&cluster.json(&["get", "job", "life"]));
    let watch = [
        "get",
        "jobs",
        "-l",
        "e2e-job-label=life",
        "--watch",
        "--output-watch-events",
        "--no-headers",
    ];
    let watch = cluster.watch(&watch);
    watch.until("the Job to be seen", |text| text.contains("ADDED"));
    cluster.run(&[
        "patch",
        "job",
        "life",
        "-p",
        r#"{"metadata":{"labels":{"life":"patched"}}}"#,
    ]);
    watch.until("the patch to be seen", |text| text.contains("MODIFIED"));
    let mut now = cluster.json(&["get", "job", "life"]);
    assert!(version(&now) > before);
    now["spec"]["suspend"] = false.into();
    now["metadata"]["annotations"] = json!({"updated": "true"});
    now["metadata"]["resourceVersion"].take();
    let file = cluster.file("life-now.json", &now.to_string());
    cluster.run(&["replace", "-f", &file]);
    let everywhere = ["get", "jobs", "-A", "-l", "e2e-job-label=life", "-o", "name"];
    assert_eq!(cluster.run(&everywhere).lines().count(), 1);
    assert_eq!(until_condition(&cluster, "life", "Complete")["succeeded"], 4);
    cluster.run(&["delete", "jobs", "-l", "e2e-job-label=life"]);
    watch.until("the end to be seen", |text| text.contains("DELETED"));
    assert_eq!(cluster.run(&everywhere), "");
}

#[test]
fn a_rule_fails_one_index_at_once() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    let fail = json!({"rules": [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1]}}]});
    let spec = json!({"parallelism": 2, "completions": 2, "backoffLimitPerIndex": 1, "podFailurePolicy": fail});
    create(&cluster, &indexed("index", spec, ODD_FAILS));
    let failed = until_condition(&cluster, "index", "Failed");
    assert_eq!(
        (&failed["failedIndexes"], &failed["completedIndexes"]),
        (&json!("1"), &json!("0"))
    );
    assert_eq!((&failed["failed"], &failed["succeeded"]), (&json!(1), &json!(1)));
}

#[test]
fn containers_that_fail_restart_in_their_pods() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    let spec = json!({"parallelism": 2, "completions": 4, "backoffLimit": 6});
    create(&cluster, &job("local", spec, "OnFailure", FAILS_ONCE));
    let done = until_condition(&cluster, "local", "Complete");
    assert_reason(&done, "Complete", "CompletionsReached");
    assert_eq!(done["succeeded"], 4);
    for pod in pods(&cluster, "local") {
        assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 1);
    }
}

#[test]
fn too_many_failed_indexes_end_the_job() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    let spec = json!({"parallelism": 1, "completions": 4, "backoffLimitPerIndex": 0, "maxFailedIndexes": 0});
    create(&cluster, &indexed("few", spec, "exit 1"));
    let failed = until_condition(&cluster, "few", "Failed");
    assert_reason(&failed, "Failed", "MaxFailedIndexesExceeded");
    assert_eq!((&failed["failedIndexes"], &failed["failed"]), (&json!("0"), &json!(1)));
    assert_eq!(pods(&cluster, "few").len(), 1, "no second pod was started");
}

#[test]
fn success_of_all_indexes_can_be_the_policy_and_an_image_has_a_command_of_its_own() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    let spec = json!({"parallelism": 2, "completions": 2, "successPolicy": {"rules": [{"succeededCount": 2}]}});
    let mut all = indexed("all", spec, "");
    let container = &mut all["spec"]["template"]["spec"]["containers"][0];
    container.as_object_mut().expect("a container").remove("command");
    create(&cluster, &all);
    let done = until_condition(&cluster, "all", "Complete");
    assert_reason(&done, "SuccessCriteriaMet", "SuccessPolicy");
    assert_reason(&done, "Complete", "SuccessPolicy");
    assert_eq!((&done["succeeded"], &done["failed"]), (&json!(2), &Value::Null));
    assert_nothing_is_left(&done);
}

#[test]
fn enough_indexes_end_the_job_with_success() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    let by_rule = |name: &str, rule: Value| {
        let policy = json!({"rules": [rule]});
        let spec = json!({"parallelism": 2, "completions": 5, "backoffLimit": i32::MAX, "successPolicy": policy});
        create(&cluster, &indexed(name, spec, ODD_FAILS));
    };
    by_rule("count", json!({"succeededCount": 1}));
    by_rule("listed", json!({"succeededIndexes": "0"}));
    for name in ["count", "listed"] {
        let done = until_condition(&cluster, name, "Complete");
        assert_reason(&done, "SuccessCriteriaMet", "SuccessPolicy");
        assert_eq!(
            (&done["succeeded"], &done["completedIndexes"]),
            (&json!(1), &json!("0")),
            "{done:#}"
        );
        assert_nothing_is_left(&done);
    }
}

#[test]
fn a_terminating_pod_is_replaced_only_when_it_has_failed_if_the_job_wants_it_so() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    let spec = json!({"parallelism": 1, "completions": 1, "backoffLimit": 2, "podReplacementPolicy": "Failed"});
    let script = "trap 'sleep 5; exit 143' TERM; while true; do sleep 1; done";
    let mut slow = job("slow", spec, "Never", script);
    slow["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 30.into();
    create(&cluster, &slow);
    let pod = until_running(&cluster, "slow", 1).remove(0);
    cluster.run(&["delete", "pod", name(&pod), "--wait=false"]);
    let told = [
        "get",
        "job",
        "slow",
        "-o",
        "jsonpath={.status.active},{.status.failed},{.status.terminating}",
    ];
    cluster.until("the pod to be terminating", &told, |told| told == ",,1");
    let most = Duration::from_secs(60);
    cluster.until_within(most, "its replacement", &told, |told| told == "1,1,0");
}
