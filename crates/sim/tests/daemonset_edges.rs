//! The numbered edge cases of DaemonSets that need a server or a scheduler.

use rota_api::{ApiError, Change, DeleteOptions, Propagation, Write, resource};
use rota_reconcile::Controller;
use rota_reconcile::daemonset::DaemonSetController;
use rota_sim::{Cluster, Mode};
use serde_json::{Value, json};

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
    create_set_of(cluster, json!({}));
}

/// A DaemonSet whose pods ask for two CPUs and have these fields in their spec.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the caller writes the value where it is used"
)]
fn create_set_of(cluster: &mut Cluster, pod_spec: Value) {
    let container = json!({"name": "c", "image": "app:1", "resources": {"requests": {"cpu": "2"}}});
    let mut template = json!({"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [container]}});
    for (field, value) in pod_spec.as_object().into_iter().flatten() {
        template["spec"][field] = value.clone();
    }
    let spec = json!({"selector": {"matchLabels": {"app": "d"}}, "template": template});
    let set = json!({"metadata": {"namespace": "ns", "name": "d"}, "spec": spec});
    cluster.create(resource::DAEMON_SETS, set).expect("a DaemonSet");
}

fn pods(cluster: &Cluster) -> Vec<Value> {
    cluster.api.all(resource::PODS).map(|pod| pod.to_value()).collect()
}

/// How many pods nobody has told to stop.
fn active(cluster: &Cluster) -> usize {
    let pods = cluster.api.all(resource::PODS);
    pods.filter(|pod| pod.meta().deleting.is_none()).count()
}

fn is_status(write: &Write) -> bool {
    matches!(&write.change, Change::Patch { subresource: Some("status"), patch, .. }
        if write.resource == resource::DAEMON_SETS && patch["status"]["desiredNumberScheduled"].is_number())
}

fn is_pod_creation(write: &Write) -> bool {
    write.resource == resource::PODS && matches!(write.change, Change::Create(_))
}

/// The server refuses the first so many creations of pods, and the first so many statuses.
fn refuse(cluster: &mut Cluster, mut pods: usize, mut statuses: usize) {
    cluster.api.policy = Some(Box::new(move |write| {
        let left = match write {
            write if is_pod_creation(write) => &mut pods,
            write if is_status(write) => &mut statuses,
            _ => return Ok(()),
        };
        if *left == 0 {
            return Ok(());
        }
        *left -= 1;
        Err(ApiError::internal("not now"))
    }));
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

/// A DaemonSet comes to a namespace with a quota.
fn with_quota(cluster: &mut Cluster, pods: u32) {
    let quota = json!({"metadata": {"namespace": "ns", "name": "q"}, "spec": {"hard": {"pods": pods.to_string()}}});
    cluster.create(resource::RESOURCE_QUOTAS, quota).expect("a quota");
    create_set(cluster);
    cluster.run_for(0.0);
}

#[test]
fn a_quota_that_admits_ten_pods_of_a_hundred_costs_few_requests_and_is_told_in_the_status() {
    let mut cluster = cluster(100);
    cluster.mode = Mode::Sequential;
    cluster.plans = Some(Vec::new());
    with_quota(&mut cluster, 10);
    assert_eq!(cluster.api.all(resource::PODS).count(), 10);
    let (created, refused) = (count(&cluster, "SuccessfulCreate"), count(&cluster, "FailedCreate"));
    assert_eq!(created, 10);
    // Batches of 1, 2, 4 and 8: of fifteen requests five are refused. Each plan that is made because something was seen
    // meanwhile costs one more.
    let creates = |plan: &rota_reconcile::Plan| plan.actions.iter().any(|action| is_pod_creation(&action.write));
    let plans = cluster.plans.take().expect("plans are kept");
    let plans = plans.iter().filter(|(_, plan)| creates(plan)).count() as u64;
    assert_eq!(refused, 5 + (plans - 1));
    cluster.run_for(1.5);
    let status = status(&cluster);
    assert_eq!(status["desiredNumberScheduled"], 100);
    assert_eq!(status["currentNumberScheduled"], 10);
    assert_eq!(status["updatedNumberScheduled"], 10);
    assert!(count(&cluster, "FailedCreate") > refused, "it is tried again");
}

#[test]
fn a_refused_pod_does_not_keep_the_status_from_being_written_nor_a_refused_status_the_pods() {
    for mode in [Mode::Sequential, Mode::Transaction] {
        // Pods refused, statuses refused.
        for (pods, statuses) in [(6, 0), (0, 1), (0, 3), (6, 3)] {
            let mut cluster = cluster(5);
            cluster.mode = mode;
            refuse(&mut cluster, pods, statuses);
            create_set(&mut cluster);
            cluster.run_for(0.0);
            if statuses == 0 {
                assert_eq!(status(&cluster)["desiredNumberScheduled"], 5, "{mode:?}");
                assert_eq!(status(&cluster)["currentNumberScheduled"], 0, "{mode:?}");
            }
            cluster.run_for(10.0);
            assert_eq!(cluster.record.created["DaemonSet/d"], 5, "{mode:?} {pods} {statuses}");
            assert_eq!(
                status(&cluster)["currentNumberScheduled"],
                5,
                "{mode:?} {pods} {statuses}"
            );
            assert_eq!(
                count(&cluster, "FailedCreate") > 0,
                pods > 0,
                "{mode:?} {pods} {statuses}"
            );
        }
    }
}

#[test]
fn when_the_quota_goes_the_missing_pods_come_at_the_next_try() {
    let mut cluster = cluster(100);
    with_quota(&mut cluster, 10);
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
    let first = pods(&cluster);
    assert_eq!(first.len(), 1);
    add_node(&mut cluster, "large", "4");
    cluster.run_for(5.0);
    let pods = pods(&cluster);
    let (bound, waiting): (Vec<_>, Vec<_>) = pods.iter().partition(|pod| pod["spec"]["nodeName"] == "large");
    assert_eq!((bound.len(), waiting.len()), (1, 1));
    assert_eq!(waiting[0]["status"]["conditions"][0]["reason"], "Unschedulable");
    assert_eq!(
        waiting[0]["metadata"]["uid"], first[0]["metadata"]["uid"],
        "it was not replaced"
    );
    // Nor is one that runs where there is no room any more.
    let shrunk = json!({"status": {"allocatable": {"cpu": "1"}}});
    cluster
        .write(&Write::merge_status(resource::NODES, "", "large", shrunk))
        .expect("a node's status");
    cluster.run_for(5.0);
    assert_eq!(self::pods(&cluster), pods);
}

#[test]
fn a_cordoned_node_without_a_network_gets_its_pod_if_that_brings_none_of_its_own() {
    for (host_network, bound) in [(true, 1), (false, 0)] {
        let mut cluster = cluster(1);
        let taint = |word: &str| json!({"key": format!("node.kubernetes.io/{word}"), "effect": "NoSchedule"});
        let taints = [taint("unschedulable"), taint("network-unavailable")];
        let cordoned = json!({"spec": {"unschedulable": true, "taints": taints}});
        let write = Write::merge(resource::NODES, "", "n000", cordoned);
        cluster.write(&write).expect("a node can be cordoned");
        create_set_of(&mut cluster, json!({"hostNetwork": host_network}));
        cluster.run_for(5.0);
        let nodes: Vec<Value> = pods(&cluster)
            .iter()
            .map(|pod| pod["spec"]["nodeName"].clone())
            .collect();
        assert_eq!(nodes, vec![json!("n000"); bound], "hostNetwork: {host_network}");
    }
}

/// The next change is not shown to the controllers before they list everything anew.
fn unseen(cluster: &mut Cluster, write: &Write) {
    cluster.hide = Some(cluster.shown + 1);
    cluster.write(write).expect("a change");
    assert!(cluster.hidden.is_some());
}

#[test]
fn a_set_that_is_being_deleted_unseen_adopts_nothing_and_creates_nothing() {
    for mode in [Mode::Sequential, Mode::Transaction] {
        let mut cluster = cluster(3);
        cluster.mode = mode;
        create_set(&mut cluster);
        let options = DeleteOptions {
            propagation: Some(Propagation::Foreground),
            ..DeleteOptions::default()
        };
        unseen(&mut cluster, &Write::delete(resource::DAEMON_SETS, "ns", "d", options));
        let orphan = json!({"metadata": {"namespace": "ns", "name": "orphan", "labels": {"app": "d"}},
                            "spec": {"nodeName": "n000", "containers": [{"name": "c", "image": "app:1"}]}});
        cluster.create(resource::PODS, orphan).expect("an orphan");
        cluster.run_for(5.0);
        let pods = pods(&cluster);
        assert_eq!(pods.len(), 1, "{mode:?}");
        assert_eq!(pods[0]["metadata"]["ownerReferences"], Value::Null, "{mode:?}");
    }
}

/// A revision with the labels of the DaemonSet that these own.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the caller writes the value where it is used"
)]
fn create_revision(cluster: &mut Cluster, name: &str, owners: Value) {
    let metadata = json!({"namespace": "ns", "name": name, "labels": {"app": "d"}, "ownerReferences": owners});
    let revision = json!({"metadata": metadata, "data": {"spec": {"template": {"name": name}}}, "revision": 1});
    cluster
        .create(resource::CONTROLLER_REVISIONS, revision)
        .expect("a revision");
}

fn owners(cluster: &Cluster, revision: &str) -> Vec<String> {
    let found = cluster.api.get(resource::CONTROLLER_REVISIONS, "ns", revision);
    let owners = &found.expect("a revision").meta().owners;
    owners.iter().map(|owner| owner.name.clone()).collect()
}

#[test]
fn a_revision_that_somebody_else_took_unseen_is_not_adopted_and_holds_nothing_up_for_good() {
    for mode in [Mode::Sequential, Mode::Transaction] {
        let mut cluster = cluster(3);
        cluster.mode = mode;
        create_revision(&mut cluster, "orphan", json!([]));
        create_set(&mut cluster);
        let other = cluster
            .create(
                resource::CONFIG_MAPS,
                json!({"metadata": {"namespace": "ns", "name": "other"}}),
            )
            .expect("an owner");
        let uid = &other.meta().uid;
        let other = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": uid, "controller": true}]);
        let taken = json!({"metadata": {"ownerReferences": other}});
        unseen(
            &mut cluster,
            &Write::merge(resource::CONTROLLER_REVISIONS, "ns", "orphan", taken),
        );
        cluster.run_for(1.0);
        let orphan = cluster.api.get(resource::CONTROLLER_REVISIONS, "ns", "orphan");
        let labels = &orphan.expect("a revision").meta().labels;
        assert_eq!(
            labels.get("controller-revision-hash"),
            None,
            "{mode:?}: it is not written to"
        );
        assert_eq!(owners(&cluster, "orphan"), ["other"], "{mode:?}");
        assert_eq!(
            active(&cluster),
            0,
            "{mode:?}: the refused adoption comes before everything else"
        );
        cluster.list_anew();
        cluster.run_for(5.0);
        assert_eq!(owners(&cluster, "orphan"), ["other"], "{mode:?}");
        assert_eq!(active(&cluster), 3, "{mode:?}");
    }
}

#[test]
fn a_revision_that_is_gone_or_free_already_need_not_be_let_go() {
    for mode in [Mode::Sequential, Mode::Transaction] {
        for is_gone in [true, false] {
            let mut cluster = cluster(3);
            cluster.mode = mode;
            create_set(&mut cluster);
            let uid = cluster
                .api
                .get(resource::DAEMON_SETS, "ns", "d")
                .expect("the DaemonSet")
                .meta()
                .uid
                .clone();
            let owner =
                json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": uid, "controller": true}]);
            create_revision(&mut cluster, "stray", owner);
            let relabelled = json!({"metadata": {"labels": {"app": "x"}}});
            let write = Write::merge(resource::CONTROLLER_REVISIONS, "ns", "stray", relabelled);
            cluster.write(&write).expect("a label");
            let write = if is_gone {
                Write::delete(resource::CONTROLLER_REVISIONS, "ns", "stray", DeleteOptions::default())
            } else {
                let free = json!({"metadata": {"ownerReferences": null}});
                Write::merge(resource::CONTROLLER_REVISIONS, "ns", "stray", free)
            };
            unseen(&mut cluster, &write);
            cluster.run_for(1.0);
            cluster.list_anew();
            cluster.run_for(1.0);
            assert_eq!(active(&cluster), 3, "{mode:?}");
            assert!(
                cluster.record.events.keys().all(|event| event.kind == "Normal"),
                "nobody is told of a trouble"
            );
        }
    }
}

/// Everything that runs is ready, what was told to stop is gone.
fn get_ready(cluster: &mut Cluster) {
    let now = rota_sim::api::seconds(cluster.now());
    let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": now});
    cluster.agents = Some(json!({"phase": "Running", "conditions": [ready]}));
    cluster.run_for(60.0);
    cluster.agents = None;
}

/// The spec of pods that tolerate these zones.
fn tolerating(zones: &[&str]) -> Value {
    let toleration = |zone: &&str| json!({"key": "zone", "operator": "Equal", "value": zone, "effect": "NoSchedule"});
    json!({"tolerations": zones.iter().map(toleration).collect::<Vec<_>>()})
}

#[test]
fn with_a_surge_pods_follow_the_tolerations_of_the_template_from_zone_to_zone() {
    for mode in [Mode::Sequential, Mode::Transaction] {
        let mut cluster = cluster(0);
        cluster.mode = mode;
        for zone in ["y", "z", "common"] {
            for at in 0..2 {
                let name = format!("{zone}{at}");
                add_node(&mut cluster, &name, "8");
                let taint = json!({"spec": {"taints": [{"key": "zone", "value": zone, "effect": "NoSchedule"}]}});
                cluster
                    .write(&Write::merge(resource::NODES, "", &name, taint))
                    .expect("a taint");
            }
        }
        create_set_of(&mut cluster, tolerating(&["y", "common"]));
        let surge = json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}}});
        cluster
            .write(&Write::merge(resource::DAEMON_SETS, "ns", "d", surge))
            .expect("a strategy");
        get_ready(&mut cluster);
        assert_eq!(active(&cluster), 4, "{mode:?}");
        // The zones that are tolerated next; how many pods there are before the new ones are ready, and in the end.
        let rows: [(&[&str], usize, usize); 3] = [
            // Two on new nodes, and one more beside an old one.
            (&["z", "common"], 4 + 2 + 1, 4),
            (&["y", "z", "common"], 4 + 2 + 1, 6),
            // Although none is driven off by its node.
            (&[], 0, 0),
        ];
        for (zones, before, after) in rows {
            let template = json!({"spec": {"template": {"spec": tolerating(zones)}}});
            cluster
                .write(&Write::merge(resource::DAEMON_SETS, "ns", "d", template))
                .expect("an update");
            cluster.run_for(1.0);
            assert_eq!(active(&cluster), before, "{mode:?} {zones:?}");
            get_ready(&mut cluster);
            assert_eq!(active(&cluster), after, "{mode:?} {zones:?}");
            let on: Vec<String> = cluster
                .api
                .all(resource::PODS)
                .map(|pod| pod.meta().node.clone())
                .collect();
            assert!(
                on.iter().all(|node| zones.iter().any(|zone| node.starts_with(zone))),
                "{mode:?} {on:?}"
            );
        }
    }
}
