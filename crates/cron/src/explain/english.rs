//! Schedules in English.

use jiff::civil::DateTime;

use super::reading::{Body, Days, Reading, Shape, Times, clock};

const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The whole sentence.
pub(super) fn sentence(reading: &Reading) -> String {
    match &reading.body {
        Body::Never => "Never.".to_owned(),
        Body::Interval(secs) => format!("Every {}, counted from the run before.", span(*secs)),
        Body::Calendar { times, days, months } => {
            let mut sentence = self::times(times);
            if let (Days::Dates(dates), true) = (days, *months != Shape::All) {
                let dates = self::dates(dates, months);
                return format!("{sentence} on {dates} ({}).", reading.zone);
            }
            match self::days(days) {
                Some(days) => sentence.push_str(&days),
                None if matches!(times, Times::At(_)) => sentence.push_str(" every day"),
                None => {}
            }
            if *months != Shape::All {
                sentence.push_str(" in ");
                sentence.push_str(&named(months, month));
            }
            format!("{sentence} ({}).", reading.zone)
        }
    }
}

fn times(times: &Times) -> String {
    match times {
        Times::Minutes(1) => "Every minute".to_owned(),
        Times::Minutes(by) => format!("Every {by} minutes"),
        Times::Within { by, from, to } => {
            let every = if *by == 1 {
                "minute".to_owned()
            } else {
                format!("{by} minutes")
            };
            format!("Every {every} from {} to {}", clock(*from), clock(*to))
        }
        Times::Hourly(Shape::List(minutes)) if minutes[..] == [0] => "Every hour, on the hour".to_owned(),
        Times::Hourly(minutes) => format!("Every hour at {}", counted("minute", minutes)),
        Times::Hours { by, from } => format!("Every {by} hours, from {} on", clock(*from)),
        Times::At(minutes) => format!("At {}", join(minutes.iter().map(|minute| clock(*minute)))),
        Times::Sets { minutes, hours } => {
            format!("At {} of {}", counted("minute", minutes), counted("hour", hours))
        }
    }
}

/// Dates of certain months: `1 January`, `days 1 and 15 of January and July`.
fn dates(dates: &Shape, months: &Shape) -> String {
    match (dates, months) {
        (Shape::List(days), Shape::List(one)) if one.len() == 1 => {
            format!("{} {}", join(days.iter().map(i64::to_string)), month(one[0]))
        }
        _ => format!("{} of {}", counted("day", dates), named(months, month)),
    }
}

/// `None`: every day.
fn days(days: &Days) -> Option<String> {
    let dates = |dates: &Shape| format!("{} of the month", counted("day", dates));
    match days {
        Days::Every => None,
        Days::Weekdays(set) => Some(format!(" on {}", weekdays(set))),
        Days::Dates(set) => Some(format!(" on {}", dates(set))),
        Days::Either {
            dates: set,
            weekdays: other,
        } => Some(format!(" on {}, and also on {}", dates(set), weekdays(other))),
    }
}

fn weekdays(set: &Shape) -> String {
    match set {
        Shape::Range { from: 1, to: 5 } => "weekdays (Monday to Friday)".to_owned(),
        Shape::List(days) if days[..] == [0, 6] => "weekends (Saturday and Sunday)".to_owned(),
        Shape::List(days) => join(days.iter().map(|day| format!("{}s", weekday(*day)))),
        _ => named(set, weekday),
    }
}

/// `minute 5`, `minutes 5 and 10`, `minutes 5 to 9`, `every 2nd minute from 1 to 59`.
fn counted(what: &str, set: &Shape) -> String {
    match set {
        Shape::All => format!("every {what}"),
        Shape::List(values) if values.len() == 1 => format!("{what} {}", values[0]),
        Shape::List(values) => format!("{what}s {}", join(values.iter().map(i64::to_string))),
        Shape::Range { from, to } => format!("{what}s {from} to {to}"),
        Shape::Step { from, to, by } => format!("every {} {what} from {from} to {to}", ordinal(*by)),
    }
}

fn named(set: &Shape, name: fn(i64) -> &'static str) -> String {
    match set {
        Shape::All => "all".to_owned(),
        Shape::List(values) => join(values.iter().map(|value| name(*value).to_owned())),
        Shape::Range { from, to } => format!("{} to {}", name(*from), name(*to)),
        Shape::Step { from, to, by } => join(
            (*from..=*to)
                .step_by(usize::try_from(*by).unwrap_or(1))
                .map(|value| name(value).to_owned()),
        ),
    }
}

fn weekday(number: i64) -> &'static str {
    usize::try_from(number)
        .ok()
        .and_then(|at| WEEKDAYS.get(at))
        .unwrap_or(&"")
}

/// 1 is January.
pub(super) fn month(number: i64) -> &'static str {
    usize::try_from(number - 1)
        .ok()
        .and_then(|at| MONTHS.get(at))
        .unwrap_or(&"")
}

fn ordinal(number: i64) -> String {
    let end = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{end}")
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn join(words: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = words.collect();
    match &words[..] {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A span of whole seconds.
pub(super) fn span(secs: i64) -> String {
    let part = |count: i64, unit: &str| match count {
        0 => None,
        1 => Some(format!("1 {unit}")),
        _ => Some(format!("{count} {unit}s")),
    };
    let parts = [
        part(secs / 86_400, "day"),
        part(secs / 3600 % 24, "hour"),
        part(secs / 60 % 60, "minute"),
        part(secs % 60, "second"),
    ];
    join(parts.into_iter().flatten())
}

/// A local time of a certain day.
pub(super) fn moment(local: DateTime) -> String {
    local.strftime("%H:%M on %Y-%m-%d").to_string()
}
