//! The CRI log format: `<RFC 3339 time> <stdout|stderr> <F|P> <content>`, one entry per line.
//!
//! `F` ends a line of the container's output, `P` is a part of one that goes on in the next entry.

use rota_api::Timestamp;

use super::{LogOptions, Output};

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry<'a> {
    time: &'a str,
    stream: &'a str,
    is_full: bool,
    content: &'a [u8],
}

fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let mut word = || parts.next().and_then(|part| std::str::from_utf8(part).ok());
    let (time, stream, tag) = (word()?, word()?, word()?);
    Some(Entry {
        time,
        stream,
        is_full: tag.split(':').next() != Some("P"),
        content: parts.next().unwrap_or_default(),
    })
}

/// Appends to `out` what of an entry, given without its line end, is asked for. The time stands where a line begins, which
/// `begins_line` says and is told.
pub(crate) fn show(line: &[u8], options: &LogOptions, begins_line: &mut bool, out: &mut Vec<u8>) {
    let Some(entry) = parse(line) else { return };
    let is_wanted = match options.output {
        Output::All => true,
        Output::Stdout => entry.stream == "stdout",
        Output::Stderr => entry.stream == "stderr",
    };
    let is_late_enough = options
        .since
        .is_none_or(|since| entry.time.parse::<Timestamp>().is_ok_and(|time| time >= since));
    if !is_wanted || !is_late_enough {
        return;
    }
    if options.timestamps && *begins_line {
        out.extend_from_slice(entry.time.as_bytes());
        out.push(b' ');
    }
    out.extend_from_slice(entry.content);
    if entry.is_full {
        out.push(b'\n');
    }
    *begins_line = entry.is_full;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, options: &LogOptions, expected: &str) {
        let mut out = Vec::new();
        show(line.as_bytes(), options, &mut true, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{line} {options:?}");
    }

    #[test]
    fn an_entry_is_shown_as_it_is_asked_for() {
        let line = "2026-01-01T00:00:10.5Z stdout F hello  world";
        let plain = LogOptions::default();
        check(line, &plain, "hello  world\n");
        check("2026-01-01T00:00:10.5Z stdout P part", &plain, "part");
        check("2026-01-01T00:00:10.5Z stdout F ", &plain, "\n");
        check("nonsense", &plain, "");
        let timed = LogOptions {
            timestamps: true,
            ..LogOptions::default()
        };
        check(line, &timed, "2026-01-01T00:00:10.5Z hello  world\n");
        let errors = LogOptions {
            output: Output::Stderr,
            ..LogOptions::default()
        };
        check(line, &errors, "");
    }

    #[test]
    fn entries_before_the_time_asked_for_are_left_out() {
        let since = |text: &str| LogOptions {
            since: text.parse().ok(),
            ..LogOptions::default()
        };
        let line = "2026-01-01T00:00:10.5Z stdout F x";
        check(line, &since("2026-01-01T00:00:10Z"), "x\n");
        check(line, &since("2026-01-01T00:00:11Z"), "");
    }
}
