//! Which instant of the schedule is due, and which comes next.
//!
//! Of several missed instants the latest is made up for. A deadline cuts off those that are too old; the next wake-up does
//! not depend on it.
//! Source: `mostRecentScheduleTime` in `pkg/controller/cronjob/utils.go`, specification §3.6, §3.7.

use jiff::SignedDuration;
use rota_api::Timestamp;
use rota_cron::Schedule;

use super::seen::SeenCronJob;
use crate::{NoteKind, Plan};

/// So many missed runs are too many to be a coincidence.
const MISSED_MAX: u64 = 100;

/// What the clock says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The instant for which a Job is to start.
    pub(super) instant: Option<Timestamp>,
    /// True when very many instants were missed.
    pub(super) too_many_missed: bool,
    /// The instant after the due one.
    pub(super) next: Option<Timestamp>,
}

impl Due {
    /// What is due at `now`.
    pub(super) fn of(cron_job: &SeenCronJob<'_>, schedule: &Schedule, now: Timestamp) -> Self {
        let last = cron_job.last_run();
        let after = cron_job
            .deadline
            .map_or(last, |deadline| last.max(earlier(now, deadline)));
        Self {
            instant: schedule.latest(after, now),
            too_many_missed: schedule.count(after, now) > MISSED_MAX,
            next: schedule.next(schedule.latest(last, now).unwrap_or(last)),
        }
    }
}

fn earlier(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.saturating_sub(by).unwrap_or(Timestamp::MIN)
}

/// Says that the schedule has no instants.
pub(super) fn warn_invalid(plan: &mut Plan, cron_job: &SeenCronJob<'_>) {
    let message = format!(
        "invalid schedule: {} : time difference between two schedules is less than 1 second",
        cron_job.spec().schedule
    );
    plan.note(NoteKind::Warning, cron_job.object, "InvalidSchedule", message);
}
