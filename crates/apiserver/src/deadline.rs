//! How long a request may take: as long as its client wants to wait, and no longer than the server lets any.
//!
//! Source: kubernetes `apiserver/pkg/endpoints/filters/request_deadline.go`; Go's `time.ParseDuration`.

use std::time::Duration;

use rota_api::ApiError;

use crate::query::Query;

/// How long a request may take that is not meant to stay open.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the request may take. A parameter `timeout` that asks for nothing, or for more than there is, changes nothing.
///
/// Errors: 400 for what is no duration.
pub(crate) fn of(query: &Query) -> Result<Duration, ApiError> {
    let Some(text) = query.get("timeout").filter(|text| !text.is_empty()) else {
        return Ok(REQUEST_TIMEOUT);
    };
    let nanos = parse(text)
        .map_err(|why| ApiError::bad_request(format!("invalid timeout specified in the request URL - time: {why}")))?;
    Ok(match nanos {
        nanos if nanos >= 1.0 => REQUEST_TIMEOUT.min(Duration::from_secs_f64(nanos.min(1e18) / 1e9)),
        _ => REQUEST_TIMEOUT,
    })
}

/// A duration such as `1h30m` or `1.5s`. Unit: nanoseconds.
fn parse(text: &str) -> Result<f64, String> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("μs", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 60e9),
        ("h", 3600e9),
    ];
    let invalid = || format!("invalid duration {text:?}");
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0.0);
    }
    let mut sum = 0.0;
    loop {
        let end = rest
            .find(|c: char| c != '.' && !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (number, behind) = rest.split_at(end);
        let number: f64 = number.parse().map_err(|_| invalid())?;
        let end = behind
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(behind.len());
        let (name, behind) = behind.split_at(end);
        if name.is_empty() {
            return Err(format!("missing unit in duration {text:?}"));
        }
        let unit = UNITS.iter().find(|(known, _)| *known == name);
        let (_, unit) = unit.ok_or_else(|| format!("unknown unit {name:?} in duration {text:?}"))?;
        sum += number * unit;
        if behind.is_empty() {
            return Ok(sign * sum);
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deadline(timeout: &str) -> Result<Duration, String> {
        of(&Query::parse(&format!("timeout={timeout}"))).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_client_may_wait_for_less_than_the_server_lets_it() {
        assert_eq!(deadline("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(deadline("0m30s"), Ok(Duration::from_secs(30)));
        for unbounded in ["", "0", "0s", "-5s", "2h"] {
            assert_eq!(deadline(unbounded), Ok(REQUEST_TIMEOUT), "{unbounded:?}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_in_the_words_of_upstream() {
        let prefix = "invalid timeout specified in the request URL - time: ";
        for (text, why) in [
            ("abc", "invalid duration \"abc\""),
            ("5", "missing unit in duration \"5\""),
            ("5x", "unknown unit \"x\" in duration \"5x\""),
            ("1..2s", "invalid duration \"1..2s\""),
        ] {
            assert_eq!(deadline(text), Err(format!("{prefix}{why}")));
        }
    }
}
