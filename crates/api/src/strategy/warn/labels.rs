//! Labels of nodes that are on their way out, wherever nodes are selected by them.
//!
//! Source: kubernetes `pkg/api/node/util.go`.

use serde_json::Value;

use crate::names;
use crate::value::{list, members, text};

const DEPRECATED: [(&str, &str); 8] = [
    (
        "beta.kubernetes.io/arch",
        "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
    ),
    (
        "beta.kubernetes.io/os",
        "deprecated since v1.14; use \"kubernetes.io/os\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    (
        "node-role.kubernetes.io/master",
        "use \"node-role.kubernetes.io/control-plane\" instead",
    ),
];

/// What is to be said of a label, if anything.
pub(super) fn fate(label: &str) -> Option<&'static str> {
    DEPRECATED
        .iter()
        .find(|(known, _)| *known == label)
        .map(|(_, fate)| *fate)
}

/// Of a term of a node selector at `path`; of preferences also values that no label can have.
pub(super) fn term(term: &Value, is_preference: bool, path: &str, said: &mut Vec<String>) {
    for (index, expression) in list(term, "matchExpressions").iter().enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        let key = text(expression, "key");
        if let Some(fate) = fate(key) {
            said.push(format!("{path}.key: {key} is {fate}"));
        }
        for (index, value) in list(expression, "values").iter().enumerate().filter(|_| is_preference) {
            let value = value.as_str().unwrap_or_default();
            let wrong = names::label_value(value).into_iter();
            said.extend(wrong.map(|why| format!("{path}.values[{index}]: {value} is invalid, {why}")));
        }
    }
}

/// Of a runtime class.
pub(super) fn runtime_class(class: &Value) -> Vec<String> {
    let selected = members(&class["scheduling"], "nodeSelector");
    let fates = selected.filter_map(|(label, _)| fate(label));
    fates.map(|fate| format!("scheduling.nodeSelector: {fate}")).collect()
}

/// Of a storage class.
pub(super) fn storage_class(class: &Value) -> Vec<String> {
    let mut said = Vec::new();
    for (i, topology) in list(class, "allowedTopologies").iter().enumerate() {
        for (j, expression) in list(topology, "matchLabelExpressions").iter().enumerate() {
            let key = text(expression, "key");
            if let Some(fate) = fate(key) {
                let path = format!("allowedTopologies[{i}].matchLabelExpressions[{j}].key");
                said.push(format!("{path}: {key} is {fate}"));
            }
        }
    }
    said
}

/// Of the capacity of a storage driver.
pub(super) fn storage_capacity(capacity: &Value) -> Vec<String> {
    let topology = &capacity["nodeTopology"];
    let mut said = Vec::new();
    term(topology, false, "nodeTopology", &mut said);
    for (label, _) in members(topology, "matchLabels") {
        said.extend(fate(label).map(|fate| format!("nodeTopology.matchLabels.{label}: {fate}")));
    }
    said
}
