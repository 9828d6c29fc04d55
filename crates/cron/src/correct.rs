//! The correct engine.
//!
//! The instants of a schedule are the whole local minutes that match its fields. Zones are walked period by period of
//! constant offset; inside one, local time runs evenly, and [`crate::matches`] finds the next match. So results strictly
//! increase, no day is lost, no month is mistaken, and every search is bounded. What becomes of minutes that a change of the
//! clock skips or repeats is decided in [`crate::clock`].
//!
//! Source: `spec/cronjob.md` §2.6, §2.13.

use crate::civil::DAY_SECS;
use crate::clock::{ClockPolicy, Turn};
use crate::field::Fields;
use crate::matches::{count_local, next_local, previous_local};
use crate::zone::Zone;

/// How far a search goes. 29 February may be eight years away, and fall into a gap of the clock then.
const HORIZON_YEARS: i64 = 40;
/// How many periods of a zone are looked at: more than four changes a year have never been.
const PERIODS_MAX: usize = 4 * HORIZON_YEARS as usize;

/// A schedule's fields, the zone in which they are read, and what changes of its clock mean.
#[derive(Clone, Copy)]
pub(crate) struct Engine<'a> {
    pub(crate) fields: &'a Fields,
    pub(crate) zone: &'a Zone,
    pub(crate) policy: ClockPolicy,
}

impl Engine<'_> {
    /// The first instant after `after`.
    pub(crate) fn next(self, after: i64) -> Option<i64> {
        if self.fields.is_never {
            return None;
        }
        let horizon = after.saturating_add(HORIZON_YEARS * 366 * DAY_SECS);
        let mut from = after.checked_add(1)?;
        for _ in 0..PERIODS_MAX {
            let period = self.zone.period(from);
            let limit = period.end.unwrap_or(horizon).min(horizon);
            let first = match self.turn(from) {
                Turn::Plain => from,
                Turn::MakesUp(start) if start >= from => return Some(start),
                Turn::MakesUp(_) => from,
                Turn::RepeatsUntil(until) => from.max(until),
            };
            if let Some(local) = next_local(self.fields, first + period.offset, limit + period.offset) {
                return Some(local - period.offset);
            }
            if limit == horizon {
                return None;
            }
            from = limit;
        }
        None
    }

    /// The last instant before `before`.
    pub(crate) fn previous(self, before: i64) -> Option<i64> {
        if self.fields.is_never {
            return None;
        }
        let horizon = before.saturating_sub(HORIZON_YEARS * 366 * DAY_SECS);
        let mut until = before;
        for _ in 0..PERIODS_MAX {
            let inside = until.checked_sub(1)?;
            let offset = self.zone.offset(inside);
            let start = self.zone.period_start(inside).unwrap_or(horizon).max(horizon);
            let turn = self.turn(inside);
            let first = match turn {
                Turn::Plain | Turn::MakesUp(_) => start,
                Turn::RepeatsUntil(lived) => start.max(lived),
            };
            if let Some(local) = previous_local(self.fields, first + offset, until + offset) {
                return Some(local - offset);
            }
            if let Turn::MakesUp(start) = turn {
                return Some(start);
            }
            if start == horizon {
                return None;
            }
            until = start;
        }
        None
    }

    /// How many instants lie after `after` and not after `until`.
    pub(crate) fn count(self, after: i64, until: i64) -> u64 {
        let mut total = 0;
        let mut from = after + 1;
        while from <= until {
            let period = self.zone.period(from);
            let limit = period.end.unwrap_or(i64::MAX).min(until + 1);
            let local = |at: i64| at + period.offset;
            let first = match self.turn(from) {
                Turn::Plain => from,
                Turn::MakesUp(start) => {
                    // Unless it matches by itself.
                    let is_match = next_local(self.fields, local(start), local(start + 1)).is_some();
                    total += u64::from(start >= from && !is_match);
                    from
                }
                Turn::RepeatsUntil(until) => from.max(until),
            };
            total += count_local(self.fields, local(first), local(limit));
            from = limit;
        }
        total
    }

    /// What the change of the clock at the beginning of the period that `inside` lies in means.
    fn turn(self, inside: i64) -> Turn {
        self.policy.turn(self.fields, self.zone, inside)
    }
}
