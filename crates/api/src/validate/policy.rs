//! Roles, bindings, budgets, leases, priority classes, quotas, limits.
//!
//! Source: kubernetes `pkg/apis/{rbac,policy,coordination,scheduling}/validation`, `pkg/apis/core/validation`.

use std::collections::BTreeSet;

use serde_json::json;

use super::cursor::{Cursor, Errors};
use super::{apps, meta};
use crate::names;
use crate::quantity::Quantity;

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
    for field in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
        errors.check_not_negative(&status.at(field));
    }
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
        let known = SYSTEM.iter().find(|(known, _)| *known == name.text());
        if known.is_none_or(|(_, priority)| value.integer() != Some(*priority)) {
            let detail = format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {} is not a known \
                 system priority class",
                name.text()
            );
            errors.forbidden(&name, detail);
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

/// A ResourceQuota.
pub(super) fn quota(quota: &Cursor<'_>, errors: &mut Errors) {
    const STANDARD: &[&str] = &[
        "cpu",
        "memory",
        "ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.storage",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "persistentvolumeclaims",
        "configmaps",
        "services.nodeports",
        "services.loadbalancers",
    ];
    let spec = quota.at("spec");
    let hard = spec.at("hard");
    for (name, at) in hard.members() {
        let known = STANDARD.contains(&name) || name.contains('/') || name.contains("hugepages-");
        if !known {
            errors.invalid_as(&at, name, "must be a standard resource type or fully qualified");
            errors.invalid_as(&at, name, "must be a standard resource for quota");
        }
        let Some(amount) = at.quantity() else { continue };
        if amount.is_negative() {
            errors.invalid_as(&at, amount.to_string(), super::cursor::NEGATIVE);
        }
        let measured = ["cpu", "memory", "storage"].iter().any(|part| name.ends_with(part));
        if !measured && !amount.is_whole() {
            errors.invalid_as(&at, amount.to_string(), "must be an integer");
        }
    }
    scopes(&spec.at("scopes"), errors);
}

fn scopes(scopes: &Cursor<'_>, errors: &mut Errors) {
    const KNOWN: &[&str] = &[
        "Terminating",
        "NotTerminating",
        "BestEffort",
        "NotBestEffort",
        "PriorityClass",
        "CrossNamespacePodAffinity",
        "VolumeAttributesClass",
    ];
    let given: BTreeSet<&str> = scopes
        .value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|s| s.as_str())
        .collect();
    for scope in &given {
        if !KNOWN.contains(scope) {
            errors.invalid(scopes, "unsupported scope");
        }
    }
    for (a, b) in [("Terminating", "NotTerminating"), ("BestEffort", "NotBestEffort")] {
        if given.contains(a) && given.contains(b) {
            errors.invalid(scopes, "conflicting scopes");
        }
    }
}

/// A LimitRange.
pub(super) fn limit_range(range: &Cursor<'_>, errors: &mut Errors) {
    let spec = range.at("spec");
    let mut seen = BTreeSet::new();
    for item in spec.at("limits").items() {
        let kind = item.at("type");
        errors.complaints(&kind, names::qualified_name(kind.text()));
        if !seen.insert(kind.text().to_owned()) {
            errors.duplicate(&kind);
        }
        if kind.text() == "Pod" {
            for field in ["default", "defaultRequest"] {
                if !item.at(field).is_empty() {
                    errors.forbidden(&item.at(field), "may not be specified when `type` is 'Pod'");
                }
            }
        }
        limits(&item, errors);
    }
}

fn limits(item: &Cursor<'_>, errors: &mut Errors) {
    let fields = ["min", "max", "defaultRequest", "default"];
    let keys: BTreeSet<String> = fields
        .iter()
        .flat_map(|field| item.value[*field].as_object().into_iter().flatten())
        .map(|(key, _)| key.clone())
        .collect();
    for key in keys {
        let amount = |field: &str| -> Option<Quantity> {
            let value = item.value.get(field)?.get(&key)?;
            Quantity::from_value(value).ok()
        };
        for (low, low_name, high, high_name, at) in [
            ("min", "min", "max", "max", "min"),
            ("min", "min", "defaultRequest", "default request", "defaultRequest"),
            ("defaultRequest", "default request", "max", "max", "defaultRequest"),
            ("min", "min", "default", "default", "default"),
            ("default", "default", "max", "max", "default"),
            (
                "defaultRequest",
                "default request",
                "default",
                "default",
                "defaultRequest",
            ),
        ] {
            if let (Some(lower), Some(upper)) = (amount(low), amount(high))
                && lower > upper
            {
                let list = item.at(at);
                let place = list.key(&key);
                // Where the default limit is too low, upstream shows the minimum instead.
                let shown = if at == "default" && low == "min" {
                    json!(lower.to_string())
                } else {
                    json!(place.text())
                };
                let detail = format!("{low_name} value {lower} is greater than {high_name} value {upper}");
                errors.invalid_as(&place, shown, detail);
            }
        }
    }
}
