//! Reads JSON. Of a text that is none it says what upstream's reader says: the first byte that does not fit, and where it stands.
//!
//! Members keep their order and their repetitions, numbers their spelling. Bytes and escapes that are no characters are read as
//! U+FFFD. Nothing recurses; documents are at most [`DEPTH_MAX`] levels deep.
//!
//! Source: Go's `encoding/json` (`scanner.go`, `decode.go`), which upstream's `sigs.k8s.io/json` shares.

use super::DEPTH_MAX;
use super::node::{Node, Numeral};

/// Why a text is no JSON; `None` when it is.
pub fn json_complaint(text: &[u8]) -> Option<String> {
    read(text).err()
}

/// Reads a text.
///
/// Errors: what is wrong with it, in upstream's words.
pub(super) fn read(text: &[u8]) -> Result<Node, String> {
    let mut scanner = Scanner { rest: text };
    scanner.scan().map_err(|fault| match fault {
        Fault::End => "unexpected end of JSON input".to_owned(),
        Fault::Byte(byte, place) => format!("invalid character {} {place}", quoted(byte)),
    })
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

/// A list or an object of which the end was not read yet.
enum Open {
    List(Vec<Node>),
    Object {
        members: Vec<(String, Node)>,
        /// The name of the member whose value comes next.
        name: String,
    },
}

struct Scanner<'a> {
    rest: &'a [u8],
}

impl Scanner<'_> {
    fn scan(&mut self) -> Result<Node, Fault> {
        let mut open: Vec<Open> = Vec::new();
        let mut whole: Option<Node> = None;
        let mut next = Next::Value;
        loop {
            while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = self.rest {
                self.rest = rest;
            }
            let Some(byte) = self.take() else {
                return whole.ok_or(Fault::End);
            };
            let ended = match (next, byte) {
                (Next::Value | Next::ValueOrEndOfList, b'{' | b'[') if open.len() >= DEPTH_MAX => {
                    return Err(fault(byte, "exceeded max depth"));
                }
                (Next::Value | Next::ValueOrEndOfList, b'{') => {
                    let (members, name) = (Vec::new(), String::new());
                    open.push(Open::Object { members, name });
                    next = Next::KeyOrEndOfObject;
                    continue;
                }
                (Next::Value | Next::ValueOrEndOfList, b'[') => {
                    open.push(Open::List(Vec::new()));
                    next = Next::ValueOrEndOfList;
                    continue;
                }
                (Next::ValueOrEndOfList, b']') => close(&mut open),
                (Next::Value | Next::ValueOrEndOfList, first) => self.scalar(first)?,
                (Next::KeyOrEndOfObject, b'}') => close(&mut open),
                (Next::Key | Next::KeyOrEndOfObject, b'"') => {
                    let key = self.string()?;
                    if let Some(Open::Object { name, .. }) = open.last_mut() {
                        *name = key;
                    }
                    next = Next::Colon;
                    continue;
                }
                (Next::Key | Next::KeyOrEndOfObject, _) => {
                    return Err(fault(byte, "looking for beginning of object key string"));
                }
                (Next::Colon, b':') => {
                    next = Next::Value;
                    continue;
                }
                (Next::Colon, _) => return Err(fault(byte, "after object key")),
                (Next::AfterValue, byte) => match (open.last(), byte) {
                    (Some(Open::Object { .. }), b',') => {
                        next = Next::Key;
                        continue;
                    }
                    (Some(Open::List(_)), b',') => {
                        next = Next::Value;
                        continue;
                    }
                    (Some(Open::Object { .. }), b'}') | (Some(Open::List(_)), b']') => close(&mut open),
                    (Some(Open::Object { .. }), _) => return Err(fault(byte, "after object key:value pair")),
                    (Some(Open::List(_)), _) => return Err(fault(byte, "after array element")),
                    (None, _) => return Err(fault(byte, "after top-level value")),
                },
            };
            match open.last_mut() {
                None => whole = Some(ended),
                Some(Open::List(items)) => items.push(ended),
                Some(Open::Object { members, name }) => members.push((std::mem::take(name), ended)),
            }
            next = Next::AfterValue;
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

    fn scalar(&mut self, first: u8) -> Result<Node, Fault> {
        match first {
            b'"' => self.string().map(Node::String),
            b'-' | b'0'..=b'9' => self.number(first),
            b't' => self.literal("true", Node::Bool(true)),
            b'f' => self.literal("false", Node::Bool(false)),
            b'n' => self.literal("null", Node::Null),
            _ => Err(fault(first, "looking for beginning of value")),
        }
    }

    fn literal(&mut self, word: &str, meaning: Node) -> Result<Node, Fault> {
        for wanted in word.bytes().skip(1) {
            let byte = self.need()?;
            if byte != wanted {
                let place = format!("in literal {word} (expecting '{}')", char::from(wanted));
                return Err(Fault::Byte(byte, place));
            }
        }
        Ok(meaning)
    }

    /// The text of a string whose opening quote was read.
    fn string(&mut self) -> Result<String, Fault> {
        let mut text = String::new();
        loop {
            let plain = self
                .rest
                .iter()
                .take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f))
                .count();
            let (characters, rest) = self.rest.split_at(plain);
            self.rest = rest;
            append(&mut text, characters);
            match self.need()? {
                b'"' => return Ok(text),
                b'\\' => text.push(self.escape()?),
                control => return Err(fault(control, "in string literal")),
            }
        }
    }

    /// The character of an escape whose backslash was read.
    fn escape(&mut self) -> Result<char, Fault> {
        Ok(match self.need()? {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            same @ (b'\\' | b'/' | b'"') => char::from(same),
            b'u' => self.code_point()?,
            other => return Err(fault(other, "in string escape code")),
        })
    }

    /// The character of an escape by number. One beyond U+FFFF is written as two of them.
    fn code_point(&mut self) -> Result<char, Fault> {
        let first = self.hexadecimal()?;
        if let Some(character) = char::from_u32(first) {
            return Ok(character);
        }
        let behind = self.rest;
        if let [b'\\', b'u', rest @ ..] = behind {
            self.rest = rest;
            let second = self.hexadecimal()?;
            if first < 0xdc00 && (0xdc00..=0xdfff).contains(&second) {
                let number = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            // What follows stands for itself.
            self.rest = behind;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hexadecimal(&mut self) -> Result<u32, Fault> {
        let mut number = 0;
        for _ in 0..4 {
            let digit = self.need()?;
            let Some(value) = char::from(digit).to_digit(16) else {
                return Err(fault(digit, "in \\u hexadecimal character escape"));
            };
            number = number * 16 + value;
        }
        Ok(number)
    }

    /// The number whose first byte was read.
    fn number(&mut self, first: u8) -> Result<Node, Fault> {
        let begin = self.rest;
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
        let mut text = String::from(char::from(first));
        append(&mut text, &begin[..begin.len() - self.rest.len()]);
        Ok(Node::Number(Numeral::read(&text)))
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

/// The list or object that ends here.
fn close(open: &mut Vec<Open>) -> Node {
    match open.pop() {
        Some(Open::List(items)) => Node::List(items),
        Some(Open::Object { members, .. }) => Node::Map(members),
        None => Node::Null,
    }
}

/// Appends characters; each byte that is part of none is replaced.
fn append(text: &mut String, characters: &[u8]) {
    for chunk in characters.utf8_chunks() {
        text.push_str(chunk.valid());
        for _ in chunk.invalid() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
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
    fn numbers_keep_their_spelling() {
        let check = |text: &str, spelled: &str| {
            let Ok(Node::Number(numeral)) = read(text.as_bytes()) else {
                panic!("{text} is a number")
            };
            assert_eq!(numeral.text(), spelled);
        };
        for text in [
            "1e3",
            "-0",
            "5e18",
            "650E+17",
            "9223372036854775807.123",
            "99999999999999999999",
            "8.0",
            "1e400",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn what_is_no_character_is_read_as_a_replacement() {
        let check = |text: &[u8], expected: &str| {
            let read = read(text).map(Node::into_value);
            assert_eq!(read, Ok(expected.into()), "{}", String::from_utf8_lossy(text));
        };
        check(br#""\u00e9\n\/""#, "\u{e9}\n/");
        check(br#""\ud83d\ude00""#, "\u{1f600}");
        check(br#""\ud83dx""#, "\u{fffd}x");
        check(br#""\ud83d\u0041""#, "\u{fffd}A");
        check(br#""\ude00\ud83d\ude00""#, "\u{fffd}\u{1f600}");
        check(b"\"a\xff\xfeb\"", "a\u{fffd}\u{fffd}b");
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = "[".repeat(DEPTH_MAX + 1);
        assert_eq!(
            json_complaint(deep.as_bytes()).as_deref(),
            Some("invalid character '[' exceeded max depth")
        );
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
