//! Whether a Job starts now, and what has to give way to it.
//!
//! The name of a Job is made of its instant, so that no instant can start two. A Job that is there under that name is
//! entered if it is the CronJob's own: an earlier plan was cut off behind it. A stranger takes up the instant, and only
//! that one: the clock goes on.
//! Source: specification §3.5 steps 7 to 19, §3.9, §9 H4 and H5.

use rota_api::{Object, resource};

use super::due::Due;
use super::history::delete;
use super::new_job::{create, name_at};
use super::report::Report;
use super::seen::{Concurrency, SeenCronJob, owner};
use crate::{NoteKind, Plan, World};

/// Starts the Job that is due, if there is one and it may run.
pub(super) fn start(plan: &mut Plan, cron_job: &SeenCronJob<'_>, due: &Due, report: &mut Report<'_>, world: &World) {
    let Some(at) = due.instant else { return };
    if due.too_many_missed {
        let message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        plan.note(NoteKind::Warning, cron_job.object, "TooManyMissedTimes", message);
    }
    let meta = cron_job.object.meta();
    let name = name_at(&meta.name, at);
    if report.lists_name(&meta.namespace, &name) || report.last_schedule() == Some(at) {
        return;
    }
    match cron_job.concurrency {
        Concurrency::Allow => {}
        Concurrency::Forbid if report.active().is_empty() => {}
        Concurrency::Forbid => {
            let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
            plan.note(NoteKind::Normal, cron_job.object, "JobAlreadyActive", message);
            return;
        }
        Concurrency::Replace => {}
    }
    let met = world.get(resource::JOBS, &meta.namespace, &name);
    if let Some(stranger) = met.filter(|job| !is_own(cron_job, job)) {
        warn_of(plan, cron_job, stranger);
        return;
    }
    if cron_job.concurrency == Concurrency::Replace {
        give_way(plan, cron_job, report, world);
    }
    if let Some(own) = met {
        report.adopted(own, at);
        return;
    }
    let write = create(cron_job, &name, at);
    let created = plan.then(write.clone(), "an instant of the schedule has come");
    let message = format!("Created job {name}");
    plan.note_after(created, NoteKind::Normal, cron_job.object, "SuccessfulCreate", message);
    report.created(created, &write, at);
}

fn is_own(cron_job: &SeenCronJob<'_>, job: &Object) -> bool {
    owner(job.meta()).is_some_and(|owner| owner.uid == cron_job.object.meta().uid)
}

/// Says that the name of the Job that is due is taken.
fn warn_of(plan: &mut Plan, cron_job: &SeenCronJob<'_>, stranger: &Object) {
    let name = &stranger.meta().name;
    let message =
        format!("Error creating job: jobs.batch \"{name}\" already exists and does not belong to this CronJob");
    plan.note(NoteKind::Warning, cron_job.object, "FailedCreate", message);
}

/// Deletes the Jobs that run.
fn give_way(plan: &mut Plan, cron_job: &SeenCronJob<'_>, report: &mut Report<'_>, world: &World) {
    for entry in report.active().to_vec() {
        let uid = entry.uid.unwrap_or_default();
        if let Some(job) = world.get_uid(resource::JOBS, &uid) {
            delete(plan, cron_job, job, "a new Job replaces it");
        }
        report.drop(&uid);
    }
}
