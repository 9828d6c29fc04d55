//! Time zones by name, from the database in the program.
//!
//! Names are those that Go's loader takes: exact in case, no paths. Offsets are asked in whole seconds since 1970.
//!
//! Source: `spec/cronjob.md` §1.2 (`timeZone`), §2.1, §2.9.

use std::collections::HashMap;
use std::fmt;
use std::sync::{LazyLock, PoisonError, RwLock};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Zones that have been asked for. The database is in the program; the machine's own is never asked, as two machines would
/// disagree.
static LOADED: LazyLock<RwLock<HashMap<&'static str, TimeZone>>> = LazyLock::new(RwLock::default);

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
        if name.starts_with(['/', '\\']) || name.contains("..") {
            return Err(ZoneError("time: invalid location name".to_owned()));
        }
        loaded(name)
            .map(Self)
            .ok_or_else(|| ZoneError(format!("unknown time zone {name}")))
    }

    /// The zone whose name differs from this one in upper and lower case only.
    pub fn spelt_like(name: &str) -> Option<&'static str> {
        let mut names = tzdb_data::TZ_NAMES.iter();
        names
            .find(|known| known.eq_ignore_ascii_case(name) && **known != name)
            .copied()
    }

    /// The names of all zones that there are, links included, in alphabetical order.
    pub fn names() -> Vec<String> {
        tzdb_data::TZ_NAMES.iter().map(|name| (*name).to_owned()).collect()
    }

    /// The version of the zone database, such as `2025c`.
    pub fn database_version() -> &'static str {
        tzdb_data::VERSION
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

/// A zone of the database.
fn loaded(name: &str) -> Option<TimeZone> {
    // A panic cannot leave a map half changed here.
    let known = LOADED.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
    if known.is_some() {
        return known;
    }
    // The database does not mind the case of names; upstream does.
    let name = tzdb_data::TZ_NAMES.iter().find(|known| **known == name)?;
    let zone = TimeZone::tzif(name, tzdb_data::find_raw(name.as_bytes())?).ok()?;
    let mut loaded = LOADED.write().unwrap_or_else(PoisonError::into_inner);
    Some(loaded.entry(name).or_insert(zone).clone())
}

/// The nearest instant that the zone database knows about.
fn clamp(unix: i64) -> Timestamp {
    Timestamp::from_second(unix).unwrap_or(if unix < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// Whether `spec.timeZone` of a CronJob names a zone that can be loaded; the error is the loader's text.
pub fn check_time_zone(name: &str) -> Result<(), String> {
    Zone::load(name).map(|_| ()).map_err(|error| error.to_string())
}
