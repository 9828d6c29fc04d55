//! The CronJob controller: starts a Job at each instant of a schedule.
//!
//! What one CronJob needs now is found in four steps, each a chapter of its own:
//!
//! | step | question | chapter |
//! | --- | --- | --- |
//! | trim | which finished Jobs are too many? | [`history`] |
//! | keep books | which Jobs run, which of them have ended? | [`books`] |
//! | look | which instant is due, when is the next? | [`timetable`], [`due`] |
//! | start | may a Job run now, and what does it look like? | [`start`], [`new_job`] |
//!
//! The Job and the status that names it are one plan. Where a plan is no transaction and only the Job was made, the next
//! look finds the Job under the name of its instant and enters it ([`start`]).
//!
//! The latest missed instant is the one that is made up for, found exactly by searching backwards, where upstream
//! estimates and may lose it. Jobs are known by uid, not by name. Wake-up times are instants, not delays.
//! Source: `pkg/controller/cronjob` of Kubernetes v1.36; specification of the CronJob kind §3, §4, §9, §11.

mod books;
mod due;
mod history;
mod new_job;
mod report;
mod seen;
mod start;
#[cfg(test)]
mod tests;
mod timetable;
mod touched;

use std::collections::BTreeSet;

use rota_api::{Resource, Timestamp, resource};

use crate::{Controller, Key, Plan, World, WorldChange};
use due::Due;
use report::Report;
use seen::SeenCronJob;
use timetable::timetable;

static WATCHED: [&Resource; 2] = [resource::CRON_JOBS, resource::JOBS];

/// The CronJob controller.
#[derive(Default)]
pub struct CronJobController {
    /// CronJobs of which nothing has happened since their timetable was changed: an edit of the timetable sets the clock
    /// anew, it does not start by itself what the new one would have started earlier.
    rescheduled: BTreeSet<Key>,
}

impl Controller for CronJobController {
    fn name(&self) -> &'static str {
        "cronjob"
    }

    fn event_source(&self) -> &'static str {
        "cronjob-controller"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &WATCHED
    }

    fn touched(&mut self, change: &WorldChange, world: &World) -> Vec<Key> {
        let keys = touched::touched(change, world);
        for key in &keys {
            if touched::is_rescheduled(change) {
                self.rescheduled.insert(key.clone());
            } else {
                self.rescheduled.remove(key);
            }
        }
        keys
    }

    fn reconcile(&mut self, key: &Key, world: &World, now: Timestamp) -> Plan {
        let is_rescheduled = self.rescheduled.remove(key);
        let mut plan = Plan::default();
        let object = world.get(resource::CRON_JOBS, &key.namespace, &key.name);
        if let Some(cron_job) = object.and_then(SeenCronJob::of) {
            let mut report = Report::of(&cron_job);
            let jobs = seen::jobs(&cron_job, world);
            history::trim(&mut plan, &cron_job, &jobs, &mut report);
            books::keep(&mut plan, &cron_job, &jobs, &mut report, world);
            if let Some(due) = due(&mut plan, &cron_job, now) {
                if !is_rescheduled {
                    start::start(&mut plan, &cron_job, &due, &mut report, world);
                }
                if let Some(at) = due.next {
                    plan.wake_at(at);
                }
            }
            report.write(&mut plan);
        }
        plan
    }
}

/// What the clock says; `None` when nothing is started until the CronJob changes.
fn due(plan: &mut Plan, cron_job: &SeenCronJob<'_>, now: Timestamp) -> Option<Due> {
    if cron_job.is_deleting {
        return None;
    }
    let schedule = timetable(plan, cron_job)?;
    if cron_job.is_never_due(&schedule) {
        due::warn_invalid(plan, cron_job);
        return None;
    }
    Some(Due::of(cron_job, &schedule, now))
}
