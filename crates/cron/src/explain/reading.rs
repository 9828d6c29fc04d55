//! The form that a schedule has: what the words of every language are made of.

use crate::field::{Fields, STAR};
use crate::schedule::{Kind, Schedule};

/// So many times of day are listed one by one.
const TIMES_LISTED_MAX: usize = 8;

/// What a schedule says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) body: Body,
    pub(super) zone: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// At no time.
    Never,
    /// Every so many seconds.
    Interval(i64),
    /// At these times of these days.
    Calendar { times: Times, days: Days, months: Shape },
}

/// Times of day.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Times {
    /// Every so many minutes, all day.
    Minutes(i64),
    /// Every so many minutes between two times of day, both included.
    Within { by: i64, from: i64, to: i64 },
    /// At these minutes of every hour.
    Hourly(Shape),
    /// Every so many hours, from this minute of the day.
    Hours { by: i64, from: i64 },
    /// At these minutes of the day.
    At(Vec<i64>),
    /// At these minutes of these hours.
    Sets { minutes: Shape, hours: Shape },
}

/// Days of the month, of the week, or either.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Days {
    Every,
    Dates(Shape),
    Weekdays(Shape),
    Either { dates: Shape, weekdays: Shape },
}

/// A set of numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    All,
    List(Vec<i64>),
    Range { from: i64, to: i64 },
    Step { from: i64, to: i64, by: i64 },
}

impl Reading {
    pub(super) fn of(schedule: &Schedule) -> Self {
        let body = match &schedule.kind {
            Kind::Every { secs } => Body::Interval(*secs),
            Kind::Fields(fields) if fields.is_never => Body::Never,
            Kind::Fields(fields) => Body::Calendar {
                times: times(fields),
                days: days(fields),
                months: Shape::of(fields.month, 1, 12),
            },
        };
        Self {
            body,
            zone: schedule.zone().name().to_owned(),
        }
    }
}

impl Shape {
    /// The set of a field that goes from `min` to `max`.
    pub(super) fn of(bits: u64, min: i64, max: i64) -> Self {
        let values: Vec<i64> = (min..=max).filter(|value| bits & (1 << value) != 0).collect();
        let [first, second, .., last] = values[..] else {
            return Self::List(values);
        };
        if values.len() as i64 == max - min + 1 {
            return Self::All;
        }
        let by = second - first;
        let is_even = values.windows(2).all(|pair| pair[1] - pair[0] == by);
        match (is_even && values.len() > 2, by) {
            (false, _) => Self::List(values),
            (true, 1) => Self::Range { from: first, to: last },
            (true, _) => Self::Step {
                from: first,
                to: last,
                by,
            },
        }
    }
}

fn times(fields: &Fields) -> Times {
    let minutes = Shape::of(fields.minute, 0, 59);
    let hours = Shape::of(fields.hour, 0, 23);
    // Steps that fill the hour evenly run on from one hour into the next.
    let every = match minutes {
        Shape::All => Some((1, 0, 59)),
        Shape::Step { from, to, by } if 60 % by == 0 && to + by - from == 60 => Some((by, from, to)),
        _ => None,
    };
    match (every, &hours) {
        (Some((by, 0, _)), Shape::All) => return Times::Minutes(by),
        (Some((by, first, last)), Shape::Range { from, to }) => {
            return Times::Within {
                by,
                from: from * 60 + first,
                to: to * 60 + last,
            };
        }
        (Some((by, first, last)), Shape::List(hours)) if hours.len() == 1 => {
            return Times::Within {
                by,
                from: hours[0] * 60 + first,
                to: hours[0] * 60 + last,
            };
        }
        _ => {}
    }
    if let (Shape::List(minutes), Shape::Step { from, to, by }) = (&minutes, &hours)
        && minutes.len() == 1
        && 24 % by == 0
        && to + by - from == 24
        && 24 / by > 2
    {
        return Times::Hours {
            by: *by,
            from: from * 60 + minutes[0],
        };
    }
    if hours == Shape::All {
        return Times::Hourly(minutes);
    }
    let of_day = |hour: i64| {
        (0..60)
            .filter(move |minute| fields.minute & (1 << minute) != 0)
            .map(move |minute| hour * 60 + minute)
    };
    let listed: Vec<i64> = (0..24)
        .filter(|hour| fields.hour & (1 << hour) != 0)
        .flat_map(of_day)
        .collect();
    if listed.len() <= TIMES_LISTED_MAX {
        Times::At(listed)
    } else {
        Times::Sets { minutes, hours }
    }
}

fn days(fields: &Fields) -> Days {
    let dates = Shape::of(fields.day & !STAR, 1, 31);
    let weekdays = Shape::of(fields.weekday & !STAR, 0, 6);
    if (fields.day | fields.weekday) & STAR == 0 {
        // Either is enough: one that holds every day decides, and an empty one does nothing.
        return match (dates, weekdays) {
            (Shape::All, _) | (_, Shape::All) => Days::Every,
            (Shape::List(none), weekdays) if none.is_empty() => Days::Weekdays(weekdays),
            (dates, Shape::List(none)) if none.is_empty() => Days::Dates(dates),
            (dates, weekdays) => Days::Either { dates, weekdays },
        };
    }
    match (dates, weekdays) {
        (Shape::All, Shape::All) => Days::Every,
        (Shape::All, weekdays) => Days::Weekdays(weekdays),
        (dates, _) => Days::Dates(dates),
    }
}

/// A minute of the day as a clock shows it.
pub(super) fn clock(minute: i64) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}
