//! Which nodes are eligible: every combination of what is looked at, against the rules said in another way.
//!
//! Source: specification §6, §21 cases 20, 21, 31–38.

use std::sync::Arc;

use rota_api::{Object, resource};
use serde_json::{Value, json};

use super::scene::{daemon_set, with};
use crate::daemonset::eligibility::eligibility;
use crate::daemonset::seen::SeenDaemonSet;

/// A part of a template or of a node, and whether it lets the pod onto the node.
type Choice = (&'static str, fn() -> Value, bool);
/// Taints of a node, and whether they keep a new pod away and drive an old one off, when nothing tolerates them.
type Taints = (&'static str, fn() -> Value, bool, bool);

const NODE_NAMES: [Choice; 3] = [
    ("no node name", || Value::Null, true),
    ("this node's name", || json!("a"), true),
    ("another node's name", || json!("b"), false),
];

const SELECTORS: [Choice; 4] = [
    ("no selector", || Value::Null, true),
    ("an equal label", || json!({"type": "production"}), true),
    ("another value", || json!({"type": "test"}), false),
    (
        "a label that is missing",
        || json!({"type": "production", "disk": "ssd"}),
        false,
    ),
];

const AFFINITIES: [Choice; 13] = [
    ("no affinity", || Value::Null, true),
    (
        "preferences only",
        || {
            json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "preference": {"matchExpressions": [{"key": "type", "operator": "In", "values": ["test"]}]}}]}})
        },
        true,
    ),
    (
        "In with the value",
        || required(&json!([expression("type", "In", &json!(["x", "production"]))])),
        true,
    ),
    (
        "In without it",
        || required(&json!([expression("type", "In", &json!(["test"]))])),
        false,
    ),
    (
        "NotIn with it",
        || required(&json!([expression("type", "NotIn", &json!(["production"]))])),
        false,
    ),
    (
        "NotIn of a missing label",
        || required(&json!([expression("disk", "NotIn", &json!(["ssd"]))])),
        true,
    ),
    (
        "Exists",
        || required(&json!([expression("type", "Exists", &Value::Null)])),
        true,
    ),
    (
        "DoesNotExist",
        || required(&json!([expression("type", "DoesNotExist", &Value::Null)])),
        false,
    ),
    (
        "Gt",
        || required(&json!([expression("cores", "Gt", &json!(["7"]))])),
        true,
    ),
    (
        "Lt of a label that is no number",
        || required(&json!([expression("type", "Lt", &json!(["7"]))])),
        false,
    ),
    (
        "either of two terms",
        || required(&json!([expression("type", "In", &json!(["test"])), named("In", "a")])),
        true,
    ),
    ("another node's name", || required(&json!([named("In", "b")])), false),
    ("a term without requirements", || required(&json!([{}])), false),
];

const TAINTS: [Taints; 9] = [
    ("none", || json!([]), false, false),
    (
        "PreferNoSchedule",
        || json!([taint("k", "PreferNoSchedule")]),
        false,
        false,
    ),
    ("NoSchedule", || json!([taint("k", "NoSchedule")]), true, false),
    ("NoExecute", || json!([taint("k", "NoExecute")]), true, true),
    (
        "both",
        || json!([taint("k", "NoSchedule"), taint("k", "NoExecute")]),
        true,
        true,
    ),
    (
        "cordoned",
        || json!([taint("node.kubernetes.io/unschedulable", "NoSchedule")]),
        false,
        false,
    ),
    (
        "under pressure",
        || {
            json!([
                taint("node.kubernetes.io/disk-pressure", "NoSchedule"),
                taint("node.kubernetes.io/memory-pressure", "NoSchedule"),
                taint("node.kubernetes.io/pid-pressure", "NoSchedule"),
            ])
        },
        false,
        false,
    ),
    (
        "not ready and unreachable, NoExecute",
        || {
            json!([
                taint("node.kubernetes.io/not-ready", "NoExecute"),
                taint("node.kubernetes.io/unreachable", "NoExecute"),
            ])
        },
        false,
        false,
    ),
    (
        "not ready, NoSchedule",
        || json!([taint("node.kubernetes.io/not-ready", "NoSchedule")]),
        true,
        false,
    ),
];

const TOLERATIONS: [Choice; 3] = [
    ("none", || Value::Null, false),
    (
        "of another key",
        || json!([{"key": "other", "operator": "Exists"}]),
        false,
    ),
    ("of everything", || json!([{"operator": "Exists"}]), true),
];

fn required(terms: &Value) -> Value {
    json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}})
}

fn expression(key: &str, operator: &str, values: &Value) -> Value {
    json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]})
}

fn named(operator: &str, name: &str) -> Value {
    json!({"matchFields": [{"key": "metadata.name", "operator": operator, "values": [name]}]})
}

fn taint(key: &str, effect: &str) -> Value {
    json!({"key": key, "effect": effect})
}

/// A DaemonSet whose pods have these fields in their spec.
fn daemon_set_with(pod_spec: &[(&str, Value)]) -> Arc<Object> {
    let set = pod_spec.iter().fold(daemon_set(), |set, (field, value)| {
        with(set, &format!("/spec/template/spec/{field}"), value.clone())
    });
    Arc::new(Object::from_value(resource::DAEMON_SETS, set))
}

/// The node `a`, cordoned, not ready and small.
fn node_with(taints: &Value) -> Object {
    let labels = json!({"type": "production", "cores": "8"});
    let node = json!({
        "metadata": {"name": "a", "uid": "a", "labels": labels},
        "spec": {"taints": taints, "unschedulable": true},
        "status": {"allocatable": {"cpu": "1m"}, "conditions": [{"type": "Ready", "status": "False"}]},
    });
    Object::from_value(resource::NODES, node)
}

/// Whether a pod should be started on the node, and whether one may stay.
fn judge(pod_spec: &[(&str, Value)], taints: &Value) -> (bool, bool) {
    let set = daemon_set_with(pod_spec);
    let judged = eligibility(&SeenDaemonSet::of(&set).expect("a DaemonSet"), &node_with(taints));
    (judged.should_run, judged.should_continue)
}

#[test]
fn every_combination_of_name_selector_affinity_taints_and_tolerations_is_judged_by_the_rules() {
    let mut judged = 0;
    for (name, node_name, name_fits) in NODE_NAMES {
        for (selector, node_selector, selector_fits) in SELECTORS {
            for (affinity, required, affinity_fits) in AFFINITIES {
                for (tolerated, tolerations, tolerates) in TOLERATIONS {
                    let set = daemon_set_with(&[
                        ("nodeName", node_name()),
                        ("nodeSelector", node_selector()),
                        ("affinity", required()),
                        ("tolerations", tolerations()),
                    ]);
                    let set = SeenDaemonSet::of(&set).expect("a DaemonSet");
                    for (tainted, taints, repels, expels) in TAINTS {
                        let fits = name_fits && selector_fits && affinity_fits;
                        let expected = (fits && (!repels || tolerates), fits && (!expels || tolerates));
                        let found = eligibility(&set, &node_with(&taints()));
                        let case =
                            format!("{name}, {selector}, {affinity}; taints: {tainted}; tolerations: {tolerated}");
                        assert_eq!((found.should_run, found.should_continue), expected, "{case}");
                        judged += 1;
                    }
                }
            }
        }
    }
    assert_eq!(judged, 3 * 4 * 13 * 3 * 9);
}

#[test]
fn what_the_scheduler_or_the_node_decides_plays_no_part() {
    let container = json!([{"name": "c", "image": "app:1", "ports": [{"containerPort": 80, "hostPort": 80}],
                            "resources": {"requests": {"cpu": "4"}}}]);
    assert_eq!(judge(&[("containers", container)], &json!([])), (true, true));
}

#[test]
fn a_node_without_network_is_minded_only_by_pods_that_bring_no_network_of_their_own() {
    let taints = || json!([taint("node.kubernetes.io/network-unavailable", "NoSchedule")]);
    assert_eq!(judge(&[], &taints()), (false, true));
    assert_eq!(judge(&[("hostNetwork", json!(true))], &taints()), (true, true));
}

#[test]
fn a_toleration_of_a_key_covers_the_effect_it_names() {
    let toleration = |effect: &str| json!([{"key": "k", "operator": "Exists", "effect": effect}]);
    let both = || json!([taint("k", "NoSchedule"), taint("k", "NoExecute")]);
    assert_eq!(
        judge(&[("tolerations", toleration("NoExecute"))], &both()),
        (false, true)
    );
    assert_eq!(
        judge(&[("tolerations", toleration("NoSchedule"))], &both()),
        (false, false)
    );
    assert_eq!(judge(&[("tolerations", toleration(""))], &both()), (true, true));
}
