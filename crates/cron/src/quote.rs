//! Quoting as Go's error texts do it.

use std::fmt::Write as _;

/// As `strconv.Quote`: control characters and invisible ones are escaped, everything readable is kept.
pub fn go_quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            ' ' => quoted.push(' '),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                let _ = write!(quoted, "\\x{:02x}", c as u32);
            }
            c if !is_printable(c) && c as u32 > 0xffff => {
                let _ = write!(quoted, "\\U{:08x}", c as u32);
            }
            c if !is_printable(c) => {
                let _ = write!(quoted, "\\u{:04x}", c as u32);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Letters, marks, numbers, punctuation and symbols, for Go and for Rust's debug form of texts alike.
fn is_printable(c: char) -> bool {
    // Behind another letter, where a mark may stand.
    format!("a{c}").escape_debug().nth(1) == Some(c)
}

/// As package `time` quotes durations: every byte outside printable ASCII is written as `\xHH`.
pub(crate) fn time_quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if (c as u32) >= 0x80 || c < ' ' {
            let mut buffer = [0_u8; 4];
            for byte in c.encode_utf8(&mut buffer).bytes() {
                let _ = write!(quoted, "\\x{byte:02x}");
            }
        } else {
            if c == '"' || c == '\\' {
                quoted.push('\\');
            }
            quoted.push(c);
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readable_characters_are_kept_and_others_escaped() {
        assert_eq!(go_quote("5月 e\u{301}"), "\"5月 e\u{301}\"");
        assert_eq!(go_quote("\u{a0}\u{200b}\u{ad}"), r#""\u00a0\u200b\u00ad""#);
        assert_eq!(go_quote("\u{e0001}\u{1f600}"), "\"\\U000e0001\u{1f600}\"");
        assert_eq!(go_quote("\"\\\t\u{1}"), r#""\"\\\t\x01""#);
    }
}
