//! What becomes of times that a change of the clock skips or repeats, by policy.

use jiff::Timestamp;
use rota_cron::{ClockPolicy, Schedule, Zone};

/// The instants of five days from a local midnight on, as clocks in the zone show them.
#[track_caller]
fn check(text: &str, zone: &str, from: &str, policy: &str, expected: &[&str]) {
    let zone = Zone::load(zone).unwrap();
    let policy: ClockPolicy = policy.parse().unwrap();
    let schedule = Schedule::parse(text)
        .unwrap()
        .in_zone(zone.clone())
        .with_clock_policy(policy);
    let mut at: Timestamp = from.parse().unwrap();
    let mut shown = Vec::new();
    while shown.len() < expected.len() {
        at = schedule.next(at).expect("there is a next one");
        shown.push(
            at.to_zoned(zone.as_time_zone().clone())
                .strftime("%d %H:%M %Z")
                .to_string(),
        );
    }
    assert_eq!(shown, expected);
}

const SPRING: &str = "2026-03-27T23:00:00Z";
const AUTUMN: &str = "2026-10-23T22:00:00Z";

#[test]
fn upstreams_policy_follows_the_clock() {
    check(
        "30 2 * * *",
        "Europe/Berlin",
        SPRING,
        "upstream",
        &["28 02:30 CET", "30 02:30 CEST"],
    );
    check(
        "30 2 * * *",
        "Europe/Berlin",
        AUTUMN,
        "upstream",
        &["24 02:30 CEST", "25 02:30 CEST", "25 02:30 CET", "26 02:30 CET"],
    );
}

#[test]
fn a_skipped_run_is_made_up_for_behind_the_gap() {
    for policy in ["run-skipped", "vixie"] {
        check(
            "30 2 * * *",
            "Europe/Berlin",
            SPRING,
            policy,
            &["28 02:30 CET", "29 03:00 CEST", "30 02:30 CEST"],
        );
    }
    check(
        "30 2 * * *",
        "Europe/Berlin",
        SPRING,
        "skip-repeat",
        &["28 02:30 CET", "30 02:30 CEST"],
    );
}

#[test]
fn a_repeated_run_is_run_the_first_time_only() {
    for policy in ["skip-repeat", "vixie"] {
        check(
            "30 2 * * *",
            "Europe/Berlin",
            AUTUMN,
            policy,
            &["24 02:30 CEST", "25 02:30 CEST", "26 02:30 CET"],
        );
    }
    check(
        "30 2 * * *",
        "Europe/Berlin",
        AUTUMN,
        "run-skipped",
        &["24 02:30 CEST", "25 02:30 CEST", "25 02:30 CET"],
    );
}

#[test]
fn several_skipped_runs_are_made_up_for_once() {
    check(
        "0,20,40 2 * * *",
        "Europe/Berlin",
        "2026-03-28T12:00:00Z",
        "run-skipped",
        &["29 03:00 CEST", "30 02:00 CEST", "30 02:20 CEST"],
    );
}

#[test]
fn what_runs_every_so_often_follows_the_clock_under_any_policy() {
    for policy in ["upstream", "skip-repeat", "run-skipped", "vixie"] {
        check(
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-03-29T00:00:00Z",
            policy,
            &["29 01:30 CET", "29 03:00 CEST", "29 03:30 CEST"],
        );
        check(
            "*/30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T22:00:00Z",
            policy,
            &["25 02:00 CEST", "25 02:30 CEST", "25 02:00 CET", "25 02:30 CET"],
        );
    }
}

#[test]
fn vixies_policy_follows_a_shift_of_three_hours_and_more_at_once() {
    // Apia went over the date line: 30 December 2011 does not exist.
    let after = "2011-12-29T12:00:00Z";
    check("0 0 30 12 *", "Pacific/Apia", after, "run-skipped", &["31 00:00 +14"]);
    check("0 0 30 12 *", "Pacific/Apia", after, "vixie", &["30 00:00 +14"]);
}

#[test]
fn an_unknown_policy_is_refused() {
    let refused = "sometimes".parse::<ClockPolicy>().unwrap_err().to_string();
    assert_eq!(refused, "must be one of upstream, vixie, skip-repeat, run-skipped");
}
