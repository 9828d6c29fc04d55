//! The CronJob controller: starts a Job at each instant of a schedule.
//!
//! What one CronJob needs now is found in four steps, each a chapter of its own:
//!
//! | step | question | chapter |
//! | --- | --- | --- |
//! | trim | which finished Jobs are too many? | [`history`] |
//! | keep books | which Jobs run, which of them have ended? | [`books`] |
//! | look | which instant is due, when is the next? | [`timetable`], [`due`], in strict mode [`estimate`] |
//! | start | may a Job run now, and what does it look like? | [`start`], [`new_job`] |
//!
//! What users may wish beyond the API is read in [`wishes`]; what is said beyond upstream's events, in [`telling`];
//! what is counted, in [`metrics`].
//!
//! The Job and the status that names it are one plan. Where a plan is no transaction and only the Job was made, the next
//! look finds the Job under the name of its instant and enters it ([`start`]).
//!
//! The latest missed instant is the one that is made up for, found exactly by searching backwards, where upstream
//! estimates and may lose it. Jobs are known by uid, not by name. Wake-up times are instants, not delays.
//! Source: `pkg/controller/cronjob` of Kubernetes v1.36; specification of the CronJob kind §3, §4, §9, §11.

mod books;
mod due;
mod estimate;
mod history;
pub mod metrics;
mod new_job;
mod preview;
mod report;
mod seen;
mod start;
mod telling;
#[cfg(test)]
mod tests;
mod timetable;
mod touched;
mod wishes;

use std::collections::{BTreeSet, HashMap};

use rota_api::{Resource, Timestamp, resource};

use crate::{Controller, Key, Plan, World, WorldChange};
use due::Due;
use report::Report;
use seen::SeenCronJob;
use start::Occasion;
use telling::Told;
use timetable::timetable;

pub use preview::{Preview, next_run, preview};

static WATCHED: [&Resource; 2] = [resource::CRON_JOBS, resource::JOBS];

/// The CronJob controller.
#[derive(Default)]
pub struct CronJobController {
    /// CronJobs of which nothing has happened since their timetable was changed: an edit of the timetable sets the clock
    /// anew, it does not start by itself what the new one would have started earlier.
    rescheduled: BTreeSet<Key>,
    /// What was told, of CronJobs of which there was something to tell.
    told: HashMap<Key, Told>,
    /// Upstream's engine and estimate decide what is due.
    is_strict: bool,
}

impl CronJobController {
    /// A controller that computes what is due as upstream does, lost runs included: for comparing the two side by side.
    pub fn strict() -> Self {
        Self {
            is_strict: true,
            ..Self::default()
        }
    }
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

    fn looks_ahead(&self) -> bool {
        true
    }

    fn ahead(&self, key: &Key, world: &World, at: Timestamp) -> Option<Plan> {
        if self.rescheduled.contains(key) || self.told.contains_key(key) {
            return None;
        }
        let (plan, told) = self.plan(key, world, at, false, None)?;
        (!told.is_worth_remembering()).then_some(plan)
    }

    fn reconcile(&mut self, key: &Key, world: &World, now: Timestamp) -> Plan {
        let is_rescheduled = self.rescheduled.remove(key);
        let told = self.told.remove(key);
        let Some((plan, told)) = self.plan(key, world, now, is_rescheduled, told) else {
            return Plan::default();
        };
        if told.is_worth_remembering() {
            self.told.insert(key.clone(), told);
        }
        plan
    }
}

impl CronJobController {
    /// What a CronJob needs at `now`, and what it is told by then; `None`: there is none of that name.
    fn plan(
        &self,
        key: &Key,
        world: &World,
        now: Timestamp,
        is_rescheduled: bool,
        told: Option<Told>,
    ) -> Option<(Plan, Told)> {
        let object = world.get(resource::CRON_JOBS, &key.namespace, &key.name);
        let cron_job = object.and_then(SeenCronJob::of)?;
        let mut plan = Plan::default();
        let mut told = Told::about(&cron_job, told);
        let mut report = Report::of(&cron_job);
        let jobs = seen::jobs(&cron_job, world);
        history::trim(&mut plan, &cron_job, &jobs, &mut report);
        let is_certain = books::keep(&mut plan, &cron_job, &jobs, &mut report, world);
        telling::unread(&mut plan, &cron_job, &mut told);
        if !cron_job.is_deleting
            && let Some(schedule) = timetable(&mut plan, &cron_job, is_rescheduled)
        {
            let last = cron_job.last_run(report.last_schedule());
            match Due::of(&cron_job, &schedule, last, now, self.is_strict) {
                Ok(due) => {
                    let occasion = Occasion::new(&schedule, last, &due, now);
                    if !is_rescheduled && is_certain {
                        start::start(&mut plan, &cron_job, &occasion, &mut report, world, &mut told);
                    }
                    plan.wake_at(due.next);
                }
                Err(_) => due::warn_invalid(&mut plan, &cron_job),
            }
        }
        report.write(&mut plan);
        Some((plan, told))
    }
}
