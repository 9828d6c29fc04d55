//! A CronJob and its Jobs as the decisions of this controller see them.
//!
//! Reads objects, decides nothing. Source: `pkg/controller/cronjob/utils.go`, specification §1.2, §3.3, §3.4.

use std::sync::Arc;

use jiff::SignedDuration;
use rota_api::k8s::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use rota_api::{Meta, Object, OwnerReference, Timestamp, resource};

use super::new_job::{SCHEDULED_TIMESTAMP, name_at};
use super::wishes::Wishes;
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
    pub(super) wishes: Wishes,
    /// Wishes that cannot be read, in words.
    pub(super) unread: Vec<String>,
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
        let (wishes, unread) = Wishes::of(view.metadata.annotations.as_ref());
        Some(Self {
            object,
            wishes,
            unread,
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

    /// The instant behind which runs can be missed: the latest of the last run and of what was dropped for good; else the
    /// creation. `last_schedule` is the instant of the last run.
    pub(super) fn last_run(&self, last_schedule: Option<Timestamp>) -> Timestamp {
        let last = last_schedule.or(self.object.meta().created);
        last.max(self.wishes.skipped_until).unwrap_or(Timestamp::UNIX_EPOCH)
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
    /// The instant for which this controller made it; `None`: somebody else did.
    pub(super) instant: Option<Timestamp>,
}

/// The Jobs that a CronJob controls, in order of name.
pub(super) fn jobs<'w>(cron_job: &SeenCronJob<'_>, world: &'w World) -> Vec<SeenJob<'w>> {
    let uid = &cron_job.object.meta().uid;
    let owned = world.owned_by(resource::JOBS, uid);
    let is_own = |job: &&Arc<Object>| owner(job.meta()).is_some_and(|owner| owner.uid == *uid);
    let name = &cron_job.object.meta().name;
    owned.filter(is_own).map(|job| SeenJob::of(job, name)).collect()
}

impl<'w> SeenJob<'w> {
    fn of(object: &'w Arc<Object>, cron_job: &str) -> Self {
        let view = object.view::<Job>().ok();
        let annotations = view.as_ref().and_then(|job| job.metadata.annotations.as_ref());
        let instant: Option<Timestamp> = annotations
            .and_then(|annotations| annotations.get(SCHEDULED_TIMESTAMP)?.parse().ok())
            .filter(|at| object.meta().name == name_at(cron_job, *at));
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
            instant,
        }
    }
}

/// The CronJob that controls an object, in whatever version of the group the reference says.
pub(super) fn owner(meta: &Meta) -> Option<&OwnerReference> {
    meta.controller()
        .filter(|owner| owner.kind == "CronJob" && owner.api_version.starts_with("batch/"))
}
