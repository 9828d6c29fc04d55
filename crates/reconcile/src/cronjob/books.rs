//! The books: `status.active` and `status.lastSuccessfulTime`, brought up to date with the Jobs that there are.
//!
//! Jobs that somebody else made for the CronJob are reported, never entered. A Job of an instant that the books do not know
//! yet was made by this controller, which was cut off before it could write that down: it is entered now; so is the Job of the
//! last run, if it was not seen when its entry was looked for. An entry is its
//! Job by uid: a Job of the same name made anew is another one.
//!
//! CronJobs and Jobs are seen side by side, so that a Job which is not seen may only not be seen yet: whoever takes over reads
//! the books of a run that began a moment ago. So its entry is struck out on condition that the Job does not exist, and told as
//! missing only then; upstream asks the server for each. As long as that is not certain, no other run starts: it might have to
//! replace or to wait for that Job.
//! Source: `syncCronJob` in `pkg/controller/cronjob/cronjob_controllerv2.go`, specification §3.5 steps 1 and 2.

use std::collections::BTreeSet;

use rota_api::resource;

use super::report::Report;
use super::seen::{End, SeenCronJob, SeenJob};
use crate::{NoteKind, Plan, World};

/// Brings the books up to date. False when that depends on what is not seen: whether Jobs that are listed exist.
pub(super) fn keep(
    plan: &mut Plan,
    cron_job: &SeenCronJob<'_>,
    jobs: &[SeenJob<'_>],
    report: &mut Report<'_>,
    world: &World,
) -> bool {
    for job in jobs {
        enter(plan, cron_job, job, report);
    }
    let seen: BTreeSet<&str> = jobs.iter().map(|job| job.object.meta().uid.as_str()).collect();
    let missing: Vec<_> = report
        .active()
        .iter()
        .filter(|entry| {
            let uid = entry.uid.as_deref().unwrap_or_default();
            !seen.contains(uid) && world.get_uid(resource::JOBS, uid).is_none()
        })
        .cloned()
        .collect();
    let mut is_certain = true;
    for entry in missing {
        let uid = entry.uid.as_deref().unwrap_or_default();
        // An entry without a name, made by hand, tells nobody anything.
        if let Some(name) = entry.name.as_deref().filter(|name| !name.is_empty()) {
            let message = format!("Active job went missing: {name}");
            plan.note(NoteKind::Normal, cron_job.object, "MissingJob", message);
            // One that is being deleted may be gone before its status is written; it is told in any case.
            if !cron_job.is_deleting {
                report.confirms_last_note(plan);
                report.holds_if_absent(name, uid);
                is_certain = false;
            }
        }
        report.drop(uid);
    }
    is_certain
}

fn enter(plan: &mut Plan, cron_job: &SeenCronJob<'_>, job: &SeenJob<'_>, report: &mut Report<'_>) {
    let meta = job.object.meta();
    let is_listed = report.lists(&meta.uid);
    let forgotten = job
        .instant
        .filter(|at| !is_listed && report.last_schedule() <= Some(*at));
    match (job.end, forgotten) {
        (None, Some(at)) if meta.deleting.is_none() => report.adopted(job.object, at),
        (Some(_), Some(at)) => report.ran(at),
        _ => {}
    }
    match job.end {
        None if !report.lists(&meta.uid) => {
            let message = format!("Saw a job that the controller did not create or forgot: {}", meta.name);
            plan.note(NoteKind::Warning, cron_job.object, "UnexpectedJob", message);
        }
        Some(end) if is_listed => {
            let message = format!("Saw completed job: {}, condition: {}", meta.name, end.condition());
            plan.note(NoteKind::Normal, cron_job.object, "SawCompletedJob", message);
            report.confirms_last_note(plan);
            report.drop(&meta.uid);
        }
        _ => {}
    }
    if job.end == Some(End::Complete)
        && let Some(at) = job.completed
    {
        report.succeeded(at);
    }
}
