//! Roles, bindings, budgets, leases, priority classes.
//!
//! Source: kubernetes `pkg/apis/{rbac,policy,coordination,scheduling}/validation`,
//! `apimachinery/pkg/apis/meta/v1/validation` (conditions).

use std::collections::BTreeSet;

use serde_json::Value;

use super::cursor::{Cursor, Errors};
use super::{apps, meta};
use crate::names;

const RBAC: &str = "rbac.authorization.k8s.io";

/// The rules of a Role or ClusterRole.
pub(super) fn role(role: &Cursor<'_>, namespaced: bool, errors: &mut Errors) {
    for rule in role.at("rules").items() {
        if rule.at("verbs").is_empty() {
            errors.required(&rule.at("verbs"), "verbs must contain at least one value");
        }
        let urls = rule.at("nonResourceURLs");
        if !urls.is_empty() {
            if namespaced {
                errors.invalid(&urls, "namespaced rules cannot apply to non-resource URLs");
            }
            let mixed = ["apiGroups", "resources", "resourceNames"]
                .iter()
                .any(|field| !rule.at(field).is_empty());
            if mixed {
                errors.invalid(
                    &urls,
                    "rules cannot apply to both regular resources and non-resource URLs",
                );
            }
            continue;
        }
        if rule.at("apiGroups").is_empty() {
            errors.required(
                &rule.at("apiGroups"),
                "resource rules must supply at least one api group",
            );
        }
        if rule.at("resources").is_empty() {
            errors.required(
                &rule.at("resources"),
                "resource rules must supply at least one resource",
            );
        }
    }
    let aggregation = role.at("aggregationRule");
    if !aggregation.is_set() {
        return;
    }
    let selectors = aggregation.at("clusterRoleSelectors");
    if selectors.is_empty() {
        let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        errors.required(&selectors, detail);
    }
    for selector in selectors.items() {
        let before = errors.len();
        meta::label_selector(&selector, errors);
        if errors.len() > before {
            errors.invalid_as(&selector, Value::Null, "invalid label selector.");
        }
    }
}

/// A RoleBinding or ClusterRoleBinding.
pub(super) fn binding(binding: &Cursor<'_>, namespaced: bool, errors: &mut Errors) {
    let role = binding.at("roleRef");
    errors.check_one_of(&role.at("apiGroup"), &[RBAC]);
    let kinds: &[&str] = if namespaced {
        &["Role", "ClusterRole"]
    } else {
        &["ClusterRole"]
    };
    errors.check_one_of(&role.at("kind"), kinds);
    let name = role.at("name");
    if name.is_empty() {
        errors.required(&name, "");
    } else {
        errors.complaints(&name, names::path_segment(name.text()));
    }
    for subject in binding.at("subjects").items() {
        self::subject(&subject, namespaced, errors);
    }
}

fn subject(subject: &Cursor<'_>, namespaced: bool, errors: &mut Errors) {
    let (name, group, kind) = (subject.at("name"), subject.at("apiGroup"), subject.at("kind"));
    if name.is_empty() {
        errors.required(&name, "");
    }
    match kind.text() {
        "ServiceAccount" => {
            if !name.is_empty() {
                errors.complaints(&name, names::dns_subdomain(name.text()));
            }
            if !group.is_empty() {
                errors.unsupported(&group, &[""]);
            }
            if !namespaced && subject.at("namespace").is_empty() {
                errors.required(&subject.at("namespace"), "");
            }
        }
        "User" | "Group" => errors.check_one_of(&group, &[RBAC]),
        _ => errors.unsupported(&kind, &["ServiceAccount", "User", "Group"]),
    }
}

/// The role that a binding grants stays.
pub(super) fn binding_change(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    if !new.at("roleRef").same_as(&old.at("roleRef")) {
        errors.invalid(&new.at("roleRef"), "cannot change roleRef");
    }
}

/// A PodDisruptionBudget.
pub(super) fn disruption_budget(budget: &Cursor<'_>, errors: &mut Errors) {
    let spec = budget.at("spec");
    let (least, most) = (spec.at("minAvailable"), spec.at("maxUnavailable"));
    if least.is_set() && most.is_set() {
        errors.invalid(&spec, "minAvailable and maxUnavailable cannot be both set");
    }
    for at in [least, most] {
        if at.is_set() {
            apps::count_or_percent(&at, errors);
            apps::at_most_all(&at, errors);
        }
    }
    meta::label_selector(&spec.at("selector"), errors);
    let policy = spec.at("unhealthyPodEvictionPolicy");
    if policy.is_set() {
        errors.check_one_of(&policy, &["AlwaysAllow", "IfHealthyBudget"]);
    }
}

/// A changed status of a PodDisruptionBudget.
pub(super) fn disruption_status(budget: &Cursor<'_>, errors: &mut Errors) {
    let status = budget.at("status");
    conditions(&status.at("conditions"), errors);
    for field in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
        errors.check_not_negative(&status.at(field));
    }
}

/// Conditions in the form that newer kinds share (`metav1.Condition`).
fn conditions(list: &Cursor<'_>, errors: &mut Errors) {
    const REASON_MAX: usize = 1024;
    const MESSAGE_MAX: usize = 32 * 1024;
    let mut seen = BTreeSet::new();
    for condition in list.items() {
        let (kind, reason) = (condition.at("type"), condition.at("reason"));
        if !seen.insert(kind.text().to_owned()) {
            errors.duplicate(&kind);
        }
        for complaint in names::qualified_name(kind.text()) {
            errors.invalid_as(&kind, kind.text(), complaint);
        }
        errors.check_one_of(&condition.at("status"), &["False", "True", "Unknown"]);
        let generation = condition.at("observedGeneration");
        if generation.integer().is_some_and(|generation| generation < 0) {
            errors.invalid(&generation, "must be greater than or equal to zero");
        }
        let since = condition.at("lastTransitionTime");
        if !since.is_set() {
            errors.required(&since, "must be set");
        }
        if reason.is_empty() {
            errors.required(&reason, "must be set");
        } else {
            if !is_reason(reason.text()) {
                let detail = names::pattern_message(
                    "a condition reason must start with alphabetic character, optionally followed by a string of \
                     alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'",
                    "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?",
                    &["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"],
                );
                errors.invalid(&reason, detail);
            }
            if reason.text().len() > REASON_MAX {
                errors.too_long(&reason, REASON_MAX);
            }
        }
        let message = condition.at("message");
        if message.text().len() > MESSAGE_MAX {
            errors.too_long(&message, MESSAGE_MAX);
        }
    }
}

fn is_reason(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "_,:".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().all(inner)
}

/// A Lease.
pub(super) fn lease(lease: &Cursor<'_>, errors: &mut Errors) {
    let spec = lease.at("spec");
    let duration = spec.at("leaseDurationSeconds");
    if duration.integer().is_some_and(|seconds| seconds <= 0) {
        errors.invalid(&duration, "must be greater than 0");
    }
    errors.check_not_negative(&spec.at("leaseTransitions"));
}

/// The largest priority that users may give.
const PRIORITY_MAX: i64 = 1_000_000_000;

/// A PriorityClass.
pub(super) fn priority_class(class: &Cursor<'_>, errors: &mut Errors) {
    const SYSTEM: &[(&str, i64)] = &[
        ("system-node-critical", 2_000_001_000),
        ("system-cluster-critical", 2_000_000_000),
    ];
    let metadata = class.at("metadata");
    let (name, value) = (metadata.at("name"), class.at("value"));
    if name.text().starts_with("system-") {
        let own = name.text();
        let why = match SYSTEM.iter().find(|(known, _)| *known == own) {
            None => Some(format!("{own} is not a known system priority class")),
            Some((_, priority)) if value.integer() != Some(*priority) => {
                Some(format!("value of {own} PriorityClass must be {priority}"))
            }
            Some(_) if class.at("globalDefault").flag() => {
                Some(format!("globalDefault of {own} PriorityClass must be false"))
            }
            Some(_) => None,
        };
        if let Some(why) = why {
            let detail = "priority class names with 'system-' prefix are reserved for system use only. error: ";
            errors.forbidden(&name, format!("{detail}{why}"));
        }
    } else if value.integer().is_some_and(|value| value > PRIORITY_MAX) {
        let detail = format!("maximum allowed value of a user defined priority is {PRIORITY_MAX}");
        errors.forbidden(&value, detail);
    }
    let policy = class.at("preemptionPolicy");
    if policy.is_set() {
        errors.check_one_of(&policy, &["PreemptLowerPriority", "Never"]);
    }
}

/// What a PriorityClass stands for stays.
pub(super) fn priority_class_change(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    if new.at("value").value != old.at("value").value {
        errors.forbidden(&new.at("value"), "may not be changed in an update.");
    }
    errors.check_immutable(&new.at("preemptionPolicy"), &old.at("preemptionPolicy"));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(errors: Errors) -> Vec<String> {
        errors.into_list().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_aggregation_selects_roles_by_selectors_that_can_be_read() {
        let check = |rule: Value, expected: &[&str]| {
            let mut errors = Errors::default();
            role(&Cursor::root(&json!({"aggregationRule": rule})), false, &mut errors);
            assert_eq!(told(errors), expected, "{rule}");
        };
        check(Value::Null, &[]);
        check(json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}), &[]);
        check(
            json!({}),
            &[
                "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if \
               aggregationRule is non-nil",
            ],
        );
        check(
            json!({"clusterRoleSelectors": [{"matchExpressions": [{"key": "k", "operator": "X"}]}]}),
            &[
                "aggregationRule.clusterRoleSelectors[0].matchExpressions[0].operator: Invalid value: \"X\": not a valid \
                 selector operator",
                "aggregationRule.clusterRoleSelectors[0]: Invalid value: null: invalid label selector.",
            ],
        );
    }

    #[test]
    fn the_priority_classes_of_the_system_are_what_they_are() {
        let check = |name: &str, value: i64, is_default: bool, why: &str| {
            let class = json!({"metadata": {"name": name}, "value": value, "globalDefault": is_default});
            let mut errors = Errors::default();
            priority_class(&Cursor::root(&class), &mut errors);
            let expected = "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use \
                            only. error: ";
            let expected: Vec<String> = (!why.is_empty())
                .then(|| format!("{expected}{why}"))
                .into_iter()
                .collect();
            assert_eq!(told(errors), expected, "{name}");
        };
        const NODE: &str = "system-node-critical";
        check(NODE, 2_000_001_000, false, "");
        check(
            NODE,
            7,
            false,
            "value of system-node-critical PriorityClass must be 2000001000",
        );
        check(
            NODE,
            2_000_001_000,
            true,
            "globalDefault of system-node-critical PriorityClass must be false",
        );
        check("system-x", 7, false, "system-x is not a known system priority class");
    }
}
