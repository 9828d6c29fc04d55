//! Times in objects: RFC 3339, in whole seconds or with exactly six fractional digits.
//!
//! Source: `apimachinery/pkg/apis/meta/v1/time.go`, `micro_time.go`.

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
}
