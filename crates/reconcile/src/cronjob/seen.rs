//! A CronJob and its Jobs as the decisions of this controller see them.
//!
//! Reads objects, decides nothing. Source: `pkg/controller/cronjob/utils.go`, specification §1.2, §3.3, §3.4.

use std::sync::Arc;

use jiff::SignedDuration;
use rota_api::k8s::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use rota_api::{Meta, Object, OwnerReference, Timestamp, resource};
use rota_cron::Schedule;

use crate::World;

/// What happens when a Job is due while another one runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Concurrency {
    /// Both run.
    Allow,
    /// The new one does not start.
    Forbid,
    /// The old ones are deleted.
    Replace,
}

/// A CronJob.
pub(super) struct SeenCronJob<'w> {
    pub(super) object: &'w Arc<Object>,
    view: Arc<CronJob>,
    pub(super) concurrency: Concurrency,
    pub(super) is_suspended: bool,
    pub(super) is_deleting: bool,
    /// How late a Job may start.
    pub(super) deadline: Option<SignedDuration>,
}

impl<'w> SeenCronJob<'w> {
    /// `None` for an object that is not a CronJob that the API would accept.
    pub(super) fn of(object: &'w Arc<Object>) -> Option<Self> {
        let view = object.view::<CronJob>().ok()?;
        let spec = &view.spec;
        let concurrency = match spec.concurrency_policy.as_deref() {
            Some("Forbid") => Concurrency::Forbid,
            Some("Replace") => Concurrency::Replace,
            _ => Concurrency::Allow,
        };
        Some(Self {
            object,
            concurrency,
            is_suspended: spec.suspend.unwrap_or_default(),
            is_deleting: object.meta().deleting.is_some(),
            deadline: spec.starting_deadline_seconds.map(SignedDuration::from_secs),
            view,
        })
    }

    /// The spec.
    pub(super) fn spec(&self) -> &CronJobSpec {
        &self.view.spec
    }

    /// The status; `None` for a CronJob that no controller has touched.
    pub(super) fn status(&self) -> Option<&CronJobStatus> {
        self.view.status.as_ref()
    }

    /// The instant behind which runs can be missed: that of the last run, or the creation.
    pub(super) fn last_run(&self) -> Timestamp {
        let scheduled = self.status().and_then(|s| s.last_schedule_time.as_ref()).map(|t| t.0);
        scheduled
            .or(self.object.meta().created)
            .unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// True for a schedule such as the 31st of February.
    pub(super) fn is_never_due(&self, schedule: &Schedule) -> bool {
        schedule.next(self.last_run()).is_none()
    }
}

/// How a Job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Complete,
    Failed,
}

impl End {
    /// The type of the condition that says so.
    pub(super) fn condition(self) -> &'static str {
        match self {
            Self::Complete => "Complete",
            Self::Failed => "Failed",
        }
    }
}

/// A Job of a CronJob.
pub(super) struct SeenJob<'w> {
    pub(super) object: &'w Arc<Object>,
    pub(super) end: Option<End>,
    pub(super) started: Option<Timestamp>,
    pub(super) completed: Option<Timestamp>,
}

/// The Jobs that a CronJob controls, in order of name.
pub(super) fn jobs<'w>(cron_job: &SeenCronJob<'_>, world: &'w World) -> Vec<SeenJob<'w>> {
    let uid = &cron_job.object.meta().uid;
    let owned = world.owned_by(resource::JOBS, uid);
    let is_own = |job: &&Arc<Object>| owner(job.meta()).is_some_and(|owner| owner.uid == *uid);
    owned.filter(is_own).map(SeenJob::of).collect()
}

impl<'w> SeenJob<'w> {
    fn of(object: &'w Arc<Object>) -> Self {
        let view = object.view::<Job>().ok();
        let status = view.as_ref().and_then(|job| job.status.as_ref());
        let end = view
            .as_ref()
            .and_then(|job| crate::job::finished(job))
            .map(|condition| match condition.type_.as_str() {
                "Complete" => End::Complete,
                _ => End::Failed,
            });
        Self {
            object,
            end,
            started: status.and_then(|s| s.start_time.as_ref()).map(|t| t.0),
            completed: status.and_then(|s| s.completion_time.as_ref()).map(|t| t.0),
        }
    }
}

/// The CronJob that controls an object, in whatever version of the group the reference says.
pub(super) fn owner(meta: &Meta) -> Option<&OwnerReference> {
    meta.controller()
        .filter(|owner| owner.kind == "CronJob" && owner.api_version.starts_with("batch/"))
}
