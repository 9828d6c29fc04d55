//! How a string is written in YAML: plain, in single or double quotes, or as a literal block.
//!
//! Plain where it is read back as a string and has no indicators; in single quotes where only the indicators are in the way;
//! a block where it has lines; in double quotes otherwise. Long ones are folded at spaces behind the eightieth column.
//!
//! Source: `go.yaml.in/yaml/v2` `encode.go`, `emitterc.go`.

use super::scalar::reads_as_text;

/// Where folding begins.
const WIDTH: usize = 80;

/// Writes a value. Continued lines stand at `indent`.
pub(super) fn text(out: &mut String, text: &str, indent: usize) {
    let seen = Analysis::of(text);
    let mut fold = Folding {
        column: out[out.rfind('\n').map_or(0, |end| end + 1)..].chars().count(),
        out,
        indent: Some(indent),
    };
    if text.contains('\n') {
        match seen.block_allowed() {
            true => block(fold.out, text, indent),
            false => fold.double_quoted(text),
        }
    } else {
        fold.one_line(text, &seen);
    }
}

/// Writes the name of a member.
pub(super) fn key(out: &mut String, text: &str) {
    let mut fold = Folding {
        column: 0,
        out,
        indent: None,
    };
    fold.one_line(text, &Analysis::of(text));
}

/// What stands in the way of the styles.
#[derive(Default)]
struct Analysis {
    indicators: bool,
    special: bool,
    leading_space: bool,
    trailing_space: bool,
    break_before_space: bool,
    space_before_break: bool,
    lines: bool,
}

impl Analysis {
    fn of(text: &str) -> Self {
        let mut seen = Self {
            indicators: text.starts_with("---") || text.starts_with("..."),
            leading_space: text.starts_with([' ', '\n']),
            trailing_space: text.ends_with(' '),
            ..Self::default()
        };
        let mut before = None;
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            let next = rest.clone().next();
            let ends = next.is_none_or(|c| is_blank(c) || is_break(c));
            seen.indicators |= match (before, c) {
                (None, c) if "#,[]{}&*!|>'\"%@`".contains(c) => true,
                (None, '?' | '-') | (_, ':') => ends,
                (Some(before), '#') => is_blank(before) || is_break(before),
                _ => false,
            };
            seen.special |= !is_printable(c);
            seen.lines |= is_break(c);
            seen.break_before_space |= c == ' ' && before.is_some_and(is_break);
            seen.space_before_break |= is_break(c) && before == Some(' ');
            before = Some(c);
        }
        seen
    }

    fn block_allowed(&self) -> bool {
        !self.trailing_space && !self.space_before_break && !self.special
    }

    fn plain_allowed(&self) -> bool {
        self.single_quotes_allowed() && !self.leading_space && !self.trailing_space && !self.lines && !self.indicators
    }

    fn single_quotes_allowed(&self) -> bool {
        !self.break_before_space && !self.space_before_break && !self.special
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..)
}

/// A text on its way out, and the column it has reached.
struct Folding<'a> {
    out: &'a mut String,
    column: usize,
    /// Where continued lines stand; `None`: it may not be continued.
    indent: Option<usize>,
}

impl Folding<'_> {
    fn one_line(&mut self, text: &str, seen: &Analysis) {
        if !reads_as_text(text) || !seen.single_quotes_allowed() {
            self.double_quoted(text);
        } else if seen.plain_allowed() {
            self.words(text, false);
        } else {
            self.put("'");
            self.words(text, true);
            self.put("'");
        }
    }

    /// The text with line ends in place of single spaces behind the last column.
    fn words(&mut self, text: &str, is_quoted: bool) {
        let mut before = None;
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            let next = rest.clone().next();
            let alone = c == ' ' && before != Some(' ') && next != Some(' ');
            let inside = !is_quoted || (before.is_some() && next.is_some());
            if !(alone && inside && self.fold()) {
                self.put_char(c);
                if is_quoted && c == '\'' {
                    self.put_char(c);
                }
            }
            before = Some(c);
        }
    }

    fn double_quoted(&mut self, text: &str) {
        self.put("\"");
        let mut before = None;
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            let next = rest.clone().next();
            if !is_printable(c) || is_break(c) || matches!(c, '"' | '\\' | '\u{feff}') {
                self.put(&escape(c));
            } else if c == ' ' && before.is_some_and(|c| c != ' ') && next.is_some() && self.fold() {
                if next == Some(' ') {
                    self.put("\\");
                }
            } else {
                self.put_char(c);
            }
            before = Some(c);
        }
        self.put("\"");
    }

    /// Begins a new line if the present one is full.
    fn fold(&mut self) -> bool {
        let Some(indent) = self.indent.filter(|_| self.column > WIDTH) else {
            return false;
        };
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n(' ', indent));
        self.column = indent;
        true
    }

    fn put(&mut self, text: &str) {
        text.chars().for_each(|c| self.put_char(c));
    }

    fn put_char(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }
}

fn escape(c: char) -> String {
    let short = match c {
        '\0' => "\\0",
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\t' => "\\t",
        '\n' => "\\n",
        '\u{b}' => "\\v",
        '\u{c}' => "\\f",
        '\r' => "\\r",
        '\u{1b}' => "\\e",
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{85}' => "\\N",
        '\u{a0}' => "\\_",
        '\u{2028}' => "\\L",
        '\u{2029}' => "\\P",
        c if u32::from(c) <= 0xff => return format!("\\x{:02X}", u32::from(c)),
        c if u32::from(c) <= 0xffff => return format!("\\u{:04X}", u32::from(c)),
        c => return format!("\\U{:08X}", u32::from(c)),
    };
    short.to_owned()
}

/// A literal block: its header says how the text begins and ends where the lines alone do not.
fn block(out: &mut String, text: &str, indent: usize) {
    const HINT: char = '2';
    let body = text.trim_end_matches('\n');
    out.push('|');
    if text.starts_with([' ', '\n']) {
        out.push(HINT);
    }
    let ends = text.len() - body.len();
    match ends {
        0 => out.push('-'),
        1 if !body.is_empty() => {}
        _ => out.push('+'),
    }
    let kept = match ends {
        0 | 1 => body,
        _ => &text[..text.len() - 1],
    };
    for line in kept.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            out.extend(std::iter::repeat_n(' ', indent));
            out.push_str(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn strings_are_quoted_only_as_far_as_they_must_be() {
        for (string, written) in [
            ("nginx:1.25", "nginx:1.25"),
            ("-c", "-c"),
            ("*/5 * * * *", "'*/5 * * * *'"),
            ("a: b", "'a: b'"),
            ("it's: so", "'it''s: so'"),
            ("x #y", "'x #y'"),
            (" a", "' a'"),
            ("yes", "\"yes\""),
            ("", "\"\""),
            ("0644", "\"0644\""),
            ("2020-01-01T00:00:00Z", "\"2020-01-01T00:00:00Z\""),
            ("2020-abc", "2020-abc"),
            ("12:30", "\"12:30\""),
            ("a\tb", "\"a\\tb\""),
            ("a\nb", "|-\n  a\n  b"),
            ("a\n", "|\n  a"),
            (" a\nb\n\n", "|2+\n   a\n  b\n"),
            ("a \nb", "\"a \\nb\""),
        ] {
            let mut out = String::new();
            text(&mut out, string, 2);
            assert_eq!(out, written, "{string:?}");
        }
    }
}
