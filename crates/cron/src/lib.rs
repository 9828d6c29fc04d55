//! Cron schedules exactly as Kubernetes reads them.
//!
//! A [`Schedule`] is parsed once and answers: which instant comes next, which came before, how many lie between. There are
//! two engines behind it. The *correct* one is the default: the instants of a schedule are those whole minutes whose local
//! date and time match its fields; a time that daylight saving skips does not exist, one that it repeats exists twice. The
//! *exact* one ([`Schedule::next_exact`]) walks as upstream's library does, step for step, with its lost days and wrong
//! months, for those who must compare.
//!
//! Nothing here reads a clock. Zones come from the database that is built into the program.
//!
//! Source: `spec/cronjob.md` §2; robfig/cron v3.0.1 `parser.go`, `spec.go`, `constantdelay.go`; Go `time`.

mod civil;
mod clock;
mod correct;
mod descriptor;
mod duration;
mod exact;
mod explain;
mod field;
mod lines;
mod matches;
mod quote;
mod schedule;
mod zone;

pub use clock::{ClockPolicy, Disturbance, UnknownPolicy};
pub use exact::ExactNext;
pub use explain::{Language, UnknownLanguage, Warning, explain, hint, warning_of_text, warnings, zone_hint};
pub use lines::{Engine, answer_line, upcoming};
pub use quote::go_quote;
pub use schedule::{ParseError, Schedule};
pub use zone::{Zone, ZoneError, check_time_zone};

/// Whether `spec.schedule` of a CronJob can be read; the error is upstream's text.
pub fn check_schedule(text: &str) -> Result<(), String> {
    Schedule::parse(text).map(|_| ()).map_err(|error| error.to_string())
}

/// Reads a duration such as `1h30m` or `45s`.
///
/// Errors: the text of Go's parser.
pub fn parse_duration(text: &str) -> Result<jiff::SignedDuration, String> {
    duration::parse(text).map(jiff::SignedDuration::from_nanos)
}
