//! Local minutes that match the fields: the next one, the one before, how many lie between.
//!
//! Local time runs evenly here; where it does not is not known (see [`crate::correct`]). Days are found month by month and
//! minutes by bit operations, so that no search costs more than the months that it passes.
//!
//! Source: `spec/cronjob.md` §2.6, §2.13.

use crate::civil::{DAY_SECS, date_of, days_of, month_days, weekday_of};
use crate::field::{Fields, STAR};

/// True when no local minute can ever match.
pub(crate) fn is_never(fields: &Fields) -> bool {
    let no_minute = (fields.minute & !STAR) == 0 || (fields.hour & !STAR) == 0;
    // 2000 is a leap year that begins on a Saturday; over four years every date meets every weekday that OR could need.
    no_minute || !(2000..2004).any(|year| (1..=12).any(|month| days_in(fields, year, month) != 0))
}

/// The matching days of a month, bit n for day n.
pub(crate) fn days_in(fields: &Fields, year: i64, month: i64) -> u64 {
    if fields.month & (1 << month) == 0 {
        return 0;
    }
    let all = (1_u64 << (month_days(year, month) + 1)) - 2;
    let first = weekday_of(days_of(year, month, 1));
    // The weekday set, once a week: bit n for the day n weekdays after the first.
    let week = fields.weekday & 0x7f;
    let turned = ((week >> first) | (week << (7 - first))) & 0x7f;
    let by_weekday = (0..5).fold(0, |days, week| days | (turned << (7 * week))) << 1;
    let by_day = fields.day & !STAR;
    let days = if (fields.day | fields.weekday) & STAR != 0 {
        by_day & by_weekday
    } else {
        by_day | by_weekday
    };
    days & all
}

/// The first matching local minute not before `from` and before `limit`.
pub(crate) fn next_local(fields: &Fields, from: i64, limit: i64) -> Option<i64> {
    let from = from + (-from).rem_euclid(60);
    if from >= limit {
        return None;
    }
    let first_day = from.div_euclid(DAY_SECS);
    if let Some(minute) = minute_from(fields, from.rem_euclid(DAY_SECS) / 60)
        && matches_day(fields, first_day)
    {
        return Some(first_day * DAY_SECS + minute * 60).filter(|at| *at < limit);
    }
    let minute = minute_from(fields, 0)?;
    let last_day = (limit - 1).div_euclid(DAY_SECS);
    let day = next_day(fields, first_day + 1, last_day)?;
    Some(day * DAY_SECS + minute * 60).filter(|at| *at < limit)
}

/// The last matching local minute not before `start` and before `until`.
pub(crate) fn previous_local(fields: &Fields, start: i64, until: i64) -> Option<i64> {
    let last = until - 1 - (until - 1).rem_euclid(60);
    if last < start {
        return None;
    }
    let last_day = last.div_euclid(DAY_SECS);
    if let Some(minute) = minute_until(fields, last.rem_euclid(DAY_SECS) / 60)
        && matches_day(fields, last_day)
    {
        return Some(last_day * DAY_SECS + minute * 60).filter(|at| *at >= start);
    }
    let minute = minute_until(fields, 24 * 60 - 1)?;
    let day = previous_day(fields, last_day - 1, start.div_euclid(DAY_SECS))?;
    Some(day * DAY_SECS + minute * 60).filter(|at| *at >= start)
}

/// How many matching local minutes lie not before `from` and before `limit`.
pub(crate) fn count_local(fields: &Fields, from: i64, limit: i64) -> u64 {
    let from = from + (-from).rem_euclid(60);
    if from >= limit {
        return 0;
    }
    let last = limit - 1;
    let (first_day, last_day) = (from.div_euclid(DAY_SECS), last.div_euclid(DAY_SECS));
    let (first_minute, last_minute) = (from.rem_euclid(DAY_SECS) / 60, last.rem_euclid(DAY_SECS) / 60);
    let before = |minute: i64| minutes_before(fields, minute);
    let whole = before(24 * 60);
    if first_day == last_day {
        return if matches_day(fields, first_day) {
            before(last_minute + 1) - before(first_minute)
        } else {
            0
        };
    }
    let mut total = 0;
    if matches_day(fields, first_day) {
        total += whole - before(first_minute);
    }
    if matches_day(fields, last_day) {
        total += before(last_minute + 1);
    }
    total + whole * count_days(fields, first_day + 1, last_day - 1)
}

/// True for a day (counted from 1970-01-01) that the day rule takes.
fn matches_day(fields: &Fields, day: i64) -> bool {
    let (year, month, day_of_month) = date_of(day);
    days_in(fields, year, month) & (1 << day_of_month) != 0
}

/// The first matching day not before `from` and not after `last`.
fn next_day(fields: &Fields, from: i64, last: i64) -> Option<i64> {
    let (mut year, mut month, day) = date_of(from);
    let mut days = days_in(fields, year, month) & (u64::MAX << day);
    loop {
        if days != 0 {
            let found = days_of(year, month, i64::from(days.trailing_zeros()));
            return (found <= last).then_some(found);
        }
        (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
        if days_of(year, month, 1) > last {
            return None;
        }
        days = days_in(fields, year, month);
    }
}

/// The last matching day not after `from` and not before `first`.
fn previous_day(fields: &Fields, from: i64, first: i64) -> Option<i64> {
    let (mut year, mut month, day) = date_of(from);
    let mut days = days_in(fields, year, month) & ((2 << day) - 1);
    loop {
        if days != 0 {
            let found = days_of(year, month, i64::from(days.ilog2()));
            return (found >= first).then_some(found);
        }
        if days_of(year, month, 1) <= first {
            return None;
        }
        (year, month) = if month == 1 { (year - 1, 12) } else { (year, month - 1) };
        days = days_in(fields, year, month);
    }
}

/// How many matching days lie from `first` to `last`, both included.
fn count_days(fields: &Fields, first: i64, last: i64) -> u64 {
    if first > last {
        return 0;
    }
    let (mut year, mut month, day) = date_of(first);
    let (last_year, last_month, last_day) = date_of(last);
    let mut days = days_in(fields, year, month) & (u64::MAX << day);
    let mut total = 0;
    while (year, month) != (last_year, last_month) {
        total += u64::from(days.count_ones());
        (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
        days = days_in(fields, year, month);
    }
    total + u64::from((days & ((2 << last_day) - 1)).count_ones())
}

/// The first matching minute of a day, not before `from`.
fn minute_from(fields: &Fields, from: i64) -> Option<i64> {
    let (hours, minutes) = (fields.hour & !STAR, fields.minute & !STAR);
    let (hour, minute) = (from / 60, from % 60);
    let rest = minutes & (u64::MAX << minute);
    if hours & (1 << hour) != 0 && rest != 0 {
        return Some(hour * 60 + i64::from(rest.trailing_zeros()));
    }
    let later = hours & (u64::MAX << (hour + 1));
    (later != 0 && minutes != 0).then(|| i64::from(later.trailing_zeros()) * 60 + i64::from(minutes.trailing_zeros()))
}

/// The last matching minute of a day, not after `until`.
fn minute_until(fields: &Fields, until: i64) -> Option<i64> {
    let (hours, minutes) = (fields.hour & !STAR, fields.minute & !STAR);
    let (hour, minute) = (until / 60, until % 60);
    let rest = minutes & ((2 << minute) - 1);
    if hours & (1 << hour) != 0 && rest != 0 {
        return Some(hour * 60 + i64::from(rest.ilog2()));
    }
    let earlier = hours & ((1 << hour) - 1);
    (earlier != 0 && minutes != 0).then(|| i64::from(earlier.ilog2()) * 60 + i64::from(minutes.ilog2()))
}

/// How many minutes of a matching day match and lie before `minute` (0–1440).
fn minutes_before(fields: &Fields, minute: i64) -> u64 {
    let (hours, minutes) = (fields.hour & !STAR, fields.minute & !STAR);
    let (hour, rest) = (minute / 60, minute % 60);
    let whole = u64::from((hours & ((1 << hour) - 1)).count_ones()) * u64::from(minutes.count_ones());
    let part = if hours & (1 << hour) != 0 {
        u64::from((minutes & ((1 << rest) - 1)).count_ones())
    } else {
        0
    };
    whole + part
}
