//! Nodes, and the classes of runtimes they have.
//!
//! Source: kubernetes `pkg/apis/core/validation/validation.go`, `pkg/apis/node/validation`.

use std::collections::BTreeSet;

use super::cursor::{Cursor, Errors};
use super::{meta, network, pod};
use crate::{FieldErrorKind, names};

/// A Node.
pub(super) fn node(node: &Cursor<'_>, errors: &mut Errors) {
    taints(node, errors);
    resources(node, errors);
    let spec = node.at("spec");
    let ranges = spec.at("podCIDRs");
    for range in ranges.items() {
        network::cidr(&range, errors);
    }
    if ranges.len() > 1 {
        let families: Vec<bool> = ranges.items().map(|range| range.text().contains(':')).collect();
        if families.len() > 2 || families.first() == families.get(1) {
            errors.invalid(&ranges, "may specify no more than one CIDR for each IP family");
        }
        let mut seen = BTreeSet::new();
        for range in ranges.items() {
            if !seen.insert(range.text().to_owned()) {
                errors.duplicate(&range);
            }
        }
    }
}

/// Amounts in a Node's status.
fn resources(node: &Cursor<'_>, errors: &mut Errors) {
    for field in ["capacity", "allocatable"] {
        let status = node.at("status");
        let list = status.at(field);
        for (name, value) in list.members() {
            // Upstream writes these as fields, not as keys.
            let at = list.at(name);
            pod::resource_amount(&at.with(value.value), name, errors);
        }
    }
}

fn taints(node: &Cursor<'_>, errors: &mut Errors) {
    let spec = node.at("spec");
    // Upstream reports taints as if they were metadata.
    let metadata = node.at("metadata");
    let taints = metadata.at("taints");
    let taints = taints.with(spec.at("taints").value);
    let mut seen = BTreeSet::new();
    for taint in taints.items() {
        let (key, value, effect) = (taint.at("key"), taint.at("value"), taint.at("effect"));
        for complaint in names::qualified_name(key.text()) {
            errors.invalid_as(&key, key.text(), complaint);
        }
        let complaints = names::label_value(value.text());
        if !complaints.is_empty() {
            errors.invalid(&value, complaints.join(";"));
        }
        match effect.text() {
            "" => errors.required(&effect, ""),
            _ => errors.check_one_of(&effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]),
        }
        if !seen.insert((key.text().to_owned(), effect.text().to_owned())) {
            errors.push(
                FieldErrorKind::Duplicate,
                taint.path(),
                Some(taint.value),
                "taints must be unique by key and effect pair",
            );
        }
    }
}

/// A changed Node, or a changed status of one: what it once was given it keeps.
pub(super) fn node_change(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    resources(new, errors);
    let status = new.at("status");
    let mut seen = BTreeSet::new();
    for address in status.at("addresses").items() {
        let pair = (
            address.at("type").text().to_owned(),
            address.at("address").text().to_owned(),
        );
        if !seen.insert(pair) {
            errors.duplicate(&address);
        }
    }
    let (spec, before) = (new.at("spec"), old.at("spec"));
    for (field, shown) in [("podCIDRs", "podCIDR"), ("providerID", "providerID")] {
        let (new, old) = (spec.at(field), before.at(field));
        if !old.is_empty() && !new.same_as(&old) {
            let detail = format!("node updates may not change {shown} except from \"\" to valid");
            errors.forbidden(&new, detail);
        }
    }
    taints(new, errors);
    if spec.at("externalID").text() != before.at("externalID").text() {
        errors.forbidden(&spec.at("externalID"), "may not be updated");
    }
}

/// A RuntimeClass.
pub(super) fn runtime_class(class: &Cursor<'_>, errors: &mut Errors) {
    let handler = class.at("handler");
    if handler.is_empty() {
        errors.required(&handler, "");
    } else {
        errors.complaints(&handler, names::dns_label(handler.text()));
    }
    let overhead = class.at("overhead");
    if overhead.is_set() {
        // Upstream reports the overhead as if it were a container's limits.
        pod::resource_amounts(&overhead.at("podFixed"), &overhead.at("limits"), errors);
    }
    let scheduling = class.at("scheduling");
    meta::labels(&scheduling.at("nodeSelector"), errors);
    let tolerations = scheduling.at("tolerations");
    pod::tolerations(&tolerations, errors);
    let mut seen = BTreeSet::new();
    for toleration in tolerations.items() {
        let fields = ["key", "operator", "value", "effect"];
        if !seen.insert(fields.map(|field| toleration.at(field).text().to_owned())) {
            errors.duplicate(&toleration);
        }
    }
}
