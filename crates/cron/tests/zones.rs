//! The correct engine at every change of the clock, against a plain enumeration of minutes.
//!
//! By default the changes of four years and a sample of schedules are taken; `ROTA_FULL=1` takes every change from 2020 to
//! 2037 and all 200 schedules. Zones whose clocks change at the same instants by the same steps answer alike around them: one
//! of each such group is asked for all.
#![expect(
    clippy::print_stdout,
    reason = "the counts are what a reader of the test's output wants to see"
)]

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rota_cron::{ClockPolicy, Schedule, Zone};

/// So many schedules are asked around each change.
const SCHEDULES: usize = 200;
/// How far around a change minutes are enumerated.
const WINDOW: SignedDuration = SignedDuration::from_hours(30);

/// How much is tested.
#[derive(Clone, Copy)]
struct Extent {
    years: (i16, i16),
    /// Each so-manieth schedule.
    every: usize,
}

impl Extent {
    fn chosen() -> Self {
        if std::env::var_os("ROTA_FULL").is_some() {
            Self {
                years: (2020, 2037),
                every: 1,
            }
        } else {
            Self {
                years: (2024, 2027),
                every: 10,
            }
        }
    }
}

/// A change of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    at: Timestamp,
    before_secs: i32,
    after_secs: i32,
}

fn changes(zone: &TimeZone, (first, last): (i16, i16)) -> Vec<Change> {
    let year = |year: i16| {
        let new_year = DateTime::new(year, 1, 1, 0, 0, 0, 0).expect("a date");
        new_year.to_zoned(TimeZone::UTC).expect("a time").timestamp()
    };
    let seconds = |at: Timestamp| zone.to_offset(at).seconds();
    zone.following(year(first))
        .map(|transition| transition.timestamp())
        .take_while(|at| *at < year(last + 1))
        .map(|at| Change {
            at,
            before_secs: seconds(at - SignedDuration::from_secs(1)),
            after_secs: seconds(at),
        })
        .filter(|change| change.before_secs != change.after_secs)
        .collect()
}

/// A minute of the window, as clocks show it.
struct Minute {
    at: i64,
    local: DateTime,
    /// The same local time was there before.
    is_repeated: bool,
}

fn window(zone: &TimeZone, change: Change) -> Vec<Minute> {
    let from = change.at.as_second() - WINDOW.as_secs();
    let first = from - from.rem_euclid(60);
    let repeated = i64::from(change.before_secs - change.after_secs);
    (0..WINDOW.as_secs() / 30)
        .map(|minute| first + minute * 60)
        .map(|at| Minute {
            at,
            local: zone.to_datetime(Timestamp::from_second(at).expect("a time of our century")),
            is_repeated: at >= change.at.as_second() && at < change.at.as_second() + repeated,
        })
        .collect()
}

/// A schedule as sets, made without the parser under test.
struct Plain {
    text: String,
    minutes: Vec<i8>,
    hours: Vec<i8>,
    days: Vec<i8>,
    months: Vec<i8>,
    weekdays: Vec<i8>,
    /// Both day fields are given: either is enough.
    is_either: bool,
    has_wildcard: bool,
}

/// One field: its text and its set.
#[derive(Clone)]
struct Field(String, Vec<i8>);

fn any(min: i8, max: i8) -> Field {
    Field("*".to_owned(), (min..=max).collect())
}

fn one(value: i8) -> Field {
    Field(value.to_string(), vec![value])
}

fn every(min: i8, max: i8, by: i8) -> Field {
    Field(
        format!("*/{by}"),
        (min..=max).step_by(usize::try_from(by).expect("a step")).collect(),
    )
}

fn range(from: i8, to: i8) -> Field {
    Field(format!("{from}-{to}"), (from..=to).collect())
}

fn list(values: &[i8]) -> Field {
    let words: Vec<String> = values.iter().map(i8::to_string).collect();
    Field(words.join(","), values.to_vec())
}

/// The schedule of that number for a change that clocks show at `local`: around the minute, the hour, the day, the week.
fn plain(number: usize, local: DateTime) -> Plain {
    let hour = |shift: i8| (local.hour() + shift).rem_euclid(24);
    let minutes = [
        one(0),
        one(30),
        one(local.minute()),
        one((local.minute() + 59) % 60),
        every(0, 59, 15),
        any(0, 59),
        list(&[1, 17, 45]),
        range(20, 40),
    ];
    let hours = [
        one(hour(0)),
        one(hour(1)),
        any(0, 23),
        one(hour(-1)),
        every(0, 23, 2),
        list(&[hour(0), hour(2), 12]),
        one(12),
        range(0, 5),
        one(0),
    ];
    let days = [
        any(1, 31),
        any(1, 31),
        one(local.day()),
        list(&[1, 15]),
        one(local.tomorrow().expect("a date").day()),
    ];
    let weekday = local.weekday().to_sunday_zero_offset();
    let weekdays = [
        any(0, 6),
        one(weekday),
        any(0, 6),
        range(1, 5),
        one((weekday + 1) % 7),
        any(0, 6),
        list(&[0, 3]),
    ];
    let months = [
        any(1, 12),
        one(local.month()),
        any(1, 12),
        every(1, 12, 2),
        any(1, 12),
        range(3, 10),
    ];
    // Lengths without a common divisor: the combinations differ.
    let Field(minute_text, minutes) = minutes[number % minutes.len()].clone();
    let Field(hour_text, hours) = hours[number % hours.len()].clone();
    let Field(day_text, days) = days[number % days.len()].clone();
    let Field(weekday_text, weekdays) = weekdays[number % weekdays.len()].clone();
    let Field(month_text, months) = months[number / 8 % months.len()].clone();
    Plain {
        is_either: day_text != "*" && weekday_text != "*",
        has_wildcard: minute_text.contains('*') || hour_text.contains('*'),
        text: format!("{minute_text} {hour_text} {day_text} {month_text} {weekday_text}"),
        minutes,
        hours,
        days,
        months,
        weekdays,
    }
}

impl Plain {
    fn is_match(&self, local: DateTime) -> bool {
        let day = || self.days.contains(&local.day());
        let week = || self.weekdays.contains(&local.weekday().to_sunday_zero_offset());
        self.minutes.contains(&local.minute())
            && local.second() == 0
            && self.hours.contains(&local.hour())
            && self.months.contains(&local.month())
            && if self.is_either {
                day() || week()
            } else {
                day() && week()
            }
    }

    /// The first matching minute that the change skips.
    fn is_skipped(&self, change: Change) -> bool {
        let local = |secs: i64| {
            Timestamp::from_second(secs)
                .expect("a time of our century")
                .to_zoned(TimeZone::UTC)
                .datetime()
        };
        let from = change.at.as_second() + i64::from(change.before_secs);
        let until = change.at.as_second() + i64::from(change.after_secs);
        let mut minutes = (from..until).filter(|secs| secs.rem_euclid(60) == 0);
        minutes.any(|secs| self.is_match(local(secs)))
    }

    /// What must fire within the window, given its matching minutes.
    fn instants(&self, matching: &[&Minute], change: Change, policy: ClockPolicy) -> Vec<i64> {
        let (makes_up, runs_once) = match policy {
            ClockPolicy::Upstream => (false, false),
            ClockPolicy::SkipRepeat => (false, true),
            ClockPolicy::RunSkipped => (true, false),
            ClockPolicy::Vixie => (true, true),
        };
        let is_due = |minute: &&&Minute| !(runs_once && !self.has_wildcard && minute.is_repeated);
        let mut due: Vec<i64> = matching.iter().filter(is_due).map(|minute| minute.at).collect();
        if makes_up && !self.has_wildcard && self.is_skipped(change) {
            due.push(change.at.as_second());
            due.sort_unstable();
            due.dedup();
        }
        due
    }
}

fn second(at: i64) -> Timestamp {
    Timestamp::from_second(at).expect("a time of our century")
}

/// Whether next, previous, latest and count say of the window what the enumeration says.
#[track_caller]
fn check(schedule: &Schedule, expected: &[i64], (from, until): (i64, i64), what: &str) {
    let mut forward = Vec::new();
    let mut at = second(from - 1);
    while let Some(next) = schedule.next(at).filter(|next| next.as_second() < until) {
        assert!(next > at, "{what}: {next} does not follow {at}");
        forward.push(next.as_second());
        at = next;
    }
    assert_eq!(forward, expected, "{what}: next");
    let mut backward = Vec::new();
    let mut at = second(until);
    while let Some(previous) = schedule.previous(at).filter(|previous| previous.as_second() >= from) {
        backward.push(previous.as_second());
        at = previous;
    }
    backward.reverse();
    assert_eq!(backward, expected, "{what}: previous");
    let count = schedule.count(second(from - 1), second(until - 1));
    assert_eq!(count, expected.len() as u64, "{what}: count");
    let latest = schedule
        .latest(second(from - 1), second(until - 1))
        .map(Timestamp::as_second);
    assert_eq!(latest, expected.last().copied(), "{what}: latest");
}

#[test]
fn every_change_of_every_zone_is_crossed_as_the_clock_shows_it() {
    let extent = Extent::chosen();
    let mut zones: BTreeMap<Vec<Change>, Vec<String>> = BTreeMap::new();
    for name in Zone::names() {
        let zone = Zone::load(&name).expect("a listed zone loads");
        zones
            .entry(changes(zone.as_time_zone(), extent.years))
            .or_default()
            .push(name);
    }
    let (mut crossed, mut compared) = (0, 0);
    for (changes, names) in &zones {
        let zone = Zone::load(&names[0]).expect("a listed zone loads");
        for change in changes {
            crossed += names.len();
            compared += cross(&zone, *change, extent.every);
        }
    }
    let all: usize = zones.values().map(Vec::len).sum();
    println!(
        "{all} zones in {} groups, {crossed} changes of their clocks, {compared} schedules compared",
        zones.len()
    );
    assert!(
        all > 500 && crossed > 500 && compared > 1000,
        "the zone database is thin"
    );
}

/// Asks the schedules around one change; returns how many.
fn cross(zone: &Zone, change: Change, every: usize) -> usize {
    let minutes = window(zone.as_time_zone(), change);
    let span = (minutes[0].at, minutes[minutes.len() - 1].at + 60);
    // What clocks showed when they were put forward or back.
    let local = zone
        .as_time_zone()
        .to_datetime(change.at - SignedDuration::from_secs(1));
    let local = local.saturating_add(SignedDuration::from_secs(1));
    for number in (0..SCHEDULES).step_by(every) {
        let plain = plain(number, local);
        let parsed = Schedule::parse(&plain.text)
            .expect("the schedule is one")
            .in_zone(zone.clone());
        let matching: Vec<&Minute> = minutes.iter().filter(|minute| plain.is_match(minute.local)).collect();
        for policy in policies(change) {
            let expected = plain.instants(&matching, change, *policy);
            let what = format!("{} in {} at {:?}, {policy:?}", plain.text, zone.name(), change);
            check(&parsed.clone().with_clock_policy(*policy), &expected, span, &what);
        }
    }
    SCHEDULES.div_ceil(every)
}

/// A shift of three hours and more is no daylight saving; Vixie's rule has a test of its own.
fn policies(change: Change) -> &'static [ClockPolicy] {
    if (change.after_secs - change.before_secs).abs() < 3 * 3600 {
        &[
            ClockPolicy::Upstream,
            ClockPolicy::SkipRepeat,
            ClockPolicy::RunSkipped,
            ClockPolicy::Vixie,
        ]
    } else {
        &[ClockPolicy::Upstream, ClockPolicy::SkipRepeat, ClockPolicy::RunSkipped]
    }
}
