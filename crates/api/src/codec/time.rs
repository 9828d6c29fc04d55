//! Times in objects: RFC 3339, in whole seconds or with exactly six fractional digits.
//!
//! Source: `apimachinery/pkg/apis/meta/v1/time.go`, `micro_time.go`; Go's `time` (`format.go`, `parse`), which words the refusals.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Upstream's name of the accepted form of a `Time`.
pub(super) const SECONDS: &str = "2006-01-02T15:04:05Z07:00";
/// Upstream's name of the accepted form of a `MicroTime`.
pub(super) const MICROSECONDS: &str = "2006-01-02T15:04:05.000000Z07:00";

/// The canonical text of a `Time`: UTC, fractions dropped.
pub(super) fn seconds(text: &str) -> Option<String> {
    let instant = parse(text, |_| true)?;
    Some(utc(instant).strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// The canonical text of a `MicroTime`: UTC, six fractional digits, of which exactly six must be given.
pub(super) fn microseconds(text: &str) -> Option<String> {
    let instant = parse(text, |digits| digits == 6)?;
    let micros = instant.subsec_nanosecond().unsigned_abs() / 1000;
    Some(format!("{}.{micros:06}Z", utc(instant).strftime("%Y-%m-%dT%H:%M:%S")))
}

fn utc(instant: Timestamp) -> jiff::Zoned {
    instant.to_zoned(TimeZone::UTC)
}

/// What upstream says of a text that is no time of the form [`SECONDS`] or [`MICROSECONDS`].
pub(super) fn complaint(text: &str, form: &str) -> String {
    let said = match first_fault(text, form == MICROSECONDS) {
        Some(Fault::Unread { rest, wanted }) => {
            format!(" as {form:?}: cannot parse {rest:?} as {wanted:?}")
        }
        Some(Fault::Surplus(rest)) => format!(": extra text: {rest:?}"),
        Some(Fault::Range(part)) => format!(": {part} out of range"),
        None => format!(" as {form:?}: cannot parse {text:?} as \"2006\""),
    };
    format!("parsing time {text:?}{said}")
}

enum Fault<'a> {
    /// The rest of the text does not begin with what the form wants.
    Unread { rest: &'a str, wanted: &'static str },
    /// Something is left behind the end.
    Surplus(&'a str),
    /// A part is no such number.
    Range(&'static str),
}

/// The parts between the year and the zone: what leads in, the part as the form shows it, its name, its largest value.
const PARTS: [(&str, &str, &str, u32); 5] = [
    ("-", "01", "month", 12),
    ("-", "02", "day", 99),
    ("T", "15", "hour", 23),
    (":", "04", "minute", 59),
    (":", "05", "second", 59),
];

/// Where a reader from left to right stops.
fn first_fault(text: &str, with_microseconds: bool) -> Option<Fault<'_>> {
    let unread = |rest, wanted| Some(Fault::Unread { rest, wanted });
    let Some((year, mut rest)) = digits(text, 4) else {
        return unread(text, "2006");
    };
    let mut date = [year, 1, 1];
    for (at, (lead, shown, name, largest)) in (1..).zip(PARTS) {
        let Some(part) = rest.strip_prefix(lead) else {
            return unread(rest, lead);
        };
        // One digit does for an hour.
        let short = if name == "hour" { digits(part, 1) } else { None };
        let Some((number, behind)) = digits(part, 2).or(short) else {
            return unread(part, shown);
        };
        if number > largest || (name == "month" && number == 0) {
            return Some(Fault::Range(name));
        }
        if let Some(slot) = date.get_mut(at) {
            *slot = number;
        }
        rest = behind;
    }
    let fraction = rest.strip_prefix(['.', ',']).unwrap_or_default();
    if with_microseconds {
        let Some((_, behind)) = digits(fraction, 6) else {
            return unread(rest, ".000000");
        };
        rest = behind;
    } else if fraction.starts_with(|c: char| c.is_ascii_digit()) {
        rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    let behind = match rest.strip_prefix('Z') {
        Some(behind) => behind,
        None => match offset(rest) {
            Some(behind) => behind,
            None => return unread(rest, "Z07:00"),
        },
    };
    if !behind.is_empty() {
        return Some(Fault::Surplus(behind));
    }
    let [year, month, day] = date.map(|number| i16::try_from(number).unwrap_or_default());
    let first = jiff::civil::Date::new(year, i8::try_from(month).ok()?, 1).ok()?;
    let days = i16::from(first.days_in_month());
    (day < 1 || day > days).then_some(Fault::Range("day"))
}

/// The number in the first `count` characters, all digits, and what follows.
fn digits(text: &str, count: usize) -> Option<(u32, &str)> {
    let (number, behind) = text.split_at_checked(count)?;
    let all_digits = number.bytes().all(|byte| byte.is_ascii_digit());
    Some((number.parse().ok().filter(|_| all_digits)?, behind))
}

/// What follows an offset such as `+02:00`.
fn offset(text: &str) -> Option<&str> {
    let (_, behind) = digits(text.strip_prefix(['+', '-'])?, 2)?;
    Some(digits(behind.strip_prefix(':')?, 2)?.1)
}

/// Parses `YYYY-MM-DDTHH:MM:SS[.digits](Z|±HH:MM)` and nothing wider.
fn parse(text: &str, fraction: impl Fn(usize) -> bool) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(19)?;
    let pattern = b"dddd-dd-ddTdd:dd:dd";
    let fits = date.bytes().zip(pattern).all(|(have, want)| match want {
        b'd' => have.is_ascii_digit(),
        other => have == *other,
    });
    let (digits, zone) = match rest.strip_prefix('.') {
        Some(fractional) => {
            let digits = fractional.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                return None;
            }
            (digits, &fractional[digits..])
        }
        None => (0, rest),
    };
    let zone = zone.as_bytes();
    let known = zone == b"Z"
        || matches!(zone, [b'+' | b'-', h1, h2, b':', m1, m2] if [h1, h2, m1, m2].iter().all(|d| d.is_ascii_digit()));
    if !fits || !fraction(digits) || !known || digits > 9 {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_kept_in_whole_seconds_of_utc() {
        assert_eq!(
            seconds("2020-01-01T02:00:01+02:00").as_deref(),
            Some("2020-01-01T00:00:01Z")
        );
        assert_eq!(
            seconds("2020-01-01T00:00:01.9Z").as_deref(),
            Some("2020-01-01T00:00:01Z")
        );
        assert_eq!(seconds("now"), None);
        assert_eq!(seconds("2020-01-01 00:00:01Z"), None);
        assert_eq!(seconds("2020-13-01T00:00:01Z"), None);
    }

    #[test]
    fn micro_times_need_six_digits() {
        assert_eq!(
            microseconds("2020-01-01T00:00:01.500000Z").as_deref(),
            Some("2020-01-01T00:00:01.500000Z")
        );
        assert_eq!(microseconds("2020-01-01T00:00:01.5Z"), None);
        assert_eq!(microseconds("2020-01-01T00:00:01Z"), None);
    }

    #[test]
    fn what_is_no_time_is_told_by_the_first_part_that_does_not_fit() {
        for (text, said) in [
            (
                "now",
                r#" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "now" as "2006""#,
            ),
            (
                "2026-01-01T00:00:00Z",
                r#" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "Z" as ".000000""#,
            ),
            (
                "2026-01-01 00:00:00Z",
                r#" as "2006-01-02T15:04:05.000000Z07:00": cannot parse " 00:00:00Z" as "T""#,
            ),
            (
                "2026-1-01T00:00:00Z",
                r#" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "1-01T00:00:00Z" as "01""#,
            ),
            (
                "2026-01-01T00:00:00.000000",
                r#" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "" as "Z07:00""#,
            ),
            (
                "2026-01-01T0:00:00Z",
                r#" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "Z" as ".000000""#,
            ),
            ("2026-01-01T24:00:00.000000Z", ": hour out of range"),
            ("2026-13-01T00:00:00.000000Z", ": month out of range"),
            ("2026-02-29T00:00:00.000000Z", ": day out of range"),
            ("2026-01-01T00:00:00.000000Zulu", r#": extra text: "ulu""#),
        ] {
            assert_eq!(complaint(text, MICROSECONDS), format!("parsing time {text:?}{said}"));
        }
        assert_eq!(
            complaint("2026-01-01T00:00:60Z", SECONDS),
            r#"parsing time "2026-01-01T00:00:60Z": second out of range"#
        );
    }
}
