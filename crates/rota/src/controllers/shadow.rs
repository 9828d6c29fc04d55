//! `--shadow`: decide and compare, write nothing.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use rota_api::{Timestamp, Write};
use rota_cluster::shadow::Verdict;
use rota_cluster::{Cluster, Fence, Recorder, ShadowCluster, drive};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::chosen::Chosen;
use super::connect::Access;
use super::health::Health;
use crate::cli::ControllersArgs;
use crate::output;

/// How often each verdict was given.
#[derive(Default)]
struct Counts {
    decided: AtomicU64,
    agreed: AtomicU64,
    differs: AtomicU64,
}

/// Compares until `stop`, and tells each decision.
///
/// Errors: the kernel refuses a timer; the credentials cannot be used.
pub(super) async fn run(
    args: &ControllersArgs,
    chosen: &Chosen,
    access: &Access,
    health: &Health,
    stop: CancellationToken,
) -> Result<ExitCode> {
    let counts = Arc::new(Counts::default());
    let (told, as_json) = (Arc::clone(&counts), args.json);
    let tell = move |verdict: Verdict, write: &Write| {
        told.of(verdict).fetch_add(1, Ordering::Relaxed);
        output::say(&line(verdict, write, as_json));
    };
    let cluster: Arc<dyn Cluster> = Arc::new(access.work(&Fence::none(), None)?);
    let shadow: Arc<dyn Cluster> = Arc::new(ShadowCluster::new(cluster, args.shadow_patience, Box::new(tell)));
    let recorder = Recorder::start(Arc::clone(&shadow), stop.clone());
    health.begins();
    drive(shadow, chosen.make(), recorder, health.controllers(), stop)
        .await
        .context("driving the controllers")?;
    let count = |verdict| counts.of(verdict).load(Ordering::Relaxed);
    let (decided, agreed, differs) = (count(Verdict::Decided), count(Verdict::Agreed), count(Verdict::Differs));
    output::say_error(&format!(
        "{decided} decisions: {agreed} as the running controllers did, {differs} that they did not make"
    ));
    Ok(ExitCode::SUCCESS)
}

impl Counts {
    fn of(&self, verdict: Verdict) -> &AtomicU64 {
        match verdict {
            Verdict::Decided => &self.decided,
            Verdict::Agreed => &self.agreed,
            Verdict::Differs => &self.differs,
        }
    }
}

fn line(verdict: Verdict, write: &Write, as_json: bool) -> String {
    let word = match verdict {
        Verdict::Decided => "decided",
        Verdict::Agreed => "agreed",
        Verdict::Differs => "differs",
    };
    if as_json {
        let at = Timestamp::now().to_string();
        return json!({"at": at, "verdict": word, "write": write.to_string()}).to_string();
    }
    format!("{word} {write}")
}
