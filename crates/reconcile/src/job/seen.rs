//! A Job and its pods as the decisions of this controller see them: defaults filled in, words turned into facts.
//!
//! Reads objects, decides nothing. Source: `pkg/controller/job/job_controller.go`, specification §4.4.

use std::sync::Arc;

use jiff::SignedDuration;
use rota_api::Object;
use rota_api::k8s::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use rota_api::k8s::api::core::v1::{Pod, PodCondition, PodSpec, PodStatus};

use super::labels::{COMPLETION_INDEX, MANAGED_BY_US, TRACKING_FINALIZER};
use crate::conditions::READY;

/// A Job with the defaults of its spec filled in.
pub(super) struct SeenJob<'w> {
    pub(super) object: &'w Arc<Object>,
    view: Arc<Job>,
    pub(super) parallelism: u32,
    /// `None` is a work queue: done when one pod has succeeded and all have ended.
    pub(super) completions: Option<u32>,
    pub(super) is_indexed: bool,
    pub(super) backoff_limit: u32,
    pub(super) backoff_limit_per_index: Option<u32>,
    pub(super) is_suspended: bool,
    pub(super) is_deleting: bool,
    /// A terminating pod keeps its slot until it has failed.
    pub(super) replaces_only_failed: bool,
}

/// Conditions of a Job, `JobConditionType`.
pub(super) mod condition {
    pub(in crate::job) const SUSPENDED: &str = "Suspended";
    pub(in crate::job) const FAILURE_TARGET: &str = "FailureTarget";
    pub(in crate::job) const FAILED: &str = "Failed";
    pub(in crate::job) const SUCCESS_CRITERIA_MET: &str = "SuccessCriteriaMet";
    pub(in crate::job) const COMPLETE: &str = "Complete";
}

impl<'w> SeenJob<'w> {
    /// `None` for an object that is not a Job that the API would accept.
    pub(super) fn of(object: &'w Arc<Object>) -> Option<Self> {
        let view = object.view::<Job>().ok()?;
        let spec = view.spec.as_ref()?;
        let count = |value: Option<i32>| value.map(|v| v.max(0).unsigned_abs());
        Some(Self {
            object,
            parallelism: count(spec.parallelism).unwrap_or(1),
            completions: count(spec.completions),
            is_indexed: spec.completion_mode.as_deref() == Some("Indexed"),
            backoff_limit: count(spec.backoff_limit).unwrap_or(6),
            backoff_limit_per_index: count(spec.backoff_limit_per_index),
            is_suspended: spec.suspend.unwrap_or_default(),
            is_deleting: object.meta().deleting.is_some(),
            replaces_only_failed: spec.pod_failure_policy.is_some()
                || spec.pod_replacement_policy.as_deref() == Some("Failed"),
            view,
        })
    }

    /// The spec.
    pub(super) fn spec(&self) -> &JobSpec {
        self.view.spec.as_ref().expect("SeenJob::of refuses Jobs without spec")
    }

    /// The status; `None` for a Job that no controller has touched.
    pub(super) fn status(&self) -> Option<&JobStatus> {
        self.view.status.as_ref()
    }

    /// The conditions.
    pub(super) fn conditions(&self) -> &[JobCondition] {
        self.status().and_then(|s| s.conditions.as_deref()).unwrap_or_default()
    }

    /// The condition of that type that is True. All entries are looked at: a hand-made False one in front hides nothing.
    pub(super) fn condition(&self, type_: &str) -> Option<&JobCondition> {
        self.conditions()
            .iter()
            .find(|c| c.type_ == type_ && c.status == "True")
    }

    /// True once the Job is Complete or Failed.
    pub(super) fn is_finished(&self) -> bool {
        finished(&self.view).is_some()
    }

    /// Who looks after this Job.
    pub(super) fn manager(&self) -> &str {
        self.spec().managed_by.as_deref().unwrap_or(MANAGED_BY_US)
    }

    /// True when the completion mode is one that this controller knows.
    pub(super) fn has_known_completion_mode(&self) -> bool {
        matches!(
            self.spec().completion_mode.as_deref(),
            None | Some("NonIndexed" | "Indexed")
        )
    }

    /// The number of indexes; 0 for a Job that has none.
    pub(super) fn index_count(&self) -> u32 {
        self.completions.filter(|_| self.is_indexed).unwrap_or_default()
    }
}

/// The condition that makes a Job finished, Complete or Failed, if there is one.
pub(crate) fn finished(job: &Job) -> Option<&JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|c| c.status == "True" && (c.type_ == condition::COMPLETE || c.type_ == condition::FAILED))
}

/// Where in its life a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Pending,
    /// Nothing was heard of the pod's node.
    Unknown,
    Running,
    Succeeded,
    Failed,
}

impl Phase {
    fn of(phase: &str) -> Self {
        match phase {
            "Running" => Self::Running,
            "Succeeded" => Self::Succeeded,
            "Failed" => Self::Failed,
            "Unknown" => Self::Unknown,
            _ => Self::Pending,
        }
    }

    fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// True for a pod that was told to stop when its Job had been, at the same second or later: by the garbage collector, that is.
///
/// Upstream counts such a pod as failed if it sees it before it sees that the Job is being deleted, and not if it sees the two in
/// the order in which they happened. Here that order decides, whatever is seen first.
fn ends_with_its_job(pod: &Pod, job: &SeenJob<'_>) -> bool {
    let grace = SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or_default());
    // What is told to stop shows the time until which it may take to do so.
    let told = pod.metadata.deletion_timestamp.as_ref();
    let told = told.and_then(|until| until.0.checked_sub(grace).ok());
    told.zip(job.object.meta().deleting)
        .is_some_and(|(pod, job)| pod >= job)
}

/// A pod of a Job.
pub(super) struct SeenPod<'w> {
    pub(super) object: &'w Arc<Object>,
    view: Arc<Pod>,
    pub(super) phase: Phase,
    pub(super) is_deleting: bool,
    /// Carries the finalizer: not counted yet, or counted and about to be let go.
    pub(super) is_tracked: bool,
    /// Its completion index, from the annotation; `None` where that is missing or no number.
    pub(super) index: Option<u32>,
    /// Counts as a failure: it has failed, or (unless only failed pods are replaced) it is being deleted unfinished, and not
    /// just because its Job is.
    pub(super) has_failed: bool,
}

impl<'w> SeenPod<'w> {
    /// The pod as `job` sees it. `adopted`: it becomes the Job's, finalizer included, by the plan being made.
    pub(super) fn of(object: &'w Arc<Object>, job: &SeenJob<'_>, adopted: bool) -> Self {
        // A pod that does not fit the type is judged by its header alone.
        let view = object.view::<Pod>().unwrap_or_default();
        let meta = object.meta();
        let phase = Phase::of(&meta.phase);
        let is_deleting = meta.deleting.is_some();
        let fails_unfinished = is_deleting && !job.replaces_only_failed && !ends_with_its_job(&view, job);
        Self {
            object,
            phase,
            is_deleting,
            is_tracked: adopted || is_tracked(object),
            index: annotation(&view, COMPLETION_INDEX).and_then(|text| text.parse::<i32>().ok()?.try_into().ok()),
            has_failed: phase == Phase::Failed || (fails_unfinished && phase != Phase::Succeeded),
            view,
        }
    }

    /// The pod's uid.
    pub(super) fn uid(&self) -> &str {
        &self.object.meta().uid
    }

    /// Succeeded or failed: it will not change any more.
    pub(super) fn has_ended(&self) -> bool {
        self.phase.is_terminal()
    }

    /// Neither ended nor being deleted.
    pub(super) fn is_active(&self) -> bool {
        !self.phase.is_terminal() && !self.is_deleting
    }

    /// Being deleted and not ended yet.
    pub(super) fn is_terminating(&self) -> bool {
        !self.phase.is_terminal() && self.is_deleting
    }

    /// The index where the Job has one of that number.
    pub(super) fn index_below(&self, index_count: u32) -> Option<u32> {
        self.index.filter(|index| *index < index_count)
    }

    /// The value of an annotation.
    pub(super) fn annotation(&self, name: &str) -> Option<&str> {
        annotation(&self.view, name)
    }

    /// The spec.
    pub(super) fn spec(&self) -> Option<&PodSpec> {
        self.view.spec.as_ref()
    }

    /// The status.
    pub(super) fn status(&self) -> Option<&PodStatus> {
        self.view.status.as_ref()
    }

    /// The condition of that type, whatever its status.
    pub(super) fn condition(&self, type_: &str) -> Option<&PodCondition> {
        self.status()?.conditions.as_ref()?.iter().find(|c| c.type_ == type_)
    }

    /// `metadata.deletionGracePeriodSeconds`.
    pub(super) fn grace_period_secs(&self) -> Option<i64> {
        self.view.metadata.deletion_grace_period_seconds
    }

    /// True when that init container is a sidecar: one that restarts and runs beside the regular containers.
    pub(super) fn is_sidecar(&self, container: &str) -> bool {
        self.spec()
            .and_then(|spec| spec.init_containers.as_ref())
            .is_some_and(|all| {
                all.iter()
                    .any(|c| c.name == container && c.restart_policy.as_deref() == Some("Always"))
            })
    }

    /// True when the pod serves.
    pub(super) fn is_ready(&self) -> bool {
        self.condition(READY).is_some_and(|c| c.status == "True")
    }
}

/// True when the pod carries the tracking finalizer.
pub(super) fn is_tracked(pod: &Object) -> bool {
    pod.meta().finalizers.iter().any(|f| f == TRACKING_FINALIZER)
}

fn annotation<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}
