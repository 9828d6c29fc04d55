use jiff::Timestamp;

use super::{Language, explain, hint, warning_of_text, warnings, zone_hint};
use crate::{Schedule, Zone};

fn schedule(text: &str, zone: &str) -> Schedule {
    Schedule::parse(text).unwrap().in_zone(Zone::load(zone).unwrap())
}

#[track_caller]
fn check(text: &str, english: &str, korean: &str) {
    let schedule = schedule(text, "UTC");
    assert_eq!(explain(&schedule, Language::English), english);
    assert_eq!(explain(&schedule, Language::Korean), korean);
}

#[test]
fn times_of_day_are_told_as_times() {
    check(
        "0 3 * * *",
        "At 03:00 every day (UTC).",
        "매일 03:00에 실행합니다 (시간대: UTC).",
    );
    check(
        "30 9,12 * * *",
        "At 09:30 and 12:30 every day (UTC).",
        "매일 09:30, 12:30에 실행합니다 (시간대: UTC).",
    );
    check(
        "0 0 1 1 *",
        "At 00:00 on 1 January (UTC).",
        "매년 1월 1일 00:00에 실행합니다 (시간대: UTC).",
    );
    check(
        "@yearly",
        "At 00:00 on 1 January (UTC).",
        "매년 1월 1일 00:00에 실행합니다 (시간대: UTC).",
    );
    check(
        "@monthly",
        "At 00:00 on day 1 of the month (UTC).",
        "매월 1일 00:00에 실행합니다 (시간대: UTC).",
    );
}

#[test]
fn what_comes_every_so_often_is_told_so() {
    check("* * * * *", "Every minute (UTC).", "매분 실행합니다 (시간대: UTC).");
    check(
        "*/15 * * * *",
        "Every 15 minutes (UTC).",
        "15분마다 실행합니다 (시간대: UTC).",
    );
    check(
        "@hourly",
        "Every hour, on the hour (UTC).",
        "매시 정각에 실행합니다 (시간대: UTC).",
    );
    check(
        "5,35 * * * *",
        "Every hour at minutes 5 and 35 (UTC).",
        "매시 5분, 35분에 실행합니다 (시간대: UTC).",
    );
    check(
        "0 */2 * * *",
        "Every 2 hours, from 00:00 on (UTC).",
        "00:00부터 2시간마다 실행합니다 (시간대: UTC).",
    );
    check(
        "*/15 9-17 * * 1-5",
        "Every 15 minutes from 09:00 to 17:45 on weekdays (Monday to Friday) (UTC).",
        "평일(월요일~금요일) 09:00부터 17:45까지 15분마다 실행합니다 (시간대: UTC).",
    );
    check(
        "@every 1h30m",
        "Every 1 hour and 30 minutes, counted from the run before.",
        "직전 실행부터 1시간 30분마다 실행합니다.",
    );
}

#[test]
fn days_are_told_by_week_by_month_or_by_either() {
    check(
        "0 9 * * 1",
        "At 09:00 on Mondays (UTC).",
        "매주 월요일 09:00에 실행합니다 (시간대: UTC).",
    );
    check(
        "0 9 * * sat,sun",
        "At 09:00 on weekends (Saturday and Sunday) (UTC).",
        "주말(토요일, 일요일) 09:00에 실행합니다 (시간대: UTC).",
    );
    check(
        "0 0 13 * 5",
        "At 00:00 on day 13 of the month, and also on Fridays (UTC).",
        "매월 13일과 매주 금요일 00:00에 실행합니다 (시간대: UTC).",
    );
    check(
        "0 9 1,15 */3 *",
        "At 09:00 on days 1 and 15 of January, April, July and October (UTC).",
        "매년 1월부터 10월까지 3개월 간격으로 1일, 15일 09:00에 실행합니다 (시간대: UTC).",
    );
    check(
        "0 9 1-31 * 1",
        "At 09:00 every day (UTC).",
        "매일 09:00에 실행합니다 (시간대: UTC).",
    );
}

#[test]
fn sets_without_a_simpler_form_are_listed() {
    check(
        "1-59/7 8-18 * * *",
        "At every 7th minute from 1 to 57 of hours 8 to 18 (UTC).",
        "8~18시 1분부터 57분까지 7분 간격으로 실행합니다 (시간대: UTC).",
    );
    check(
        "1-59/7 * * * *",
        "Every hour at every 7th minute from 1 to 57 (UTC).",
        "매시 1분부터 57분까지 7분 간격으로 실행합니다 (시간대: UTC).",
    );
    check(
        "0,10,20,25,30 1-23/2 * * *",
        "At minutes 0, 10, 20, 25 and 30 of every 2nd hour from 1 to 23 (UTC).",
        "1시부터 23시까지 2시간 간격으로 0분, 10분, 20분, 25분, 30분에 실행합니다 (시간대: UTC).",
    );
    check(
        "0 9 */7 * *",
        "At 09:00 on every 7th day from 1 to 29 of the month (UTC).",
        "매월 1일부터 29일까지 7일 간격으로 09:00에 실행합니다 (시간대: UTC).",
    );
}

#[track_caller]
fn check_warnings(text: &str, zone: &str, english: &[&str], korean: &[&str]) {
    let from: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let found = warnings(&schedule(text, zone), from);
    let said = |language| -> Vec<String> { found.iter().map(|warning| warning.say(language)).collect() };
    assert_eq!(said(Language::English), english);
    assert_eq!(said(Language::Korean), korean);
}

#[test]
fn schedules_that_never_fire_are_warned_about() {
    check("59 23 31 2 *", "Never.", "한 번도 실행하지 않습니다.");
    check_warnings(
        "59 23 31 2 *",
        "UTC",
        &["It never fires: no year has such a date."],
        &["실행되지 않습니다. 그런 날짜는 어느 해에도 없습니다."],
    );
    check_warnings(
        ", * * * *",
        "UTC",
        &["It never fires: one of its fields is empty."],
        &["실행되지 않습니다. 비어 있는 필드가 있습니다."],
    );
}

#[test]
fn days_that_some_months_lack_are_warned_about() {
    check_warnings(
        "0 0 31 * *",
        "UTC",
        &["It skips months that are too short for its days: February, April, June, September and November."],
        &["해당 날짜가 없는 달은 건너뜁니다: 2월, 4월, 6월, 9월, 11월."],
    );
    check_warnings(
        "0 0 29 2 *",
        "UTC",
        &["It fires in leap years only, on 29 February."],
        &["윤년 2월 29일에만 실행됩니다."],
    );
}

#[test]
fn changes_of_the_clock_are_warned_about() {
    check_warnings(
        "30 2 * * *",
        "Europe/Berlin",
        &[
            "Clocks in Europe/Berlin go forward over 02:30 on 2026-03-29, which is skipped.",
            "Clocks in Europe/Berlin go back over 02:30 on 2026-10-25, which is run twice.",
        ],
        &[
            "Europe/Berlin의 시계가 앞당겨져 2026-03-29 02:30은 없는 시각이 되어 건너뜁니다.",
            "Europe/Berlin의 시계가 늦춰져 2026-10-25 02:30은 두 번 실행됩니다.",
        ],
    );
    check_warnings(
        "0,20 2 * * *",
        "Europe/Berlin",
        &[
            "Clocks in Europe/Berlin go forward over 02:00 on 2026-03-29 and 1 more, which are skipped.",
            "Clocks in Europe/Berlin go back over 02:00 on 2026-10-25 and 1 more, which are run twice.",
        ],
        &[
            "Europe/Berlin의 시계가 앞당겨져 2026-03-29 02:00 외 1건은 없는 시각이 되어 건너뜁니다.",
            "Europe/Berlin의 시계가 늦춰져 2026-10-25 02:00 외 1건은 두 번 실행됩니다.",
        ],
    );
    check_warnings(
        "0 2 * * *",
        "Europe/Berlin",
        &[
            "Clocks in Europe/Berlin go forward over 02:00 on 2026-03-29, which is skipped.",
            "Clocks in Europe/Berlin go back over 02:00 on 2026-10-25, which is run twice.",
        ],
        &[
            "Europe/Berlin의 시계가 앞당겨져 2026-03-29 02:00는 없는 시각이 되어 건너뜁니다.",
            "Europe/Berlin의 시계가 늦춰져 2026-10-25 02:00는 두 번 실행됩니다.",
        ],
    );
    check_warnings("*/30 * * * *", "Europe/Berlin", &[], &[]);
}

#[test]
fn rules_that_surprise_are_warned_about() {
    let either = "Day of month and day of week are both given: it fires on days that fit either, not only on days that fit \
                  both.";
    let either_ko = "날짜와 요일이 모두 지정되어, 둘 다 맞는 날이 아니라 하나라도 맞는 날마다 실행됩니다.";
    check_warnings("0 0 13 * 5", "UTC", &[either], &[either_ko]);
    check_warnings(
        "*/40 */5 * * *",
        "UTC",
        &["Steps of 5 hours begin anew with each day: the last gap of a day is shorter."],
        &["5시간 간격은 매일 0시부터 다시 세므로 하루의 마지막 간격이 더 짧습니다."],
    );
    check_warnings(
        "@every 20s",
        "UTC",
        &["Jobs are named for minutes: at most one starts each minute."],
        &["Job 이름이 분 단위이므로 1분에 많아야 한 번 실행됩니다."],
    );
}

#[test]
fn what_was_probably_meant_is_hinted_at() {
    let check =
        |text, language, expected: Option<&str>| assert_eq!(hint(text, language).as_deref(), expected, "{text}");
    check("0 0 * * 7", Language::English, Some("Sunday is 0, not 7"));
    check(
        "0 0 0 * * *",
        Language::Korean,
        Some("초나 연도 필드는 없습니다. 첫 번째나 마지막 필드를 빼세요"),
    );
    check("nonsense", Language::English, None);
    check("TZ=Asia/Seoul 0 0 * * 7", Language::English, Some("Sunday is 0, not 7"));
    check(
        "TZ=asia/seoul 0 0 * * *",
        Language::English,
        Some("upper and lower case matter: Asia/Seoul"),
    );
    check(
        "CRON_TZ=Asia/Seoul",
        Language::English,
        Some("after TZ=Asia/Seoul there must be a blank and the schedule"),
    );
}

#[test]
fn a_zone_that_is_misspelt_in_its_case_is_hinted_at() {
    let english = zone_hint("europe/BERLIN", Language::English);
    assert_eq!(english.as_deref(), Some("upper and lower case matter: Europe/Berlin"));
    let korean = zone_hint("asia/seoul", Language::Korean);
    assert_eq!(korean.as_deref(), Some("대소문자를 구분합니다: Asia/Seoul"));
    assert_eq!(zone_hint("Nowhere", Language::English), None);
    assert_eq!(zone_hint("Europe/Berlin", Language::English), None);
}

#[test]
fn a_zone_in_the_text_is_read_and_warned_about() {
    let text = "CRON_TZ=Asia/Seoul 0 3 * * *";
    let schedule = Schedule::parse(text).unwrap();
    let english = explain(&schedule, Language::English);
    assert_eq!(english, "At 03:00 every day (Asia/Seoul).");
    let warning = warning_of_text(text).unwrap();
    assert_eq!(
        warning.say(Language::English),
        "A new CronJob may not name a zone in its schedule: leave TZ= out and say `timeZone: Asia/Seoul` beside it."
    );
    assert_eq!(
        warning.say(Language::Korean),
        "새 CronJob의 schedule에는 시간대를 쓸 수 없습니다. TZ= 대신 `timeZone: Asia/Seoul`처럼 따로 적으세요."
    );
    assert_eq!(warning_of_text("0 3 * * *"), None);
}
