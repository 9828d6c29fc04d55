//! Schedules asked and answered in lists and in lines of JSON: what `rota cron next` prints.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::exact::ExactNext;
use crate::schedule::Schedule;
use crate::zone::Zone;

/// How many instants a line is answered with.
const PER_LINE: usize = 8;

/// Which engine answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The one that controllers use.
    Correct,
    /// Upstream's, defects included.
    Exact,
}

/// Up to `count` instants after `start` in seconds since 1970, and why there are no more: `n` (as many as asked), `zero`
/// (there are no more), `stuck` (upstream returned an instant that is not later) or `hang` (upstream never returns).
pub fn upcoming(schedule: &Schedule, start: Timestamp, count: usize, engine: Engine) -> (Vec<i64>, &'static str) {
    let mut found = Vec::new();
    let mut at = start;
    while found.len() < count {
        let next = match engine {
            Engine::Correct => schedule
                .next(at)
                .map_or(ExactNext::Zero, |next| ExactNext::At(next.as_second())),
            Engine::Exact => schedule.next_exact(at),
        };
        match next {
            ExactNext::Zero => return (found, "zero"),
            ExactNext::Hang => return (found, "hang"),
            ExactNext::At(next) => {
                let Ok(instant) = Timestamp::from_second(next) else {
                    return (found, "zero");
                };
                if instant <= at {
                    return (found, "stuck");
                }
                found.push(next);
                at = instant;
            }
        }
    }
    (found, "n")
}

/// Answers one line `{"id", "schedule", "tz", "start"}` (and optionally `"n"`) by one line: `{"id", "next_unix", "end"}`,
/// or `{"id", "parse_error"}`, or `{"id", "load_error"}` for an unknown zone, or `{"id", "error"}` for a line that is not a
/// question.
pub fn answer_line(line: &str, engine: Engine) -> String {
    let question: Value = match serde_json::from_str(line) {
        Ok(question) => question,
        Err(error) => return json!({"id": null, "error": format!("the line is not JSON: {error}")}).to_string(),
    };
    let id = &question["id"];
    match answer(&question, engine) {
        Ok((next, end)) => json!({"id": id, "next_unix": next, "end": end}).to_string(),
        Err((field, text)) => json!({"id": id, field: text}).to_string(),
    }
}

type Refusal = (&'static str, String);

fn answer(question: &Value, engine: Engine) -> Result<(Vec<i64>, &'static str), Refusal> {
    let text = question["schedule"]
        .as_str()
        .ok_or(("error", "schedule is missing".to_owned()))?;
    let tz = question["tz"].as_str().unwrap_or_default();
    let zone = Zone::load(tz).map_err(|error| ("load_error", error.to_string()))?;
    let start: Timestamp = question["start"]
        .as_str()
        .and_then(|start| start.parse().ok())
        .ok_or(("error", "start is not an RFC 3339 time".to_owned()))?;
    let count = question["n"]
        .as_u64()
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(PER_LINE);
    let mut schedule = Schedule::parse(text).map_err(|error| ("parse_error", error.to_string()))?;
    if !text.contains("TZ") {
        schedule = schedule.in_zone(zone);
    }
    Ok(upcoming(&schedule, start, count, engine))
}
