//! What an edit of a CronJob would change, before it is applied; and when a CronJob runs next.
//!
//! Compares the instants of two timetables over a span of time, and says what the edit makes up for: a run that the new
//! timetable would have had before now counts as missed. Whether a run is then refused by a policy is not known here, as
//! that depends on how long Jobs take.
//! Source: specification §3.11, §9 (H7, H12).

use std::cmp::Ordering;
use std::sync::Arc;

use rota_api::{Object, Timestamp};
use rota_cron::Schedule;

use super::due::Due;
use super::report::Report;
use super::seen::SeenCronJob;
use super::timetable;

/// So many instants of each timetable are compared at most.
const INSTANTS_MAX: usize = 10_000;

/// What an edit would change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// Runs that only the new timetable has.
    pub caused: Vec<Timestamp>,
    /// Runs that only the old timetable has.
    pub dropped: Vec<Timestamp>,
    /// How many runs both have.
    pub kept: usize,
    /// The run before now that the new timetable counts as missed: it starts as soon as anything happens to the CronJob.
    pub made_up: Option<Timestamp>,
    /// Until when the timetables were compared: earlier than asked for where there are very many runs.
    pub until: Timestamp,
}

/// What would change if `old` became `new`; `None`: there is no such CronJob yet. Runs after `now` and not after `until`
/// are compared. `new` is an object as the API would accept it; what it says of status and creation does not matter.
pub fn preview(old: Option<&Arc<Object>>, new: &Arc<Object>, now: Timestamp, until: Timestamp) -> Preview {
    let mut preview = Preview {
        until,
        ..Preview::default()
    };
    let (before, before_until) = old.map_or((Vec::new(), until), |old| instants(old, old, now, until));
    let (after, after_until) = instants(new, old.unwrap_or(new), now, until);
    preview.until = before_until.min(after_until);
    let mut before = before.into_iter().filter(|at| *at <= preview.until).peekable();
    let mut after = after.into_iter().filter(|at| *at <= preview.until).peekable();
    loop {
        let order = match (before.peek(), after.peek()) {
            (Some(old), Some(new)) => old.cmp(new),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => break,
        };
        match order {
            Ordering::Less => preview.dropped.extend(before.next()),
            Ordering::Greater => preview.caused.extend(after.next()),
            Ordering::Equal => {
                preview.kept += 1;
                before.next();
                after.next();
            }
        }
    }
    preview.made_up = old.and_then(|old| missed(old, new, now));
    preview
}

/// When a CronJob runs next after `now`, as far as its timetable says; `None`: it is suspended, or never runs.
pub fn next_run(object: &Arc<Object>, now: Timestamp) -> Option<Timestamp> {
    let (cron_job, schedule) = running(object)?;
    let delay = cron_job.wishes.delay(&object.meta().uid);
    let from = if schedule.is_interval() {
        let last = cron_job.last_run(Report::of(&cron_job).last_schedule());
        schedule.latest(last, now).unwrap_or(last)
    } else {
        now.saturating_sub(delay).ok()?
    };
    schedule.next(from)?.saturating_add(delay).ok()
}

/// A CronJob that starts Jobs, and its schedule.
fn running(object: &Arc<Object>) -> Option<(SeenCronJob<'_>, Schedule)> {
    let cron_job = SeenCronJob::of(object)?;
    let schedule = timetable::schedule(&cron_job).ok()?;
    (!cron_job.is_suspended && !cron_job.is_deleting).then_some((cron_job, schedule))
}

/// The instants of a timetable, and until when they were looked for. An interval goes on from the last run of `stored`.
fn instants(
    object: &Arc<Object>,
    stored: &Arc<Object>,
    now: Timestamp,
    until: Timestamp,
) -> (Vec<Timestamp>, Timestamp) {
    let mut found = Vec::new();
    let Some((_, schedule)) = running(object) else {
        return (found, until);
    };
    let mut at = now;
    if schedule.is_interval()
        && let Some(stored) = SeenCronJob::of(stored)
        && stored.object.meta().created.is_some()
    {
        let last = stored.last_run(Report::of(&stored).last_schedule());
        at = schedule.latest(last, now).unwrap_or(last);
    }
    while let Some(next) = schedule.next(at).filter(|next| *next <= until) {
        if found.len() == INSTANTS_MAX {
            return (found, at);
        }
        if next > now {
            found.push(next);
        }
        at = next;
    }
    (found, until)
}

/// The run that `new` in the place of `old` would make up for.
fn missed(old: &Arc<Object>, new: &Arc<Object>, now: Timestamp) -> Option<Timestamp> {
    let stored = SeenCronJob::of(old)?;
    let last_schedule = Report::of(&stored).last_schedule();
    let (cron_job, schedule) = running(new)?;
    let last = stored.last_run(last_schedule);
    Due::of(&cron_job, &schedule, last, now, false).ok()?.instant
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_api::resource;
    use serde_json::{Value, json};

    fn cron_job(schedule: &str, change: impl Fn(&mut Value)) -> Arc<Object> {
        let mut object = json!({
            "metadata": {"namespace": "d", "name": "c", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"schedule": schedule, "jobTemplate": {"spec": {"template": {}}}},
        });
        change(&mut object);
        Arc::new(Object::from_value(resource::CRON_JOBS, object))
    }

    fn at(time: &str) -> Timestamp {
        format!("2026-01-01T{time}Z").parse().expect("a time")
    }

    fn compare(old: Option<&Arc<Object>>, new: &Arc<Object>) -> Preview {
        preview(old, new, at("10:10:00"), at("13:10:00"))
    }

    #[test]
    fn runs_of_only_one_timetable_are_told_apart_from_those_of_both() {
        let old = cron_job("0 * * * *", |c| {
            c["status"] = json!({"lastScheduleTime": "2026-01-01T10:00:00Z"});
        });
        let found = compare(Some(&old), &cron_job("30 */2 * * *", |_| {}));
        assert_eq!(found.caused, [at("10:30:00"), at("12:30:00")]);
        assert_eq!(found.dropped, [at("11:00:00"), at("12:00:00"), at("13:00:00")]);
        let denser = compare(Some(&old), &cron_job("*/30 * * * *", |_| {}));
        assert_eq!((denser.kept, denser.caused.len(), denser.dropped.len()), (3, 3, 0));
    }

    #[test]
    fn a_new_cron_job_causes_all_its_runs_and_suspension_drops_all() {
        let hourly = cron_job("0 * * * *", |_| {});
        assert_eq!(compare(None, &hourly).caused.len(), 3);
        let suspended = cron_job("0 * * * *", |c| c["spec"]["suspend"] = true.into());
        assert_eq!(compare(Some(&hourly), &suspended).dropped.len(), 3);
    }

    #[test]
    fn a_run_that_the_new_timetable_had_before_now_is_made_up_for() {
        let daily = cron_job("0 23 * * *", |c| {
            c["metadata"]["creationTimestamp"] = "2025-12-31T23:30:00Z".into();
        });
        let found = compare(Some(&daily), &cron_job("0 5 * * *", |_| {}));
        assert_eq!(found.made_up, Some(at("05:00:00")));
        let too_late = cron_job("0 5 * * *", |c| c["spec"]["startingDeadlineSeconds"] = 60.into());
        assert_eq!(compare(Some(&daily), &too_late).made_up, None);
    }

    #[test]
    fn very_many_runs_are_compared_as_far_as_that_goes() {
        let every_second = cron_job("@every 1s", |_| {});
        let found = compare(None, &every_second);
        assert!(found.until < at("13:10:00"));
        assert_eq!(found.caused.len(), INSTANTS_MAX);
    }

    #[test]
    fn the_next_run_is_told_of_what_runs() {
        let next = |object: &Arc<Object>| next_run(object, at("10:10:00"));
        assert_eq!(next(&cron_job("0 * * * *", |_| {})), Some(at("11:00:00")));
        assert_eq!(next(&cron_job("@every 7m", |_| {})), Some(at("10:16:00")));
        assert_eq!(
            next(&cron_job("0 * * * *", |c| c["spec"]["suspend"] = true.into())),
            None
        );
        assert_eq!(next(&cron_job("0 0 31 2 *", |_| {})), None);
        let seoul = cron_job("0 20 * * *", |c| c["spec"]["timeZone"] = "Asia/Seoul".into());
        assert_eq!(next(&seoul), Some(at("11:00:00")));
        let spread = cron_job("0 * * * *", |c| {
            c["metadata"]["annotations"] = json!({"rota.dev/spread": "20m"});
        });
        let delay = next(&spread).map(|at| at.as_second().rem_euclid(3600));
        assert!(delay.is_some_and(|delay| (0..1200).contains(&delay)));
    }
}
