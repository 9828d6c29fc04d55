//! Which instant of the schedule is due, which are dropped, and when to look again.
//!
//! Of several missed instants the latest is made up for, found exactly; wishes may say otherwise. A deadline cuts off those
//! that are too old: it looks at how late a run is, and never moves the phase of an interval. The next wake-up does not
//! depend on it. In strict mode upstream's estimate decides instead.
//! Source: `mostRecentScheduleTime` in `pkg/controller/cronjob/utils.go`, specification §3.6, §3.7, §9 (H1, H7, H14, H20,
//! H27).

use jiff::SignedDuration;
use rota_api::Timestamp;
use rota_cron::Schedule;

use super::estimate::{Invalid, estimate, next_look};
use super::seen::SeenCronJob;
use super::wishes::CatchUp;
use crate::{NoteKind, Plan};

/// So many missed runs are too many to be a coincidence.
const MISSED_MAX: u64 = 100;
/// How late a run may be that is not to be made up for: a busy moment, not a missed run.
const IN_TIME: SignedDuration = SignedDuration::from_secs(10);

/// What the clock says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The instant for which a Job is to start.
    pub(super) instant: Option<Timestamp>,
    /// True when very many instants were missed.
    pub(super) too_many_missed: bool,
    /// When to look again.
    pub(super) next: Timestamp,
    /// The instants that came and for which no Job will start.
    pub(super) dropped: Option<Dropped>,
}

/// Instants for which no Job starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) count: u64,
    pub(super) why: Why,
}

/// Why no Job starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// A later one starts.
    OnlyLatest,
    /// The deadline is over.
    TooLate,
    /// Nothing is made up for.
    NoCatchUp,
    /// So many are made up for, and there were more.
    CatchUpLimit(u32),
    /// A Job was running.
    StillRunning,
}

impl Due {
    /// What is due at `now` of what came after `last`.
    ///
    /// Errors: the schedule has no instants.
    pub(super) fn of(
        cron_job: &SeenCronJob<'_>,
        schedule: &Schedule,
        last: Timestamp,
        now: Timestamp,
        is_strict: bool,
    ) -> Result<Self, Invalid> {
        let delay = cron_job.wishes.delay(&cron_job.object.meta().uid);
        // Where runs are spread, this CronJob's clock is late by its share.
        let clock = earlier(now, delay);
        let bound = cron_job
            .deadline
            .map_or(last, |deadline| last.max(earlier(clock, deadline)));
        let (mut due, next) = if is_strict {
            Self::by_estimate(schedule, last, bound, clock)?
        } else {
            Self::exactly(cron_job.wishes.catch_up, schedule, last, bound, clock)?
        };
        due.next = next.saturating_add(delay).unwrap_or(Timestamp::MAX);
        Ok(due)
    }

    fn by_estimate(
        schedule: &Schedule,
        last: Timestamp,
        bound: Timestamp,
        clock: Timestamp,
    ) -> Result<(Self, Timestamp), Invalid> {
        let found = estimate(schedule, bound, clock)?;
        let next = next_look(schedule, last, clock).ok_or(Invalid)?;
        let too_many_missed = found.instant.is_some() && found.missed.unsigned_abs() > MISSED_MAX;
        Ok((Self::new(found.instant, too_many_missed), next))
    }

    fn exactly(
        catch_up: CatchUp,
        schedule: &Schedule,
        last: Timestamp,
        bound: Timestamp,
        clock: Timestamp,
    ) -> Result<(Self, Timestamp), Invalid> {
        let latest = schedule.latest(last, clock);
        let next = schedule.next(latest.unwrap_or(last)).ok_or(Invalid)?;
        let Some(latest) = latest else {
            return Ok((Self::new(None, false), next));
        };
        let open = Some(latest).filter(|at| *at > bound);
        let (instant, why) = match catch_up {
            CatchUp::Last => (open, Why::OnlyLatest),
            CatchUp::None => (open.filter(|at| *at >= earlier(clock, IN_TIME)), Why::NoCatchUp),
            CatchUp::All(count) => (
                open.map(|latest| oldest(schedule, last, bound, latest, count)),
                Why::CatchUpLimit(count),
            ),
        };
        let mut due = Self::new(instant, open.is_some() && schedule.count(bound, clock) > MISSED_MAX);
        let until = instant.map_or(latest, |at| earlier(at, SignedDuration::from_secs(1)));
        due.dropped = Dropped::between(schedule, last, until, |at| if at > bound { why } else { Why::TooLate });
        Ok((due, next))
    }

    fn new(instant: Option<Timestamp>, too_many_missed: bool) -> Self {
        Self {
            instant,
            too_many_missed,
            next: Timestamp::MAX,
            dropped: None,
        }
    }
}

impl Dropped {
    /// The instants after `after` and not after `until`, if any; the latest of them decides why.
    pub(super) fn between(
        schedule: &Schedule,
        after: Timestamp,
        until: Timestamp,
        why: impl Fn(Timestamp) -> Why,
    ) -> Option<Self> {
        let last = schedule.latest(after, until)?;
        Some(Self {
            first: schedule.next(after)?,
            last,
            count: schedule.count(after, until),
            why: why(last),
        })
    }
}

/// Of the instants that may still run, the first of the latest `count`.
fn oldest(schedule: &Schedule, last: Timestamp, bound: Timestamp, latest: Timestamp, count: u32) -> Timestamp {
    let mut oldest = latest;
    for _ in 1..count {
        match schedule.latest(last, earlier(oldest, SignedDuration::from_secs(1))) {
            Some(at) if at > bound => oldest = at,
            _ => break,
        }
    }
    oldest
}

fn earlier(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_sub(by).unwrap_or(Timestamp::MIN)
}

/// Says that the schedule has no instants.
pub(super) fn warn_invalid(plan: &mut Plan, cron_job: &SeenCronJob<'_>) {
    let message = format!(
        "invalid schedule: {} : time difference between two schedules is less than 1 second",
        cron_job.spec().schedule
    );
    plan.note(NoteKind::Warning, cron_job.object, "InvalidSchedule", message);
}
