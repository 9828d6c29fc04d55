//! Finished Jobs beyond the number that is kept go, those that started first first.
//!
//! Comes before everything else, and also when nothing is started: a quota full of finished Jobs unblocks itself.
//! Jobs on their way out are no longer part of the history.
//! Source: `cleanupFinishedJobs` in `pkg/controller/cronjob/cronjob_controllerv2.go`, specification §3.4.

use rota_api::{DeleteOptions, Object, Propagation, Timestamp, Write, resource};

use super::report::Report;
use super::seen::{End, SeenCronJob, SeenJob};
use crate::{NoteKind, Plan};

/// Deletes the finished Jobs that are too many.
pub(super) fn trim(plan: &mut Plan, cron_job: &SeenCronJob<'_>, jobs: &[SeenJob<'_>], report: &mut Report<'_>) {
    let spec = cron_job.spec();
    let limits = [
        (End::Complete, spec.successful_jobs_history_limit),
        (End::Failed, spec.failed_jobs_history_limit),
    ];
    for (end, limit) in limits {
        let Some(limit) = limit else { continue };
        let limit = usize::try_from(limit).unwrap_or_default();
        for job in surplus(jobs, end, limit) {
            delete(plan, cron_job, job, "more finished Jobs than the history limit");
            report.drop(&job.meta().uid);
        }
    }
}

fn surplus<'w>(jobs: &[SeenJob<'w>], end: End, limit: usize) -> Vec<&'w Object> {
    let is_kept = |job: &&SeenJob<'w>| job.end == Some(end) && job.object.meta().deleting.is_none();
    let mut kept: Vec<_> = jobs.iter().filter(is_kept).collect();
    kept.sort_by_key(|job| (job.started.unwrap_or(Timestamp::MAX), &job.object.meta().name));
    kept.truncate(kept.len().saturating_sub(limit));
    kept.into_iter().map(|job| &**job.object).collect()
}

/// Deletes a Job and its pods in the background; returns the index of the action.
pub(super) fn delete(plan: &mut Plan, cron_job: &SeenCronJob<'_>, job: &Object, why: &'static str) -> usize {
    let meta = job.meta();
    let options = DeleteOptions {
        propagation: Some(Propagation::Background),
        ..DeleteOptions::default()
    };
    let write = Write::delete(resource::JOBS, &meta.namespace, &meta.name, options).if_uid(&meta.uid);
    let deleted = plan.act(write, why);
    let message = format!("Deleted job {}", meta.name);
    plan.note_after(deleted, NoteKind::Normal, cron_job.object, "SuccessfulDelete", message);
    deleted
}
