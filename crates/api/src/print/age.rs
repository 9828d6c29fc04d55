//! How long ago something was, in the short form that people read.
//!
//! Source: kubernetes `apimachinery/pkg/util/duration/duration.go`.

use jiff::Timestamp;
use serde_json::Value;

use super::UNKNOWN;
use crate::value::text;

/// A span of whole seconds in short form: `45s`, `3m20s`, `5h`, `12d`, `2y30d`.
pub fn human_duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |whole: i64, unit: &str, rest: i64, rest_unit: &str| match rest {
        0 => format!("{whole}{unit}"),
        rest => format!("{whole}{unit}{rest}{rest_unit}"),
    };
    match seconds {
        ..=-2 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => two(s / MINUTE, "m", s % MINUTE, "s"),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => two(s / HOUR, "h", s % HOUR / MINUTE, "m"),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => two(s / DAY, "d", s % DAY / HOUR, "h"),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => two(s / YEAR, "y", s % YEAR / DAY, "d"),
        s => format!("{}y", s / YEAR),
    }
}

/// The moment that a field holds.
pub(super) fn moment(object: &Value, field: &str) -> Option<Timestamp> {
    text(object, field).parse().ok()
}

/// Time from one moment to another.
pub(super) fn between(from: Timestamp, to: Timestamp) -> String {
    let millis = to.as_millisecond() - from.as_millisecond();
    human_duration(millis / 1000)
}

/// Time since the moment that a field holds; `<unknown>` when it holds none.
pub(super) fn since(object: &Value, field: &str, now: Timestamp) -> String {
    moment(object, field).map_or_else(|| UNKNOWN.to_owned(), |moment| between(moment, now))
}

#[cfg(test)]
mod tests {
    use super::human_duration;

    #[test]
    fn spans_are_told_in_at_most_two_units() {
        for (seconds, text) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (3600, "60m"),
            (3 * 3600, "3h"),
            (3 * 3600 + 60, "3h1m"),
            (47 * 3600, "47h"),
            (48 * 3600, "2d"),
            (7 * 86_400 + 3600, "7d1h"),
            (9 * 86_400, "9d"),
            (729 * 86_400, "729d"),
            (731 * 86_400, "2y1d"),
            (9 * 365 * 86_400, "9y"),
        ] {
            assert_eq!(human_duration(seconds), text, "{seconds}");
        }
    }
}
