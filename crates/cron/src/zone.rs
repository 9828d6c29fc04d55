//! Time zones by name, from the database in the program.
//!
//! Names are those that Go's loader takes: exact in case, no paths. Offsets are asked in whole seconds since 1970.
//!
//! Source: `spec/cronjob.md` §1.2 (`timeZone`), §2.1, §2.9.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A zone: how far local clocks are ahead of UTC, at each instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// A name that leads to no zone; the text is the one of Go's loader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneError(String);

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ZoneError {}

/// One stretch of constant offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period {
    /// Seconds that local clocks are ahead of UTC.
    pub(crate) offset: i64,
    /// The first instant after it; `None`: it never ends.
    pub(crate) end: Option<i64>,
}

impl Zone {
    /// Coordinated universal time: what a schedule without a zone means here.
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// The zone of that name. An empty name is UTC, as for Go's loader; so is `Local`, since this program has no zone of
    /// its own.
    ///
    /// Errors: the loader's text.
    pub fn load(name: &str) -> Result<Self, ZoneError> {
        if matches!(name, "" | "UTC" | "Local") {
            return Ok(Self::utc());
        }
        if name.starts_with(['/', '\\']) || name.split(['/', '\\']).any(|part| part == "..") {
            return Err(ZoneError("time: invalid location name".to_owned()));
        }
        match TimeZone::get(name) {
            // The database does not mind the case of names; upstream does.
            Ok(zone) if zone.iana_name() == Some(name) => Ok(Self(zone)),
            _ => Err(ZoneError(format!("unknown time zone {name}"))),
        }
    }

    /// The name under which the zone was loaded.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The same zone for other uses of time.
    pub fn as_time_zone(&self) -> &TimeZone {
        &self.0
    }

    /// Seconds that local clocks are ahead of UTC at an instant.
    pub(crate) fn offset(&self, unix: i64) -> i64 {
        i64::from(self.0.to_offset(clamp(unix)).seconds())
    }

    /// The stretch of constant offset that an instant lies in.
    pub(crate) fn period(&self, unix: i64) -> Period {
        let at = clamp(unix);
        let end = self
            .0
            .following(at)
            .next()
            .map(|transition| transition.timestamp().as_second());
        Period {
            offset: self.offset(unix),
            end,
        }
    }

    /// The first instant of the stretch of constant offset that an instant lies in; `None`: it has no beginning.
    pub(crate) fn period_start(&self, unix: i64) -> Option<i64> {
        let next = clamp(unix.saturating_add(1));
        self.0
            .preceding(next)
            .next()
            .map(|transition| transition.timestamp().as_second())
    }
}

/// The nearest instant that the zone database knows about.
fn clamp(unix: i64) -> Timestamp {
    Timestamp::from_second(unix).unwrap_or(if unix < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// Whether `spec.timeZone` of a CronJob names a zone that can be loaded; the error is the loader's text.
pub fn check_time_zone(name: &str) -> Result<(), String> {
    Zone::load(name).map(|_| ()).map_err(|error| error.to_string())
}
