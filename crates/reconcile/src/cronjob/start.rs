//! Whether a Job starts now, and what has to give way to it.
//!
//! The name of a Job is made of its instant, so that no instant can start two. A Job that is there under that name is
//! entered if it is the CronJob's own: an earlier plan was cut off behind it. A stranger takes up the instant, and only
//! that one: the clock goes on.
//! Source: specification §3.5 steps 7 to 19, §3.9, §9 H4 and H5.

use rota_api::{Object, Timestamp, resource};
use rota_cron::Schedule;

use super::due::{Dropped, Due, Why};
use super::history::delete;
use super::metrics;
use super::new_job::{create, name_at};
use super::report::Report;
use super::seen::{Concurrency, SeenCronJob, owner};
use super::telling::{self, Told};
use super::wishes::ForbidMode;
use crate::{NoteKind, Plan, World};

/// What is due of a schedule, and what was due before.
#[derive(Clone, Copy)]
pub(super) struct Occasion<'a> {
    pub(super) schedule: &'a Schedule,
    /// The instant behind which runs can be missed.
    pub(super) last: Timestamp,
    pub(super) due: &'a Due,
    pub(super) now: Timestamp,
}

impl<'a> Occasion<'a> {
    /// What is due of `schedule` of what came after `last`.
    pub(super) fn new(schedule: &'a Schedule, last: Timestamp, due: &'a Due, now: Timestamp) -> Self {
        Self {
            schedule,
            last,
            due,
            now,
        }
    }
}

/// Starts the Job that is due, if there is one and it may run.
pub(super) fn start(
    plan: &mut Plan,
    cron_job: &SeenCronJob<'_>,
    occasion: &Occasion<'_>,
    report: &mut Report<'_>,
    world: &World,
    told: &mut Told,
) {
    let Occasion {
        schedule,
        last,
        due,
        now,
    } = *occasion;
    let Some(at) = due.instant else {
        if let Some(dropped) = due.dropped {
            if dropped.why == Why::NoCatchUp {
                report.skip_until(dropped.last);
            }
            telling::dropped(plan, cron_job, schedule, dropped, told);
        }
        return;
    };
    if due.too_many_missed {
        let message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        plan.note(NoteKind::Warning, cron_job.object, "TooManyMissedTimes", message);
    }
    let meta = cron_job.object.meta();
    let name = name_at(&meta.name, at);
    if report.lists_name(&meta.namespace, &name) || report.last_schedule() == Some(at) {
        return;
    }
    if cron_job.concurrency == Concurrency::Forbid && !report.active().is_empty() {
        refuse(plan, cron_job, occasion, at, report, told);
        return;
    }
    let met = world.get(resource::JOBS, &meta.namespace, &name);
    if let Some(stranger) = met.filter(|job| !is_own(cron_job, job)) {
        telling::name_taken(plan, cron_job, stranger, at);
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
    if let Some(dropped) = due.dropped {
        telling::dropped(plan, cron_job, schedule, dropped, told);
    }
    telling::clock(plan, cron_job, schedule, (last, at), created);
    metrics::started(plan, at, now, created);
}

/// A Job runs, and `Forbid` lets no other start.
fn refuse(
    plan: &mut Plan,
    cron_job: &SeenCronJob<'_>,
    occasion: &Occasion<'_>,
    at: Timestamp,
    report: &mut Report<'_>,
    told: &mut Told,
) {
    let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
    plan.note(NoteKind::Normal, cron_job.object, "JobAlreadyActive", message);
    match cron_job.wishes.forbid {
        ForbidMode::Queue => {
            let running = report.active().first().and_then(|entry| entry.name.as_deref());
            telling::postponed(plan, cron_job, at, running.unwrap_or_default(), told);
        }
        ForbidMode::Skip => {
            report.skip_until(at);
            let skipped = Dropped::between(occasion.schedule, occasion.last, at, |_| Why::StillRunning);
            if let Some(skipped) = skipped {
                telling::dropped(plan, cron_job, occasion.schedule, skipped, told);
            }
        }
    }
}

fn is_own(cron_job: &SeenCronJob<'_>, job: &Object) -> bool {
    owner(job.meta()).is_some_and(|owner| owner.uid == cron_job.object.meta().uid)
}

/// Deletes the Jobs that run.
fn give_way(plan: &mut Plan, cron_job: &SeenCronJob<'_>, report: &mut Report<'_>, world: &World) {
    for entry in report.active().to_vec() {
        let uid = entry.uid.unwrap_or_default();
        if let Some(job) = world.get_uid(resource::JOBS, &uid) {
            let deleted = delete(plan, cron_job, job, "a new Job replaces it");
            metrics::replaced(plan, deleted);
        }
        report.drop(&uid);
    }
}
