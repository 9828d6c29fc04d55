//! A schedule, parsed.
//!
//! Source: `spec/cronjob.md` §2.1.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use crate::clock::{self, ClockPolicy, Disturbance};
use crate::correct::Engine;
use crate::descriptor;
use crate::exact::{self, ExactNext};
use crate::field::Fields;
use crate::zone::Zone;

/// When something happens again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub(crate) kind: Kind,
    zone: Zone,
    pub(crate) policy: ClockPolicy,
}

/// The two kinds of schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// At local dates and times.
    Fields(Fields),
    /// At a fixed interval from whatever instant is asked about.
    Every {
        /// The interval, at least 1.
        secs: i64,
    },
}

/// Why a text is no schedule, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(String);

impl ParseError {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseError {}

impl Schedule {
    /// Reads five fields or a descriptor, perhaps behind a `TZ=` prefix. Without that the zone is UTC.
    ///
    /// Errors: upstream's text.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text.is_empty() {
            return Err(ParseError::new("empty spec string".to_owned()));
        }
        let (zone, text) = zone_prefix(text)?;
        let kind = if text.starts_with('@') {
            descriptor::parse(text)?
        } else {
            Kind::Fields(fields(text)?)
        };
        Ok(Self {
            kind,
            zone,
            policy: ClockPolicy::default(),
        })
    }

    /// The same schedule in another zone: what `spec.timeZone` does.
    #[must_use]
    pub fn in_zone(mut self, zone: Zone) -> Self {
        self.zone = zone;
        self
    }

    /// The same schedule with another rule for times that the clock skips or repeats.
    #[must_use]
    pub fn with_clock_policy(mut self, policy: ClockPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// The zone it is read in.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The first instant of the schedule after `after`; `None`: there is none.
    ///
    /// A fixed interval counts from `after`.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let floor = floor_secs(after);
        let next = match &self.kind {
            Kind::Every { secs } => floor.checked_add(*secs)?,
            Kind::Fields(fields) => self.engine(fields).next(floor)?,
        };
        Timestamp::from_second(next).ok()
    }

    /// The last instant of the schedule before `before`; `None`: there is none, or the schedule is a fixed interval, which
    /// has no past of its own.
    pub fn previous(&self, before: Timestamp) -> Option<Timestamp> {
        match &self.kind {
            Kind::Every { .. } => None,
            Kind::Fields(fields) => {
                let ceiling = floor_secs(before) + i64::from(before.subsec_nanosecond() != 0);
                Timestamp::from_second(self.engine(fields).previous(ceiling)?).ok()
            }
        }
    }

    /// How many instants of the schedule lie after `after` and not after `until`. Costs the months between, not the instants.
    ///
    /// A fixed interval counts from `after`.
    pub fn count(&self, after: Timestamp, until: Timestamp) -> u64 {
        let (after, until) = (floor_secs(after), floor_secs(until));
        if until <= after {
            return 0;
        }
        match &self.kind {
            Kind::Every { secs } => u64::try_from((until - after) / secs).unwrap_or_default(),
            Kind::Fields(fields) => self.engine(fields).count(after, until),
        }
    }

    /// The last instant after `after` and not after `until`: of the missed runs, the one that is still made up for.
    ///
    /// A fixed interval counts from `after`.
    pub fn latest(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        match &self.kind {
            Kind::Every { secs } => {
                let start = floor_secs(after);
                let count = (floor_secs(until) - start).div_euclid(*secs);
                if count < 1 {
                    None
                } else {
                    Timestamp::from_second(start + count * secs).ok()
                }
            }
            Kind::Fields(_) => {
                let beyond = Timestamp::from_second(floor_secs(until) + 1).ok()?;
                self.previous(beyond).filter(|latest| *latest > after)
            }
        }
    }

    /// True for a fixed interval (`@every`).
    pub fn is_interval(&self) -> bool {
        matches!(self.kind, Kind::Every { .. })
    }

    /// True when the schedule has no instants at all, such as the 31st of February.
    pub fn is_never(&self) -> bool {
        match &self.kind {
            Kind::Every { .. } => false,
            Kind::Fields(fields) => fields.is_never,
        }
    }

    /// The changes of the clock after `after` and not after `until` that skip or repeat times of this schedule, at most
    /// `max`. None for schedules that have a star in their minutes or hours: these follow the clock.
    pub fn disturbances(&self, after: Timestamp, until: Timestamp, max: usize) -> Vec<Disturbance> {
        match &self.kind {
            Kind::Every { .. } => Vec::new(),
            Kind::Fields(fields) => clock::disturbances(fields, &self.zone, floor_secs(after), floor_secs(until), max),
        }
    }

    fn engine<'a>(&'a self, fields: &'a Fields) -> Engine<'a> {
        Engine {
            fields,
            zone: &self.zone,
            policy: self.policy,
        }
    }

    /// What upstream's library returns for the instant after `after`, defects included.
    pub fn next_exact(&self, after: Timestamp) -> ExactNext {
        let floor = floor_secs(after);
        match &self.kind {
            Kind::Every { secs } => ExactNext::At(floor + secs),
            Kind::Fields(fields) => exact::next(fields, &self.zone, floor),
        }
    }
}

impl FromStr for Schedule {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

/// Whole seconds, rounded down also before 1970.
fn floor_secs(at: Timestamp) -> i64 {
    at.as_second() - i64::from(at.subsec_nanosecond() < 0)
}

/// The name of the zone that a text begins with, behind `TZ=` or `CRON_TZ=`.
pub(crate) fn zone_in(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ="))?;
    rest.split(' ').next()
}

fn zone_prefix(text: &str) -> Result<(Zone, &str), ParseError> {
    let Some(name) = zone_in(text) else {
        return Ok((Zone::utc(), text));
    };
    let Some((_, rest)) = text.split_once(' ') else {
        // Upstream's parser breaks here; its callers turn that into this text.
        return Err(ParseError::new(
            "invalid schedule format: runtime error: slice bounds out of range [:-1]".to_owned(),
        ));
    };
    let zone = Zone::load(name).map_err(|error| ParseError::new(format!("provided bad location {name}: {error}")))?;
    Ok((zone, rest.trim()))
}

fn fields(text: &str) -> Result<Fields, ParseError> {
    let tokens: Vec<&str> = text.split_whitespace().collect();
    match <&[&str; 5]>::try_from(tokens.as_slice()) {
        Ok(tokens) => Fields::parse(tokens),
        Err(_) => Err(ParseError::new(format!(
            "expected exactly 5 fields, found {}: [{}]",
            tokens.len(),
            tokens.join(" ")
        ))),
    }
}
