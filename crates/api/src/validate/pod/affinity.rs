//! Where a pod wants to run: nodes, neighbours, spread.

use std::collections::{BTreeMap, BTreeSet};

use super::super::cursor::{Cursor, Errors};
use super::super::meta;
use crate::names;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// `affinity`.
pub(super) fn affinity(affinity: &Cursor<'_>, errors: &mut Errors) {
    let node = affinity.at("nodeAffinity");
    let required = node.at(REQUIRED);
    if required.is_set() {
        node_selector(&required, errors);
    }
    for preferred in node.at(PREFERRED).items() {
        weight(&preferred.at("weight"), errors);
        // Values that no label can have are let through here, as upstream does.
        node_term(&preferred.at("preference"), true, errors);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let pods = affinity.at(kind);
        for term in pods.at(REQUIRED).items() {
            pod_term(&term, errors);
        }
        for preferred in pods.at(PREFERRED).items() {
            weight(&preferred.at("weight"), errors);
            pod_term(&preferred.at("podAffinityTerm"), errors);
        }
    }
}

fn weight(at: &Cursor<'_>, errors: &mut Errors) {
    let weight = at.integer().unwrap_or_default();
    if !(1..=100).contains(&weight) {
        errors.invalid_as(at, weight, "must be in the range 1-100");
    }
}

/// Terms of which a node has to meet one.
pub(in crate::validate) fn node_selector(selector: &Cursor<'_>, errors: &mut Errors) {
    let terms = selector.at("nodeSelectorTerms");
    if terms.is_empty() {
        errors.required(&terms, "must have at least one node selector term");
    }
    for term in terms.items() {
        node_term(&term, false, errors);
    }
}

fn node_term(term: &Cursor<'_>, any_value: bool, errors: &mut Errors) {
    for expression in term.at("matchExpressions").items() {
        node_expression(&expression, any_value, errors);
    }
    for field in term.at("matchFields").items() {
        node_field(&field, errors);
    }
}

fn node_expression(expression: &Cursor<'_>, any_value: bool, errors: &mut Errors) {
    let (key, operator, values) = (expression.at("key"), expression.at("operator"), expression.at("values"));
    match operator.text() {
        "In" | "NotIn" => {
            if values.is_empty() {
                errors.required(&values, "must be specified when `operator` is 'In' or 'NotIn'");
            }
        }
        "Exists" | "DoesNotExist" => {
            if !values.is_empty() {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.forbidden(&values, detail);
            }
        }
        "Gt" | "Lt" => {
            if values.len() != 1 {
                let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                errors.required(&values, detail);
            }
        }
        other => errors.invalid_as(&operator, other, "not a valid selector operator"),
    }
    for complaint in names::qualified_name(key.text()) {
        errors.invalid_as(&key, key.text(), complaint);
    }
    for value in values.items().filter(|_| !any_value) {
        errors.complaints(&value, names::label_value(value.text()));
    }
}

/// A requirement on a node's fields: so far only on its name.
fn node_field(field: &Cursor<'_>, errors: &mut Errors) {
    let (key, operator, values) = (field.at("key"), field.at("operator"), field.at("values"));
    match operator.text() {
        "In" | "NotIn" => {
            if values.len() != 1 {
                let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.required(&values, detail);
            }
        }
        other => errors.invalid_as(&operator, other, "not a valid selector operator"),
    }
    if key.text() != "metadata.name" {
        errors.invalid_as(&key, key.text(), "not a valid field selector key");
        return;
    }
    for value in values.items() {
        errors.complaints(&value, names::dns_subdomain(value.text()));
    }
}

fn pod_term(term: &Cursor<'_>, errors: &mut Errors) {
    let selector = term.at("labelSelector");
    meta::label_selector(&selector, errors);
    meta::label_selector(&term.at("namespaceSelector"), errors);
    // Upstream names the field in the singular here.
    let named = term.at("namespace");
    for namespace in term.at("namespaces").items() {
        for complaint in names::dns_label(namespace.text()) {
            errors.invalid_as(&named, namespace.text(), complaint);
        }
    }
    let (keys, other_keys) = (term.at("matchLabelKeys"), term.at("mismatchLabelKeys"));
    if selector.is_set() {
        label_keys(&keys, errors);
        label_keys(&other_keys, errors);
        // Upstream leaves the field's name out of these paths.
        said_twice(&keys, term, &selector, errors);
    } else {
        for keys in [keys, other_keys].iter().filter(|keys| !keys.is_empty()) {
            errors.forbidden(keys, NO_SELECTOR);
        }
    }
    for key in keys.items() {
        if other_keys.items().any(|other| other.value == key.value) {
            errors.invalid(&key, "exists in both matchLabelKeys and mismatchLabelKeys");
        }
    }
    let topology = term.at("topologyKey");
    if topology.is_empty() {
        errors.required(&topology, "can not be empty");
    }
    for complaint in names::qualified_name(topology.text()) {
        errors.invalid_as(&topology, topology.text(), complaint);
    }
}

const NO_SELECTOR: &str = "must not be specified when labelSelector is not set";

fn label_keys(keys: &Cursor<'_>, errors: &mut Errors) {
    for key in keys.items() {
        for complaint in names::qualified_name(key.text()) {
            errors.invalid_as(&key, key.text(), complaint);
        }
    }
}

/// Keys that the selector names beside the requirement that stands for them. Reported at `shown` with the key's index.
fn said_twice(keys: &Cursor<'_>, shown: &Cursor<'_>, selector: &Cursor<'_>, errors: &mut Errors) {
    let labels = selector.at("matchLabels");
    let mut seen: BTreeSet<&str> = labels.members().map(|(key, _)| key).collect();
    for expression in crate::value::list(selector.value, "matchExpressions") {
        let key = crate::value::text(expression, "key");
        let index = keys.items().position(|other| other.text() == key);
        if let Some(index) = index.filter(|_| seen.contains(key)) {
            let detail = "exists in both matchLabelKeys and labelSelector";
            errors.invalid_as(&shown.index(index), key, detail);
        }
        seen.insert(key);
    }
}

/// `topologySpreadConstraints`.
pub(super) fn spread(constraints: &Cursor<'_>, errors: &mut Errors) {
    let pair = |constraint: &Cursor<'_>| {
        let (topology, when) = (constraint.at("topologyKey"), constraint.at("whenUnsatisfiable"));
        format!("{{{}, {}}}", topology.text(), when.text())
    };
    let mut behind: BTreeMap<String, usize> = BTreeMap::new();
    for constraint in constraints.items() {
        *behind.entry(pair(&constraint)).or_default() += 1;
    }
    for constraint in constraints.items() {
        let skew = constraint.at("maxSkew");
        if skew.integer().unwrap_or_default() <= 0 {
            errors.invalid_as(&skew, skew.integer().unwrap_or_default(), "must be greater than zero");
        }
        let topology = constraint.at("topologyKey");
        if topology.is_empty() {
            errors.required(&topology, "can not be empty");
        }
        let when = constraint.at("whenUnsatisfiable");
        errors.check_one_of(&when, &["DoNotSchedule", "ScheduleAnyway"]);
        // Of two that are alike the first is reported.
        let own = pair(&constraint);
        let left = behind.entry(own.clone()).or_default();
        *left = left.saturating_sub(1);
        if *left > 0 {
            let at = constraint.at("{topologyKey, whenUnsatisfiable}");
            errors.duplicate_as(&at, own);
        }
        min_domains(&constraint, errors);
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            let policy = constraint.at(field);
            if policy.is_set() {
                errors.check_one_of(&policy, &["Honor", "Ignore"]);
            }
        }
        let (keys, selector) = (constraint.at("matchLabelKeys"), constraint.at("labelSelector"));
        if !keys.is_empty() && !selector.is_set() {
            errors.forbidden(&keys, NO_SELECTOR);
        }
        label_keys(&keys, errors);
        said_twice(&keys, &keys, &selector, errors);
        meta::label_selector(&constraint.at("labelSelector"), errors);
    }
}

fn min_domains(constraint: &Cursor<'_>, errors: &mut Errors) {
    let domains = constraint.at("minDomains");
    if !domains.is_set() {
        return;
    }
    if domains.integer().unwrap_or_default() <= 0 {
        errors.invalid(&domains, "must be greater than zero");
    }
    let when = constraint.at("whenUnsatisfiable");
    if when.text() != "DoNotSchedule" {
        let detail = format!(
            "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}",
            when.text()
        );
        errors.invalid(&domains, detail);
    }
}
