//! Where a pod may run: tolerations against taints, node selectors and required node affinity against a node's labels.
//!
//! One predicate for all who ask: the scheduler's filters, the DaemonSet controller's eligibility and taint-based
//! eviction must never disagree. Knows nothing of free resources, ports, other pods or conditions of nodes.
//!
//! Source: `spec/daemonset.md` §6, `spec/node-and-pod.md` §9.3; kubernetes `component-helpers/scheduling/corev1`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Affinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration,
};

/// The field by which a node selector term names a node.
pub const NAME_FIELD: &str = "metadata.name";

/// What of a node decides whether a selector fits it.
#[derive(Clone, Copy, Debug)]
pub struct NodeLabels<'a> {
    /// `metadata.name`.
    pub name: &'a str,
    /// `metadata.labels`.
    pub labels: &'a BTreeMap<String, String>,
}

/// Whether `toleration` covers `taint`: effect (empty covers all), key (empty with `Exists` covers all) and value.
///
/// How long it does (`tolerationSeconds`) plays no part. Operators other than `Exists` and `Equal` cover nothing.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "" | "Equal" => {
            !key.is_empty()
                && toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
        }
        "Exists" => true,
        _ => false,
    }
}

/// The first taint with one of these effects that no toleration covers.
pub fn untolerated<'a>(taints: &'a [Taint], tolerations: &[Toleration], effects: &[&str]) -> Option<&'a Taint> {
    taints
        .iter()
        .find(|taint| effects.contains(&taint.effect.as_str()) && !tolerations.iter().any(|t| tolerates(t, taint)))
}

/// Whether a node fits the pod's `nodeSelector` and its required node affinity; both must hold.
pub fn fits_node(spec: &PodSpec, node: NodeLabels<'_>) -> bool {
    let selected = spec
        .node_selector
        .iter()
        .flatten()
        .all(|(key, value)| node.labels.get(key) == Some(value));
    selected && required_node_affinity(spec.affinity.as_ref()).is_none_or(|required| matches_selector(required, node))
}

/// Whether any term of the selector matches the node. No terms match nothing.
pub fn matches_selector(selector: &NodeSelector, node: NodeLabels<'_>) -> bool {
    selector.node_selector_terms.iter().any(|term| matches_term(term, node))
}

/// Whether every requirement of the term holds for the node. A term without requirements matches nothing.
pub fn matches_term(term: &NodeSelectorTerm, node: NodeLabels<'_>) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    (!expressions.is_empty() || !fields.is_empty())
        && expressions
            .iter()
            .all(|r| matches_requirement(r, node.labels.get(&r.key).map(String::as_str)))
        && fields.iter().all(|r| matches_field(r, node.name))
}

/// The only nodes that the required node affinity leaves, when each of its terms names nodes (`metadata.name` `In`).
///
/// `None`: the affinity does not narrow the choice by name. The rest of the affinity is still to be checked. This is what
/// makes the placement of a daemon pod a look-up instead of a search.
pub fn pinned_nodes(spec: &PodSpec) -> Option<BTreeSet<&str>> {
    let terms = &required_node_affinity(spec.affinity.as_ref())?.node_selector_terms;
    let mut names = BTreeSet::new();
    for term in terms {
        names.extend(names_in(term)?);
    }
    (!terms.is_empty()).then_some(names)
}

/// `spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution`.
pub fn required_node_affinity(affinity: Option<&Affinity>) -> Option<&NodeSelector> {
    affinity?
        .node_affinity
        .as_ref()?
        .required_during_scheduling_ignored_during_execution
        .as_ref()
}

/// The names that all of a term's `metadata.name` `In` requirements allow; `None` when it has none.
fn names_in(term: &NodeSelectorTerm) -> Option<BTreeSet<&str>> {
    term.match_fields
        .iter()
        .flatten()
        .filter(|field| field.key == NAME_FIELD && field.operator == "In")
        .map(|field| {
            field
                .values
                .iter()
                .flatten()
                .map(String::as_str)
                .collect::<BTreeSet<_>>()
        })
        .reduce(|all, names| all.intersection(&names).copied().collect())
}

/// One label requirement against the label's value. What cannot be read (an unknown operator, a wrong number of values)
/// matches nothing.
fn matches_requirement(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.iter().any(|v| v == value));
    match (requirement.operator.as_str(), values) {
        ("In", [_, ..]) => listed,
        ("NotIn", [_, ..]) => !listed,
        ("Exists", []) => value.is_some(),
        ("DoesNotExist", []) => value.is_none(),
        ("Gt", [bound]) => compare(value, bound).is_some_and(std::cmp::Ordering::is_gt),
        ("Lt", [bound]) => compare(value, bound).is_some_and(std::cmp::Ordering::is_lt),
        _ => false,
    }
}

fn compare(value: Option<&str>, bound: &str) -> Option<std::cmp::Ordering> {
    let value: i64 = value?.parse().ok()?;
    Some(value.cmp(&bound.parse().ok()?))
}

/// One field requirement: only `metadata.name`, `In` or `NotIn`, exactly one value.
fn matches_field(requirement: &NodeSelectorRequirement, name: &str) -> bool {
    match (
        requirement.key.as_str(),
        requirement.operator.as_str(),
        requirement.values.as_deref(),
    ) {
        (NAME_FIELD, "In", Some([value])) => value == name,
        (NAME_FIELD, "NotIn", Some([value])) => value != name,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(value: &Value) -> PodSpec {
        let mut whole = json!({"containers": []});
        for (key, field) in value.as_object().expect("a test writes an object") {
            whole[key] = field.clone();
        }
        serde_json::from_value(whole).expect("a test writes a pod spec")
    }

    fn required(terms: &Value) -> Value {
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
    }

    #[expect(clippy::needless_pass_by_value, reason = "tests write the object in place")]
    fn fits(value: Value) -> bool {
        let labels = BTreeMap::from([
            ("zone".to_owned(), "a".to_owned()),
            ("slots".to_owned(), "7".to_owned()),
        ]);
        let node = NodeLabels {
            name: "n1",
            labels: &labels,
        };
        fits_node(&spec(&value), node)
    }

    #[test]
    fn a_toleration_covers_by_effect_key_and_value() {
        let rows = [
            (json!({"operator": "Exists"}), true),
            (json!({"key": "k", "operator": "Exists"}), true),
            (json!({"key": "k", "value": "v"}), true),
            (json!({"key": "k", "value": "v", "effect": "NoSchedule"}), true),
            (json!({"key": "k", "value": "v", "effect": "NoExecute"}), false),
            (json!({"key": "k", "operator": "Equal", "value": "w"}), false),
            (json!({"key": "other", "operator": "Exists"}), false),
            (json!({"value": "v"}), false),
            (json!({"key": "k", "operator": "Gt", "value": "1"}), false),
        ];
        let taint: Taint = serde_json::from_value(json!({"key": "k", "value": "v", "effect": "NoSchedule"})).unwrap();
        for (toleration, covered) in rows {
            let parsed: Toleration = serde_json::from_value(toleration.clone()).unwrap();
            assert_eq!(tolerates(&parsed, &taint), covered, "{toleration}");
        }
    }

    #[test]
    fn only_the_asked_effects_need_a_toleration() {
        let taints: Vec<Taint> = serde_json::from_value(json!([{"key": "k", "effect": "PreferNoSchedule"}])).unwrap();
        assert!(untolerated(&taints, &[], &["NoSchedule", "NoExecute"]).is_none());
        assert!(untolerated(&taints, &[], &["PreferNoSchedule"]).is_some());
    }

    #[test]
    fn selector_and_required_affinity_must_both_hold() {
        let zone = |value: &str| json!([{"matchExpressions": [{"key": "zone", "operator": "In", "values": [value]}]}]);
        assert!(fits(json!({"nodeSelector": {"zone": "a"}})));
        assert!(!fits(json!({"nodeSelector": {"zone": "b"}})));
        assert!(fits(required(&zone("a"))));
        assert!(!fits(required(&zone("b"))));
        let mut both = required(&zone("a"));
        both["nodeSelector"] = json!({"zone": "b"});
        assert!(!fits(both));
    }

    #[test]
    fn requirements_follow_their_operators_and_unreadable_ones_match_nothing() {
        let rows = [
            (json!({"key": "zone", "operator": "NotIn", "values": ["b"]}), true),
            (json!({"key": "absent", "operator": "NotIn", "values": ["b"]}), true),
            (json!({"key": "absent", "operator": "DoesNotExist"}), true),
            (json!({"key": "absent", "operator": "Exists"}), false),
            (json!({"key": "slots", "operator": "Gt", "values": ["6"]}), true),
            (json!({"key": "slots", "operator": "Lt", "values": ["7"]}), false),
            (json!({"key": "zone", "operator": "Gt", "values": ["6"]}), false),
            (json!({"key": "zone", "operator": "Near", "values": ["a"]}), false),
            (json!({"key": "zone", "operator": "In"}), false),
        ];
        for (requirement, matched) in rows {
            assert_eq!(
                fits(required(&json!([{"matchExpressions": [requirement]}]))),
                matched,
                "{requirement}"
            );
        }
    }

    #[test]
    fn terms_are_alternatives_and_an_empty_one_matches_nothing() {
        let named = |name: &str| json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]});
        assert!(fits(required(&json!([named("n2"), named("n1")]))));
        assert!(!fits(required(&json!([named("n2"), {}]))));
        assert!(!fits(required(&json!([]))));
        let two = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1", "n2"]}]});
        assert!(!fits(required(&json!([two]))));
    }

    #[test]
    fn a_pod_is_pinned_when_every_term_names_nodes() {
        let named = |name: &str| json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]});
        let pins = |terms: Value| {
            let spec = spec(&required(&terms));
            pinned_nodes(&spec).map(|names| names.into_iter().map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(pins(json!([named("n2"), named("n1")])).unwrap(), ["n1", "n2"]);
        assert_eq!(pins(json!([named("n2"), {"matchExpressions": []}])), None);
        assert_eq!(pinned_nodes(&spec(&json!({}))), None);
    }
}
