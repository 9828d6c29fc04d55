//! `rota cron`: schedules, read, explained and compared.

mod explain;
mod preview;

use std::io::{BufRead as _, BufWriter, Write as _};
use std::process::ExitCode;

use anyhow::{Context, Result};
use jiff::tz::TimeZone;
use rota_api::Timestamp;
use rota_cron::{Engine, Schedule, Zone, answer_line, upcoming};
use serde_json::json;

use crate::cli::{CronArgs, CronCommand, CronNextArgs};
use crate::output;

/// Runs the command.
pub(crate) async fn command(args: CronArgs) -> Result<ExitCode> {
    match args.command {
        CronCommand::Next(args) => next(&args),
        CronCommand::Explain(args) => explain::command(&args),
        CronCommand::Preview(args) => preview::command(&args).await,
    }
}

fn next(args: &CronNextArgs) -> Result<ExitCode> {
    let engine = if args.exact { Engine::Exact } else { Engine::Correct };
    if args.jsonl {
        answer_lines(engine)?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = args.expr.as_deref().context("no schedule was given")?;
    let mut schedule = Schedule::parse(text).with_context(|| format!("schedule {text:?}"))?;
    if let Some(tz) = &args.tz {
        schedule = schedule.in_zone(Zone::load(tz).with_context(|| format!("time zone {tz:?}"))?);
    }
    let from = start(args.from.as_deref())?;
    let (instants, end) = upcoming(&schedule, from, args.n as usize, engine);
    let zone = schedule.zone().as_time_zone();
    let shown: Vec<String> = instants
        .iter()
        .filter_map(|unix| Timestamp::from_second(*unix).ok())
        .map(|at| local(at, zone))
        .collect();
    if args.json {
        let answer =
            json!({"schedule": text, "tz": schedule.zone().name(), "next": shown, "next_unix": instants, "end": end});
        output::say(&answer.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    for instant in &shown {
        output::say(instant);
    }
    match end {
        "n" => {}
        "zero" if shown.is_empty() => output::say_error("this schedule never fires"),
        "zero" => output::say_error("this schedule does not fire again"),
        "stuck" => output::say_error("from here on upstream's engine returns the same instant again and again"),
        _ => output::say_error("from here on upstream's engine does not return"),
    }
    Ok(ExitCode::SUCCESS)
}

/// The time of `--from`; now where it is not given.
fn start(from: Option<&str>) -> Result<Timestamp> {
    match from {
        Some(from) => from
            .parse()
            .with_context(|| format!("--from {from:?} is not an RFC 3339 time")),
        None => Ok(Timestamp::now()),
    }
}

/// An instant as clocks in the zone show it.
fn local(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

fn answer_lines(engine: Engine) -> Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let line = line.context("reading questions from standard input")?;
        if !line.trim().is_empty() {
            writeln!(out, "{}", answer_line(&line, engine)).context("writing answers")?;
        }
    }
    out.flush().context("writing answers")
}
