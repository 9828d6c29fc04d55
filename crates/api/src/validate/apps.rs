//! DaemonSets, Deployments, ReplicaSets, StatefulSets, ReplicationControllers, ControllerRevisions.
//!
//! Source: `spec/daemonset.md` §1; kubernetes `pkg/apis/apps/validation/validation.go`, `pkg/apis/core/validation`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::cursor::{Cursor, Errors};
use super::meta::Values;
use super::{meta, pod};
use crate::Resource;
use crate::selector::LabelSelector;
use crate::value::{semantically_equal, text};

/// A percentage or a count, above zero.
#[derive(Clone, Copy, PartialEq)]
enum Share {
    Count(i64),
    Percent(i64),
}

fn share(at: &Cursor<'_>) -> Option<Share> {
    match at.value {
        Value::String(text) => {
            let digits = text.strip_suffix('%')?;
            let good = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            good.then(|| Share::Percent(digits.parse().unwrap_or(i64::MAX)))
        }
        value => value.as_i64().map(Share::Count),
    }
}

/// Zero of any spelling; absent counts as zero, and so does a text that is no number.
fn is_zero(at: &Cursor<'_>) -> bool {
    match (share(at), at.value) {
        (Some(Share::Count(number) | Share::Percent(number)), _) => number == 0,
        (None, Value::String(text)) => text.parse::<i64>().unwrap_or_default() == 0,
        (None, _) => true,
    }
}

/// A count not below zero, or a percentage.
pub(super) fn count_or_percent(at: &Cursor<'_>, errors: &mut Errors) {
    match (at.value, share(at)) {
        (Value::String(_), None) => {
            let detail = crate::names::pattern_message(
                "a valid percent string must be a numeric string followed by an ending '%'",
                "[0-9]+%",
                &["1%", "93%"],
            );
            errors.invalid(at, detail);
        }
        (Value::String(_), _) => {}
        _ => errors.check_not_negative(at),
    }
}

/// At most all of them.
pub(super) fn at_most_all(at: &Cursor<'_>, errors: &mut Errors) {
    if matches!(share(at), Some(Share::Percent(percent)) if percent > 100) {
        errors.invalid(at, "must not be greater than 100%");
    }
}

/// The labels of the template are those that the selector selects.
pub(super) fn selector_matches_template(spec: &Cursor<'_>, errors: &mut Errors) {
    let (template, metadata);
    template = spec.at("template");
    metadata = template.at("metadata");
    let labels = metadata.at("labels");
    let map: BTreeMap<String, String> = labels
        .members()
        .map(|(key, value)| (key.to_owned(), value.text().to_owned()))
        .collect();
    let selector = LabelSelector::from_value(spec.at("selector").value);
    if selector.is_ok_and(|selector| !selector.matches(&map)) {
        errors.invalid(&labels, "`selector` does not match template `labels`");
    }
}

/// The selector and the template of a kind that keeps pods running.
fn template(spec: &Cursor<'_>, errors: &mut Errors, kind: &str) {
    let template = spec.at("template");
    pod::template(&template, errors);
    let pod = template.at("spec");
    let policy = pod.at("restartPolicy");
    if matches!(policy.text(), "OnFailure" | "Never") {
        errors.unsupported(&policy, &["Always"]);
    }
    let deadline = pod.at("activeDeadlineSeconds");
    if deadline.is_set() {
        errors.forbidden(&deadline, format!("activeDeadlineSeconds in {kind} is not Supported"));
    }
}

fn selector(spec: &Cursor<'_>, errors: &mut Errors, kind: &str) {
    let selector = spec.at("selector");
    if !selector.is_set() {
        errors.required(&selector, "");
        return;
    }
    meta::label_selector(&selector, errors);
    if selector.at("matchLabels").is_empty() && selector.at("matchExpressions").is_empty() {
        errors.invalid(&selector, format!("empty selector is invalid for {kind}"));
    }
}

/// A new object of one of these kinds.
pub(super) fn create(object: &Cursor<'_>, resource: &'static Resource, errors: &mut Errors) {
    meta::create(object, resource, errors);
    rules(object, resource.kind, Values::Checked, errors);
    if resource.kind == "ControllerRevision" {
        revision_data(&object.at("data"), errors);
    }
}

/// A changed object of one of these kinds.
pub(super) fn update(new: &Cursor<'_>, old: &Cursor<'_>, resource: &'static Resource, errors: &mut Errors) {
    meta::update(new, old, errors);
    let (spec, before) = (new.at("spec"), old.at("spec"));
    if resource.kind == "DaemonSet" {
        errors.check_immutable(&spec.at("selector"), &before.at("selector"));
    }
    let borne = resource.kind == "DaemonSet" && meta::has_bad_values(&before.at("selector"));
    rules(
        new,
        resource.kind,
        if borne { Values::Borne } else { Values::Checked },
        errors,
    );
    match resource.kind {
        "Deployment" | "ReplicaSet" => errors.check_immutable(&spec.at("selector"), &before.at("selector")),
        "StatefulSet" => stateful_set_change(&spec, &before, errors),
        "ControllerRevision" => {
            let (data, before) = (new.at("data"), old.at("data"));
            if !semantically_equal(data.value, before.value) {
                errors.invalid(&data, super::cursor::IMMUTABLE);
            }
        }
        _ => {}
    }
}

fn rules(object: &Cursor<'_>, kind: &str, values: Values, errors: &mut Errors) {
    let spec = object.at("spec");
    match kind {
        "DaemonSet" => daemon_set(&spec, values, errors),
        "Deployment" => deployment(&spec, errors),
        "ReplicaSet" => replica_set(&spec, errors),
        "StatefulSet" => stateful_set(&spec, errors),
        "ReplicationController" => replication_controller(&spec, errors),
        "ControllerRevision" => errors.check_not_negative(&object.at("revision")),
        _ => {}
    }
}

fn daemon_set(spec: &Cursor<'_>, values: Values, errors: &mut Errors) {
    let selector = spec.at("selector");
    meta::label_selector_with(&selector, values, errors);
    selector_matches_template(spec, errors);
    if selector.is_set() && selector.at("matchLabels").is_empty() && selector.at("matchExpressions").is_empty() {
        errors.invalid(&selector, "empty selector is invalid for daemonset");
    }
    template(spec, errors, "DaemonSet");
    errors.check_not_negative(&spec.at("minReadySeconds"));
    errors.check_not_negative(&spec.at("templateGeneration"));
    daemon_set_strategy(&spec.at("updateStrategy"), errors);
    errors.check_not_negative(&spec.at("revisionHistoryLimit"));
}

fn daemon_set_strategy(strategy: &Cursor<'_>, errors: &mut Errors) {
    match strategy.at("type").text() {
        "OnDelete" => return,
        "RollingUpdate" => {}
        _ => {
            errors.unsupported(strategy, &["RollingUpdate", "OnDelete"]);
            return;
        }
    }
    let rolling = strategy.at("rollingUpdate");
    if !rolling.is_set() {
        errors.required(&rolling, "");
        return;
    }
    let (unavailable, surge) = (rolling.at("maxUnavailable"), rolling.at("maxSurge"));
    for at in [unavailable, surge] {
        count_or_percent(&at, errors);
        at_most_all(&at, errors);
    }
    match (is_zero(&unavailable), is_zero(&surge)) {
        (true, true) => errors.required(&unavailable, "cannot be 0 when maxSurge is 0"),
        (false, false) => errors.invalid(&surge, "may not be set when maxUnavailable is non-zero"),
        _ => {}
    }
}

fn deployment(spec: &Cursor<'_>, errors: &mut Errors) {
    errors.check_not_negative(&spec.at("replicas"));
    selector(spec, errors, "deployment");
    replicated_template(spec, errors, "Deployment");
    deployment_strategy(&spec.at("strategy"), errors);
    errors.check_not_negative(&spec.at("minReadySeconds"));
    errors.check_not_negative(&spec.at("revisionHistoryLimit"));
    let deadline = spec.at("progressDeadlineSeconds");
    errors.check_not_negative(&deadline);
    let ready = spec.at("minReadySeconds").integer().unwrap_or_default();
    if deadline.integer().is_some_and(|deadline| deadline <= ready) {
        errors.invalid(&deadline, "must be greater than minReadySeconds");
    }
}

fn deployment_strategy(strategy: &Cursor<'_>, errors: &mut Errors) {
    let rolling = strategy.at("rollingUpdate");
    match strategy.at("type").text() {
        "Recreate" => {
            if rolling.is_set() {
                let detail = "may not be specified when strategy `type` is 'Recreate'";
                errors.forbidden(&rolling, detail);
            }
        }
        "RollingUpdate" => {
            if !rolling.is_set() {
                errors.required(&rolling, "this should be defaulted and never be nil");
                return;
            }
            let (unavailable, surge) = (rolling.at("maxUnavailable"), rolling.at("maxSurge"));
            count_or_percent(&unavailable, errors);
            count_or_percent(&surge, errors);
            if is_zero(&unavailable) && is_zero(&surge) {
                errors.invalid(&unavailable, "may not be 0 when `maxSurge` is 0");
            }
            at_most_all(&unavailable, errors);
        }
        _ => errors.unsupported(strategy, &["Recreate", "RollingUpdate"]),
    }
}

fn replica_set(spec: &Cursor<'_>, errors: &mut Errors) {
    errors.check_not_negative(&spec.at("replicas"));
    errors.check_not_negative(&spec.at("minReadySeconds"));
    selector(spec, errors, "replicaset");
    replicated_template(spec, errors, "ReplicaSet");
}

fn replicated_template(spec: &Cursor<'_>, errors: &mut Errors, kind: &str) {
    selector_matches_template(spec, errors);
    template(spec, errors, kind);
}

fn stateful_set(spec: &Cursor<'_>, errors: &mut Errors) {
    let policy = spec.at("podManagementPolicy");
    if policy.is_empty() {
        errors.required(&policy, "");
    } else if !matches!(policy.text(), "OrderedReady" | "Parallel") {
        errors.invalid(&policy, "must be 'OrderedReady' or 'Parallel'");
    }
    let strategy = spec.at("updateStrategy");
    match strategy.at("type").text() {
        "" => errors.required(&strategy, ""),
        "OnDelete" if strategy.at("rollingUpdate").is_set() => {
            errors.invalid(
                &strategy.at("rollingUpdate"),
                "only allowed for updateStrategy 'RollingUpdate'",
            );
        }
        "OnDelete" => {}
        "RollingUpdate" => {
            let rolling = strategy.at("rollingUpdate");
            errors.check_not_negative(&rolling.at("partition"));
        }
        _ => errors.invalid(&strategy, "must be 'RollingUpdate' or 'OnDelete'"),
    }
    let retention = spec.at("persistentVolumeClaimRetentionPolicy");
    for field in ["whenDeleted", "whenScaled"].into_iter().filter(|_| retention.is_set()) {
        errors.check_one_of(&retention.at(field), &["Delete", "Retain"]);
    }
    errors.check_not_negative(&spec.at("replicas"));
    errors.check_not_negative(&spec.at("minReadySeconds"));
    let ordinals = spec.at("ordinals");
    errors.check_not_negative(&ordinals.at("start"));
    selector(spec, errors, "statefulset");
    replicated_template(spec, errors, "StatefulSet");
}

fn stateful_set_change(spec: &Cursor<'_>, before: &Cursor<'_>, errors: &mut Errors) {
    const MUTABLE: &[&str] = &[
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let frozen = |spec: &Value| {
        let mut spec = spec.clone();
        for field in MUTABLE {
            crate::value::remove(&mut spec, field);
        }
        spec
    };
    if !semantically_equal(&frozen(spec.value), &frozen(before.value)) {
        let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                      'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                      'minReadySeconds' are forbidden";
        errors.forbidden(spec, detail);
    }
}

fn replication_controller(spec: &Cursor<'_>, errors: &mut Errors) {
    errors.check_not_negative(&spec.at("minReadySeconds"));
    let selector = spec.at("selector");
    if selector.is_empty() {
        errors.required(&selector, "");
    }
    errors.check_not_negative(&spec.at("replicas"));
    if !spec.at("template").is_set() {
        errors.required(&spec.at("template"), "");
        return;
    }
    let labels = &spec.value["template"]["metadata"]["labels"];
    if !selector.members().all(|(key, value)| text(labels, key) == value.text()) {
        let (template, metadata);
        template = spec.at("template");
        metadata = template.at("metadata");
        errors.invalid(&metadata.at("labels"), "`selector` does not match template `labels`");
    }
    template(spec, errors, "ReplicationController");
}

/// What a new revision records, which then stays.
fn revision_data(data: &Cursor<'_>, errors: &mut Errors) {
    if !data.is_set() {
        errors.required(data, "data is mandatory");
    } else if !data.value.is_object() {
        errors.required(data, "data must be a valid JSON object");
    }
}
