//! `spec.podFailurePolicy`: what the failure of a pod means.
//!
//! Source: `pkg/controller/job/pod_failure_policy.go`, specification §4.11.

use rota_api::k8s::api::batch::v1::{
    PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule,
};
use rota_api::k8s::api::core::v1::ContainerStatus;

use super::seen::{SeenJob, SeenPod};

/// What becomes of a failed pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FailureAction {
    /// It counts, and the Job fails with this message.
    FailJob(String),
    /// It counts, and its index fails.
    FailIndex,
    /// It does not count.
    Ignore,
    /// It counts.
    Count,
}

/// What becomes of the failed pod; without policy or match it counts.
pub(super) fn action(job: &SeenJob<'_>, pod: &SeenPod<'_>) -> FailureAction {
    matched(job, pod).unwrap_or(FailureAction::Count)
}

/// The action of the first rule that matches the pod.
pub(super) fn matched(job: &SeenJob<'_>, pod: &SeenPod<'_>) -> Option<FailureAction> {
    let PodFailurePolicy { rules } = job.spec().pod_failure_policy.as_ref()?;
    let mut rules = rules.iter().enumerate();
    rules.find_map(|(index, rule)| apply(rule, index, pod))
}

/// True when some rule can fail the whole Job.
pub(super) fn can_fail_job(job: &SeenJob<'_>) -> bool {
    let policy = job.spec().pod_failure_policy.as_ref();
    policy.is_some_and(|policy| policy.rules.iter().any(|rule| rule.action == "FailJob"))
}

/// `None` when the rule does not match, or has an action that this version does not know.
fn apply(rule: &PodFailurePolicyRule, index: usize, pod: &SeenPod<'_>) -> Option<FailureAction> {
    let what = if let Some(wanted) = &rule.on_exit_codes {
        let ended = container_that_ended_as(wanted, pod)?;
        let code = exit_code(ended)?;
        format!(
            "Container {} for pod {} failed with exit code {code}",
            ended.name,
            path(pod)
        )
    } else {
        let patterns = rule.on_pod_conditions.as_deref()?;
        format!(
            "Pod {} has condition {}",
            path(pod),
            condition_that_matches(patterns, pod)?
        )
    };
    match rule.action.as_str() {
        "FailJob" => Some(FailureAction::FailJob(format!(
            "{what} matching FailJob rule at index {index}"
        ))),
        "FailIndex" => Some(FailureAction::FailIndex),
        "Ignore" => Some(FailureAction::Ignore),
        "Count" => Some(FailureAction::Count),
        _ => None,
    }
}

fn path(pod: &SeenPod<'_>) -> String {
    let meta = pod.object.meta();
    format!("{}/{}", meta.namespace, meta.name)
}

/// Regular containers are asked before init containers.
fn container_that_ended_as<'a>(
    wanted: &PodFailurePolicyOnExitCodesRequirement,
    pod: &'a SeenPod<'_>,
) -> Option<&'a ContainerStatus> {
    let status = pod.status()?;
    let regular = status.container_statuses.iter().flatten();
    let init = status.init_container_statuses.iter().flatten();
    regular.chain(init).find(|container| {
        wanted
            .container_name
            .as_ref()
            .is_none_or(|name| *name == container.name)
            && exit_code(container).is_some_and(|code| match wanted.operator.as_str() {
                "In" => wanted.values.contains(&code),
                "NotIn" => !wanted.values.contains(&code),
                _ => false,
            })
    })
}

/// The exit code of a container that has ended badly; a success never matches a rule.
fn exit_code(container: &ContainerStatus) -> Option<i32> {
    let ended = container.state.as_ref()?.terminated.as_ref()?;
    Some(ended.exit_code).filter(|code| *code != 0)
}

fn condition_that_matches<'a>(
    patterns: &[PodFailurePolicyOnPodConditionsPattern],
    pod: &'a SeenPod<'_>,
) -> Option<&'a str> {
    let conditions = pod.status()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| {
        patterns.iter().any(|pattern| {
            pattern.type_ == condition.type_ && pattern.status.as_deref().unwrap_or("True") == condition.status
        })
    })?;
    Some(&found.type_)
}
