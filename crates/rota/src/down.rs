//! `rota down`: stops and removes everything that a data directory still runs.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::cli::DownArgs;
use crate::{output, up};

/// Runs the command.
pub(crate) async fn command(args: &DownArgs) -> Result<ExitCode> {
    let path = &args.data_dir;
    if !path.is_dir() {
        output::say(&format!("{} does not exist: nothing to stop", path.display()));
        return Ok(ExitCode::SUCCESS);
    }
    if up::is_in_use(path) {
        bail!(
            "a rota still runs on {}; stop it first (Ctrl-C in its terminal, or SIGTERM)",
            path.display()
        );
    }
    let path = path
        .canonicalize()
        .with_context(|| format!("finding {}", path.display()))?;
    let cleaned = path.clone();
    tokio::task::spawn_blocking(move || rota_agent::oci::cleanup(&cleaned))
        .await
        .context("stopping containers")?
        .with_context(|| format!("stopping what {} runs", path.display()))?;
    if args.purge {
        std::fs::remove_dir_all(&path).with_context(|| format!("deleting {}", path.display()))?;
        output::say(&format!("everything of {} is stopped and deleted", path.display()));
    } else {
        output::say(&format!(
            "everything of {} is stopped; its objects and images are kept",
            path.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}
