//! What becomes of local times that a change of the clock skips or repeats.
//!
//! By default nothing special: a time that does not exist is not run, one that exists twice is run twice. The other
//! policies are those of other schedulers; they concern schedules of fixed times only. A schedule that has a star in its
//! minutes or hours follows the clock: it means "every so often", and so often it runs.
//!
//! Source: `spec/cronjob.md` §2.10, §2.12, §9 H2; Vixie cron's rules as Debian's `cron(8)` tells them.

use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;

use crate::civil::Civil;
use crate::field::Fields;
use crate::matches::{count_local, next_local};
use crate::zone::Zone;

/// Shifts of so many seconds and more are corrections of the clock, not daylight saving: Vixie cron follows them at once.
const VIXIE_SHIFT_MAX_SECS: i64 = 3 * 3600;

/// What becomes of fixed times that a change of the clock skips or repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockPolicy {
    /// As the clock shows: what it skips is not run, what it repeats is run twice.
    #[default]
    Upstream,
    /// What it repeats is run once, the first time.
    SkipRepeat,
    /// What it skips is run at the first instant behind the gap, once.
    RunSkipped,
    /// Both, for shifts of less than three hours.
    Vixie,
}

/// A text that names no [`ClockPolicy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be one of upstream, vixie, skip-repeat, run-skipped")]
pub struct UnknownPolicy;

impl FromStr for ClockPolicy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        Ok(match text {
            "upstream" => Self::Upstream,
            "skip-repeat" => Self::SkipRepeat,
            "run-skipped" => Self::RunSkipped,
            "vixie" => Self::Vixie,
            _ => return Err(UnknownPolicy),
        })
    }
}

/// What the change of the clock at the beginning of a period means for a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing.
    Plain,
    /// This instant, the period's first, stands for times that were skipped.
    MakesUp(i64),
    /// Until this instant local times come for the second time, and do not count.
    RepeatsUntil(i64),
}

impl ClockPolicy {
    /// True when a disturbance is left as the clock shows it: skipped times do not run, repeated ones run twice.
    pub fn leaves(self, change: &Disturbance) -> bool {
        match self {
            Self::Upstream => true,
            Self::SkipRepeat => change.is_skipped,
            Self::RunSkipped => !change.is_skipped,
            Self::Vixie => false,
        }
    }

    /// What the beginning of the period that `inside` lies in means for a schedule.
    pub(crate) fn turn(self, fields: &Fields, zone: &Zone, inside: i64) -> Turn {
        if self == Self::Upstream || fields.has_wildcard {
            return Turn::Plain;
        }
        let Some(change) = Change::before(zone, inside) else {
            return Turn::Plain;
        };
        if self == Self::Vixie && change.shift().abs() >= VIXIE_SHIFT_MAX_SECS {
            return Turn::Plain;
        }
        let (makes_up, runs_once) = match self {
            Self::Upstream => (false, false),
            Self::SkipRepeat => (false, true),
            Self::RunSkipped => (true, false),
            Self::Vixie => (true, true),
        };
        if makes_up && change.shift() > 0 && change.skipped(fields).is_some() {
            Turn::MakesUp(change.at)
        } else if runs_once && change.shift() < 0 && change.is_lived_through(zone) {
            Turn::RepeatsUntil(change.at - change.shift())
        } else {
            Turn::Plain
        }
    }
}

/// A change of a zone's offset.
#[derive(Clone, Copy, Debug)]
struct Change {
    at: i64,
    before: i64,
    after: i64,
}

impl Change {
    /// The one at the beginning of the period that `inside` lies in.
    fn before(zone: &Zone, inside: i64) -> Option<Self> {
        let at = zone.period_start(inside)?;
        Some(Self {
            at,
            before: zone.offset(at - 1),
            after: zone.offset(at),
        })
    }

    /// Seconds by which local clocks are put forward.
    fn shift(self) -> i64 {
        self.after - self.before
    }

    /// The first matching local minute that is skipped.
    fn skipped(self, fields: &Fields) -> Option<i64> {
        next_local(fields, self.at + self.before, self.at + self.after)
    }

    /// The first matching local minute that is repeated.
    fn repeated(self, fields: &Fields) -> Option<i64> {
        next_local(fields, self.at + self.after, self.at + self.before)
    }

    /// True when the local times that are repeated were all there before: the period before was long enough.
    fn is_lived_through(self, zone: &Zone) -> bool {
        zone.period_start(self.at - 1)
            .is_none_or(|start| start + self.before <= self.at + self.after)
    }
}

/// A change of the clock that skips or repeats times of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disturbance {
    /// When the clock changes.
    pub at: Timestamp,
    /// The first local time concerned.
    pub local: DateTime,
    /// How many times of the schedule are concerned.
    pub count: u64,
    /// Whether they are skipped; else they are repeated.
    pub is_skipped: bool,
}

/// The disturbances of a schedule of fixed times after `after` and not after `until`, at most `max`.
pub(crate) fn disturbances(fields: &Fields, zone: &Zone, after: i64, until: i64, max: usize) -> Vec<Disturbance> {
    let mut found = Vec::new();
    if fields.has_wildcard || fields.is_never {
        return found;
    }
    let mut from = after;
    while found.len() < max {
        let Some(end) = zone.period(from).end.filter(|end| *end <= until) else {
            break;
        };
        found.extend(Change::before(zone, end).and_then(|change| disturbance(fields, change)));
        from = end;
    }
    found
}

fn disturbance(fields: &Fields, change: Change) -> Option<Disturbance> {
    let is_skipped = change.shift() > 0;
    let local = if is_skipped {
        change.skipped(fields)
    } else {
        change.repeated(fields)
    }?;
    let until = change.at + change.before.max(change.after);
    Some(Disturbance {
        at: Timestamp::from_second(change.at).ok()?,
        local: date_time(local)?,
        count: count_local(fields, local, until),
        is_skipped,
    })
}

/// Local seconds as a date and time; `None` beyond the years that can be written.
fn date_time(local: i64) -> Option<DateTime> {
    let civil = Civil::of(local);
    let small = |value: i64| i8::try_from(value).ok();
    DateTime::new(
        i16::try_from(civil.year).ok()?,
        small(civil.month)?,
        small(civil.day)?,
        small(civil.hour)?,
        small(civil.minute)?,
        small(civil.second)?,
        0,
    )
    .ok()
}
