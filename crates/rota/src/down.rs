//! `rota down`: stops and removes everything that a data directory still runs.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use rota_agent::oci::Removed;

use crate::cli::DownArgs;
use crate::up::Left;
use crate::{output, up};

/// Runs the command.
pub(crate) async fn command(args: &DownArgs) -> Result<ExitCode> {
    let path = &args.data_dir;
    if !path.is_dir() {
        output::say(&format!("{} does not exist: nothing to stop", path.display()));
        return Ok(ExitCode::SUCCESS);
    }
    if !up::is_data_dir(path) {
        bail!(
            "{} is no data directory of rota (it holds no file `version`); nothing was stopped or deleted",
            path.display()
        );
    }
    if up::is_in_use(path)? {
        bail!(
            "a rota still runs on {}; stop it first (Ctrl-C in its terminal, or SIGTERM)",
            path.display()
        );
    }
    let path = path
        .canonicalize()
        .with_context(|| format!("finding {}", path.display()))?;
    let cleaned = path.clone();
    let removed = tokio::task::spawn_blocking(move || rota_agent::oci::cleanup(&cleaned))
        .await
        .context("stopping containers")?
        .with_context(|| format!("stopping what {} runs", path.display()))?;
    let stopped = said(removed);
    let name = path.display();
    if !args.purge {
        let kept = up::contents(&path);
        let kept = if kept.is_empty() {
            "nothing".to_owned()
        } else {
            kept.join(", ")
        };
        output::say(&format!("{name}: {stopped}; kept: {kept}"));
        return Ok(ExitCode::SUCCESS);
    }
    let left = up::remove(&path).with_context(|| match removed {
        Removed {
            sandboxes: 0,
            memory_volumes: 0,
        } => format!("{name} cannot be deleted"),
        _ => format!("{name}: {stopped}, but it cannot be deleted"),
    })?;
    output::say(&match left {
        Left::Nothing => format!("{name}: {stopped}; deleted"),
        Left::Empty => format!("{name}: {stopped}; emptied, but not deleted: it is a file system of its own"),
        Left::Foreign => format!("{name}: {stopped}; its cluster deleted, other files in it kept"),
    });
    Ok(ExitCode::SUCCESS)
}

/// What was stopped, for people.
fn said(removed: Removed) -> String {
    let count = |number: usize, one: &str, many: &str| format!("{number} {}", if number == 1 { one } else { many });
    let pods = match removed.sandboxes {
        0 => "no pod was running".to_owned(),
        number => format!("{} stopped", count(number, "pod", "pods")),
    };
    match removed.memory_volumes {
        0 => pods,
        number => format!(
            "{pods}, {} emptied",
            count(number, "volume in memory", "volumes in memory")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stopped_is_said_in_words() {
        let said = |sandboxes, memory_volumes| {
            said(Removed {
                sandboxes,
                memory_volumes,
            })
        };
        assert_eq!(said(0, 0), "no pod was running");
        assert_eq!(said(1, 0), "1 pod stopped");
        assert_eq!(said(3, 2), "3 pods stopped, 2 volumes in memory emptied");
    }
}
