//! The commands that people type, and the shape of what they see.

use rota_e2e::{Cluster, Image, manifest};

/// The cells of a row whose columns are two or more blanks apart.
fn cells(row: &str) -> Vec<&str> {
    row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

/// The heading of a table must be `heading`, and it must have `rows` rows.
fn check_table(table: &str, heading: &[&str], rows: usize) {
    let mut lines = table.lines();
    let first = lines.next().unwrap_or_default();
    assert_eq!((cells(first), lines.count()), (heading.to_vec(), rows), "{table}");
}

/// Every one of `lines` must begin a line of `text`, in this order, whatever stands between.
fn check_lines(text: &str, lines: &[&str]) {
    let mut rest = text.lines();
    for wanted in lines {
        assert!(
            rest.any(|line| line.trim_start().starts_with(wanted)),
            "{wanted:?} is missing in\n{text}"
        );
    }
}

const DAEMON_SET: [&str; 8] = [
    "NAME",
    "DESIRED",
    "CURRENT",
    "READY",
    "UP-TO-DATE",
    "AVAILABLE",
    "NODE SELECTOR",
    "AGE",
];
const PODS: [&str; 5] = ["NAME", "READY", "STATUS", "RESTARTS", "AGE"];
const JOBS: [&str; 5] = ["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"];
const CRON_JOBS: [&str; 7] = [
    "NAME",
    "SCHEDULE",
    "TIMEZONE",
    "SUSPEND",
    "ACTIVE",
    "LAST SCHEDULE",
    "AGE",
];

#[test]
fn commands_about_daemon_sets_show_what_they_always_showed() {
    let cluster = Cluster::start(&[], &[Image::Fluentd]);
    let created = cluster.apply(&manifest("004-daemonset-fluentd.yaml"));
    assert_eq!(created, "daemonset.apps/fluentd created\n");
    let status = cluster.run(&["rollout", "status", "daemonset", "fluentd", "--timeout=90s"]);
    assert!(
        status.ends_with("daemon set \"fluentd\" successfully rolled out\n"),
        "{status}"
    );
    let table = cluster.run(&["get", "daemonset"]);
    check_table(&table, &DAEMON_SET, 1);
    let row: Vec<&str> = table.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!(row[..7], ["fluentd", "1", "1", "1", "1", "1", "<none>"], "{table}");
    check_table(&cluster.run(&["get", "daemonsets.apps"]), &DAEMON_SET, 1);
    check_table(&cluster.run(&["get", "pods"]), &PODS, 1);
    let labelled = [&PODS[..], &["LABELS"]].concat();
    check_table(&cluster.run(&["get", "pods", "--show-labels"]), &labelled, 1);
    check_table(
        &cluster.run(&["get", "nodes"]),
        &["NAME", "STATUS", "ROLES", "AGE", "VERSION"],
        1,
    );
    let nodes = cluster.run(&["get", "nodes", "--show-labels"]);
    assert!(nodes.contains("kubernetes.io/hostname="), "{nodes}");
    check_lines(
        &cluster.run(&["describe", "daemonset", "fluentd"]),
        &[
            "Name:",
            "Selector:",
            "Node-Selector:",
            "Labels:",
            "Desired Number of Nodes Scheduled: 1",
            "Current Number of Nodes Scheduled: 1",
            "Number of Nodes Scheduled with Up-to-date Pods: 1",
            "Number of Nodes Scheduled with Available Pods: 1",
            "Number of Nodes Misscheduled: 0",
            "Pods Status:",
            "Pod Template:",
            "fluentd:",
            "/var/lib/docker/containers from containers (ro)",
            "/var/log from varlog (rw)",
            "Volumes:",
            "Events:",
            "Normal  SuccessfulCreate",
        ],
    );
    let deleted = cluster.run(&["delete", "daemonsets.apps", "fluentd"]);
    assert!(deleted.starts_with("daemonset.apps \"fluentd\" deleted"), "{deleted}");
}

#[test]
fn commands_about_jobs_show_what_they_always_showed() {
    let cluster = Cluster::start(&[], &[Image::MyApp]);
    cluster.apply(&manifest("004-job-db-migration.yaml"));
    check_table(&cluster.run(&["get", "jobs"]), &JOBS, 1);
    check_table(&cluster.run(&["get", "jobs.batch"]), &JOBS, 1);
    cluster.run(&["wait", "--for=condition=complete", "job/db-migration", "--timeout=90s"]);
    check_lines(
        &cluster.run(&["describe", "job", "db-migration"]),
        &[
            "Name:",
            "Namespace:",
            "Selector:",
            "Labels:",
            "Parallelism:",
            "Completions:",
            "Start Time:",
            "Completed At:",
            "Duration:",
            "Pods Statuses:",
            "Pod Template:",
            "migration:",
            "python",
            "migrate.py",
            "Events:",
            "Normal  SuccessfulCreate",
            "Normal  Completed",
        ],
    );
    assert_eq!(
        cluster.run(&["logs", "job/db-migration"]),
        "running migrate.py\nmigrated\n"
    );
    let labelled = [&JOBS[..], &["LABELS"]].concat();
    check_table(&cluster.run(&["get", "jobs", "--show-labels"]), &labelled, 1);
    let deleted = cluster.run(&["delete", "job", "db-migration"]);
    assert!(deleted.starts_with("job.batch \"db-migration\" deleted"), "{deleted}");
    cluster.until("its pod to go", &["get", "pods", "-o", "name"], str::is_empty);
}

#[test]
fn commands_about_cron_jobs_show_what_they_always_showed() {
    let cluster = Cluster::start(&[], &[]);
    cluster.apply(&manifest("004-cronjob-db-backup.yaml"));
    let table = cluster.run(&["get", "cronjobs"]);
    check_table(&table, &CRON_JOBS, 1);
    let row = cells(table.lines().nth(1).unwrap_or_default());
    assert_eq!(
        row[..6],
        ["db-backup", "0 3 * * *", "<none>", "False", "0", "<none>"],
        "{table}"
    );
    check_lines(
        &cluster.run(&["describe", "cronjob", "db-backup"]),
        &[
            "Name:",
            "Schedule:",
            "Concurrency Policy:",
            "Suspend:",
            "Successful Job History Limit:",
            "Failed Job History Limit:",
            "Starting Deadline Seconds:",
            "Pod Template:",
            "backup:",
            "./backup.sh",
            "Last Schedule Time:",
            "Active Jobs:",
            "Events:",
        ],
    );
    let patched = cluster.run(&["patch", "cronjob", "db-backup", "-p", r#"{"spec":{"suspend":true}}"#]);
    assert_eq!(patched, "cronjob.batch/db-backup patched\n");
    let created = cluster.run(&["create", "job", &cluster.from_cron_job("db-backup"), "manual-backup"]);
    assert_eq!(created, "job.batch/manual-backup created\n");
    let deleted = cluster.run(&["delete", "cronjobs.batch", "--all"]);
    assert!(deleted.starts_with("cronjob.batch \"db-backup\" deleted"), "{deleted}");
}
