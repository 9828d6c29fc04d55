//! Upstream's estimate of what is due: strict mode, for those who compare.
//!
//! It takes the gap between two instants for the gap between all, counts missed runs by it, and walks only from shortly
//! before where it expects the latest. Where gaps differ it may find nothing, and the run is lost; that is why it is not the
//! default. Every walk here ends, which upstream's need not.
//! Source: `mostRecentScheduleTime`, `nextScheduleTimeDuration` in `pkg/controller/cronjob/utils.go`, specification §3.6,
//! §3.7, §11.2.

use rota_api::Timestamp;
use rota_cron::{ExactNext, Schedule};

/// Upstream's walk from its estimate is over in a few steps, unless gaps differ wildly.
const STEPS_MAX: usize = 100_000;

/// What is due by the estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Estimate {
    /// The latest missed instant, if the walk found one.
    pub(super) instant: Option<Timestamp>,
    /// How many were missed, as if gaps were alike.
    pub(super) missed: i64,
}

/// The schedule has no two instants that lie a second apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Invalid;

/// What is due at `now` of what came after `after`.
///
/// Errors: the schedule has no instants, as far as upstream looks.
pub(super) fn estimate(schedule: &Schedule, after: Timestamp, now: Timestamp) -> Result<Estimate, Invalid> {
    let first = next(schedule, after).ok_or(Invalid)?;
    if now < first {
        return Ok(Estimate::default());
    }
    let second = next(schedule, first).ok_or(Invalid)?;
    if now < second {
        return Ok(Estimate {
            instant: Some(first),
            missed: 1,
        });
    }
    let gap = second.as_second() - first.as_second();
    if gap < 1 {
        return Err(Invalid);
    }
    let missed = now.duration_since(first).as_secs() / gap + 1;
    let mut at = Timestamp::from_second(first.as_second() + (missed - 2) * gap).map_err(|_| Invalid)?;
    let mut instant = None;
    for _ in 0..STEPS_MAX {
        match next(schedule, at) {
            Some(found) if found <= now => {
                instant = Some(found);
                at = found;
            }
            _ => break,
        }
    }
    Ok(Estimate { instant, missed })
}

/// When upstream looks again: the instant after the one that is due, or after the last one, or after now.
pub(super) fn next_look(schedule: &Schedule, after: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let from = match estimate(schedule, after, now) {
        Ok(Estimate { instant: Some(at), .. }) => at,
        Ok(Estimate { missed: 0, .. }) => after,
        Ok(_) | Err(Invalid) => now,
    };
    next(schedule, from)
}

/// `None` where upstream finds nothing, does not return, or stands still.
fn next(schedule: &Schedule, after: Timestamp) -> Option<Timestamp> {
    match schedule.next_exact(after) {
        ExactNext::At(unix) => Timestamp::from_second(unix).ok().filter(|found| *found > after),
        ExactNext::Zero | ExactNext::Hang => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2016-05-{text}Z").parse().expect("a time")
    }

    #[track_caller]
    fn check(schedule: &str, after: &str, now: &str, expected: Option<&str>) {
        let schedule = Schedule::parse(schedule).expect("a schedule");
        let found = estimate(&schedule, at(after), at(now)).expect("it has instants");
        assert_eq!(found.instant, expected.map(at));
    }

    #[test]
    fn the_latest_of_even_gaps_is_found() {
        check("0 * * * ?", "19T09:50:00", "19T09:53:00", None);
        check("0 * * * ?", "19T09:50:00", "19T10:00:02", Some("19T10:00:00"));
        check("0 * * * ?", "19T10:00:00", "19T10:02:00", None);
        check("0 * * * ?", "19T10:00:00", "19T11:05:00", Some("19T11:00:00"));
        check("0 * * * ?", "19T09:00:00", "19T11:05:00", Some("19T11:00:00"));
        check("0 * * * ?", "19T10:00:10", "19T15:01:00", Some("19T15:00:00"));
    }

    #[test]
    fn the_latest_of_uneven_gaps_may_be_lost() {
        let to_four = "30 6-16/4 * * 1-5";
        check(to_four, "19T10:30:00", "20T10:31:00", Some("20T10:30:00"));
        check(to_four, "19T10:30:00", "23T10:31:00", Some("23T10:30:00"));
        check("30 10,11,12 * * 1-5", "19T10:30:00", "20T16:30:00", None);
    }

    #[test]
    fn the_next_look_goes_on_from_what_was_found() {
        let check = |schedule: &str, after: &str, now: &str, expected: &str| {
            let schedule = Schedule::parse(schedule).expect("a schedule");
            assert_eq!(next_look(&schedule, at(after), at(now)), Some(at(expected)));
        };
        check("30 6-16/4 * * 1-5", "19T10:30:00", "20T10:31:00", "20T14:30:00");
        check("30 10,11,12 * * 1-5", "19T10:30:00", "20T16:30:00", "23T10:30:00");
        check("0 12 * * 5", "19T09:50:00", "19T16:00:00", "20T12:00:00");
    }

    #[test]
    fn what_upstream_never_finds_is_invalid_and_not_waited_for() {
        let never = Schedule::parse("59 23 31 2 *").expect("a schedule");
        assert_eq!(estimate(&never, at("19T10:00:00"), at("19T11:00:00")), Err(Invalid));
        // Where upstream's walk is endless, this one is not.
        let apia = rota_cron::Zone::load("Pacific/Apia").expect("a zone");
        let hangs = Schedule::parse("0 0 15 * *").expect("a schedule").in_zone(apia);
        let late_2011: Timestamp = "2011-12-28T00:00:00Z".parse().expect("a time");
        assert_eq!(estimate(&hangs, late_2011, at("19T11:00:00")), Err(Invalid));
    }
}
