//! What a plain YAML scalar stands for: the YAML 1.1 rules that `sigs.k8s.io/yaml` applies.
//!
//! `yes`, `on` and their like are booleans, `0644` is octal, times stay strings. Also the reverse: which strings must be
//! quoted so that such a reader (and one of YAML 1.2) reads them as strings.
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
            Some(number) => Node::Number(number),
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

/// True when a string would not survive as a plain scalar.
pub(super) fn needs_quotes(text: &str) -> bool {
    let resolves = !matches!(resolve(text), Some(Node::String(_)));
    let first = text.chars().next().unwrap_or(' ');
    let indicator = "-?:,[]{}#&*!|>'\"%@`= ".contains(first)
        && !(matches!(first, '-' | '?' | ':') && text[1..].starts_with(|c: char| !c.is_whitespace() && c != ','));
    let time_like =
        text.len() >= 8 && text.as_bytes()[..4].iter().all(u8::is_ascii_digit) && text.as_bytes()[4] == b'-';
    let sexagesimal = text.contains(':')
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b':' | b'.' | b'-' | b'+' | b'_'));
    resolves
        || indicator
        || time_like
        || sexagesimal
        || text == "<<"
        || text.ends_with([' ', ':'])
        || text.contains(": ")
        || text.contains(" #")
        || text.starts_with("---")
        || text.starts_with("...")
        || text
            .chars()
            .any(|c| c.is_control() || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}' | '\u{85}'))
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

    #[test]
    fn strings_that_look_like_something_else_are_quoted() {
        for text in [
            "",
            "yes",
            "null",
            "0644",
            "1e3",
            "a: b",
            "x #y",
            "- a",
            "@a",
            "2020-01-01",
            "12:30",
            "a\nb",
            " a",
        ] {
            assert!(needs_quotes(text), "{text}");
        }
        for text in ["a", "nginx:1.25", "*/5 x", "-c", "sh", "http://x/y", "a,b", "100m"] {
            assert_eq!(needs_quotes(text), text.starts_with('*'), "{text}");
        }
    }
}
