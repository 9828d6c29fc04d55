//! `rota cron explain`: a schedule in plain words.

use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use rota_api::Timestamp;
use rota_cron::{Engine, Language, Schedule, Zone, explain, hint, upcoming, warnings};
use serde_json::json;

use super::{local, start};
use crate::cli::CronExplainArgs;
use crate::output;

/// Runs the command.
pub(super) fn command(args: &CronExplainArgs) -> Result<ExitCode> {
    let mut schedule = Schedule::parse(&args.expr).map_err(|error| {
        let hint = hint(&args.expr, args.lang).map(|hint| format!(" ({hint})"));
        anyhow!("schedule {:?}: {error}{}", args.expr, hint.unwrap_or_default())
    })?;
    if let Some(tz) = &args.tz {
        schedule = schedule.in_zone(Zone::load(tz).with_context(|| format!("time zone {tz:?}"))?);
    }
    let schedule = schedule.with_clock_policy(args.dst_policy);
    let from = start(args.from.as_deref())?;
    let (instants, _) = upcoming(&schedule, from, args.n as usize, Engine::Correct);
    let zone = schedule.zone().as_time_zone();
    let runs: Vec<String> = instants
        .iter()
        .filter_map(|unix| Timestamp::from_second(*unix).ok())
        .map(|at| local(at, zone))
        .collect();
    let sentence = explain(&schedule, args.lang);
    let warned: Vec<String> = warnings(&schedule, from)
        .iter()
        .map(|warning| warning.say(args.lang))
        .collect();
    if args.json {
        let answer = json!({
            "schedule": args.expr, "tz": schedule.zone().name(), "zoneDatabase": Zone::database_version(),
            "reading": sentence, "next": runs, "warnings": warned,
        });
        output::say(&answer.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    let (next, mind) = match args.lang {
        Language::English => ("Next runs:", "Mind:"),
        Language::Korean => ("다음 실행:", "주의:"),
    };
    output::say(&sentence);
    for (title, lines) in [(next, &runs), (mind, &warned)] {
        if !lines.is_empty() {
            output::say("");
            output::say(title);
        }
        for line in lines {
            output::say(&format!("  {line}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
