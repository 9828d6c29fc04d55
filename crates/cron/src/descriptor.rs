//! Descriptors: `@daily` and its like, `@every`.
//!
//! Source: `spec/cronjob.md` §2.5, §2.8.

use crate::duration;
use crate::field::Fields;
use crate::schedule::{Kind, ParseError};

/// Reads a whole text that begins with `@`.
pub(crate) fn parse(text: &str) -> Result<Kind, ParseError> {
    let fields = match text {
        "@yearly" | "@annually" => ["0", "0", "1", "1", "*"],
        "@monthly" => ["0", "0", "1", "*", "*"],
        "@weekly" => ["0", "0", "*", "*", "0"],
        "@daily" | "@midnight" => ["0", "0", "*", "*", "*"],
        "@hourly" => ["0", "*", "*", "*", "*"],
        _ => return every(text),
    };
    Fields::parse(&fields).map(Kind::Fields)
}

fn every(text: &str) -> Result<Kind, ParseError> {
    let Some(written) = text.strip_prefix("@every ") else {
        return Err(ParseError::new(format!("unrecognized descriptor: {text}")));
    };
    let nanos = duration::parse(written)
        .map_err(|error| ParseError::new(format!("failed to parse duration {text}: {error}")))?;
    // Less than a second, zero and negative spans become one second; fractions are dropped.
    Ok(Kind::Every {
        secs: (nanos / 1_000_000_000).max(1),
    })
}
