//! `rota cron explain`: a schedule in plain words.

use std::process::ExitCode;

use anyhow::Result;
use rota_api::Timestamp;
use rota_cron::{Engine, Language, Zone, explain, upcoming, warning_of_text, warnings};
use serde_json::json;

use super::{local, schedule, start};
use crate::cli::CronExplainArgs;
use crate::output;

/// Runs the command.
pub(super) fn command(args: &CronExplainArgs) -> Result<ExitCode> {
    let schedule = schedule(&args.expr, args.tz.as_deref(), args.lang)?.with_clock_policy(args.dst_policy);
    let from = start(args.from.as_deref())?;
    let (instants, _) = upcoming(&schedule, from, args.n as usize, Engine::Correct);
    let zone = schedule.zone().as_time_zone();
    let runs: Vec<String> = instants
        .iter()
        .filter_map(|unix| Timestamp::from_second(*unix).ok())
        .map(|at| local(at, zone))
        .collect();
    let sentence = explain(&schedule, args.lang);
    let warned: Vec<String> = warning_of_text(&args.expr)
        .iter()
        .chain(&warnings(&schedule, from))
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
