//! ResourceQuotas and LimitRanges.
//!
//! Source: kubernetes `pkg/apis/core/validation/validation.go`, `pkg/apis/core/helper/helpers.go`.

use std::collections::{BTreeMap, BTreeSet};

use super::cursor::{Cursor, Errors, IMMUTABLE};
use super::pod;
use crate::names;
use crate::quantity::Quantity;

/// Resources without a domain that a quota may bound.
const BOUNDED: &[&str] = &[
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

fn is_bounded(name: &str) -> bool {
    BOUNDED.contains(&name) || name.starts_with("hugepages-") || name.starts_with("requests.hugepages-")
}

/// A ResourceQuota.
pub(super) fn quota(quota: &Cursor<'_>, errors: &mut Errors) {
    let spec = quota.at("spec");
    amounts(&spec.at("hard"), errors);
    scopes(&spec, errors);
    scope_selector(&spec, errors);
}

/// A changed ResourceQuota keeps its scopes.
pub(super) fn quota_change(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    let (spec, before) = (new.at("spec"), old.at("spec"));
    let set = |spec: &Cursor<'_>| -> BTreeSet<String> {
        let scopes = spec.at("scopes");
        scopes.items().map(|scope| scope.text().to_owned()).collect()
    };
    if set(&spec) != set(&before) {
        errors.invalid(&spec.at("scopes"), IMMUTABLE);
    }
}

/// A changed status of a ResourceQuota.
pub(super) fn quota_status(quota: &Cursor<'_>, errors: &mut Errors) {
    let status = quota.at("status");
    for field in ["hard", "used"] {
        amounts(&status.at(field), errors);
    }
}

fn amounts(list: &Cursor<'_>, errors: &mut Errors) {
    for (name, at) in list.members() {
        pod::resource_name(&at, name, errors);
        if !name.contains('/') && !is_bounded(name) {
            errors.invalid_as(&at, name, "must be a standard resource for quota");
        }
        pod::resource_amount(&at, name, errors);
    }
}

const SCOPES: &[&str] = &[
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

/// Whether a scope makes sense for a resource.
fn is_scoped(scope: &str, resource: &str) -> bool {
    let computed = [
        "cpu",
        "memory",
        "limits.cpu",
        "limits.memory",
        "requests.cpu",
        "requests.memory",
    ];
    match scope {
        "BestEffort" => resource == "pods",
        "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => {
            resource == "pods" || computed.contains(&resource)
        }
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        _ => true,
    }
}

fn scope(at: &Cursor<'_>, shown: &Cursor<'_>, name: &str, hard: &Cursor<'_>, errors: &mut Errors) {
    if !SCOPES.contains(&name) {
        errors.invalid(shown, "unsupported scope");
    }
    for (resource, _) in hard.members() {
        if is_bounded(resource) && !is_scoped(name, resource) {
            errors.invalid(at, "unsupported scope applied to resource");
        }
    }
}

fn conflicts(at: &Cursor<'_>, given: &BTreeSet<String>, errors: &mut Errors) {
    for (a, b) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if given.contains(a) && given.contains(b) {
            errors.invalid(at, "conflicting scopes");
        }
    }
}

fn scopes(spec: &Cursor<'_>, errors: &mut Errors) {
    let scopes = spec.at("scopes");
    let mut given = BTreeSet::new();
    for each in scopes.items() {
        scope(&scopes, &scopes, each.text(), &spec.at("hard"), errors);
        given.insert(each.text().to_owned());
    }
    conflicts(&scopes, &given, errors);
}

fn scope_selector(spec: &Cursor<'_>, errors: &mut Errors) {
    let selector = spec.at("scopeSelector");
    let expressions = selector.at("matchExpressions");
    let mut given = BTreeSet::new();
    for expression in expressions.items() {
        let name = expression.at("scopeName").text();
        // Upstream leaves the index out of these paths.
        let place = expressions.at("scopeName");
        scope(
            &expressions.with(selector.value),
            &place.with(expression.at("scopeName").value),
            name,
            &spec.at("hard"),
            errors,
        );
        let (operator, values) = (expressions.at("operator"), expressions.at("values"));
        let operator = operator.with(expression.at("operator").value);
        let values = values.with(expression.at("values").value);
        if SCOPES.contains(&name)
            && !matches!(name, "PriorityClass" | "VolumeAttributesClass")
            && operator.text() != "Exists"
        {
            let detail = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, \
                          ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or \
                          ResourceQuotaScopeCrossNamespacePodAffinity";
            errors.invalid_as(&operator, operator.text(), detail);
        }
        match operator.text() {
            "In" | "NotIn" if values.is_empty() => errors.required(
                &values,
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            ),
            "In" | "NotIn" => {}
            "Exists" | "DoesNotExist" => {
                if !values.is_empty() {
                    let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                    errors.invalid(&values, detail);
                }
            }
            other => errors.invalid_as(&operator, other, "not a valid selector operator"),
        }
        given.insert(name.to_owned());
    }
    conflicts(&expressions.with(spec.at("scopes").value), &given, errors);
}

/// A LimitRange.
pub(super) fn limit_range(range: &Cursor<'_>, errors: &mut Errors) {
    let spec = range.at("spec");
    let mut seen = BTreeSet::new();
    for item in spec.at("limits").items() {
        let kind = item.at("type");
        let complaints = names::qualified_name(kind.text());
        if complaints.is_empty() {
            let known = ["Pod", "Container", "PersistentVolumeClaim"].contains(&kind.text());
            if !known && !kind.text().contains('/') {
                errors.invalid(&kind, "must be a standard limit type or fully qualified");
            }
        }
        for complaint in complaints {
            errors.invalid_as(&kind, kind.text(), complaint);
        }
        if !seen.insert(kind.text().to_owned()) {
            errors.duplicate(&kind);
        }
        limit_names(&item, errors);
        limits(&item, errors);
    }
}

fn limit_names(item: &Cursor<'_>, errors: &mut Errors) {
    let kind = item.at("type").text();
    let mut check = |field: &str| {
        for (name, at) in item.at(field).members() {
            match kind {
                "Pod" | "Container" => pod::container_resource_name(&at, name, errors),
                _ => {
                    pod::resource_name(&at, name, errors);
                }
            }
        }
    };
    check("max");
    check("min");
    if kind != "Pod" {
        check("default");
        check("defaultRequest");
    }
    check("maxLimitRequestRatio");
    if kind == "Pod" {
        for field in ["default", "defaultRequest"] {
            if !item.at(field).is_empty() {
                errors.forbidden(&item.at(field), "may not be specified when `type` is 'Pod'");
            }
        }
    }
    let bounds_storage = |field: &str| item.at(field).value.get("storage").is_some();
    if kind == "PersistentVolumeClaim" && !bounds_storage("min") && !bounds_storage("max") {
        let detail = "either minimum or maximum storage value is required, but neither was provided";
        errors.required(&item.at("limits"), detail);
    }
}

fn limits(item: &Cursor<'_>, errors: &mut Errors) {
    let is_pod = item.at("type").text() == "Pod";
    let list = |field: &str| -> BTreeMap<String, Quantity> {
        let at = item.at(field);
        let amounts = at.members();
        amounts
            .filter_map(|(name, at)| Some((name.to_owned(), at.quantity()?)))
            .collect()
    };
    let none = BTreeMap::new;
    let (min, max, ratios) = (list("min"), list("max"), list("maxLimitRequestRatio"));
    let (defaults, requests) = match is_pod {
        true => (none(), none()),
        false => (list("default"), list("defaultRequest")),
    };
    let all = [&min, &max, &defaults, &requests, &ratios];
    let names: BTreeSet<&String> = all.into_iter().flat_map(BTreeMap::keys).collect();
    for name in names {
        let (min, max, ratio) = (min.get(name), max.get(name), ratios.get(name));
        let (default, request) = (defaults.get(name), requests.get(name));
        // Field and amount that are shown; then what must not be above what.
        let mut ordered =
            |at: &str, shown: Option<&Quantity>, low: (&str, Option<&Quantity>), high: (&str, Option<&Quantity>)| {
                if let (Some(lower), Some(upper), Some(shown)) = (low.1, high.1, shown)
                    && lower > upper
                {
                    let at = item.at(at);
                    let detail = format!("{} value {lower} is greater than {} value {upper}", low.0, high.0);
                    errors.invalid_as(&at.key(name), shown.to_string(), detail);
                }
            };
        ordered("min", min, ("min", min), ("max", max));
        ordered("defaultRequest", request, ("min", min), ("default request", request));
        ordered("defaultRequest", request, ("default request", request), ("max", max));
        ordered(
            "defaultRequest",
            request,
            ("default request", request),
            ("default limit", default),
        );
        // Where a default limit is wrong, upstream shows what it is compared with.
        ordered("default", min, ("min", min), ("default", default));
        ordered("default", max, ("default", default), ("max", max));
        if let Some(ratio) = ratio {
            self::ratio(item, name, ratio, min, max, errors);
        }
        if let (Some(default), Some(request)) = (default, request)
            && pod::is_exclusive(name)
            && default != request
        {
            let at = item.at("defaultRequest");
            let detail = format!("default value {default} must equal to defaultRequest value {request} in {name}");
            errors.invalid_as(&at.key(name), request.to_string(), detail);
        }
    }
}

/// Limits may be so many times what is requested.
fn ratio(
    item: &Cursor<'_>,
    name: &str,
    ratio: &Quantity,
    min: Option<&Quantity>,
    max: Option<&Quantity>,
    errors: &mut Errors,
) {
    let at = item.at("maxLimitRequestRatio");
    let at = at.key(name);
    if *ratio < Quantity::from_units(1) {
        errors.invalid_as(&at, ratio.to_string(), format!("ratio {ratio} is less than 1"));
    }
    if let (Some(min), Some(max)) = (min, max) {
        let most = thousandths(max) / thousandths(min);
        if thousandths(ratio) / 1000.0 > most {
            let detail = format!("ratio {ratio} is greater than max/min = {most:.6}");
            errors.invalid_as(&at, ratio.to_string(), detail);
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "upstream compares such ratios as floating-point numbers"
)]
fn thousandths(amount: &Quantity) -> f64 {
    amount.millis() as f64
}
