//! The cluster that is measured: one of a kubeconfig, or a private one in a process of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rota_api::{DeleteOptions, Resource, Write, resource};
use rota_cluster::{Cluster, RemoteCluster, Selection};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::seen::until;
use crate::kubeconfig;

/// How long a private cluster may take to stop before it is killed.
const STOP_MAX: Duration = Duration::from_secs(20);
/// How long the preparation of a namespace may take.
const PREPARE_MAX: Duration = Duration::from_secs(30);

/// A cluster that is measured.
pub(super) struct Site {
    /// What it is called in the table.
    pub(super) name: String,
    kubeconfig: PathBuf,
    private: Option<Private>,
    /// What was made in a cluster that goes on.
    made: Mutex<Vec<(&'static Resource, String)>>,
}

/// A cluster of the benchmark's own.
struct Private {
    child: Child,
    /// How long its start took; zero before it is ready.
    ready: Duration,
    /// Removed when the benchmark ends.
    home: PathBuf,
}

/// How a private cluster is started.
#[derive(Clone, Debug)]
pub(super) struct PrivateConfig {
    /// How many nodes are simulated.
    pub(super) sim_nodes: u32,
    /// How long simulated pods run.
    pub(super) sim_run: Duration,
    /// Real nodes instead.
    pub(super) real: bool,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Time on the processors.
    pub(super) cpu: Duration,
    /// Memory that is resident now, in bytes.
    pub(super) resident: u64,
}

#[derive(Deserialize)]
struct Ready {
    ready_secs: f64,
    kubeconfig: PathBuf,
}

impl Site {
    /// The cluster of a kubeconfig.
    pub(super) fn foreign(kubeconfig: PathBuf) -> Self {
        let name = kubeconfig
            .file_stem()
            .map_or_else(|| "cluster".to_owned(), |stem| stem.to_string_lossy().into_owned());
        Self {
            name,
            kubeconfig,
            private: None,
            made: Mutex::default(),
        }
    }

    /// A private cluster: this program as `rota up` on a durable store in a temporary directory. Not ready yet
    /// ([`Site::start`]).
    ///
    /// Errors: the program cannot be run again.
    pub(super) fn private(config: &PrivateConfig) -> Result<Self> {
        let home = std::env::temp_dir().join(format!("rota-bench-{:08x}", getrandom::u32()?));
        let program = std::env::current_exe().context("finding this program")?;
        let mut command = Command::new(program);
        command
            .args(["up", "--json", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&home);
        if !config.real {
            command
                .args(["--sim-nodes", &config.sim_nodes.to_string()])
                .args(["--sim-run-ms", &config.sim_run.as_millis().to_string()]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting a private cluster")?;
        Ok(Self {
            name: "rota".to_owned(),
            kubeconfig: PathBuf::new(),
            private: Some(Private {
                child,
                ready: Duration::ZERO,
                home,
            }),
            made: Mutex::default(),
        })
    }

    /// Waits until a private cluster is ready.
    ///
    /// Errors: it does not start; its own words are on standard error.
    pub(super) async fn start(&mut self) -> Result<()> {
        let Some(private) = &mut self.private else {
            return Ok(());
        };
        let output = private.child.stdout.take();
        let output = output.context("reading what the private cluster says")?;
        let Some(line) = BufReader::new(output).lines().next_line().await? else {
            bail!("the private cluster did not start; what it said stands above");
        };
        let ready: Ready = serde_json::from_str(&line).context("reading what the private cluster says")?;
        private.ready = Duration::from_secs_f64(ready.ready_secs);
        self.kubeconfig = ready.kubeconfig;
        Ok(())
    }

    /// A connection of its own to the cluster.
    ///
    /// Errors: the cluster cannot be reached.
    pub(super) async fn connect(&self) -> Result<RemoteCluster> {
        kubeconfig::connect(&self.kubeconfig).await
    }

    /// How long a private cluster took from its start until it was ready.
    pub(super) fn ready(&self) -> Option<Duration> {
        Some(self.private.as_ref()?.ready)
    }

    /// What a private cluster has used so far.
    pub(super) fn usage(&self) -> Option<Usage> {
        Usage::of(self.private.as_ref()?.child.id()?)
    }

    /// A fresh namespace that pods can be created in.
    ///
    /// Errors: the cluster refuses it, or does not prepare it in time.
    pub(super) async fn namespace(&self, cluster: &RemoteCluster) -> Result<String> {
        let name = format!("rota-bench-{:08x}", getrandom::u32()?);
        self.will_remove(resource::NAMESPACES, &name);
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        cluster
            .write(Write::create(resource::NAMESPACES, body))
            .await
            .context("creating a namespace to measure in")?;
        let account = Selection {
            namespace: Some(name.clone()),
            fields: "metadata.name=default".to_owned(),
            ..Selection::default()
        };
        until(cluster, resource::SERVICE_ACCOUNTS, &account, PREPARE_MAX, |seen| {
            !seen.is_empty()
        })
        .await
        .context("waiting for the namespace's service account")?;
        Ok(name)
    }

    /// What is about to be made is to be removed at the end, however the measurement ends.
    pub(super) fn will_remove(&self, resource: &'static Resource, name: &str) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.push((resource, name.to_owned()));
    }

    /// Removes what was made to measure with; a private cluster is thrown away as a whole.
    pub(super) async fn close(self) -> Result<()> {
        let Some(mut private) = self.private else {
            let made = self.made.into_inner().unwrap_or_else(PoisonError::into_inner);
            return remove(&self.kubeconfig, &made).await;
        };
        if let Some(pid) = private
            .child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(rustix::process::Pid::from_raw)
        {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if tokio::time::timeout(STOP_MAX, private.child.wait()).await.is_err() {
            private.child.kill().await.context("ending the private cluster")?;
        }
        let home = private.home;
        tokio::task::spawn_blocking(move || {
            rota_agent::oci::cleanup(&home).context("removing the private cluster's containers")?;
            match std::fs::remove_dir_all(&home) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(error).with_context(|| format!("removing {}", home.display()))
                }
                Ok(()) | Err(_) => Ok(()),
            }
        })
        .await?
    }
}

/// Removes what is there of this, the last first.
async fn remove(kubeconfig: &Path, made: &[(&'static Resource, String)]) -> Result<()> {
    if made.is_empty() {
        return Ok(());
    }
    let cluster = kubeconfig::connect(kubeconfig).await?;
    for (resource, name) in made.iter().rev() {
        let removed = cluster.write(Write::delete(resource, "", name, DeleteOptions::default()));
        match removed.await {
            Err(error) if !error.is_not_found() => {
                return Err(error).with_context(|| format!("removing {} {name}", resource.singular));
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

impl Usage {
    /// What the process with this number has used, as the kernel tells it.
    fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name of the program may hold anything; the fields begin behind its closing parenthesis, with the third.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        let pages: u64 = fields.get(21)?.parse().ok()?;
        let per_sec = rustix::param::clock_ticks_per_second();
        Some(Self {
            cpu: Duration::from_millis(ticks * 1000 / per_sec.max(1)),
            resident: pages * u64::try_from(rustix::param::page_size()).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory() {
        let usage = Usage::of(std::process::id()).expect("the kernel tells about this process");
        assert!(usage.resident > 0);
    }
}
