//! What a plain YAML scalar stands for: the YAML 1.1 rules that `sigs.k8s.io/yaml` applies.
//!
//! `yes`, `on` and their like are booleans, `0644` is octal, times stay strings. Also the reverse: which strings such a reader
//! reads as strings.
//!
//! Source: `go.yaml.in/yaml/v2` `resolve.go`, as vendored by `sigs.k8s.io/yaml`.

use serde_json::Number;

use super::node::Node;

/// The node that a plain scalar stands for; `None` for infinities and not-a-number, which JSON does not have.
pub(super) fn resolve(text: &str) -> Option<Node> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Node::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Node::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Node::Bool(false),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf"
        | "-.INF" => return None,
        other => match number(other) {
            Some(number) => Node::Number(number.into()),
            None => Node::String(other.to_owned()),
        },
    })
}

/// The number a text is read as, if it is one.
pub(super) fn number(text: &str) -> Option<Number> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    let plain = text.replace('_', "");
    if let Some(integer) = integer(&plain) {
        return Some(integer);
    }
    if !is_float(&plain) {
        return None;
    }
    let value: f64 = plain.parse().ok()?;
    // Whole numbers are written without a fraction on the way to JSON.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the guard keeps the value inside the integers"
    )]
    if value.fract() == 0.0 && value.abs() < 9e15 {
        return Some((value as i64).into());
    }
    Number::from_f64(value)
}

/// Integers in base 10, 16 (`0x`), 8 (`0` or `0o`) or 2 (`0b`).
fn integer(plain: &str) -> Option<Number> {
    let (negative, magnitude) = match plain.as_bytes().first()? {
        b'-' => (true, &plain[1..]),
        b'+' => (false, &plain[1..]),
        _ => (false, plain),
    };
    let lower = magnitude.to_ascii_lowercase();
    let (digits, radix) = if let Some(hexadecimal) = lower.strip_prefix("0x") {
        (hexadecimal, 16)
    } else if let Some(binary) = lower.strip_prefix("0b") {
        (binary, 2)
    } else if let Some(octal) = lower.strip_prefix("0o") {
        (octal, 8)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (&lower[1..], 8)
    } else {
        (lower.as_str(), 10)
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        return 0i64.checked_sub_unsigned(magnitude).map(Number::from);
    }
    Some(magnitude.into())
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let mantissa = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
        None => digits(mantissa),
    };
    mantissa && exponent.is_none_or(|e| digits(e.strip_prefix(['-', '+']).unwrap_or(e)))
}

/// True when a plain scalar is read as a string and as nothing else, by readers of YAML 1.1 too.
pub(super) fn reads_as_text(text: &str) -> bool {
    matches!(resolve(text), Some(Node::String(_))) && text != "<<" && !is_time(text) && !is_sexagesimal(text)
}

/// A date, alone or with a time of day behind it.
fn is_time(text: &str) -> bool {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let digits = |text: &str, most: usize| {
        !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let mut parts = date.split('-');
    let is_date = parts.next().is_some_and(|year| year.len() == 4 && digits(year, 4))
        && parts.next().is_some_and(|month| digits(month, 2))
        && parts.next().is_some_and(|day| digits(day, 2))
        && parts.next().is_none();
    let is_clock = |time: &str| {
        let mut parts = time.trim_start().splitn(3, ':');
        parts.next().is_some_and(|hour| digits(hour, 2))
            && parts.next().is_some_and(|minute| digits(minute, 2))
            && parts
                .next()
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    is_date && time.is_none_or(is_clock)
}

/// A number in base 60: `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`
fn is_sexagesimal(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let counted = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let mut parts = whole.split(':');
    let first = parts.next().unwrap_or_default();
    let sixtieths: Vec<&str> = parts.collect();
    let is_sixtieth = |part: &&str| part.parse::<u8>().is_ok_and(|n| n < 60) && part.len() <= 2 && counted(part);
    first.starts_with(|c: char| c.is_ascii_digit())
        && counted(first)
        && !sixtieths.is_empty()
        && sixtieths.iter().all(is_sixtieth)
        && counted(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_scalars_mean_what_yaml_1_1_says() {
        let check = |text: &str, value: serde_json::Value| {
            assert_eq!(resolve(text).map(Node::into_value), Some(value), "{text}");
        };
        check("yes", json!(true));
        check("Off", json!(false));
        check("~", json!(null));
        check("0644", json!(420));
        check("0x1F", json!(31));
        check("0b101", json!(5));
        check("1_000", json!(1000));
        check("-7", json!(-7));
        check("3.0", json!(3));
        check("1e3", json!(1000));
        check("0.5", json!(0.5));
        check("089", json!(89));
        check("1.2.3", json!("1.2.3"));
        check("2020-01-01", json!("2020-01-01"));
        check("12:30:45", json!("12:30:45"));
        check("100m", json!("100m"));
        check("-", json!("-"));
        check("18446744073709551615", json!(18_446_744_073_709_551_615_u64));
        assert_eq!(resolve(".inf"), None);
    }
}
