//! Jobs: run to completion, one after another or side by side, and what ends them early.

use rota_e2e::{Cluster, Image, Interval, manifest, most_at_once};
use serde_json::Value;

/// A Job of busybox: the fields of its spec and its script.
fn job(name: &str, spec: &str, restart_policy: &str, script: &str) -> String {
    format!(
        r#"{{"apiVersion":"batch/v1","kind":"Job","metadata":{{"name":"{name}"}},"spec":{{{spec}"template":{{"spec":{{
        "restartPolicy":"{restart_policy}","terminationGracePeriodSeconds":1,
        "containers":[{{"name":"main","image":"busybox","command":["sh","-c","{script}"]}}]}}}}}}}}"#
    )
}

fn pods_of(cluster: &Cluster, job: &str) -> Value {
    cluster.json(&["get", "pods", "-l", &format!("job-name={job}")])
}

/// Waits for a condition of a Job.
fn until_condition(cluster: &Cluster, job: &str, condition: &str) -> Value {
    let path = format!(r#"jsonpath={{.status.conditions[?(@.type=="{condition}")].status}}"#);
    let what = format!("job {job} to be {condition}");
    cluster.until(&what, &["get", "job", job, "-o", &path], |status| status == "True");
    cluster.json(&["get", "job", job])
}

fn runs_of(cluster: &Cluster, job: &str) -> Vec<Interval> {
    Interval::of_pods(&pods_of(cluster, job))
}

#[test]
fn a_job_is_created_runs_and_completes_and_its_pod_and_log_stay() {
    let cluster = Cluster::start(&[], &[Image::Busybox, Image::MyApp]);
    let pods = cluster.watch(&["get", "pods", "--watch"]);
    let jobs = cluster.watch(&["get", "jobs", "--watch"]);
    let applied = cluster.apply(&manifest("004-job-db-migration.yaml"));
    assert_eq!(applied, "job.batch/db-migration created\n");
    let done = until_condition(&cluster, "db-migration", "Complete");
    assert_eq!(done["status"]["succeeded"], 1);

    let text = pods.until("the pod to complete", |text| text.contains("Completed"));
    let at = |state: &str| {
        text.find(state)
            .unwrap_or_else(|| panic!("{state} never seen in\n{text}"))
    };
    assert!(
        at("ContainerCreating") < at("Running") && at("Running") < at("Completed"),
        "{text}"
    );
    let text = jobs.until("the job to complete", |text| text.contains("1/1"));
    assert!(text.find("0/1") < text.find("1/1"), "{text}");

    assert_eq!(
        cluster.run(&["logs", "job/db-migration"]),
        "running migrate.py\nmigrated\n"
    );
    let row = cluster.run(&["get", "pods", "-l", "job-name=db-migration", "--no-headers"]);
    let columns: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(columns[1..4], ["0/1", "Completed", "0"], "{row}");
    let row = cluster.run(&["get", "job", "db-migration", "--no-headers"]);
    assert!(row.contains("Complete") && row.contains("1/1"), "{row}");
    let duration = row.split_whitespace().nth(3).unwrap_or_default().trim_end_matches('s');
    assert!((2..30).contains(&duration.parse().unwrap_or(0)), "{row}");
}

#[test]
fn one_pod_after_another_makes_the_completions() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    cluster.apply(&manifest("003-job-testapp-job.yaml"));
    cluster.apply(&manifest("003-job-testapp-job-comp.yaml"));
    until_condition(&cluster, "testapp-job", "Complete");
    until_condition(&cluster, "testapp-job-comp", "Complete");
    assert_eq!(runs_of(&cluster, "testapp-job").len(), 1);
    let runs = runs_of(&cluster, "testapp-job-comp");
    assert_eq!((runs.len(), most_at_once(&runs)), (3, 1), "{runs:?}");
    let labels = cluster.run(&[
        "get",
        "pods",
        "-l",
        "job-name=testapp-job-comp",
        "--show-labels",
        "--no-headers",
    ]);
    assert!(
        labels
            .lines()
            .all(|row| row.contains("app=testapp-job,") && row.contains(",controller-uid=")),
        "{labels}"
    );
}

#[test]
fn parallelism_says_how_many_run_at_once() {
    let cluster = Cluster::start(&["--nodes", "2"], &[Image::Busybox, Image::Init, Image::BatchWorker]);
    let jobs = [
        ("testapp-job-para", "003-job-testapp-job-para.yaml", 3, 2),
        ("job-1", "001-job-job-1.yaml", 6, 2),
        ("batch-process", "004-job-batch-process.yaml", 10, 3),
    ];
    for (_, file, _, _) in jobs {
        cluster.apply(&manifest(file));
    }
    for (name, _, completions, parallelism) in jobs {
        let job = until_condition(&cluster, name, "Complete");
        assert_eq!(job["status"]["succeeded"], completions, "{name}");
        let runs = runs_of(&cluster, name);
        assert_eq!(
            (runs.len(), most_at_once(&runs)),
            (completions, parallelism),
            "{name}: {runs:?}"
        );
    }
}

#[test]
fn a_deadline_stops_a_hanging_job_and_its_running_pods() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    let hang = job(
        "hang",
        r#""activeDeadlineSeconds":10,"parallelism":2,"#,
        "Never",
        "sleep 1000",
    );
    cluster.apply_text("hang", &hang);
    cluster.until("two running pods", &["get", "pods", "--no-headers"], |pods| {
        pods.matches("Running").count() == 2
    });
    let failed = until_condition(&cluster, "hang", "Failed");
    let condition = &failed["status"]["conditions"]
        .as_array()
        .expect("conditions")
        .last()
        .expect("one")["reason"];
    assert_eq!(condition, "DeadlineExceeded");
    assert_eq!(failed["status"]["active"], Value::Null);
    cluster.until("the pods to go", &["get", "pods", "-o", "name"], str::is_empty);
}

#[test]
fn never_makes_new_pods_until_the_backoff_limit_ends_the_job() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    cluster.apply_text(
        "fails",
        &job("fails", r#""backoffLimit":1,"#, "Never", "echo no; exit 3"),
    );
    let failed = until_condition(&cluster, "fails", "Failed");
    let last = &failed["status"]["conditions"]
        .as_array()
        .expect("conditions")
        .last()
        .expect("one")["reason"];
    assert_eq!(
        (last, &failed["status"]["failed"]),
        (&"BackoffLimitExceeded".into(), &2.into())
    );
    let rows = cluster.run(&["get", "pods", "--no-headers"]);
    assert_eq!(rows.lines().filter(|row| row.contains("Error")).count(), 2, "{rows}");
    let pods = pods_of(&cluster, "fails");
    let name = pods["items"][0]["metadata"]["name"].as_str().expect("a name");
    assert_eq!(cluster.run(&["logs", name]), "no\n");
}

#[test]
fn on_failure_restarts_the_container_in_the_same_pod() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    let once = r#""backoffLimit":4,"#;
    let manifest = job(
        "retry",
        once,
        "OnFailure",
        "test -e /state/tried && exit 0; touch /state/tried; echo first; exit 1",
    );
    let mut manifest: Value = serde_json::from_str(&manifest).expect("JSON");
    let spec = &mut manifest["spec"]["template"]["spec"];
    spec["volumes"] = serde_json::json!([{ "name": "state", "emptyDir": {} }]);
    spec["containers"][0]["volumeMounts"] = serde_json::json!([{ "name": "state", "mountPath": "/state" }]);
    cluster.apply_text("retry", &manifest.to_string());
    until_condition(&cluster, "retry", "Complete");
    let pods = pods_of(&cluster, "retry");
    let pods = pods["items"].as_array().expect("a list");
    assert_eq!(pods.len(), 1);
    assert_eq!(pods[0]["status"]["containerStatuses"][0]["restartCount"], 1);
    let name = pods[0]["metadata"]["name"].as_str().expect("a name");
    assert_eq!(cluster.run(&["logs", "--previous", name]), "first\n");
}

#[test]
fn a_job_that_restarts_always_is_refused() {
    let cluster = Cluster::start(&[], &[]);
    let file = cluster.file("always.yaml", &job("always", "", "Always", "true"));
    assert_eq!(
        cluster.fails(&["create", "-f", &file]),
        "The Job \"always\" is invalid: spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"\n"
    );
}

#[test]
fn a_finished_job_is_removed_when_its_time_to_live_is_over() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    cluster.apply_text(
        "brief",
        &job("brief", r#""ttlSecondsAfterFinished":1,"#, "Never", "true"),
    );
    cluster.until("the job to go", &["get", "jobs", "-o", "name"], str::is_empty);
    cluster.until("its pod to go", &["get", "pods", "-o", "name"], str::is_empty);
}
