//! The selector of a Job, read from its spec.

use std::collections::BTreeMap;
use std::sync::Arc;

use rota_api::k8s::api::batch::v1::Job;
use rota_api::k8s::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use rota_api::{Meta, Object};

use super::labels::{CONTROLLER_UID, LEGACY_CONTROLLER_UID};

/// The selector of a Job.
pub(super) struct JobSelector {
    job: Arc<Job>,
    /// It demands the Job's own uid, so that only pods labelled with that can match.
    pub(super) names_uid: bool,
}

impl JobSelector {
    /// `None` for a Job without selector, which the API refuses.
    pub(super) fn of(object: &Object) -> Option<Self> {
        let job = object.view::<Job>().ok()?;
        let selector = selector(&job)?;
        let uid = &object.meta().uid;
        let names_uid = [CONTROLLER_UID, LEGACY_CONTROLLER_UID]
            .iter()
            .any(|label| selector.match_labels.as_ref().and_then(|l| l.get(*label)) == Some(uid));
        Some(Self { job, names_uid })
    }

    /// True when the pod's labels satisfy it. An empty selector matches nothing here: it would claim every orphan.
    pub(super) fn matches(&self, pod: &Meta) -> bool {
        let Some(LabelSelector {
            match_labels,
            match_expressions,
        }) = selector(&self.job)
        else {
            return false;
        };
        let mut is_empty = true;
        for (name, value) in match_labels.iter().flatten() {
            is_empty = false;
            if pod.labels.get(name) != Some(value) {
                return false;
            }
        }
        for requirement in match_expressions.iter().flatten() {
            is_empty = false;
            if !satisfies(&pod.labels, requirement) {
                return false;
            }
        }
        !is_empty
    }
}

fn selector(job: &Job) -> Option<&LabelSelector> {
    job.spec.as_ref()?.selector.as_ref()
}

fn satisfies(labels: &BTreeMap<String, String>, requirement: &LabelSelectorRequirement) -> bool {
    let value = labels.get(&requirement.key);
    let listed = value.is_some_and(|value| requirement.values.iter().flatten().any(|v| v == value));
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}
