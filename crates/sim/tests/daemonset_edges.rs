//! The numbered edge cases of DaemonSets that need a server or a scheduler, and the list of tests that show all of them.

use rota_api::{DeleteOptions, Write, resource};
use rota_reconcile::Controller;
use rota_reconcile::daemonset::DaemonSetController;
use rota_sim::{Cluster, Mode};
use serde_json::{Value, json};

/// How many cases the specification numbers.
const CASES: usize = 77;

fn controllers() -> Vec<Box<dyn Controller>> {
    vec![Box::new(DaemonSetController::default())]
}

fn cluster(nodes: usize) -> Cluster {
    let mut cluster = Cluster::new(controllers, "2026-01-01T00:00:00Z".parse().expect("a time"));
    cluster.mode = Mode::Transaction;
    for at in 0..nodes {
        add_node(&mut cluster, &format!("n{at:03}"), "4");
    }
    cluster
}

fn add_node(cluster: &mut Cluster, name: &str, cpu: &str) {
    cluster
        .create(resource::NODES, json!({"metadata": {"name": name}}))
        .expect("a node");
    let allocatable = json!({"status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "10"}}});
    cluster
        .write(&Write::merge_status(resource::NODES, "", name, allocatable))
        .expect("its status");
}

fn create_set(cluster: &mut Cluster) {
    let container = json!({"name": "c", "image": "app:1", "resources": {"requests": {"cpu": "2"}}});
    let template = json!({"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [container]}});
    let spec = json!({"selector": {"matchLabels": {"app": "d"}}, "template": template});
    let set = json!({"metadata": {"namespace": "ns", "name": "d"}, "spec": spec});
    cluster.create(resource::DAEMON_SETS, set).expect("a DaemonSet");
}

fn status(cluster: &Cluster) -> Value {
    let set = cluster
        .api
        .get(resource::DAEMON_SETS, "ns", "d")
        .expect("the DaemonSet");
    set.to_value()["status"].take()
}

fn count(cluster: &Cluster, reason: &str) -> u64 {
    let told = cluster.record.events.iter().filter(|(event, _)| event.reason == reason);
    told.map(|(_, count)| count).sum()
}

fn with_quota(pods: u32) -> Cluster {
    let mut cluster = cluster(100);
    let quota = json!({"metadata": {"namespace": "ns", "name": "q"}, "spec": {"hard": {"pods": pods.to_string()}}});
    cluster.create(resource::RESOURCE_QUOTAS, quota).expect("a quota");
    create_set(&mut cluster);
    cluster.run_for(0.0);
    cluster
}

#[test]
fn a_quota_that_admits_ten_pods_of_a_hundred_costs_few_requests_and_is_told_in_the_status() {
    let mut cluster = with_quota(10);
    assert_eq!(cluster.api.all(resource::PODS).count(), 10);
    let (created, refused) = (count(&cluster, "SuccessfulCreate"), count(&cluster, "FailedCreate"));
    assert_eq!(created, 10);
    // Batches of 1, 2, 4 and 8, the last in part; then one creation is tried for each change that is seen meanwhile.
    assert!((5..10).contains(&refused), "{refused}");
    cluster.run_for(1.5);
    let status = status(&cluster);
    assert_eq!(status["desiredNumberScheduled"], 100);
    assert_eq!(status["currentNumberScheduled"], 10);
    assert_eq!(status["updatedNumberScheduled"], 10);
}

#[test]
fn when_the_quota_goes_the_missing_pods_come_at_the_next_try() {
    let mut cluster = with_quota(10);
    let gone = Write::delete(resource::RESOURCE_QUOTAS, "ns", "q", DeleteOptions::default());
    cluster.write(&gone).expect("the quota goes");
    let took = cluster.run_until(10.0, |cluster| cluster.api.all(resource::PODS).count() == 100);
    assert!(took.is_some_and(|secs| secs <= 1.0), "{took:?}");
}

#[test]
fn five_new_pods_are_in_the_status_in_the_moment_they_are_created() {
    let mut cluster = cluster(5);
    create_set(&mut cluster);
    cluster.run_for(0.0);
    assert_eq!(status(&cluster)["currentNumberScheduled"], 5);
}

#[test]
fn a_node_that_is_too_small_keeps_its_pod_waiting_and_one_with_room_runs_it() {
    let mut cluster = cluster(0);
    add_node(&mut cluster, "small", "1");
    create_set(&mut cluster);
    cluster.run_for(5.0);
    add_node(&mut cluster, "large", "4");
    cluster.run_for(5.0);
    let pods: Vec<_> = cluster.api.all(resource::PODS).map(|pod| pod.to_value()).collect();
    let (bound, waiting): (Vec<_>, Vec<_>) = pods.iter().partition(|pod| pod["spec"]["nodeName"] == "large");
    assert_eq!((bound.len(), waiting.len()), (1, 1));
    assert_eq!(waiting[0]["status"]["conditions"][0]["reason"], "Unschedulable");
}

#[test]
fn every_numbered_case_has_a_test_that_exists() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut shown = Vec::new();
    for line in include_str!("data/daemonset-edge-cases.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let [number, file, test] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("not a number, a file and a test: {line}");
        };
        shown.push(number.parse::<usize>().expect("a number"));
        let text = std::fs::read_to_string(format!("{root}/{file}")).unwrap_or_else(|error| panic!("{file}: {error}"));
        let head = format!("fn {test}() {{");
        let mut tests = text.split("#[test]").skip(1);
        assert!(
            tests.any(|test| test.trim_start().starts_with(&head)),
            "case {number}: {file} has no test {test}"
        );
    }
    assert_eq!(shown, (1..=CASES).collect::<Vec<_>>());
}
