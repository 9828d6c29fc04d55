//! What upstream's library answered, asked of both engines.
#![expect(
    clippy::print_stdout,
    reason = "the counts are what a reader of the test's output wants to see"
)]

use std::io::Read as _;

use flate2::read::GzDecoder;
use jiff::Timestamp;
use rota_cron::{Engine, Schedule, Zone, answer_line, upcoming};
use serde_json::{Value, json};

fn load(name: &str) -> Vec<Value> {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut text = String::new();
    GzDecoder::new(file)
        .read_to_string(&mut text)
        .expect("the vectors are gzip");
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("the vectors are JSON lines"))
        .filter(|case| case.get("id").is_some())
        .collect()
}

fn cases() -> Vec<Value> {
    let mut cases = load("cron-vectors.jsonl.gz");
    cases.extend(load("cron-vectors-fuzz.jsonl.gz"));
    cases
}

fn schedule_of(case: &Value) -> Option<Schedule> {
    let text = case["schedule"].as_str()?;
    let zone = Zone::load(case["tz"].as_str()?).ok()?;
    let schedule = Schedule::parse(text).ok()?;
    Some(if text.contains("TZ") {
        schedule
    } else {
        schedule.in_zone(zone)
    })
}

fn asked(case: &Value) -> (Timestamp, usize) {
    let start = case["start"]
        .as_str()
        .and_then(|start| start.parse().ok())
        .expect("starts are RFC 3339");
    // Upstream's answers end early where it hangs or sticks; then as many are asked for as were asked of it.
    let count = case["next_unix"].as_array().map_or(0, Vec::len);
    (start, if case["end"] == "n" { count } else { 8.max(count) })
}

fn difference(case: &Value) -> Option<String> {
    let line = json!({"id": case["id"], "schedule": case["schedule"], "tz": case["tz"], "start": case["start"], "n": asked(case).1});
    let answer: Value = serde_json::from_str(&answer_line(&line.to_string(), Engine::Exact)).expect("answers are JSON");
    for key in ["load_error", "parse_error", "next_unix", "end"] {
        let mut expected = case.get(key).filter(|value| !value.is_null());
        // Where upstream never returned nothing could be recorded.
        let nothing = json!([]);
        if key == "next_unix" && case["end"] == "hang" {
            expected = expected.or(Some(&nothing));
        }
        if answer.get(key) != expected {
            return Some(format!("{key}: {:?}, upstream {expected:?}", answer.get(key)));
        }
    }
    None
}

#[test]
fn the_exact_engine_gives_upstreams_answers() {
    let cases = cases();
    let mut failed = 0;
    for case in &cases {
        if let Some(difference) = difference(case) {
            failed += 1;
            println!(
                "{}: {} {} {}: {difference}",
                case["id"], case["schedule"], case["tz"], case["start"]
            );
        }
    }
    println!("{} passed, {failed} failed", cases.len() - failed);
    assert_eq!(failed, 0);
}

#[test]
fn the_correct_engine_differs_only_where_it_is_listed_and_why() {
    let mut found = String::new();
    let mut compared = 0;
    for case in cases() {
        let Some(schedule) = schedule_of(&case) else { continue };
        compared += 1;
        let (start, count) = asked(&case);
        let (next, end) = upcoming(&schedule, start, count, Engine::Correct);
        if case["next_unix"] == json!(next) && case["end"] == end {
            continue;
        }
        let reason = reason(&case, &next, end);
        found.push_str(&json!({"id": case["id"], "schedule": case["schedule"], "tz": case["tz"], "next_unix": next, "end": end, "reason": reason}).to_string());
        found.push('\n');
    }
    let path = format!("{}/tests/data/cron-deviations.jsonl", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("ROTA_UPDATE").is_some() {
        std::fs::write(&path, &found).expect("the list can be written");
    }
    let listed = std::fs::read_to_string(&path).expect("the list of deviations is part of the project");
    println!(
        "{} passed, 0 failed ({} listed deviations)",
        compared,
        listed.lines().count()
    );
    assert_eq!(
        found, listed,
        "deviations changed: look at each, then run with ROTA_UPDATE=1"
    );
    assert!(!listed.contains("\"unexplained\""), "a deviation has no reason");
}

/// Which of upstream's defects explains a difference: judged from the first instant that differs.
fn reason(case: &Value, ours: &[i64], end: &str) -> &'static str {
    let theirs: Vec<i64> = case["next_unix"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_i64)
        .collect();
    let at = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
    match (case["end"].as_str(), ours.get(at), theirs.get(at)) {
        (Some("hang"), _, None) => "P7: upstream never returns",
        (Some("stuck"), _, None) => "P8: upstream returns an instant that is not later",
        (Some("zero"), Some(_), None) => "P9: upstream gives up after five years",
        (_, Some(our), Some(their)) if our < their => {
            "P1/P4/P5/P6: upstream skips a matching minute near a change of the clock"
        }
        (_, Some(our), Some(their)) if our > their && !is_match(case, *their) => {
            "P3/P5: upstream fires at a minute that does not match"
        }
        (_, None, Some(their)) if end == "zero" && !is_match(case, *their) => {
            "P3/P5: upstream fires at a minute that does not match"
        }
        _ => "unexplained",
    }
}

/// Whether an instant is one of the schedule, judged by asking for the instant after the second before it.
fn is_match(case: &Value, unix: i64) -> bool {
    let Some(schedule) = schedule_of(case) else {
        return false;
    };
    let before = Timestamp::from_second(unix - 1).expect("recorded instants are in range");
    schedule.next(before).is_some_and(|next| next.as_second() == unix)
}
