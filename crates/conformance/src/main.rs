//! Replays recorded cases and shows what differs.
//!
//! `rota-conformance [PREFIX …]` runs the cases whose id begins with one of the prefixes, all without any.
//! `--quiet` shows the totals only; `--write-failing` writes the list of cases that do not pass yet.

#![expect(clippy::print_stdout, reason = "a command's output")]

use std::collections::BTreeMap;
use std::process::ExitCode;

use rota_conformance::case;
use rota_conformance::replay::{self, Outcome};

#[tokio::main]
async fn main() -> ExitCode {
    let (flags, prefixes): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    let mut cases = case::all();
    cases.retain(|case| prefixes.is_empty() || prefixes.iter().any(|prefix| case.id.starts_with(prefix.as_str())));
    let outcomes = replay::run(cases).await;
    let mut themes: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for (id, outcome) in &outcomes {
        let counts = themes.entry(id.split('/').next().unwrap_or_default()).or_default();
        match outcome {
            Outcome::Passed => counts[0] += 1,
            Outcome::Failed(why) => {
                counts[1] += 1;
                if !flags.iter().any(|flag| flag == "--quiet") {
                    println!("{id}\n    {why}");
                }
            }
        }
    }
    let mut total = [0; 2];
    for (theme, counts) in &themes {
        println!("{theme:12} {} passed, {} failed", counts[0], counts[1]);
        total.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
    }
    println!("{:12} {} passed, {} failed", "total", total[0], total[1]);
    if flags.iter().any(|flag| flag == "--write-failing") {
        let failing: String = outcomes
            .iter()
            .filter(|(id, outcome)| {
                matches!(outcome, Outcome::Failed(_)) && !case::deviations().any(|other| other == *id)
            })
            .map(|(id, _)| format!("{id}\n"))
            .collect();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/failing.txt");
        if let Err(error) = std::fs::write(path, failing) {
            println!("{path} cannot be written: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
