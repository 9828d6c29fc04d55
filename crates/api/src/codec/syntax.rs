//! What upstream's reader of JSON says of a text that is none: the first byte that does not fit, and where it stands.
//!
//! Texts that are fit to be read never come here. Nothing recurses, so nesting costs memory only.
//!
//! Source: Go's `encoding/json` (`scanner.go`), which upstream's `sigs.k8s.io/json` shares.

/// Why a text is no JSON; `None` when it is.
pub fn json_complaint(text: &[u8]) -> Option<String> {
    let mut scanner = Scanner { rest: text };
    match scanner.scan() {
        Ok(()) => None,
        Err(Fault::End) => Some("unexpected end of JSON input".to_owned()),
        Err(Fault::Byte(byte, place)) => Some(format!("invalid character {} {place}", quoted(byte))),
    }
}

/// Where a text goes wrong.
enum Fault {
    /// It ends too early.
    End,
    /// A byte that cannot stand in this place.
    Byte(u8, String),
}

/// What may come next.
enum Next {
    Value,
    ValueOrEndOfList,
    Key,
    KeyOrEndOfObject,
    Colon,
    /// What follows a value depends on what surrounds it.
    AfterValue,
}

/// What a value stands in.
#[derive(Clone, Copy)]
enum Around {
    Object,
    List,
}

struct Scanner<'a> {
    rest: &'a [u8],
}

impl Scanner<'_> {
    fn scan(&mut self) -> Result<(), Fault> {
        let mut around: Vec<Around> = Vec::new();
        let mut next = Next::Value;
        loop {
            while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = self.rest {
                self.rest = rest;
            }
            let Some(byte) = self.take() else {
                let is_whole = matches!(next, Next::AfterValue) && around.is_empty();
                return if is_whole { Ok(()) } else { Err(Fault::End) };
            };
            next = match (next, byte) {
                (Next::ValueOrEndOfList, b']') | (Next::KeyOrEndOfObject, b'}') => {
                    around.pop();
                    Next::AfterValue
                }
                (Next::Value | Next::ValueOrEndOfList, b'{') => {
                    around.push(Around::Object);
                    Next::KeyOrEndOfObject
                }
                (Next::Value | Next::ValueOrEndOfList, b'[') => {
                    around.push(Around::List);
                    Next::ValueOrEndOfList
                }
                (Next::Value | Next::ValueOrEndOfList, first) => {
                    self.scalar(first)?;
                    Next::AfterValue
                }
                (Next::Key | Next::KeyOrEndOfObject, b'"') => {
                    self.string()?;
                    Next::Colon
                }
                (Next::Key | Next::KeyOrEndOfObject, _) => {
                    return Err(fault(byte, "looking for beginning of object key string"));
                }
                (Next::Colon, b':') => Next::Value,
                (Next::Colon, _) => return Err(fault(byte, "after object key")),
                (Next::AfterValue, byte) => match (around.last(), byte) {
                    (Some(Around::Object), b',') => Next::Key,
                    (Some(Around::List), b',') => Next::Value,
                    (Some(Around::Object), b'}') | (Some(Around::List), b']') => {
                        around.pop();
                        Next::AfterValue
                    }
                    (Some(Around::Object), _) => return Err(fault(byte, "after object key:value pair")),
                    (Some(Around::List), _) => return Err(fault(byte, "after array element")),
                    (None, _) => return Err(fault(byte, "after top-level value")),
                },
            };
        }
    }

    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// A byte that must come for the text to be whole.
    fn need(&mut self) -> Result<u8, Fault> {
        self.take().ok_or(Fault::End)
    }

    fn scalar(&mut self, first: u8) -> Result<(), Fault> {
        match first {
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => self.number(first),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            _ => Err(fault(first, "looking for beginning of value")),
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), Fault> {
        for wanted in word.bytes().skip(1) {
            let byte = self.need()?;
            if byte != wanted {
                let place = format!("in literal {word} (expecting '{}')", char::from(wanted));
                return Err(Fault::Byte(byte, place));
            }
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), Fault> {
        loop {
            match self.need()? {
                b'"' => return Ok(()),
                b'\\' => match self.need()? {
                    b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => {}
                    b'u' => {
                        for _ in 0..4 {
                            let digit = self.need()?;
                            if !digit.is_ascii_hexdigit() {
                                return Err(fault(digit, "in \\u hexadecimal character escape"));
                            }
                        }
                    }
                    other => return Err(fault(other, "in string escape code")),
                },
                control @ 0..=0x1f => return Err(fault(control, "in string literal")),
                _ => {}
            }
        }
    }

    fn number(&mut self, first: u8) -> Result<(), Fault> {
        let leading = match first {
            b'-' => match self.need()? {
                digit @ b'0'..=b'9' => digit,
                other => return Err(fault(other, "in numeric literal")),
            },
            digit => digit,
        };
        if leading != b'0' {
            self.digits();
        }
        if let [b'.', ..] = self.rest {
            self.take();
            self.some_digits("after decimal point in numeric literal")?;
        }
        if let [b'e' | b'E', ..] = self.rest {
            self.take();
            if let [b'+' | b'-', ..] = self.rest {
                self.take();
            }
            self.some_digits("in exponent of numeric literal")?;
        }
        Ok(())
    }

    fn digits(&mut self) {
        while let [b'0'..=b'9', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn some_digits(&mut self, place: &str) -> Result<(), Fault> {
        let first = self.need()?;
        if !first.is_ascii_digit() {
            return Err(fault(first, place));
        }
        self.digits();
        Ok(())
    }
}

fn fault(byte: u8, place: &str) -> Fault {
    Fault::Byte(byte, place.to_owned())
}

/// A byte as upstream shows it: the character of that number, in single quotes.
fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        0x07 => r"'\a'".to_owned(),
        0x08 => r"'\b'".to_owned(),
        0x0b => r"'\v'".to_owned(),
        0x0c => r"'\f'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        0..=0x1f | 0x7f => format!(r"'\x{byte:02x}'"),
        0x80..=0xa0 | 0xad => format!(r"'\u{byte:04x}'"),
        _ => format!("'{}'", char::from(byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_does_not_fit_is_named_with_its_place() {
        let check = |text: &[u8], expected: &str| {
            let told = json_complaint(text).unwrap_or_default();
            assert_eq!(told, expected, "{}", String::from_utf8_lossy(text));
        };
        check(b"hello", "invalid character 'h' looking for beginning of value");
        check(
            b"\xef\xbb\xbf{}",
            "invalid character '\u{ef}' looking for beginning of value",
        );
        check(b"\x81", r"invalid character '\u0081' looking for beginning of value");
        check(b"[1,]", "invalid character ']' looking for beginning of value");
        check(
            b"{'a':1}",
            r"invalid character '\'' looking for beginning of object key string",
        );
        check(
            b"{\"a\":1,}",
            "invalid character '}' looking for beginning of object key string",
        );
        check(b"{\"a\" 1}", "invalid character '1' after object key");
        check(b"{\"a\":1 2}", "invalid character '2' after object key:value pair");
        check(b"[1 2]", "invalid character '2' after array element");
        check(b"{} // x", "invalid character '/' after top-level value");
        check(b"01", "invalid character '1' after top-level value");
        check(b"\"a\tb\"", r"invalid character '\t' in string literal");
        check(br#""\x""#, "invalid character 'x' in string escape code");
        check(
            br#""\u00g0""#,
            r"invalid character 'g' in \u hexadecimal character escape",
        );
        check(b"-x", "invalid character 'x' in numeric literal");
        check(b"1.x", "invalid character 'x' after decimal point in numeric literal");
        check(b"1e+x", "invalid character 'x' in exponent of numeric literal");
        check(b"trve", "invalid character 'v' in literal true (expecting 'u')");
        for short in ["", "{", "[1", "{\"a\":", "\"a", "-", "1.", "tru", "\"\\u00"] {
            check(short.as_bytes(), "unexpected end of JSON input");
        }
    }

    #[test]
    fn of_json_there_is_nothing_to_say() {
        for text in [
            "{}",
            " [ ] ",
            r#"{"a": [1, -2.5e-3, true, null, "\u00e9\n"], "b": {}}"#,
            "0",
            "\"é\"",
        ] {
            assert_eq!(json_complaint(text.as_bytes()), None, "{text}");
        }
    }
}
