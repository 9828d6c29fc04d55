//! Schedules in Korean.

use jiff::civil::DateTime;

use super::reading::{Body, Days, Reading, Shape, Times, clock};

const WEEKDAYS: [&str; 7] = ["일요일", "월요일", "화요일", "수요일", "목요일", "금요일", "토요일"];

/// The whole sentence.
pub(super) fn sentence(reading: &Reading) -> String {
    match &reading.body {
        Body::Never => "한 번도 실행하지 않습니다.".to_owned(),
        Body::Interval(secs) => format!("직전 실행부터 {}마다 실행합니다.", span(*secs)),
        Body::Calendar { times, days, months } => {
            let words = [
                self::months(months, days),
                self::days(days, times, months),
                self::times(times),
            ];
            let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
            format!("{} 실행합니다 (시간대: {}).", words.join(" "), reading.zone)
        }
    }
}

fn times(times: &Times) -> String {
    match times {
        Times::Minutes(1) => "매분".to_owned(),
        Times::Minutes(by) => format!("{by}분마다"),
        Times::Within { by, from, to } => {
            let every = if *by == 1 {
                "매분".to_owned()
            } else {
                format!("{by}분마다")
            };
            format!("{}부터 {}까지 {every}", clock(*from), clock(*to))
        }
        Times::Hourly(Shape::List(minutes)) if minutes[..] == [0] => "매시 정각에".to_owned(),
        Times::Hourly(minutes) => format!("매시 {}", at("분", minutes)),
        Times::Hours { by, from } => format!("{}부터 {by}시간마다", clock(*from)),
        Times::At(minutes) => {
            let times: Vec<String> = minutes.iter().map(|minute| clock(*minute)).collect();
            format!("{}에", times.join(", "))
        }
        Times::Sets { minutes, hours } => format!("{} {}", among("시", hours), at("분", minutes)),
    }
}

fn months(months: &Shape, days: &Days) -> String {
    match (months, days) {
        (Shape::All, Days::Dates(_) | Days::Either { .. }) => "매월".to_owned(),
        (Shape::All, _) => String::new(),
        (months, _) => format!("매년 {}", among("월", months)),
    }
}

fn days(days: &Days, times: &Times, months: &Shape) -> String {
    match days {
        Days::Every if *months == Shape::All && matches!(times, Times::At(_)) => "매일".to_owned(),
        Days::Every if *months == Shape::All => String::new(),
        Days::Every => "매일".to_owned(),
        Days::Weekdays(set) => weekdays(set),
        Days::Dates(set) => among("일", set),
        Days::Either { dates, weekdays: set } => format!("{}과 {}", counted("일", dates), weekdays(set)),
    }
}

fn weekdays(set: &Shape) -> String {
    let listed = |days: &mut dyn Iterator<Item = i64>| {
        let names: Vec<&str> = days.map(weekday).collect();
        format!("매주 {}", names.join(", "))
    };
    match set {
        Shape::All => "매일".to_owned(),
        Shape::Range { from: 1, to: 5 } => "평일(월요일~금요일)".to_owned(),
        Shape::List(days) if days[..] == [0, 6] => "주말(토요일, 일요일)".to_owned(),
        Shape::List(days) => listed(&mut days.iter().copied()),
        Shape::Range { from, to } => format!("매주 {}~{}", weekday(*from), weekday(*to)),
        Shape::Step { from, to, by } => listed(&mut (*from..=*to).step_by(usize::try_from(*by).unwrap_or(1))),
    }
}

fn weekday(number: i64) -> &'static str {
    usize::try_from(number)
        .ok()
        .and_then(|at| WEEKDAYS.get(at))
        .unwrap_or(&"")
}

/// `5분`, `5분, 10분`, `5~9분`, `1분부터 59분까지 2분 간격`.
fn counted(unit: &str, set: &Shape) -> String {
    match set {
        Shape::All => format!("매{unit}"),
        Shape::List(values) => {
            let values: Vec<String> = values.iter().map(|value| format!("{value}{unit}")).collect();
            values.join(", ")
        }
        Shape::Range { from, to } => format!("{from}~{to}{unit}"),
        Shape::Step { from, to, by } => {
            let apart = match unit {
                "시" => "시간",
                "월" => "개월",
                other => other,
            };
            format!("{from}{unit}부터 {to}{unit}까지 {by}{apart} 간격")
        }
    }
}

/// The set as what something else happens among: what comes at intervals takes a particle, what is listed none.
fn among(unit: &str, set: &Shape) -> String {
    match set {
        Shape::Step { .. } => format!("{}으로", counted(unit, set)),
        Shape::All | Shape::List(_) | Shape::Range { .. } => counted(unit, set),
    }
}

/// The set as when something happens.
fn at(unit: &str, set: &Shape) -> String {
    match set {
        Shape::Step { .. } => among(unit, set),
        Shape::All | Shape::List(_) | Shape::Range { .. } => format!("{}에", counted(unit, set)),
    }
}

/// A time of a certain day, and perhaps others like it, as what a sentence is about. Times are read out: `02:30` ends in 분, a
/// full hour in 시.
pub(super) fn topic(local: DateTime, others: u64) -> String {
    let moment = moment(local);
    match (others, local.minute()) {
        (0, 0) => format!("{moment}는"),
        (0, _) => format!("{moment}은"),
        (others, _) => format!("{moment} 외 {others}건은"),
    }
}

/// A span of whole seconds.
pub(super) fn span(secs: i64) -> String {
    let parts = [
        (secs / 86_400, "일"),
        (secs / 3600 % 24, "시간"),
        (secs / 60 % 60, "분"),
        (secs % 60, "초"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    parts.join(" ")
}

/// A local time of a certain day.
fn moment(local: DateTime) -> String {
    local.strftime("%Y-%m-%d %H:%M").to_string()
}
