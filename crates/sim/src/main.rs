//! Plays recorded scenarios on a running server, in real time, many at once.
//!
//! ```sh
//! rota up --no-nodes --ephemeral --kubeconfig /tmp/k &
//! cargo run --release -p rota-sim -- --kubeconfig /tmp/k crates/sim/tests/data/job.jsonl.gz
//! ```

#![expect(clippy::print_stdout, reason = "a command's output")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use rota_sim::replay::server::{self, Manner};
use rota_sim::replay::{Outcome, Played, recordings};

/// Plays recorded scenarios on a running server.
#[derive(Parser)]
struct Args {
    /// The kubeconfig of somebody who may do everything there.
    #[arg(long)]
    kubeconfig: PathBuf,
    /// How many scenarios to play at the same time.
    #[arg(long, default_value_t = 64)]
    at_once: usize,
    /// By how many seconds what the recordings show may come later.
    #[arg(long, default_value_t = 0)]
    late_secs: u64,
    /// The controllers reach the server over a network.
    #[arg(long)]
    remote: bool,
    /// Play only scenarios whose id begins so.
    #[arg(long, default_value = "")]
    only: String,
    /// Recordings: one JSON object per line, compressed by gzip or not.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let mut scenarios = Vec::new();
    for file in &args.files {
        let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        scenarios.extend(recordings::read(&bytes).with_context(|| format!("reading {}", file.display()))?);
    }
    scenarios.retain(|scenario| scenario["id"].as_str().is_some_and(|id| id.starts_with(&args.only)));
    let cluster = server::connect(&args.kubeconfig).await?;
    let manner = Manner {
        at_once: args.at_once,
        late: Duration::from_secs(args.late_secs),
        is_remote: args.remote,
    };
    let played = server::play_all(&cluster, scenarios, manner, "").await;
    for Played { id, differences, .. } in played.iter().filter(|played| !played.differences.is_empty()) {
        println!("{id}: {}", differences.join("\n  "));
    }
    let outcome = Outcome::of(&played, "");
    println!("{outcome}");
    Ok(ExitCode::from(u8::from(outcome.differed > 0)))
}
