//! Labels in expected texts: `<uid:1>`, `<rv:2>`, `<time>`, and what they stand for.

use std::collections::BTreeMap;

/// What labels stand for in one case.
#[derive(Clone, Debug, Default)]
pub struct Bindings {
    values: BTreeMap<String, String>,
}

/// Kinds of labels of which different ones stand for different values.
const DISTINCT: [&str; 6] = ["uid", "rv", "rand", "ip", "port", "jwt"];

/// A piece of an expected text.
enum Piece<'a> {
    Text(&'a str),
    Label { kind: &'a str, whole: &'a str },
}

impl Bindings {
    /// Bindings in which `<ns>` is known.
    pub fn new(namespace: &str) -> Self {
        Self {
            values: [("<ns>".to_owned(), namespace.to_owned())].into(),
        }
    }

    /// The text with all known labels replaced.
    pub fn fill(&self, text: &str) -> String {
        if !text.contains('<') {
            return text.to_owned();
        }
        pieces(text)
            .into_iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.to_owned(),
                Piece::Label { kind: "fill", whole } => {
                    let count = whole
                        .trim_matches(['<', '>'])
                        .split(':')
                        .nth(1)
                        .and_then(|n| n.parse().ok());
                    "a".repeat(count.unwrap_or_default())
                }
                Piece::Label { whole, .. } => self.values.get(whole).cloned().unwrap_or_else(|| whole.to_owned()),
            })
            .collect()
    }

    /// True when `actual` is what `expected` describes; binds labels that were unknown.
    pub fn matches(&mut self, expected: &str, actual: &str) -> bool {
        let pieces = pieces(expected);
        let mut trial = self.values.clone();
        if walk(&pieces, actual, &mut trial) {
            self.values = trial;
            return true;
        }
        false
    }
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let Some(length) = rest[start..].find('>') else { break };
        let whole = &rest[start..=start + length];
        let kind = whole.trim_matches(['<', '>']).split(':').next().unwrap_or_default();
        if !is_kind(kind) {
            pieces.push(Piece::Text(&rest[..=start]));
            rest = &rest[start + 1..];
            continue;
        }
        if start > 0 {
            pieces.push(Piece::Text(&rest[..start]));
        }
        pieces.push(Piece::Label { kind, whole });
        rest = &rest[start + length + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    pieces
}

fn is_kind(kind: &str) -> bool {
    const OTHERS: [&str; 14] = [
        "ns", "lrv", "brv", "continue", "time", "age", "n", "hash", "unix", "any", "go-value", "fill", "string",
        "number",
    ];
    DISTINCT.contains(&kind) || OTHERS.contains(&kind)
}

fn walk(pieces: &[Piece<'_>], actual: &str, bound: &mut BTreeMap<String, String>) -> bool {
    let Some((first, rest)) = pieces.split_first() else {
        return actual.is_empty();
    };
    match first {
        Piece::Text(text) => actual.strip_prefix(text).is_some_and(|left| walk(rest, left, bound)),
        Piece::Label { whole, .. } if bound.contains_key(*whole) => {
            let value = bound[*whole].clone();
            actual
                .strip_prefix(value.as_str())
                .is_some_and(|left| walk(rest, left, bound))
        }
        Piece::Label { kind, whole } => {
            let longest = actual
                .char_indices()
                .take_while(|(_, c)| fits(kind, *c))
                .map(|(at, c)| at + c.len_utf8());
            let mut ends: Vec<usize> = longest.collect();
            if matches!(*kind, "go-value" | "any") {
                ends.insert(0, 0);
            }
            ends.into_iter().rev().any(|end| {
                let value = &actual[..end];
                if !is_value(kind, value) || !is_free(kind, whole, value, bound) {
                    return false;
                }
                let mut trial = bound.clone();
                if whole.contains(':') && *kind != "brv" {
                    trial.insert((*whole).to_owned(), value.to_owned());
                }
                let matched = walk(rest, &actual[end..], &mut trial);
                if matched {
                    *bound = trial;
                }
                matched
            })
        }
    }
}

/// Different labels of some kinds stand for different values.
fn is_free(kind: &str, whole: &str, value: &str, bound: &BTreeMap<String, String>) -> bool {
    if !DISTINCT.contains(&kind) || !whole.contains(':') {
        return true;
    }
    let prefix = format!("<{kind}:");
    !bound
        .iter()
        .any(|(label, other)| label.starts_with(&prefix) && other == value)
}

fn fits(kind: &str, c: char) -> bool {
    match kind {
        "uid" => c.is_ascii_hexdigit() || c == '-',
        "rv" | "lrv" | "brv" | "port" | "n" | "unix" => c.is_ascii_digit(),
        "rand" => c.is_ascii_lowercase() || c.is_ascii_digit(),
        "ip" => c.is_ascii_hexdigit() || matches!(c, '.' | ':'),
        "time" => c.is_ascii_digit() || matches!(c, '-' | ':' | '.' | 'T' | 'Z'),
        "age" => c.is_ascii_alphanumeric() || matches!(c, '<' | '>'),
        "continue" | "hash" => c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '=' | '+' | '/'),
        "jwt" => c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'),
        _ => true,
    }
}

fn is_value(kind: &str, value: &str) -> bool {
    match kind {
        "uid" => value.len() == 36,
        "rand" => value.len() == 5,
        "time" => value.len() >= "2026-01-01T00:00:00Z".len(),
        "any" | "go-value" => true,
        _ => !value.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_bind_at_first_and_must_then_be_equal() {
        let mut bindings = Bindings::new("t1");
        let (one, two) = (
            "11111111-1111-1111-1111-111111111111",
            "22222222-2222-2222-2222-222222222222",
        );
        assert!(bindings.matches("<ns>/x-<uid:1>", &format!("t1/x-{one}")));
        assert!(bindings.matches("<uid:1>", one));
        assert!(!bindings.matches("<uid:1>", two));
        assert!(
            !bindings.matches("<uid:2>", one),
            "different labels are different values"
        );
        assert!(bindings.matches("<uid:2>", two));
        assert_eq!(bindings.fill("/a/<uid:2>/<fill:3>"), format!("/a/{two}/aaa"));
    }

    #[test]
    fn texts_in_angle_brackets_that_are_no_labels_stay_texts() {
        let mut bindings = Bindings::default();
        assert!(bindings.matches("<nil>: <none> <n>", "<nil>: <none> 5"));
        assert!(!bindings.matches("<nil>", "x"));
    }

    #[test]
    fn a_go_value_is_any_text() {
        let mut bindings = Bindings::default();
        assert!(bindings.matches("Invalid value: <go-value>: bad", "Invalid value: {\"a\":1}: x: bad"));
    }
}
