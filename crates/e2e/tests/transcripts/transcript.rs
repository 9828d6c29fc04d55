//! A transcript: commands, and what they print.
//!
//! Knows the form of the files in `data/transcripts` (their README describes it) and which text counts for which kubectl;
//! runs nothing.

use std::fmt::Write as _;

/// A version of kubectl: major and minor.
pub(crate) type Version = (u32, u32);

/// How a command is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `$`: once.
    Once,
    /// `?`: again and again until it prints what is expected.
    Eventually,
    /// `& NAME LINES`: beside the following ones; they begin when it has printed so many lines.
    Begin { name: String, lines: usize },
    /// `^ NAME LINES`: ends one that was begun, after it has printed so many lines in all.
    End { name: String, lines: usize },
}

/// A command and what it prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// How it is run.
    pub(crate) mode: Mode,
    /// The command, for a shell.
    pub(crate) command: String,
    /// What it prints, by the version from which on it prints that; in ascending order. The first counts for older ones too.
    pub(crate) printed: Vec<(Option<Version>, String)>,
}

impl Step {
    /// What it prints when the kubectl is of that version.
    pub(crate) fn expected(&self, version: Version) -> &str {
        let from = |since: Option<Version>| since.is_none_or(|since| since <= version);
        let known = self.printed.iter().rev().find(|(since, _)| from(*since));
        known.or(self.printed.first()).map_or("", |(_, text)| text)
    }

    /// Replaces what it prints by what several versions printed; equal texts of neighbours become one.
    pub(crate) fn record(&mut self, mut found: Vec<(Version, String)>) {
        found.sort();
        self.printed.clear();
        for (version, text) in found {
            if self.printed.last().is_none_or(|(_, last)| *last != text) {
                self.printed.push((Some(version), text));
            }
        }
        if let [(since, _)] = self.printed.as_mut_slice() {
            *since = None;
        }
    }
}

/// A part of a file: words for the reader, or a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A line that begins with `#`.
    Comment(String),
    /// A command and what it prints.
    Step(Step),
}

/// Reads a file.
///
/// Panics when it is malformed: it is a part of the test.
pub(crate) fn parse(text: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for line in text.lines() {
        if line.starts_with('#') {
            parts.push(Part::Comment(line.to_owned()));
        } else if let Some((mode, command)) = mode_of(line) {
            let step = Step {
                mode,
                command: command.to_owned(),
                printed: Vec::new(),
            };
            parts.push(Part::Step(step));
        } else if let Some(Part::Step(step)) = parts.last_mut() {
            output_line(step, line);
        } else {
            assert!(line.is_empty(), "{line:?} belongs to no command");
        }
    }
    for part in &mut parts {
        if let Part::Step(step) = part {
            for (_, text) in &mut step.printed {
                *text = text.trim_end().to_owned();
            }
        }
    }
    parts
}

fn output_line(step: &mut Step, line: &str) {
    if let Some(version) = line.strip_prefix("@ ") {
        step.printed.push((Some(parse_version(version)), String::new()));
        return;
    }
    if step.printed.is_empty() {
        step.printed.push((None, String::new()));
    }
    if let Some((_, text)) = step.printed.last_mut() {
        text.push_str(line);
        text.push('\n');
    }
}

fn mode_of(line: &str) -> Option<(Mode, &str)> {
    let (sign, rest) = line.split_at_checked(2)?;
    match sign {
        "$ " => Some((Mode::Once, rest)),
        "? " => Some((Mode::Eventually, rest)),
        "& " | "^ " => {
            let mut words = rest.splitn(3, ' ');
            let name = words.next()?.to_owned();
            let lines = words.next()?.parse().ok()?;
            if sign == "& " {
                Some((Mode::Begin { name, lines }, words.next()?))
            } else {
                Some((Mode::End { name, lines }, ""))
            }
        }
        _ => None,
    }
}

/// Reads `1.36`.
pub(crate) fn parse_version(text: &str) -> Version {
    let number = |text: &str| text.trim_end_matches('+').parse().ok();
    let parts = text.trim().split_once('.');
    parts
        .and_then(|(major, minor)| Some((number(major)?, number(minor)?)))
        .unwrap_or_else(|| panic!("{text:?} is no version"))
}

/// Writes a file.
pub(crate) fn render(parts: &[Part]) -> String {
    let mut text = String::new();
    for (at, part) in parts.iter().enumerate() {
        let step = match part {
            Part::Comment(comment) => {
                if at > 0 && !matches!(parts[at - 1], Part::Comment(_)) {
                    text.push('\n');
                }
                let _ = writeln!(text, "{comment}");
                continue;
            }
            Part::Step(step) => step,
        };
        text.push('\n');
        let _ = match &step.mode {
            Mode::Once => writeln!(text, "$ {}", step.command),
            Mode::Eventually => writeln!(text, "? {}", step.command),
            Mode::Begin { name, lines } => writeln!(text, "& {name} {lines} {}", step.command),
            Mode::End { name, lines } => writeln!(text, "^ {name} {lines}"),
        };
        for (since, printed) in &step.printed {
            if let Some((major, minor)) = since {
                let _ = writeln!(text, "@ {major}.{minor}");
            }
            if !printed.is_empty() {
                let _ = writeln!(text, "{printed}");
            }
        }
    }
    text
}

#[test]
fn a_file_is_read_and_written_as_it_is() {
    let text = "# One.\n\n$ a | b\nx\n\ny\n\n? c\n@ 1.20\nold\n@ 1.36\nnew\n\n# Two.\n\n& w 1 d\n\n^ w 3\nz\n";
    let parts = parse(text);
    assert_eq!(parts.len(), 6);
    assert_eq!(render(&parts), text);
}

#[test]
fn the_text_of_the_newest_version_that_is_not_newer_counts() {
    let mut step = Step {
        mode: Mode::Once,
        command: String::new(),
        printed: Vec::new(),
    };
    let texts = [((1, 36), "b"), ((1, 20), "a"), ((1, 33), "a")];
    step.record(texts.map(|(version, text)| (version, text.to_owned())).to_vec());
    assert_eq!(step.printed.len(), 2);
    assert_eq!(step.expected((1, 35)), "a");
    assert_eq!(step.expected((1, 40)), "b");
    assert_eq!(step.expected((1, 9)), "a");
    step.record(vec![((1, 20), "c".to_owned())]);
    assert_eq!(step.printed, [(None, "c".to_owned())]);
}
