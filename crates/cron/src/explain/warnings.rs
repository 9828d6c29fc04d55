//! What people do not expect of a schedule.

use jiff::{SignedDuration, Timestamp};

use super::reading::Shape;
use super::{Language, english, korean};
use crate::civil::month_days;
use crate::clock::Disturbance;
use crate::field::{Fields, STAR};
use crate::schedule::{Kind, Schedule, zone_in};

/// How far ahead changes of the clock are looked for.
const AHEAD: SignedDuration = SignedDuration::from_hours(365 * 24);
/// How many of them are told.
const DISTURBANCES_MAX: usize = 4;

/// Something that people do not expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The schedule has no instants: no date of the calendar fits.
    NoSuchDate,
    /// The schedule has no instants: a field is empty.
    EmptyField,
    /// It runs on 29 February only.
    LeapDayOnly,
    /// In these months (1 is January) none of its days exist.
    ShortMonths(Vec<i64>),
    /// Both day fields are restricted: either is enough.
    EitherDay,
    /// Steps of so many minutes begin anew with each hour.
    UnevenMinutes(i64),
    /// Steps of so many hours begin anew with each day.
    UnevenHours(i64),
    /// An interval below a minute: Jobs are named for minutes, so there is at most one a minute.
    BelowMinute,
    /// A change of the clock skips or repeats times.
    Clock(Disturbance, String),
    /// The text names its zone itself, which a new CronJob may not.
    ZoneInText(String),
}

/// What is unexpected about a schedule, changes of the clock within a year of `from` included.
pub fn warnings(schedule: &Schedule, from: Timestamp) -> Vec<Warning> {
    let fields = match &schedule.kind {
        Kind::Every { secs } if *secs < 60 => return vec![Warning::BelowMinute],
        Kind::Every { .. } => return Vec::new(),
        Kind::Fields(fields) => fields,
    };
    if fields.is_never {
        let sets = [fields.minute, fields.hour, fields.month];
        let is_empty = sets.iter().any(|set| set & !STAR == 0) || (fields.day | fields.weekday) & !STAR == 0;
        return vec![if is_empty {
            Warning::EmptyField
        } else {
            Warning::NoSuchDate
        }];
    }
    let mut found = Vec::new();
    let by_date = fields.weekday & STAR != 0 || fields.weekday == 0;
    if by_date {
        found.extend(missing_days(fields));
    }
    let is_restricted = |set: u64, min: i64, max: i64| !matches!(Shape::of(set, min, max), Shape::All);
    if (fields.day | fields.weekday) & STAR == 0
        && fields.day != 0
        && fields.weekday != 0
        && is_restricted(fields.day, 1, 31)
        && is_restricted(fields.weekday, 0, 6)
    {
        found.push(Warning::EitherDay);
    }
    if let Shape::Step { from: 0, to, by } = Shape::of(fields.minute, 0, 59)
        && 60 % by != 0
        && to + by > 59
    {
        found.push(Warning::UnevenMinutes(by));
    }
    if let Shape::Step { from: 0, to, by } = Shape::of(fields.hour, 0, 23)
        && 24 % by != 0
        && to + by > 23
    {
        found.push(Warning::UnevenHours(by));
    }
    let until = from.saturating_add(AHEAD).unwrap_or(Timestamp::MAX);
    let zone = schedule.zone().name();
    let mut disturbances = schedule.disturbances(from, until, DISTURBANCES_MAX);
    disturbances.retain(|change| schedule.policy.leaves(change));
    found.extend(
        disturbances
            .into_iter()
            .map(|change| Warning::Clock(change, zone.to_owned())),
    );
    found
}

/// What is unexpected about how a schedule is written.
///
/// Source: kubernetes `validateScheduleFormat`: what was stored so is kept, what is new is refused.
pub fn warning_of_text(text: &str) -> Option<Warning> {
    zone_in(text).map(|zone| Warning::ZoneInText(zone.to_owned()))
}

/// Days at the end of a month that not every month has.
fn missing_days(fields: &Fields) -> Option<Warning> {
    let days = fields.day & !STAR;
    let has_any = |year: i64, month: i64| (1..=month_days(year, month)).any(|day| days & (1 << day) != 0);
    let chosen: Vec<i64> = (1..=12).filter(|month| fields.month & (1 << month) != 0).collect();
    let missing: Vec<i64> = chosen.iter().copied().filter(|month| !has_any(2001, *month)).collect();
    if missing.is_empty() {
        None
    } else if missing == chosen {
        Some(Warning::LeapDayOnly)
    } else {
        Some(Warning::ShortMonths(missing))
    }
}

impl Warning {
    /// The warning as a sentence.
    pub fn say(&self, language: Language) -> String {
        match language {
            Language::English => self.in_english(),
            Language::Korean => self.in_korean(),
        }
    }

    fn in_english(&self) -> String {
        match self {
            Self::NoSuchDate => "It never fires: no year has such a date.".to_owned(),
            Self::EmptyField => "It never fires: one of its fields is empty.".to_owned(),
            Self::LeapDayOnly => "It fires in leap years only, on 29 February.".to_owned(),
            Self::ShortMonths(months) => {
                let names = english::join(months.iter().map(|month| english::month(*month).to_owned()));
                format!("It skips months that are too short for its days: {names}.")
            }
            Self::EitherDay => {
                "Day of month and day of week are both given: it fires on days that fit either, not only on days that fit \
                 both."
                    .to_owned()
            }
            Self::UnevenMinutes(by) => {
                format!("Steps of {by} minutes begin anew with each hour: the last gap of an hour is shorter.")
            }
            Self::UnevenHours(by) => {
                format!("Steps of {by} hours begin anew with each day: the last gap of a day is shorter.")
            }
            Self::BelowMinute => "Jobs are named for minutes: at most one starts each minute.".to_owned(),
            Self::ZoneInText(zone) => format!(
                "A new CronJob may not name a zone in its schedule: leave TZ= out and say `timeZone: {zone}` beside it."
            ),
            Self::Clock(change, zone) => {
                let moment = english::moment(change.local);
                let (times, is) = match change.count {
                    1 => (String::new(), "is"),
                    more => (format!(" and {} more", more - 1), "are"),
                };
                if change.is_skipped {
                    format!("Clocks in {zone} go forward over {moment}{times}, which {is} skipped.")
                } else {
                    format!("Clocks in {zone} go back over {moment}{times}, which {is} run twice.")
                }
            }
        }
    }

    fn in_korean(&self) -> String {
        match self {
            Self::NoSuchDate => "실행되지 않습니다. 그런 날짜는 어느 해에도 없습니다.".to_owned(),
            Self::EmptyField => "실행되지 않습니다. 비어 있는 필드가 있습니다.".to_owned(),
            Self::LeapDayOnly => "윤년 2월 29일에만 실행됩니다.".to_owned(),
            Self::ShortMonths(months) => {
                let names: Vec<String> = months.iter().map(|month| format!("{month}월")).collect();
                format!("해당 날짜가 없는 달은 건너뜁니다: {}.", names.join(", "))
            }
            Self::EitherDay => {
                "날짜와 요일이 모두 지정되어, 둘 다 맞는 날이 아니라 하나라도 맞는 날마다 실행됩니다.".to_owned()
            }
            Self::UnevenMinutes(by) => {
                format!("{by}분 간격은 매시 0분부터 다시 세므로 한 시간의 마지막 간격이 더 짧습니다.")
            }
            Self::UnevenHours(by) => {
                format!("{by}시간 간격은 매일 0시부터 다시 세므로 하루의 마지막 간격이 더 짧습니다.")
            }
            Self::BelowMinute => "Job 이름이 분 단위이므로 1분에 많아야 한 번 실행됩니다.".to_owned(),
            Self::ZoneInText(zone) => format!(
                "새 CronJob의 schedule에는 시간대를 쓸 수 없습니다. TZ= 대신 `timeZone: {zone}`처럼 따로 적으세요."
            ),
            Self::Clock(change, zone) => {
                let times = korean::topic(change.local, change.count.saturating_sub(1));
                if change.is_skipped {
                    format!("{zone}의 시계가 앞당겨져 {times} 없는 시각이 되어 건너뜁니다.")
                } else {
                    format!("{zone}의 시계가 늦춰져 {times} 두 번 실행됩니다.")
                }
            }
        }
    }
}
