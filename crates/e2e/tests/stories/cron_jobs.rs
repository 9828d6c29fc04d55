//! CronJobs: a Job at each minute, and what concurrency, history, suspension and hand-made runs do.
//!
//! Everything that needs a minute to pass waits for the same minutes: one cluster, all CronJobs at once.

use std::time::Duration;

use rota_e2e::{Cluster, Image, manifest, manifest_text};
use serde_json::Value;

/// Longest wait for something that happens at the second minute from now.
const TWO_MINUTES: Duration = Duration::from_secs(170);

/// A CronJob of busybox that runs each minute.
fn every_minute(name: &str, spec: &str, script: &str) -> String {
    format!(
        r#"{{"apiVersion":"batch/v1","kind":"CronJob","metadata":{{"name":"{name}"}},"spec":{{"schedule":"* * * * *",{spec}
        "jobTemplate":{{"spec":{{"template":{{"spec":{{"restartPolicy":"Never","terminationGracePeriodSeconds":0,
        "containers":[{{"name":"main","image":"busybox","command":["sh","-c","{script}"]}}]}}}}}}}}}}}}"#
    )
}

/// A Job that a CronJob made: its name, and whether it has ended.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Made {
    name: String,
    has_ended: bool,
}

/// The Jobs that `owner` made and that are not being deleted, by name.
fn made_by(cluster: &Cluster, owner: &str) -> Vec<Made> {
    let jobs = cluster.json(&["get", "jobs"]);
    let jobs = jobs["items"].as_array().expect("a list").iter();
    let is_of = |job: &&Value| {
        job["metadata"]["ownerReferences"][0]["name"] == owner && job["metadata"]["deletionTimestamp"].is_null()
    };
    let mut made: Vec<Made> = jobs
        .filter(is_of)
        .map(|job| Made {
            name: job["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            has_ended: !job["status"]["completionTime"].is_null(),
        })
        .collect();
    made.sort();
    made
}

/// Waits until `is_so` of the Jobs of `owner`; gives them.
fn until_made(cluster: &Cluster, owner: &str, what: &str, is_so: impl Fn(&[Made]) -> bool) -> Vec<Made> {
    let what = format!("{owner}: {what}");
    cluster.until_within(TWO_MINUTES, &what, &["get", "jobs"], |_| {
        is_so(&made_by(cluster, owner))
    });
    made_by(cluster, owner)
}

#[test]
fn minutes_bring_jobs_as_each_policy_says() {
    let cluster = Cluster::start(&["--nodes", "2"], &[Image::Busybox, Image::Init]);
    cluster.apply(&manifest("001-cronjob-cron-job.yaml"));
    cluster.apply(&manifest("003-cronjob-testapp-cron.yaml"));
    let own = [
        every_minute("allow", "", "sleep 1000"),
        every_minute("forbid", r#""concurrencyPolicy":"Forbid","#, "sleep 1000"),
        every_minute("replace", r#""concurrencyPolicy":"Replace","#, "sleep 1000"),
        every_minute("forgets", r#""successfulJobsHistoryLimit":0,"#, "true"),
        every_minute("remembers-one", r#""successfulJobsHistoryLimit":1,"#, "true"),
        every_minute("suspended", r#""suspend":true,"#, "true"),
        every_minute("seoul", r#""timeZone":"Asia/Seoul","#, "true"),
    ];
    for (index, text) in own.iter().enumerate() {
        cluster.apply_text(&format!("own-{index}"), text);
    }

    // The first minute.
    let replaced = until_made(&cluster, "replace", "a job", |made| !made.is_empty());
    let first = until_made(&cluster, "remembers-one", "a finished job", |made| {
        made.iter().any(|job| job.has_ended)
    });
    for owner in ["cron-job", "seoul", "testapp-cron"] {
        until_made(&cluster, owner, "a finished job", |made| {
            made.iter().any(|job| job.has_ended)
        });
    }
    let jobs = cluster.run(&["get", "jobs", "-o", "name"]);
    let minute = first[0].name.trim_start_matches("remembers-one-");
    assert!(
        jobs.contains(&format!("job.batch/cron-job-{minute}\n")),
        "named for minutes since 1970\n{jobs}"
    );

    // The second.
    until_made(&cluster, "allow", "two at once", |made| {
        made.len() == 2 && made.iter().all(|job| !job.has_ended)
    });
    let replacing = until_made(&cluster, "replace", "another job", |made| {
        made.len() == 1 && made != replaced
    });
    assert_ne!(replacing[0].name, replaced[0].name);
    until_made(&cluster, "remembers-one", "only the later", |made| {
        made.len() == 1 && made[0].has_ended && made[0].name != first[0].name
    });
    assert_eq!(
        made_by(&cluster, "forbid").len(),
        1,
        "the second is refused while the first runs"
    );
    until_made(&cluster, "forgets", "nothing kept", <[Made]>::is_empty);
    assert_eq!(made_by(&cluster, "suspended"), []);

    let row = cluster.run(&["get", "cronjobs.batch", "forbid", "--no-headers"]);
    assert!(
        row.starts_with("forbid") && row.contains("* * * * *") && row.contains("False"),
        "{row}"
    );
    let events = cluster.run(&["get", "events", "--field-selector", "involvedObject.name=forbid"]);
    assert!(events.contains("JobAlreadyActive"), "{events}");

    // When the first of "forbid" ends, the refused one follows at once.
    let running = made_by(&cluster, "forbid").remove(0).name;
    cluster.run(&["delete", "job", &running]);
    until_made(&cluster, "forbid", "the refused one", |made| {
        made.len() == 1 && made[0].name != running
    });

    let deleted = cluster.run(&["delete", "cronjobs.batch", "--all"]);
    assert!(deleted.contains("cronjob.batch \"testapp-cron\" deleted"), "{deleted}");
    cluster.until(
        "jobs and pods to go",
        &["get", "jobs,pods", "-o", "name"],
        str::is_empty,
    );
}

#[test]
fn a_cron_job_is_suspended_by_a_patch_and_run_by_hand() {
    let cluster = Cluster::start(&[], &[Image::BackupTool]);
    cluster.apply(&manifest("004-cronjob-db-backup.yaml"));
    let quoted = manifest_text("004-fragment-4.yaml").replace("\n> ", "\n");
    let zone = quoted.trim_start_matches("> ").trim_end_matches(['>', '\n', ' ']);
    cluster.run(&["patch", "cronjob", "db-backup", "-p", zone]);
    cluster.run(&["patch", "cronjob", "db-backup", "-p", r#"{"spec":{"suspend":true}}"#]);
    let path = "jsonpath={.spec.suspend} {.spec.timeZone} {.spec.schedule}";
    assert_eq!(
        cluster.run(&["get", "cronjob", "db-backup", "-o", path]),
        "true Asia/Seoul 0 3 * * *"
    );
    let created = cluster.run(&["create", "job", &cluster.from_cron_job("db-backup"), "manual-backup"]);
    assert_eq!(created, "job.batch/manual-backup created\n");
    cluster.run(&["wait", "--for=condition=complete", "job/manual-backup", "--timeout=90s"]);
    assert_eq!(cluster.run(&["logs", "job/manual-backup"]), "backup written\n");
    let path =
        r"jsonpath={.metadata.annotations.cronjob\.kubernetes\.io/instantiate} {.metadata.ownerReferences[0].name}";
    assert_eq!(
        cluster.run(&["get", "job", "manual-backup", "-o", path]),
        "manual db-backup"
    );
}
