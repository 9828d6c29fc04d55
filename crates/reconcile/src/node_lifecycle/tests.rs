use super::*;

use jiff::SignedDuration;
use rota_api::Change;

const START: &str = "2026-01-01T00:00:00Z";

fn at(secs: i64) -> Timestamp {
    let start: Timestamp = START.parse().expect("a time");
    start + SignedDuration::from_secs(secs)
}

/// A node whose conditions besides Ready are fine.
fn node(name: &str, ready: &str) -> Value {
    let condition = |type_, status| json!({"type": type_, "status": status, "lastHeartbeatTime": START});
    json!({
        "metadata": {"name": name, "uid": name, "creationTimestamp": START, "resourceVersion": "1"},
        "status": {"conditions": [
            condition("MemoryPressure", "False"), condition("DiskPressure", "False"), condition("PIDPressure", "False"),
            condition("Ready", ready),
        ]},
    })
}

/// A node that has not said anything.
fn mute(name: &str) -> Value {
    json!({"metadata": {"name": name, "uid": name, "creationTimestamp": START, "resourceVersion": "1"}})
}

fn lease(node: &str, renewed: i64) -> Value {
    let renewed = at(renewed).strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string();
    json!({"metadata": {"namespace": "kube-node-lease", "name": node, "uid": format!("lease-{node}")}, "spec": {"renewTime": renewed}})
}

fn pod(name: &str, ready: &str) -> Value {
    json!({"metadata": {"namespace": "d", "name": name, "uid": name}, "spec": {"nodeName": "n", "containers": []},
        "status": {"conditions": [{"type": "Ready", "status": ready}]}})
}

/// A picture, the controller that looks at it, and the latest revision.
struct Scene {
    world: World,
    controller: NodeLifecycleController,
    revision: u64,
}

impl Scene {
    fn new(nodes: &[Value]) -> Self {
        let mut scene = Self {
            world: World::watching(&WATCHED, &[zones::READINESS]),
            controller: NodeLifecycleController::default(),
            revision: 0,
        };
        for node in nodes {
            scene.apply(resource::NODES, node.clone());
        }
        scene
    }

    fn apply(&mut self, resource: &'static Resource, mut value: Value) -> Vec<Key> {
        self.revision += 1;
        value["metadata"]["resourceVersion"] = self.revision.to_string().into();
        let object = Arc::new(Object::from_value(resource, value));
        let change = self.world.apply(object).expect("news");
        self.controller.touched(&change, &self.world)
    }

    fn plan(&mut self, name: &str, secs: i64) -> Plan {
        self.controller.reconcile(&Key::new("", name), &self.world, at(secs))
    }

    /// Notes and wake-up times left out.
    #[track_caller]
    fn check_writes(&mut self, name: &str, secs: i64, expected: &[&str]) {
        let plan = self.plan(name, secs);
        let writes: Vec<_> = plan.actions.iter().map(|action| action.write.to_string()).collect();
        assert_eq!(writes, expected);
    }

    #[track_caller]
    fn check(&mut self, name: &str, secs: i64, expected: &[&str]) {
        let plan = self.plan(name, secs).explain();
        assert_eq!(plan.lines().collect::<Vec<_>>(), expected);
    }

    /// `key:effect` of the taints that the plan leaves the node with; `None`: it does not touch them.
    fn taints(&mut self, name: &str, secs: i64) -> Option<Vec<String>> {
        let plan = self.plan(name, secs);
        let mut patches = plan.actions.iter().filter_map(|action| match &action.write.change {
            Change::Patch { patch, .. } => patch["spec"].get("taints").cloned(),
            _ => None,
        });
        let taints = patches.next_back()?;
        let word = |taint: &Value, field: &str| taint[field].as_str().unwrap_or_default().to_owned();
        let taints = taints.as_array().into_iter().flatten();
        Some(
            taints
                .map(|taint| {
                    let key = word(taint, "key").replace("node.kubernetes.io/", "");
                    format!("{key}:{}", word(taint, "effect"))
                })
                .collect(),
        )
    }
}

fn with_taints(mut node: Value, taints: &[(&str, &str)]) -> Value {
    let taints = taints.iter().map(|(key, effect)| json!({"key": key, "effect": effect}));
    node["spec"]["taints"] = taints.collect();
    node
}

const UNREACHABLE_EXECUTE: (&str, &str) = ("node.kubernetes.io/unreachable", "NoExecute");
const NOT_READY_EXECUTE: (&str, &str) = ("node.kubernetes.io/not-ready", "NoExecute");
const NOT_READY_SCHEDULE: (&str, &str) = ("node.kubernetes.io/not-ready", "NoSchedule");

#[test]
fn a_new_node_is_registered_once_and_removed_once() {
    let mut scene = Scene::new(&[node("n", "True")]);
    let registered = "note RegisteredNode: Node n event: Registered Node n in Controller";
    scene.check("n", 0, &[registered, "wake 2026-01-01T00:00:50Z"]);
    scene.check("n", 1, &["wake 2026-01-01T00:00:50Z"]);
    let gone = Object::from_value(resource::NODES, node("n", "True"));
    scene.world.delete(&gone).expect("news");
    let removed = "note RemovingNode: Node n event: Removing Node n from Controller";
    scene.check("n", 2, &[removed]);
    scene.check("n", 3, &[]);
}

#[test]
fn a_node_that_falls_silent_becomes_unknown_and_its_pods_not_ready() {
    let mut scene = Scene::new(&[node("n", "True")]);
    scene.apply(resource::PODS, pod("p", "True"));
    scene.apply(resource::PODS, pod("q", "False"));
    scene.plan("n", 0);
    scene.check_writes("n", 49, &[]);
    scene.check(
        "n",
        50,
        &[
            "0 patch Node n (its taints and labels follow its state)",
            "0 patch Pod/status d/p (its node is not ready)",
            "1 patch Node/status n (nothing has been heard of it for too long)",
            "warn NodeNotReady: Node is not ready",
            "note NodeNotReady: Node n status is now: NodeNotReady",
        ],
    );
    assert_eq!(scene.taints("n", 50).expect("taints"), ["unreachable:NoSchedule"]);
    let plan = scene.plan("n", 50);
    let Change::Patch { patch, .. } = &plan.actions[2].write.change else {
        panic!("the status is patched");
    };
    let conditions = patch["status"]["conditions"].as_array().expect("conditions");
    assert_eq!(conditions.len(), 4);
    for condition in conditions {
        assert_eq!(condition["status"], "Unknown");
        assert_eq!(condition["reason"], "NodeStatusUnknown");
        assert_eq!(
            condition.get("lastHeartbeatTime"),
            None,
            "the last heartbeat stays what it was"
        );
    }
}

#[test]
fn whoever_slept_when_the_time_was_over_listens_before_it_judges() {
    let mut scene = Scene::new(&[node("n", "True")]);
    scene.apply(resource::PODS, pod("p", "True"));
    scene.plan("n", 0);
    scene.check("n", 62, &["wake 2026-01-01T00:01:52Z"]);
    scene.check("n", 63, &["wake 2026-01-01T00:01:52Z"]);
    assert_eq!(
        scene.plan("n", 112).actions.len(),
        3,
        "a node that stays silent is found all the same"
    );
}

#[test]
fn a_renewed_lease_or_another_heartbeat_is_a_sign_of_life() {
    let mut scene = Scene::new(&[node("n", "True")]);
    scene.plan("n", 0);
    let keys = scene.apply(resource::LEASES, lease("n", 7));
    assert_eq!(keys, [Key::new("", "n")]);
    scene.check("n", 40, &["wake 2026-01-01T00:01:30Z"]);
    let mut beating = node("n", "True");
    beating["status"]["conditions"][3]["lastHeartbeatTime"] = "2025-12-31T00:00:00Z".into();
    scene.apply(resource::NODES, beating);
    // The node's own clock may be wrong.
    scene.check("n", 80, &["wake 2026-01-01T00:02:10Z"]);
    scene.apply(resource::LEASES, lease("n", 3));
    // An older renewal is none.
    scene.check("n", 100, &["wake 2026-01-01T00:02:10Z"]);
}

#[test]
fn a_node_that_never_says_anything_has_a_minute_from_its_creation() {
    let mut scene = Scene::new(&[mute("n"), node("other", "True")]);
    scene.plan("n", 30);
    scene.check_writes("n", 59, &[]);
    scene.check_writes("n", 60, &["patch Node n", "patch Node/status n"]);
    let plan = scene.plan("n", 60);
    let Change::Patch { patch, .. } = &plan.actions[1].write.change else {
        panic!("the status is patched");
    };
    assert_eq!(patch["status"]["conditions"][0]["reason"], "NodeStatusNeverUpdated");
    assert_eq!(patch["status"]["conditions"][0]["lastHeartbeatTime"], START);
    assert!(plan.notes.is_empty(), "it was not ready before");
}

#[test]
fn a_node_that_renews_its_lease_without_a_status_is_fine() {
    let mut scene = Scene::new(&[mute("n")]);
    scene.apply(resource::LEASES, lease("n", 0));
    scene.plan("n", 30);
    scene.apply(resource::LEASES, lease("n", 10));
    scene.check("n", 80, &["wake 2026-01-01T00:02:20Z"]);
}

#[test]
fn conditions_show_as_taints_that_keep_new_pods_away() {
    let rows = [
        ("MemoryPressure", "True", "memory-pressure"),
        ("DiskPressure", "True", "disk-pressure"),
        ("PIDPressure", "True", "pid-pressure"),
    ];
    for (index, (type_, status, key)) in rows.into_iter().enumerate() {
        let mut pressed = node("n", "True");
        assert_eq!(pressed["status"]["conditions"][index]["type"], type_);
        pressed["status"]["conditions"][index]["status"] = status.into();
        let taints = Scene::new(&[pressed]).taints("n", 0).expect("taints");
        assert_eq!(taints, [format!("{key}:NoSchedule")]);
    }
    let mut cordoned = node("n", "True");
    cordoned["spec"]["unschedulable"] = true.into();
    let taints = Scene::new(&[cordoned]).taints("n", 0).expect("taints");
    assert_eq!(taints, ["unschedulable:NoSchedule"]);
}

#[test]
fn taints_go_with_their_cause_and_those_of_others_stay() {
    let others = ("example.com/other", "NoExecute");
    let tainted = with_taints(
        node("n", "True"),
        &[NOT_READY_SCHEDULE, others, UNREACHABLE_EXECUTE, NOT_READY_EXECUTE],
    );
    let mut scene = Scene::new(&[tainted]);
    assert_eq!(scene.taints("n", 0).expect("taints"), ["example.com/other:NoExecute"]);
    let mut scene = Scene::new(&[with_taints(node("n", "True"), &[others])]);
    assert_eq!(scene.taints("n", 0), None);
}

#[test]
fn a_node_that_says_it_is_not_ready_is_tainted_at_once_and_its_pods_stay_as_they_are() {
    let mut scene = Scene::new(&[node("n", "False"), node("other", "True")]);
    scene
        .world
        .apply(Arc::new(Object::from_value(resource::PODS, pod("p", "True"))));
    scene.check_writes("n", 0, &["patch Node n"]);
    assert_eq!(
        scene.taints("n", 0).expect("taints"),
        ["not-ready:NoSchedule", "not-ready:NoExecute"]
    );
}

#[test]
fn from_not_ready_to_unreachable_the_taint_is_swapped_whatever_the_pace() {
    let nodes = [
        with_taints(node("n", "Unknown"), &[NOT_READY_EXECUTE]),
        node("a", "False"),
        node("b", "False"),
        node("other", "True"),
    ];
    let taints = Scene::new(&nodes).taints("n", 0).expect("taints");
    assert_eq!(taints, ["unreachable:NoSchedule", "unreachable:NoExecute"]);
}

#[test]
fn nodes_of_a_zone_are_declared_unfit_one_by_one() {
    let mut scene = Scene::new(&[
        node("a", "False"),
        node("b", "False"),
        node("c", "True"),
        node("d", "True"),
    ]);
    let both = ["not-ready:NoSchedule", "not-ready:NoExecute"];
    assert_eq!(scene.taints("a", 0).expect("taints"), both);
    assert_eq!(scene.taints("b", 0).expect("taints"), ["not-ready:NoSchedule"]);
    let plan = scene.plan("b", 1);
    assert_eq!(plan.wake, crate::Wake::At(at(10)));
    assert_eq!(
        scene.taints("a", 1).expect("taints"),
        both,
        "a refused taint is tried again"
    );
    assert_eq!(scene.taints("b", 11).expect("taints"), both);
}

#[test]
fn zones_have_their_own_pace() {
    let zoned = |name: &str, ready: &str, zone: &str| {
        let mut node = node(name, ready);
        node["metadata"]["labels"] = json!({"topology.kubernetes.io/zone": zone});
        node
    };
    let nodes = [
        zoned("a", "False", "x"),
        zoned("b", "False", "y"),
        zoned("c", "True", "x"),
        zoned("d", "True", "y"),
    ];
    let mut scene = Scene::new(&nodes);
    for name in ["a", "b"] {
        assert_eq!(scene.taints(name, 0).expect("taints").len(), 2);
    }
}

#[test]
fn a_small_zone_in_trouble_declares_no_more_nodes_unfit_until_it_recovers() {
    let mut scene = Scene::new(&[
        node("a", "False"),
        node("b", "False"),
        node("c", "False"),
        node("d", "True"),
        node("e", "True"),
    ]);
    assert_eq!(scene.taints("a", 0).expect("taints"), ["not-ready:NoSchedule"]);
    let touched = scene.apply(resource::NODES, node("c", "True"));
    assert!(touched.contains(&Key::new("", "a")), "{touched:?}");
    assert_eq!(scene.taints("a", 1).expect("taints").len(), 2);
}

#[test]
fn a_large_zone_in_trouble_goes_on_slowly() {
    let nodes: Vec<_> = (0..60)
        .map(|number| node(&format!("n{number}"), if number < 40 { "False" } else { "True" }))
        .collect();
    let mut scene = Scene::new(&nodes);
    assert_eq!(scene.taints("n0", 0).expect("taints").len(), 2);
    assert_eq!(scene.taints("n1", 99).expect("taints").len(), 1);
    assert_eq!(scene.taints("n1", 100).expect("taints").len(), 2);
}

#[test]
fn when_no_node_is_ready_nobody_is_evicted() {
    let unknown = |name| with_taints(node(name, "Unknown"), &[UNREACHABLE_EXECUTE]);
    let mut scene = Scene::new(&[unknown("a"), unknown("b")]);
    assert_eq!(scene.taints("a", 0).expect("taints"), ["unreachable:NoSchedule"]);
}

#[test]
fn after_a_blackout_every_node_has_its_whole_time_again() {
    let mut scene = Scene::new(&[node("a", "True"), node("b", "True")]);
    scene.plan("a", 0);
    scene.plan("b", 0);
    let touched = [
        scene.apply(resource::NODES, node("a", "Unknown")),
        scene.apply(resource::NODES, node("b", "Unknown")),
    ];
    assert!(touched[1].contains(&Key::new("", "a")), "{touched:?}");
    let touched = scene.apply(resource::NODES, node("a", "True"));
    assert!(touched.contains(&Key::new("", "b")), "{touched:?}");
    assert_eq!(scene.plan("b", 90).wake, crate::Wake::At(at(140)));
}

#[test]
fn a_node_left_out_of_the_count_makes_no_blackout() {
    let mut excluded = node("b", "True");
    excluded["metadata"]["labels"] = json!({"node.kubernetes.io/exclude-disruption": ""});
    let mut scene = Scene::new(&[node("a", "False"), excluded]);
    assert_eq!(scene.taints("a", 0).expect("taints"), ["not-ready:NoSchedule"]);
}

#[test]
fn a_pod_bound_to_a_node_that_is_not_ready_is_marked() {
    let mut scene = Scene::new(&[node("n", "Unknown")]);
    let keys = scene.apply(resource::PODS, pod("p", "True"));
    assert_eq!(keys, [Key::new("d", "p")]);
    let plan = scene.controller.reconcile(&keys[0], &scene.world, at(0));
    let expected = "0 patch Pod/status d/p (its node is not ready)\nwarn NodeNotReady: Node is not ready\n";
    assert_eq!(plan.explain(), expected);
    let keys = scene.apply(resource::PODS, pod("p", "False"));
    assert!(keys.is_empty(), "what its node says of it later stays");
}

#[test]
fn labels_under_old_names_follow() {
    let mut labelled = node("n", "True");
    labelled["metadata"]["labels"] = json!({"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/arch": "amd64"});
    let plan = Scene::new(&[labelled]).plan("n", 0);
    let Change::Patch { patch, .. } = &plan.actions[0].write.change else {
        panic!("the labels are patched");
    };
    assert_eq!(
        *patch,
        json!({"metadata": {"labels": {"beta.kubernetes.io/os": "linux"}}})
    );
}
