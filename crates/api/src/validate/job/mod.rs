//! Jobs.
//!
//! Source: `spec/job.md` §1; kubernetes `pkg/apis/batch/validation/validation.go`.

mod indexes;
mod policy;
mod status;
mod update;

use std::collections::BTreeMap;

use serde_json::Value;

use super::cursor::{Cursor, Errors};
use super::{meta, pod};
use crate::names;
use crate::selector::LabelSelector;
use crate::{FieldErrorKind, resource};

pub(super) use status::update as update_status;
pub(super) use update::update;

/// Most pods at once of an Indexed Job.
const PARALLELISM_MAX: i64 = 100_000;
/// Most failed indexes of a Job.
const FAILED_INDEXES_MAX: i64 = 100_000;
/// Completions above which tracking of failures per index is bounded more tightly.
const MANY_COMPLETIONS: i64 = 100_000;
/// That tighter bound, on parallelism and on failed indexes.
const MANY_COMPLETIONS_MAX: i64 = 10_000;
const MANAGED_BY_BYTES_MAX: usize = 63;

/// A new Job.
pub(super) fn create(job: &Cursor<'_>, errors: &mut Errors) {
    if has_only_generated_labels(job) {
        // Such labels are shown when the Job is read; they are checked in the template that they come from.
        let mut unlabelled = job.value.clone();
        crate::value::remove(&mut unlabelled["metadata"], "labels");
        meta::create(&Cursor::root(&unlabelled), resource::JOBS, errors);
    } else {
        meta::create(job, resource::JOBS, errors);
    }
    rules(job, true, errors);
}

fn has_only_generated_labels(job: &Cursor<'_>) -> bool {
    const GENERATED: [&str; 4] = ["controller-uid", "job-name", CONTROLLER_UID, JOB_NAME];
    let labels = &job.value["metadata"]["labels"];
    let only = labels
        .as_object()
        .is_some_and(|labels| labels.keys().all(|key| GENERATED.contains(&key.as_str())));
    only && *labels == job.value["spec"]["template"]["metadata"]["labels"]
}

/// The rules that hold of a Job at any time. `prefixed_labels`: whether the labels with a domain are demanded.
fn rules(job: &Cursor<'_>, prefixed_labels: bool, errors: &mut Errors) {
    generated_selector(job, prefixed_labels, errors);
    let spec = job.at("spec");
    spec_with_selector(&spec, errors);
    let completions = spec.at("completions").integer().unwrap_or_default();
    if spec.at("completionMode").text() == "Indexed" && completions > 0 {
        let metadata = job.at("metadata");
        let name = metadata.at("name");
        let hostname = format!("{}-{}", name.text(), completions - 1);
        if !names::dns_label(&hostname).is_empty() {
            let detail = format!("will not able to create pod with invalid DNS label: {hostname}");
            errors.invalid_as(&name, name.text(), detail);
        }
    }
}

const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
const JOB_NAME: &str = "batch.kubernetes.io/job-name";

/// Unless the author selects by hand, the labels by which a Job finds its pods are the generated ones.
fn generated_selector(job: &Cursor<'_>, prefixed_labels: bool, errors: &mut Errors) {
    let (spec, metadata) = (job.at("spec"), job.at("metadata"));
    if spec.at("manualSelector").flag() || !spec.at("selector").is_set() {
        return;
    }
    let (uid, name) = (metadata.at("uid").text(), metadata.at("name").text());
    if uid.is_empty() {
        errors.required(&metadata.at("uid"), "");
    }
    let mut expected = vec![("controller-uid", uid), ("job-name", name)];
    if prefixed_labels {
        expected.extend([(CONTROLLER_UID, uid), (JOB_NAME, name)]);
    }
    let (template, template_metadata);
    template = spec.at("template");
    template_metadata = template.at("metadata");
    let labels = template_metadata.at("labels");
    for (key, value) in &expected {
        let label = labels.key(key);
        if !label.is_set() {
            errors.required(&label, format!("must be '{value}'"));
        } else if label.text() != *value {
            errors.invalid_as(&label, labels.value.clone(), format!("must be '{value}'"));
        }
    }
    let expected: BTreeMap<String, String> = expected
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let selector = spec.at("selector");
    if LabelSelector::from_value(selector.value).is_ok_and(|s| !s.matches(&expected)) {
        errors.invalid(&selector, "`selector` not auto-generated");
    }
}

fn spec_with_selector(spec: &Cursor<'_>, errors: &mut Errors) {
    self::spec(spec, errors);
    let selector = spec.at("selector");
    if selector.is_set() {
        meta::label_selector(&selector, errors);
    } else {
        errors.required(&selector, "");
    }
    super::apps::selector_matches_template(spec, errors);
}

/// The spec of a Job, selector aside; also inside a CronJob.
pub(super) fn spec(spec: &Cursor<'_>, errors: &mut Errors) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        errors.check_not_negative(&spec.at(field));
    }
    let per_index = spec.at("backoffLimitPerIndex");
    if spec.at("maxFailedIndexes").is_set() && !per_index.is_set() {
        errors.required(&per_index, "when maxFailedIndexes is specified");
    }
    managed_by(&spec.at("managedBy"), errors);
    completion_mode(spec, errors);
    if spec.at("podFailurePolicy").is_set() {
        policy::failure(spec, errors);
    }
    let success = spec.at("successPolicy");
    if success.is_set() {
        if is_indexed(spec) {
            policy::success(spec, errors);
        } else {
            errors.invalid(&success, "requires indexed completion mode");
        }
    }
    policy::replacement(spec, errors);
    pod::template(&spec.at("template"), errors);
    restart_policy(spec, errors);
}

fn is_indexed(spec: &Cursor<'_>) -> bool {
    spec.at("completionMode").text() == "Indexed"
}

fn managed_by(at: &Cursor<'_>, errors: &mut Errors) {
    if !at.is_set() {
        return;
    }
    meta::domain_prefixed_path(at, errors);
    if at.text().len() > MANAGED_BY_BYTES_MAX {
        errors.too_long(at, MANAGED_BY_BYTES_MAX);
    }
}

fn completion_mode(spec: &Cursor<'_>, errors: &mut Errors) {
    let mode = spec.at("completionMode");
    if mode.is_set() {
        errors.check_one_of(&mode, &["NonIndexed", "Indexed"]);
    }
    match mode.text() {
        "Indexed" => indexed(spec, errors),
        "NonIndexed" | "" if mode.text() == "NonIndexed" || !mode.is_set() => {
            for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
                if spec.at(field).is_set() {
                    errors.invalid(&spec.at(field), "requires indexed completion mode");
                }
            }
        }
        _ => {}
    }
}

fn indexed(spec: &Cursor<'_>, errors: &mut Errors) {
    let (completions, parallelism) = (spec.at("completions"), spec.at("parallelism"));
    let failed = spec.at("maxFailedIndexes");
    let over = |at: &Cursor<'_>, bound: i64| at.integer().is_some_and(|value| value > bound);
    if !completions.is_set() {
        errors.required(&completions, "when completion mode is Indexed");
    }
    if over(&parallelism, PARALLELISM_MAX) {
        let detail = format!("must be less than or equal to {PARALLELISM_MAX} when completion mode is Indexed");
        errors.invalid(&parallelism, detail);
    }
    if completions
        .integer()
        .is_some_and(|completions| over(&failed, completions))
    {
        errors.invalid(&failed, "must be less than or equal to completions");
    }
    if over(&failed, FAILED_INDEXES_MAX) {
        errors.invalid(&failed, format!("must be less than or equal to {FAILED_INDEXES_MAX}"));
    }
    if over(&completions, MANY_COMPLETIONS) && spec.at("backoffLimitPerIndex").is_set() {
        if !failed.is_set() {
            let detail = format!("must be specified when completions is above {MANY_COMPLETIONS}");
            errors.required(&failed, detail);
        }
        for at in [parallelism, failed] {
            if over(&at, MANY_COMPLETIONS_MAX) {
                let detail = format!(
                    "must be less than or equal to {MANY_COMPLETIONS_MAX} when completions are above {MANY_COMPLETIONS} and \
                     used with backoff limit per index"
                );
                errors.invalid(&at, detail);
            }
        }
    }
}

fn restart_policy(spec: &Cursor<'_>, errors: &mut Errors) {
    let (template, pod);
    template = spec.at("template");
    pod = template.at("spec");
    let policy = pod.at("restartPolicy");
    match policy.text() {
        "" | "Always" => errors.required(&policy, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if spec.at("podFailurePolicy").is_set() => {
            errors.invalid(
                &policy,
                "only \"Never\" is supported when podFailurePolicy is specified",
            );
        }
        "OnFailure" | "Never" => {}
        _ => errors.unsupported(&policy, &["OnFailure", "Never"]),
    }
}

/// A Job inside a CronJob: its selector is generated when the Job is made.
pub(super) fn template(template: &Cursor<'_>, errors: &mut Errors) {
    let spec = template.at("spec");
    self::spec(&spec, errors);
    if spec.at("selector").is_set() {
        errors.invalid(&spec.at("selector"), "`selector` will be auto-generated");
    }
    let manual = spec.at("manualSelector");
    if manual.flag() {
        errors.push(
            FieldErrorKind::NotSupported,
            manual.path(),
            Some(&Value::Bool(true)),
            "supported values: \"nil\", \"false\"",
        );
    }
}
