//! `rota cron`: schedules, read, explained and compared.

mod explain;
mod preview;

use std::io::{BufRead as _, BufWriter, ErrorKind, Write as _};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use jiff::tz::TimeZone;
use rota_api::Timestamp;
use rota_cron::{Engine, Language, Schedule, Zone, answer_line, hint, upcoming, warning_of_text, zone_hint};
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
    let schedule = schedule(text, args.tz.as_deref(), Language::English)?;
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

/// A schedule, read in the zone `tz`, or in the one that it names itself.
///
/// Errors: what is wrong, in upstream's words, and what was probably meant; or it names a zone and `tz` does as well.
fn schedule(text: &str, tz: Option<&str>, language: Language) -> Result<Schedule> {
    let meant = |hint: Option<String>| hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
    let schedule =
        Schedule::parse(text).map_err(|error| anyhow!("schedule {text:?}: {error}{}", meant(hint(text, language))))?;
    let Some(tz) = tz else {
        return Ok(schedule);
    };
    if warning_of_text(text).is_some() {
        bail!("schedule {text:?} names a time zone, and so does {tz:?} beside it: leave one of them out");
    }
    let zone =
        Zone::load(tz).map_err(|error| anyhow!("time zone {tz:?}: {error}{}", meant(zone_hint(tz, language))))?;
    Ok(schedule.in_zone(zone))
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
        if !line.trim().is_empty() && !is_read(writeln!(out, "{}", answer_line(&line, engine)))? {
            return Ok(());
        }
    }
    is_read(out.flush()).map(drop)
}

/// False when the reader of the answers went away, which is no failure.
fn is_read(written: std::io::Result<()>) -> Result<bool> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true).context("writing answers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_read_in_the_one_zone_that_is_named() {
        let zone = |text, tz| schedule(text, tz, Language::English).map(|found| found.zone().name().to_owned());
        assert_eq!(zone("0 3 * * *", None).unwrap(), "UTC");
        assert_eq!(zone("0 3 * * *", Some("Asia/Seoul")).unwrap(), "Asia/Seoul");
        assert_eq!(zone("TZ=Asia/Seoul 0 3 * * *", None).unwrap(), "Asia/Seoul");
        let refused = |text, tz| zone(text, tz).unwrap_err().to_string();
        assert_eq!(
            refused("TZ=Asia/Seoul 0 3 * * *", Some("Asia/Seoul")),
            "schedule \"TZ=Asia/Seoul 0 3 * * *\" names a time zone, and so does \"Asia/Seoul\" beside it: leave one of them out"
        );
        assert_eq!(
            refused("0 3 * * *", Some("asia/seoul")),
            "time zone \"asia/seoul\": unknown time zone asia/seoul (upper and lower case matter: Asia/Seoul)"
        );
        assert!(refused("0 3 * * 7", None).ends_with("(Sunday is 0, not 7)"));
    }
}
