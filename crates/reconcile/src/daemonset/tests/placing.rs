//! Which nodes get a pod, and what the pod looks like.
//!
//! Source: specification §6, §8, §9, §21 cases 1–22.

use std::sync::Arc;

use rota_api::{Change, Object, resource};
use serde_json::{Value, json};

use super::scene::{
    Scene, created, daemon_set, healthy, node, orphaned, pod, pods_on, reported, scene, strangers_on, tainted, tally,
    target, with,
};
use crate::daemonset::pods::PodMaker;
use crate::daemonset::seen::SeenDaemonSet;

#[test]
fn every_node_without_a_pod_gets_one_pinned_to_it() {
    let mut scene = Scene::new(daemon_set(), &["a", "b", "c"]).pods(vec![pod("p", "b")]);
    assert_eq!(scene.pod_actions(), ["+a", "+c"]);
}

#[test]
fn five_nodes_get_one_pod_each_pinned_and_not_bound() {
    let mut scene = scene(daemon_set(), 5);
    assert_eq!(tally(&mut scene), (5, 0));
    let pods = created(&mut scene);
    let targets: Vec<&str> = pods.iter().map(target).collect();
    assert_eq!(targets, ["n0", "n1", "n2", "n3", "n4"]);
    assert!(pods.iter().all(|pod| pod["spec"]["nodeName"].is_null()));
}

#[test]
fn the_status_is_written_before_the_first_pod_is_asked_for_and_whatever_revision_it_has() {
    let plan = scene(with(daemon_set(), "/metadata/generation", json!(2)), 3).plan();
    let is_status = |change: &Change| {
        matches!(
            change,
            Change::Patch {
                subresource: Some("status"),
                ..
            }
        )
    };
    let status = plan
        .actions
        .iter()
        .find(|action| is_status(&action.write.change))
        .expect("a status");
    let create = plan
        .actions
        .iter()
        .find(|action| matches!(action.write.change, Change::Create(_)))
        .expect("a pod");
    assert!(status.stage < create.stage);
    assert_eq!(status.write.precondition.revision, None);
    assert!(status.write.precondition.uid.is_some());
}

#[test]
fn without_nodes_nothing_is_done_and_all_counts_are_zero() {
    let fresh = with(daemon_set(), "/status", json!({}));
    let plan = scene(fresh, 0).plan();
    assert_eq!(plan.actions.len(), 1, "only the status is written: {plan}");
    let counts = reported(&plan);
    for count in [
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberMisscheduled",
        "numberReady",
    ] {
        assert_eq!(counts[count], 0, "{count}");
    }
    for count in ["updatedNumberScheduled", "numberAvailable", "numberUnavailable"] {
        assert_eq!(counts[count], Value::Null, "{count}");
    }
    assert!(scene(daemon_set(), 0).plan().is_empty(), "and once it is, nothing");
}

#[test]
fn conditions_of_a_node_play_no_part() {
    for condition in [
        ("Ready", "False"),
        ("NetworkUnavailable", "True"),
        ("MemoryPressure", "True"),
    ] {
        let conditions = json!([{"type": condition.0, "status": condition.1}]);
        let mut scene = scene(daemon_set(), 0);
        scene.apply(
            resource::NODES,
            json!({"metadata": {"name": "a", "uid": "a"}, "status": {"conditions": conditions}}),
        );
        assert_eq!(scene.pod_actions(), ["+a"], "{condition:?}");
    }
}

#[test]
fn a_port_that_is_taken_keeps_no_pod_away_and_drives_none_off() {
    let container = json!([{"name": "c", "image": "app:1", "ports": [{"containerPort": 80, "hostPort": 80}]}]);
    let holding = |pod| with(pod, "/spec/containers", container.clone());
    let stranger = |name, node| with(orphaned(holding(pod(name, node))), "/metadata/labels", json!({}));
    let set = with(daemon_set(), "/spec/template/spec/containers", container.clone());
    let pods = vec![stranger("a", "n0"), stranger("b", "n1"), holding(pod("own", "n1"))];
    assert_eq!(scene(set, 3).pods(pods).pod_actions(), ["+n0", "+n2"]);
}

fn selecting_last_five() -> Scene {
    let set = with(
        daemon_set(),
        "/spec/template/spec/nodeSelector",
        json!({"half": "last"}),
    );
    let mut scene = scene(set, 5);
    for at in 5..10 {
        let name = format!("n{at}");
        scene.apply(
            resource::NODES,
            json!({"metadata": {"name": name, "uid": name, "labels": {"half": "last"}}}),
        );
    }
    scene
}

#[test]
fn pods_on_nodes_that_are_not_selected_go() {
    let pods = [strangers_on(0, 2), pods_on(1, 3), strangers_on(1, 1), pods_on(4, 1)].concat();
    let expected = ["-p1-0", "-p1-1", "-p1-2", "-p4-0", "+n5", "+n6", "+n7", "+n8", "+n9"];
    assert_eq!(selecting_last_five().pods(pods).pod_actions(), expected);
}

#[test]
fn selected_nodes_keep_one_pod_and_others_none() {
    let pods = [
        pods_on(0, 1),
        pods_on(1, 3),
        strangers_on(1, 2),
        pods_on(2, 4),
        pods_on(6, 13),
        strangers_on(7, 4),
        pods_on(9, 1),
        strangers_on(9, 1),
    ];
    let actions = selecting_last_five().pods(pods.concat()).pod_actions();
    let (created, deleted): (Vec<_>, Vec<_>) = actions.iter().partition(|action| action.starts_with('+'));
    assert_eq!(created, ["+n5", "+n7", "+n8"]);
    let from = |node: usize| {
        let of_node = format!("-p{node}-");
        deleted.iter().filter(|pod| pod.starts_with(&of_node)).count()
    };
    assert_eq!([0, 1, 2, 6, 9].map(from), [1, 3, 4, 12, 0]);
    assert_eq!(deleted.len(), 20);
}

#[test]
fn a_selector_that_no_node_has_brings_no_pod() {
    let set = with(daemon_set(), "/spec/template/spec/nodeSelector", json!({"no": "node"}));
    assert_eq!(tally(&mut scene(set, 3)), (0, 0));
}

#[test]
fn a_template_that_names_a_node_brings_a_pod_there_only() {
    let rows = [
        ("n1", Value::Null, vec!["+n1"]),
        ("nowhere", Value::Null, vec![]),
        ("n1", json!({"disk": "ssd"}), vec!["+n1"]),
        ("n2", json!({"disk": "ssd"}), vec![]),
    ];
    for (name, selector, expected) in rows {
        let set = with(daemon_set(), "/spec/template/spec/nodeName", json!(name));
        let mut scene = scene(with(set, "/spec/template/spec/nodeSelector", selector.clone()), 3);
        scene.apply(resource::NODES, node("n1", &json!({"disk": "ssd"}), &json!([])));
        assert_eq!(scene.pod_actions(), expected, "{name} {selector}");
    }
}

#[test]
fn nodes_that_a_required_affinity_matches_get_a_pod() {
    let terms = json!([{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["x"]}]}]);
    let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
    let affinity = json!({"nodeAffinity": required});
    let mut scene = scene(with(daemon_set(), "/spec/template/spec/affinity", affinity), 7);
    for name in ["n1", "n3", "n6"] {
        scene.apply(resource::NODES, node(name, &json!({"zone": "x"}), &json!([])));
    }
    assert_eq!(scene.pod_actions(), ["+n1", "+n3", "+n6"]);
}

#[test]
fn whatever_affinity_the_template_has_only_the_required_one_to_nodes_is_replaced() {
    let pin = json!({"nodeSelectorTerms": [{"matchFields": [
        {"key": "metadata.name", "operator": "In", "values": ["n0"]}]}]});
    let required = |term: Value| json!({"nodeSelectorTerms": [term]});
    let expressions = json!({"matchExpressions": [{"key": "no", "operator": "DoesNotExist"}]});
    let fields = json!({"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["other"]}]});
    let both = json!({"matchExpressions": expressions["matchExpressions"], "matchFields": fields["matchFields"]});
    let preferred = json!([{"weight": 1, "preference": expressions}]);
    let to_pods = json!({"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "podAffinityTerm": {"topologyKey": "zone"}}]});
    let node_affinity = |required: Value| json!({"requiredDuringSchedulingIgnoredDuringExecution": required});
    let pinned = json!({"nodeAffinity": node_affinity(pin.clone())});
    let preferring = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}});
    let rows = [
        (Value::Null, pinned.clone()),
        (
            json!({"podAffinity": to_pods}),
            with(pinned.clone(), "/podAffinity", to_pods),
        ),
        (
            preferring.clone(),
            with(
                preferring,
                "/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution",
                pin,
            ),
        ),
        (
            json!({"nodeAffinity": node_affinity(required(expressions))}),
            pinned.clone(),
        ),
        (json!({"nodeAffinity": node_affinity(required(fields))}), pinned.clone()),
        (json!({"nodeAffinity": node_affinity(required(both))}), pinned),
    ];
    for (affinity, expected) in rows {
        let set = with(daemon_set(), "/spec/template/spec/affinity", affinity.clone());
        assert_eq!(
            created(&mut scene(set, 1))[0]["spec"]["affinity"],
            expected,
            "{affinity}"
        );
    }
}

#[test]
fn required_affinity_chooses_nodes_and_is_replaced_by_the_node_itself() {
    let terms = json!([
        {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["test"]}]},
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]},
    ]);
    let preferred = json!([{"weight": 1, "preference": {"matchExpressions": [{"key": "k", "operator": "Exists"}]}}]);
    let affinity = json!({"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms},
        "preferredDuringSchedulingIgnoredDuringExecution": preferred,
    }, "podAntiAffinity": {}});
    let mut scene = scene(with(daemon_set(), "/spec/template/spec/affinity", affinity), 10);
    for name in ["n4", "n7"] {
        scene.apply(
            resource::NODES,
            json!({"metadata": {"name": name, "uid": name, "labels": {"zone": "test"}}}),
        );
    }
    let pods = created(&mut scene);
    assert_eq!(pods.iter().map(target).collect::<Vec<_>>(), ["n1", "n4", "n7"]);
    for pod in &pods {
        let affinity = &pod["spec"]["affinity"];
        let pin = json!({"nodeSelectorTerms": [{"matchFields": [
            {"key": "metadata.name", "operator": "In", "values": [target(pod)]}]}]});
        assert_eq!(
            affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"],
            pin
        );
        assert_eq!(
            affinity["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"],
            preferred
        );
        assert_eq!(affinity["podAntiAffinity"], json!({}));
    }
}

#[test]
fn taints_keep_pods_away_or_drive_them_off() {
    // Whether the node has a pod, what is done, and the counts: desired, current, misscheduled.
    let rows = [
        ("NoSchedule", false, vec![], (0, 0, 0)),
        ("NoSchedule", true, vec![], (0, 0, 1)),
        ("NoExecute", false, vec![], (0, 0, 0)),
        ("NoExecute", true, vec!["-p"], (0, 0, 1)),
        ("PreferNoSchedule", false, vec!["+a"], (1, 0, 0)),
    ];
    for (effect, has_pod, expected, counts) in rows {
        let mut scene = Scene::new(with(daemon_set(), "/status", json!({})), &["a"]);
        scene.apply(resource::NODES, node("a", &json!({}), &tainted(effect)));
        if has_pod {
            scene.apply(resource::PODS, pod("p", "a"));
        }
        let status = reported(&scene.plan());
        let count = |field: &str| status[field].as_i64().expect("a count");
        let found = (
            count("desiredNumberScheduled"),
            count("currentNumberScheduled"),
            count("numberMisscheduled"),
        );
        assert_eq!(
            (scene.pod_actions(), found),
            (expected.iter().map(ToString::to_string).collect(), counts),
            "{effect}"
        );
    }
}

#[test]
fn a_created_pod_carries_hash_and_generation_where_there_are_such() {
    let key = "deprecated.daemonset.template.generation";
    for (annotations, expected) in [
        (json!({key: "7"}), json!("7")),
        (json!({key: "x"}), Value::Null),
        (json!({}), Value::Null),
    ] {
        let pods = created(&mut scene(with(daemon_set(), "/metadata/annotations", annotations), 1));
        let labels = &pods[0]["metadata"]["labels"];
        assert_eq!(labels["pod-template-generation"], expected);
        assert_eq!(labels["controller-revision-hash"], "current");
        assert_eq!(labels["app"], "d");
    }
}

#[test]
fn a_pod_made_without_a_hash_carries_none_and_the_template_stays_as_it_is() {
    let set = Arc::new(Object::from_value(resource::DAEMON_SETS, daemon_set()));
    let seen = SeenDaemonSet::of(&set).expect("a DaemonSet");
    let maker = PodMaker::of(&seen, "");
    let labels = |node| match maker.create(node, 0).change {
        Change::Create(pod) => pod["metadata"]["labels"].clone(),
        other => panic!("no creation: {other:?}"),
    };
    assert_eq!((labels("n0"), labels("n1")), (json!({"app": "d"}), json!({"app": "d"})));
    assert_eq!(seen.to_template(), daemon_set()["spec"]["template"]);
}

#[test]
fn a_pod_that_waits_for_a_node_that_does_not_exist_goes_and_a_bound_one_stays() {
    let pinned = |name: &str, node: &str| {
        let field = json!({"key": "metadata.name", "operator": "In", "values": [node]});
        let required = json!({"nodeSelectorTerms": [{"matchFields": [field]}]});
        let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}});
        with(
            with(pod(name, ""), "/spec/affinity", affinity),
            "/status/phase",
            json!("Pending"),
        )
    };
    let mut scene =
        Scene::new(daemon_set(), &["a"]).pods(vec![pinned("waits", "x"), pod("bound", "y"), pinned("fine", "a")]);
    assert_eq!(scene.pod_actions(), ["-waits"]);
}

#[test]
fn an_error_or_a_gap_in_what_is_seen_of_nodes_takes_no_running_pod() {
    let pods = (0..5).map(|at| healthy(&format!("p{at}"), &format!("n{at}"))).collect();
    let mut scene = scene(daemon_set(), 5).pods(pods);
    assert_eq!(tally(&mut scene), (0, 0));
    scene.world.reset(resource::NODES, Vec::new());
    assert_eq!(tally(&mut scene), (0, 0));
}
