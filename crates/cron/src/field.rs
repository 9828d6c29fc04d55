//! The five fields: their ranges, their names, their grammar, and the sets they become.
//!
//! Source: `spec/cronjob.md` §2.2–2.4.

use crate::matches::is_never;
use crate::quote::go_quote;
use crate::schedule::ParseError;

/// The star mark: set when the field restricts nothing (`*`, `?`, `*/1`).
pub(crate) const STAR: u64 = 1 << 63;

/// What a field may hold.
pub(crate) struct Bounds {
    min: u64,
    max: u64,
    names: &'static [&'static str],
}

pub(crate) const MINUTE: Bounds = Bounds {
    min: 0,
    max: 59,
    names: &[],
};
pub(crate) const HOUR: Bounds = Bounds {
    min: 0,
    max: 23,
    names: &[],
};
pub(crate) const DAY: Bounds = Bounds {
    min: 1,
    max: 31,
    names: &[],
};
pub(crate) const MONTH: Bounds = Bounds {
    min: 1,
    max: 12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
};
pub(crate) const WEEKDAY: Bounds = Bounds {
    min: 0,
    max: 6,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

/// The sets of a schedule, bit n for value n, with the star mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) minute: u64,
    pub(crate) hour: u64,
    pub(crate) day: u64,
    pub(crate) month: u64,
    pub(crate) weekday: u64,
    /// Minutes or hours were written with a star, whatever the step behind it: the schedule means "every so often".
    pub(crate) has_wildcard: bool,
    /// No local minute can ever match.
    pub(crate) is_never: bool,
}

impl Fields {
    /// Reads the five fields; the first that is wrong decides the error.
    pub(crate) fn parse(tokens: &[&str; 5]) -> Result<Self, ParseError> {
        let [minute, hour, day, month, weekday] = tokens;
        let mut fields = Self {
            minute: set(minute, &MINUTE)?,
            hour: set(hour, &HOUR)?,
            day: set(day, &DAY)?,
            month: set(month, &MONTH)?,
            weekday: set(weekday, &WEEKDAY)?,
            has_wildcard: [minute, hour].iter().any(|field| field.contains(['*', '?'])),
            is_never: false,
        };
        fields.is_never = is_never(&fields);
        Ok(fields)
    }

    /// The day rule: both sets must hold where either carries the star mark, otherwise one is enough.
    pub(crate) fn matches_day(&self, day: i64, weekday: i64) -> bool {
        let in_day = self.day & (1 << day) != 0;
        let in_weekday = self.weekday & (1 << weekday) != 0;
        if (self.day | self.weekday) & STAR != 0 {
            in_day && in_weekday
        } else {
            in_day || in_weekday
        }
    }
}

fn set(field: &str, bounds: &Bounds) -> Result<u64, ParseError> {
    field
        .split(',')
        .filter(|item| !item.is_empty())
        .try_fold(0, |bits, item| Ok(bits | item_set(item, bounds)?))
}

fn item_set(item: &str, bounds: &Bounds) -> Result<u64, ParseError> {
    let parts: Vec<&str> = item.split('/').collect();
    let sides: Vec<&str> = parts[0].split('-').collect();
    let is_single = sides.len() == 1;
    let mut star = 0;
    let (low, mut high) = if sides[0] == "*" || sides[0] == "?" {
        star = STAR;
        (bounds.min, bounds.max)
    } else {
        let low = value(sides[0], bounds)?;
        match sides[..] {
            [_] => (low, low),
            [_, high] => (low, value(high, bounds)?),
            _ => return Err(ParseError::new(format!("too many hyphens: {item}"))),
        }
    };
    let step = match parts[..] {
        [_] => 1,
        [_, step] => {
            let step = integer(step)?;
            if is_single {
                high = bounds.max;
            }
            if step > 1 {
                star = 0;
            }
            step
        }
        _ => return Err(ParseError::new(format!("too many slashes: {item}"))),
    };
    if low < bounds.min {
        let min = bounds.min;
        return Err(ParseError::new(format!(
            "beginning of range ({low}) below minimum ({min}): {item}"
        )));
    }
    if high > bounds.max {
        let max = bounds.max;
        return Err(ParseError::new(format!(
            "end of range ({high}) above maximum ({max}): {item}"
        )));
    }
    if low > high {
        return Err(ParseError::new(format!(
            "beginning of range ({low}) beyond end of range ({high}): {item}"
        )));
    }
    if step == 0 {
        return Err(ParseError::new(format!(
            "step of range should be a positive number: {item}"
        )));
    }
    let mut bits = star;
    let mut at = Some(low);
    while let Some(value) = at.filter(|value| *value <= high) {
        bits |= 1 << value;
        at = value.checked_add(step);
    }
    Ok(bits)
}

fn value(text: &str, bounds: &Bounds) -> Result<u64, ParseError> {
    // Letter by letter, as Go does it: no letter becomes two.
    let lower: String = text.chars().filter_map(|c| c.to_lowercase().next()).collect();
    match (bounds.min..).zip(bounds.names).find(|(_, name)| **name == lower) {
        Some((value, _)) => Ok(value),
        None => integer(text),
    }
}

/// Reads as Go's `strconv.Atoi`, and refuses negative numbers.
fn integer(text: &str) -> Result<u64, ParseError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let refuse = |why: &str| {
        Err(ParseError::new(format!(
            "failed to parse int from {text}: strconv.Atoi: parsing {}: {why}",
            go_quote(text)
        )))
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return refuse("invalid syntax");
    }
    match text.parse::<i64>() {
        Err(_) => refuse("value out of range"),
        Ok(number) => u64::try_from(number)
            .map_err(|_| ParseError::new(format!("negative number ({number}) not allowed: {text}"))),
    }
}
