//! Amounts of resources: `500m`, `1.5Gi`, `2e3`.
//!
//! A quantity is a number with at most nine decimal places and the family of suffixes it was written in. Values compare by
//! number; [`Quantity`]'s `Display` is the text that is stored and served, which is the author's own spelling where upstream
//! keeps it. Decimal numbers beyond 8e28 are kept by their text only, and count as 8e28. Units are not known here: what `1`
//! means is up to the resource's name.
//!
//! Source: `spec/api.md` §2.9 (value formats), `spec/daemonset.md` §16.2; kubernetes
//! `apimachinery/pkg/api/resource/{quantity,suffix}.go`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde_json::Value;

const NANOS: i128 = 1_000_000_000;
/// What larger amounts count as. The sum of two fits into an `i128`.
const MAX: i128 = 80_000_000_000_000_000_000_000_000_000 * NANOS;
/// The largest amount with a binary suffix; larger ones are cut down to it.
const MAX_BINARY: i128 = i64::MAX as i128 * NANOS;
/// Decimal digits beyond which every non-zero number exceeds [`MAX`].
const DIGITS_MAX: usize = 40;

/// How the suffix is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Powers of 1000: `m`, `k`, `M`, …
    DecimalSi,
    /// Powers of 1024: `Ki`, `Mi`, …
    BinarySi,
    /// An exponent: `e3`.
    DecimalExponent,
}

/// An amount of a resource.
#[derive(Clone, Debug)]
pub struct Quantity {
    nanos: i128,
    format: Format,
    /// The author's spelling, where it is the one that is served.
    spelling: Option<String>,
}

/// Why a text is not a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text is not a number with a suffix.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The suffix is none of the known ones.
    #[error("unable to parse quantity's suffix")]
    Suffix,
    /// There is a suffix, and no digit before it.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
}

struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

const DECIMAL: &[(&str, i32)] = &[
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: &[(&str, u32)] = &[("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

impl Quantity {
    /// The amount zero.
    pub const ZERO: Self = Self {
        nanos: 0,
        format: Format::DecimalSi,
        spelling: None,
    };

    /// Whole units, written with decimal suffixes.
    pub fn from_units(units: i64) -> Self {
        Self::from_nanos(i128::from(units) * NANOS, Format::DecimalSi)
    }

    /// Thousandths, written with decimal suffixes.
    pub fn from_millis(millis: i64) -> Self {
        Self::from_nanos(i128::from(millis) * (NANOS / 1000), Format::DecimalSi)
    }

    fn from_nanos(nanos: i128, format: Format) -> Self {
        Self {
            nanos: nanos.clamp(-MAX, MAX),
            format,
            spelling: None,
        }
    }

    /// Reads a text.
    ///
    /// Errors: the text is not a number with a known suffix.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let parts = split(text)?;
        let (scale, bits, format) = interpret(parts.suffix)?;
        let digits = parts.whole.len() + parts.fraction.len();
        let number = &text[..text.len() - parts.suffix.len()];
        if !number.bytes().any(|byte| byte.is_ascii_digit()) && !is_short(&parts, digits, scale, bits, format) {
            return Err(QuantityError::Numeric);
        }
        let magnitude = magnitude(&parts, scale, bits);
        let spelling = if keeps_spelling(&parts, digits, scale, bits, format) {
            Some(text.to_owned())
        } else {
            (magnitude == MAX).then(|| huge_text(&parts, scale, format))
        };
        let format = if format == Format::BinarySi && (1..NANOS).contains(&magnitude) {
            Format::DecimalSi
        } else {
            format
        };
        Ok(Self {
            nanos: if parts.negative { -magnitude } else { magnitude },
            format,
            spelling,
        })
    }

    /// Reads a JSON string or number, as they stand in objects.
    ///
    /// Errors: the value is neither, or its text is not a quantity.
    pub fn from_value(value: &Value) -> Result<Self, QuantityError> {
        match value {
            Value::String(text) => Self::parse(text.trim()),
            Value::Number(number) => Self::parse(&number.to_string()),
            Value::Null => Ok(Self::ZERO),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(QuantityError::Format),
        }
    }

    /// The amount in whole units, rounded up.
    pub fn units(&self) -> i64 {
        clamp(ceil(self.nanos, NANOS))
    }

    /// The amount in thousandths, rounded up.
    pub fn millis(&self) -> i64 {
        clamp(ceil(self.nanos, NANOS / 1000))
    }

    /// True for zero.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// True for less than zero.
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// True when there is no fraction of a unit.
    pub fn is_whole(&self) -> bool {
        self.nanos % NANOS == 0
    }

    /// True where arithmetic in 64-bit thousandths finds no fraction of a unit: amounts with a binary suffix wrap around in it
    /// from an exbibyte on and are taken for fractions.
    ///
    /// Source: kubernetes `apimachinery/pkg/api/resource`, `MilliValue`.
    pub fn is_whole_in_wrapped_millis(&self) -> bool {
        if self.format != Format::BinarySi {
            return self.is_whole();
        }
        let millis = ceil(self.nanos, NANOS / 1000);
        #[expect(clippy::cast_possible_truncation, reason = "wrapping around is the rule")]
        let wrapped = millis as i64;
        wrapped % 1000 == 0
    }

    /// True when there is no fraction of a thousandth.
    pub fn is_whole_millis(&self) -> bool {
        self.nanos % (NANOS / 1000) == 0
    }

    /// The least amount of whole thousandths that is not less.
    #[must_use]
    pub fn rounded_up_to_millis(&self) -> Self {
        let away_from_zero = self.nanos.signum() * ceil(self.nanos.abs(), NANOS / 1000);
        Self::from_nanos(away_from_zero.saturating_mul(NANOS / 1000), self.format)
    }

    /// The family of suffixes.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The sum, written as `self` is.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self::from_nanos(self.nanos + other.nanos, format)
    }

    /// The difference, written as `self` is.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self::from_nanos(self.nanos - other.nanos, format)
    }

    /// The canonical text: no fraction, the largest suffix that loses nothing.
    pub fn canonical(&self) -> String {
        let exact_binary = self.is_whole() && self.nanos.abs() >= 1024 * NANOS;
        match self.format {
            Format::BinarySi if exact_binary => binary_text(self.nanos / NANOS),
            Format::BinarySi | Format::DecimalSi => decimal_text(self.nanos, |exponent| {
                DECIMAL
                    .iter()
                    .find(|(_, e)| *e == exponent)
                    .map_or_else(|| format!("e{exponent}"), |(suffix, _)| (*suffix).to_owned())
            }),
            Format::DecimalExponent => decimal_text(self.nanos, |exponent| match exponent {
                0 => String::new(),
                exponent => format!("e{exponent}"),
            }),
        }
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Self::parse(text)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.spelling {
            Some(text) => f.write_str(text),
            None => f.write_str(&self.canonical()),
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

/// Splits a text into sign, digits and suffix; leading zeros are dropped.
fn split(text: &str) -> Result<Parts<'_>, QuantityError> {
    if text.is_empty() {
        return Err(QuantityError::Format);
    }
    let (negative, rest) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
    let rest = rest.trim_start_matches('0');
    let (whole, rest) = rest.split_at(digits(rest));
    let (fraction, suffix) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits(rest)),
        None => ("", rest),
    };
    let exponent = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    if digits(exponent) != exponent.len() {
        return Err(QuantityError::Format);
    }
    Ok(Parts {
        negative,
        whole: if whole.is_empty() { "0" } else { whole },
        fraction,
        suffix,
    })
}

/// The decimal exponent, the binary exponent and the family that a suffix stands for.
fn interpret(suffix: &str) -> Result<(i32, u32, Format), QuantityError> {
    if let Some((_, exponent)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        return Ok((*exponent, 0, Format::DecimalSi));
    }
    if let Some((_, bits)) = BINARY.iter().find(|(s, _)| *s == suffix) {
        return Ok((0, *bits, Format::BinarySi));
    }
    let exponent: i64 = suffix
        .strip_prefix(['e', 'E'])
        .and_then(|e| e.parse().ok())
        .ok_or(QuantityError::Suffix)?;
    // Beyond this every number is zero, the least or the largest amount, whatever its digits.
    Ok((
        exponent.clamp(-1_000_000_000, 1_000_000_000) as i32,
        0,
        Format::DecimalExponent,
    ))
}

/// The absolute value in nanos, rounded up, cut down to what its format can hold.
fn magnitude(parts: &Parts<'_>, scale: i32, bits: u32) -> i128 {
    let digits: Vec<u8> = parts
        .whole
        .bytes()
        .chain(parts.fraction.bytes())
        .map(|digit| digit - b'0')
        .skip_while(|digit| *digit == 0)
        .collect();
    if digits.is_empty() {
        return 0;
    }
    // The number is digits × 10^point.
    let point = i64::from(scale) - parts.fraction.len() as i64 + 9;
    if bits > 0 && digits.len() as i64 + point > DIGITS_MAX as i64 {
        return MAX_BINARY;
    }
    if bits > 0 {
        return binary_magnitude(&digits, point, bits);
    }
    if digits.len() as i64 + point > DIGITS_MAX as i64 {
        return MAX;
    }
    if digits.len() as i64 + point <= 0 {
        return 1;
    }
    let kept = (digits.len() as i64 + point.min(0)) as usize;
    let mut value: i128 = 0;
    for digit in &digits[..kept] {
        value = value.saturating_mul(10).saturating_add(i128::from(*digit));
    }
    for _ in 0..point.max(0) {
        value = value.saturating_mul(10);
    }
    if digits[kept..].iter().any(|digit| *digit != 0) {
        value = value.saturating_add(1);
    }
    value.min(MAX)
}

/// As [`magnitude`], for digits × 10^point × 2^bits, where a fraction may become whole by the shift.
fn binary_magnitude(digits: &[u8], point: i64, bits: u32) -> i128 {
    // Long division by ten at a time keeps the remainder exact: multiply first, in limbs of one decimal digit.
    let mut limbs: Vec<u32> = digits.iter().rev().map(|digit| u32::from(*digit)).collect();
    for _ in 0..bits {
        let mut carry = 0;
        for limb in &mut limbs {
            let doubled = *limb * 2 + carry;
            *limb = doubled % 10;
            carry = doubled / 10;
        }
        if carry > 0 {
            limbs.push(carry);
        }
    }
    let dropped = (-point).clamp(0, limbs.len() as i64) as usize;
    let mut value: i128 = 0;
    for limb in limbs[dropped..].iter().rev() {
        value = value.saturating_mul(10).saturating_add(i128::from(*limb));
    }
    for _ in 0..point.max(0) {
        value = value.saturating_mul(10);
    }
    if limbs[..dropped].iter().any(|limb| *limb != 0) {
        value = value.saturating_add(1);
    }
    value.min(MAX_BINARY)
}

/// Whether upstream's fast path reads the text.
fn is_short(parts: &Parts<'_>, digits: usize, scale: i32, bits: u32, format: Format) -> bool {
    match format {
        Format::BinarySi => {
            let room = 14_usize.saturating_sub(bits as usize * 3 / 10);
            parts.fraction.is_empty() && parts.whole.len() <= room
        }
        Format::DecimalSi | Format::DecimalExponent => digits <= 18 && scale - parts.fraction.len() as i32 >= -9,
    }
}

/// Whether upstream keeps the spelling of what its fast path reads (`spec/daemonset.md` §16.2).
fn keeps_spelling(parts: &Parts<'_>, digits: usize, scale: i32, bits: u32, format: Format) -> bool {
    if !is_short(parts, digits, scale, bits, format) {
        return false;
    }
    if format == Format::BinarySi {
        let last_three = parts
            .whole
            .bytes()
            .rev()
            .take(3)
            .rev()
            .fold(0, |n, d| n * 10 + u32::from(d - b'0'));
        return last_three % 8 != 0;
    }
    let scale = scale - parts.fraction.len() as i32;
    let number = [parts.whole, parts.fraction].concat();
    scale % 3 == 0 && !number.ends_with("000") && !number.starts_with('0')
}

/// The canonical text of a decimal number that is only known by its digits.
fn huge_text(parts: &Parts<'_>, scale: i32, format: Format) -> String {
    let digits = [parts.whole, parts.fraction].concat();
    let digits = digits.trim_start_matches('0');
    let number = digits.trim_end_matches('0');
    let mut exponent = i64::from(scale) - parts.fraction.len() as i64 + (digits.len() - number.len()) as i64;
    let surplus = exponent.rem_euclid(3);
    exponent -= surplus;
    let sign = if parts.negative { "-" } else { "" };
    let zeros = "0".repeat(usize::try_from(surplus).unwrap_or_default());
    let suffix = DECIMAL.iter().find(|(_, of)| i64::from(*of) == exponent);
    match (format, suffix, exponent) {
        (_, _, 0) => format!("{sign}{number}{zeros}"),
        (Format::DecimalSi, Some((suffix, _)), _) => format!("{sign}{number}{zeros}{suffix}"),
        (_, _, exponent) => format!("{sign}{number}{zeros}e{exponent}"),
    }
}

fn decimal_text(nanos: i128, suffix: impl Fn(i32) -> String) -> String {
    if nanos == 0 {
        return "0".to_owned();
    }
    let (mut number, mut exponent) = (nanos, -9);
    while number % 1000 == 0 {
        number /= 1000;
        exponent += 3;
    }
    format!("{number}{}", suffix(exponent))
}

fn binary_text(units: i128) -> String {
    let (mut number, mut power) = (units, 0);
    while number % 1024 == 0 && power < BINARY.len() {
        number /= 1024;
        power += 1;
    }
    let suffix = power
        .checked_sub(1)
        .and_then(|index| BINARY.get(index))
        .map_or("", |(s, _)| s);
    format!("{number}{suffix}")
}

fn ceil(value: i128, unit: i128) -> i128 {
    value.div_euclid(unit) + i128::from(value.rem_euclid(unit) != 0)
}

fn clamp(value: i128) -> i64 {
    value.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn served_texts_are_canonical_unless_upstream_keeps_the_spelling() {
        for (written, served) in [
            ("0.5", "500m"),
            ("1.5Gi", "1536Mi"),
            ("1000m", "1"),
            ("1024Ki", "1Mi"),
            ("128Mi", "128Mi"),
            ("100Mi", "100Mi"),
            ("0", "0"),
            ("0Ki", "0"),
            ("-0", "0"),
            ("00", "0"),
            (".", "0"),
            ("-", "0"),
            ("1e3", "1e3"),
            ("1000e0", "1e3"),
            ("0.1n", "1n"),
            ("1023", "1023"),
            ("1Ei", "1Ei"),
            ("99999999999999999999", "99999999999999999999"),
            ("18446744073709551616", "18446744073709551616"),
            ("10E", "10E"),
            ("5000E", "5e21"),
            ("9223372036854775807G", "9223372036854775807G"),
            ("16Ei", "9223372036854775807"),
            ("1e100", "10e99"),
            ("1e99", "1e99"),
            ("-1e99", "-1e99"),
            ("9223372036854775808P", "9223372036854775808P"),
            ("18446744073709551616.123P", "18446744073709551616123T"),
            ("Ki", "0"),
            ("12.000000000001e-3", "12000001e-9"),
            ("1.5", "1500m"),
            ("+5", "+5"),
            ("-1500m", "-1500m"),
        ] {
            let quantity: Quantity = written.parse().unwrap();
            assert_eq!(quantity.to_string(), served, "{written}");
        }
    }

    #[test]
    fn texts_that_are_no_quantities_say_why() {
        for (text, error) in [
            ("", QuantityError::Format),
            ("abc", QuantityError::Format),
            ("1 Gi", QuantityError::Format),
            ("1ki", QuantityError::Suffix),
            ("1Kib", QuantityError::Format),
            ("1K", QuantityError::Suffix),
            ("+Pi", QuantityError::Numeric),
            ("e-10", QuantityError::Numeric),
        ] {
            assert_eq!(Quantity::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn numbers_compare_across_suffixes_and_round_up() {
        let quantity = |text: &str| Quantity::parse(text).unwrap();
        assert_eq!(quantity("1Ki"), quantity("1024"));
        assert!(quantity("1001m") > quantity("1"));
        assert_eq!(quantity("1001m").units(), 2);
        assert_eq!(quantity("100u").millis(), 1);
        assert_eq!(quantity("0.5Ki").units(), 512);
        assert!(quantity("10E") > quantity("9E"));
        assert!(quantity("1e27") < quantity("1e99"));
        assert_eq!(quantity("1e99").units(), i64::MAX);
        assert_eq!(quantity("9E").plus(&quantity("9E")).to_string(), "18E");
        assert_eq!(quantity("1Gi").plus(&quantity("512Mi")).to_string(), "1536Mi");
    }
}
