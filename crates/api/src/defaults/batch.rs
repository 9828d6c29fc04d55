//! Defaults of Jobs and CronJobs.
//!
//! Source: `spec/job.md` §1.2, `spec/cronjob.md` §1.2; kubernetes `pkg/apis/batch/v1/defaults.go`.

use serde_json::{Value, json};

use super::template::template;
use crate::value::{default_text, default_to, ensure_object, list_mut, members, object_mut, present};

/// A `Job`.
pub(super) fn job(object: &mut Value) {
    let spec = ensure_object(object, "spec");
    if present(spec, "completions").is_none() && present(spec, "parallelism").is_none() {
        default_to(spec, "completions", 1);
        default_to(spec, "parallelism", 1);
    }
    default_to(spec, "parallelism", 1);
    let backoff_limit = match present(spec, "backoffLimitPerIndex") {
        Some(_) => i64::from(i32::MAX),
        None => 6,
    };
    default_to(spec, "backoffLimit", backoff_limit);
    default_to(spec, "completionMode", "NonIndexed");
    default_to(spec, "suspend", false);
    default_to(spec, "manualSelector", false);
    let replacement = match present(spec, "podFailurePolicy") {
        Some(_) => "Failed",
        None => "TerminatingOrFailed",
    };
    default_to(spec, "podReplacementPolicy", replacement);
    job_spec(spec);
    labels_from_template(object);
}

/// What a Job's spec and a CronJob's template of one share.
fn job_spec(spec: &mut Value) {
    template(spec, "template");
    if let Some(policy) = object_mut(spec, "podFailurePolicy") {
        for rule in list_mut(policy, "rules") {
            for condition in list_mut(rule, "onPodConditions") {
                default_text(condition, "status", "True");
            }
        }
    }
}

/// A Job without labels has those of its pods.
pub(crate) fn labels_from_template(object: &mut Value) {
    if members(&object["metadata"], "labels").next().is_some() {
        return;
    }
    let labels = object["spec"]["template"]["metadata"]["labels"].clone();
    if labels.as_object().is_some_and(|labels| !labels.is_empty()) {
        ensure_object(object, "metadata")["labels"] = labels;
    }
}

/// A `CronJob`.
pub(super) fn cron_job(object: &mut Value) {
    let spec = ensure_object(object, "spec");
    default_text(spec, "concurrencyPolicy", "Allow");
    default_to(spec, "suspend", false);
    default_to(spec, "successfulJobsHistoryLimit", 3);
    default_to(spec, "failedJobsHistoryLimit", 1);
    default_to(spec, "jobTemplate", json!({}));
    let template = ensure_object(spec, "jobTemplate");
    default_to(template, "metadata", json!({}));
    job_spec(ensure_object(template, "spec"));
}
