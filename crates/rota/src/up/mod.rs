//! `rota up`: a whole cluster in one process.

mod access;
mod config;
mod controllers;
mod data_dir;
mod env;
mod metrics;
mod nodes;
mod pod_range;
mod recorder;

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rota_agent::env::ApiServerAddress;
use rota_agent::tokens::{ClusterTokens, Tokens};
use rota_api::Timestamp;
use rota_api::validate::Checks;
use rota_apiserver::join::JoinToken;
use rota_apiserver::kubelet::client::RemoteNodes;
use rota_apiserver::{Config, Kubeconfig, Pki, Server, authorization, write_private};
use rota_cluster::{Cluster, LocalCluster, Metrics, Recorder, drive, schedule};
use rota_registry::{Caller, Env as _, Registry, Settings, bootstrap};
use rota_store::{DurableStore, MemoryStore, Store};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::UpArgs;
use crate::{kubeconfig, output};
use access::AllNodes;
pub(crate) use access::LocalNodes;
pub(crate) use config::{Home, UpConfig};
use controllers::Facts;
pub(crate) use data_dir::{DataDir, Left, Novelty, contents, is_data_dir, is_in_use, prepare, remove};
use env::SystemEnv;
use metrics::ControllerMetrics;
pub(crate) use nodes::{Common, RealNode, host_name, start_real};
use nodes::{Nodes, import};

/// The address of Service `kubernetes`.
const SERVICE_ADDRESS: &str = "10.96.0.1";
/// How long the parts of a cluster may take to stop.
const STOP_MAX: Duration = Duration::from_secs(20);

/// Runs the command.
pub(crate) async fn command(args: UpArgs) -> Result<ExitCode> {
    let began = Instant::now();
    let config = UpConfig::from_args(&args)?;
    if config.lacks_root() {
        bail!(
            "running containers needs root: use sudo, or --sim-nodes N for simulated nodes, or --no-nodes for the API alone"
        );
    }
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut wanted_to_stop = std::pin::pin!(async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    let running = match Running::start(config, wanted_to_stop.as_mut()).await? {
        ControlFlow::Continue(running) => running,
        // Nothing has been promised to anyone yet.
        ControlFlow::Break(()) => return Ok(ExitCode::SUCCESS),
    };
    announce(&running, began.elapsed(), args.json);
    tokio::select! {
        () = wanted_to_stop => {}
        why = running.failed() => {
            running.stop().await?;
            return Err(why);
        }
    }
    running.stop().await?;
    Ok(ExitCode::SUCCESS)
}

fn announce(running: &Running, took: Duration, as_json: bool) {
    let kubeconfig = running.kubeconfig().display();
    let secs = took.as_secs_f64();
    if as_json {
        let ready = json!({
            "ready_secs": secs, "server": running.server, "kubeconfig": kubeconfig.to_string(), "nodes": running.nodes.count(),
        });
        output::say(&ready.to_string());
        return;
    }
    let nodes = running.nodes.count();
    output::say(&format!(
        "rota is ready after {secs:.2} s: {nodes} node{}, {}",
        if nodes == 1 { "" } else { "s" },
        running.server
    ));
    output::say(&format!("  export KUBECONFIG={kubeconfig}"));
    output::say("  kubectl get nodes");
    output::say("  kubectl create job hello --image=rota.dev/host -- echo hello");
    if let Some(token) = &running.join_token {
        output::say(&format!(
            "another machine becomes a node by: rota join {} --token {token}",
            running.server
        ));
    }
}

/// A cluster that runs in this process.
pub(crate) struct Running {
    data: DataDir,
    registry: Arc<Registry>,
    kubeconfig: PathBuf,
    server: String,
    /// What other machines join with; `None` where they cannot reach the server.
    join_token: Option<String>,
    nodes: Nodes,
    stop: CancellationToken,
    failed: CancellationToken,
    tasks: TaskTracker,
    is_ephemeral: bool,
}

impl Running {
    /// Starts everything; returns when the API answers and every node is ready. Or what `early` gives, if that comes first.
    ///
    /// Errors: what cannot be started, and why. Then, and where it ended early, nothing is left running, and nothing on disk
    /// that was not there before.
    pub(crate) async fn start<T>(config: UpConfig, early: impl Future<Output = T>) -> Result<ControlFlow<T, Self>> {
        let kubeconfig = config.kubeconfig.clone();
        if let Some(file) = &kubeconfig {
            check_place(file)?;
        }
        let mut data = match &config.home {
            Home::Directory(path) => DataDir::open(path)?,
            Home::Ephemeral => DataDir::temporary()?,
        };
        let novelty = data.novelty().filter(|_| config.home != Home::Ephemeral);
        let new_file = kubeconfig.filter(|file| !file.exists());
        let started = Self::start_in(data, config, early).await;
        if !matches!(started, Ok(ControlFlow::Continue(_))) {
            // The first error is the one to tell.
            if let Some(file) = new_file {
                let _ = std::fs::remove_file(file);
            }
            if let Some(novelty) = novelty {
                undo(novelty).await;
            }
        }
        started
    }

    async fn start_in<T>(
        data: DataDir,
        config: UpConfig,
        early: impl Future<Output = T>,
    ) -> Result<ControlFlow<T, Self>> {
        let is_ephemeral = config.home == Home::Ephemeral;
        let env = Arc::new(SystemEnv::new()?);
        if !config.new_keys {
            check_keys(&data)?;
        }
        let pki = Arc::new(Pki::open(&data.pki(), env.now()).context("opening the cluster's keys")?);
        let facts = Facts {
            node_grace_secs: config.node_grace_secs,
            cluster_ca: pki.ca_pem(),
            strict_cron: config.strict_cron,
        };
        let chosen = controllers::choose(&config.controllers, &facts)?;
        let registry = open_registry(&data, is_ephemeral, &env, &pki)?;
        let stop = CancellationToken::new();
        let failed = CancellationToken::new();
        let tasks = TaskTracker::new();
        let nodes = Nodes::default();
        let reached = AllNodes {
            local: nodes.access(),
            remote: RemoteNodes::new(Arc::clone(&registry), &pki).context("preparing to reach other nodes")?,
        };
        let metrics = Metrics::default();
        let mut serving = Config::new(config.listen, Arc::clone(&pki));
        serving.served = config.served;
        serving.metrics.push(Arc::new(ControllerMetrics(metrics.clone())));
        let server = Server::bind(serving, Arc::clone(&registry), Arc::new(reached))
            .await
            .context("starting the API server (--listen chooses another address)")?;
        let address = server.address();
        let kubernetes = bootstrap::ApiServer {
            cluster_ip: SERVICE_ADDRESS.to_owned(),
            address: Some(address.ip())
                .filter(|ip| !ip.is_loopback())
                .map(|ip| ip.to_string()),
            port: address.port(),
        };
        bootstrap::ensure(&registry, Some(&kubernetes))
            .await
            .context("creating the objects of every cluster")?;
        authorization::bootstrap::ensure(&registry)
            .await
            .context("creating the bootstrap roles")?;
        let url = format!("https://{address}");
        let kubeconfig = config.kubeconfig.clone().unwrap_or_else(|| data.kubeconfig());
        write_kubeconfig(&kubeconfig, &pki, &url)?;
        let join_token = JoinToken::of(&pki).to_string();
        write_private(&data.join_token(), &format!("{join_token}\n"))
            .with_context(|| format!("writing {}", data.join_token().display()))?;

        let cluster = |user: &str| -> Arc<dyn Cluster> {
            Arc::new(LocalCluster::new(Arc::clone(&registry), Caller::system(user)))
        };
        tasks.spawn(server.run(stop.clone()));
        let recorder = Recorder::start(cluster("system:rota"), stop.clone());
        let random = {
            let env = Arc::clone(&env);
            move || env.random()
        };
        let scheduler = schedule(cluster("system:kube-scheduler"), recorder.clone(), random, stop.clone());
        spawn(&tasks, &failed, "the scheduler", scheduler);
        let driver = drive(
            cluster("system:kube-controller-manager"),
            chosen,
            recorder.clone(),
            metrics,
            stop.clone(),
        );
        spawn(&tasks, &failed, "the controllers", driver);

        let mut running = Self {
            data,
            registry: Arc::clone(&registry),
            kubeconfig,
            join_token: Some(join_token).filter(|_| !address.ip().is_loopback()),
            server: url,
            nodes,
            stop,
            failed,
            tasks,
            is_ephemeral,
        };
        let cluster = cluster("system:nodes");
        let started = tokio::select! {
            biased;
            early = early => Ok(ControlFlow::Break(early)),
            started = running.start_nodes(&config, &cluster, &recorder, address) => started.map(ControlFlow::Continue),
        };
        match started {
            Ok(ControlFlow::Continue(())) => Ok(ControlFlow::Continue(running)),
            Ok(ControlFlow::Break(early)) => {
                running.stop().await?;
                Ok(ControlFlow::Break(early))
            }
            Err(error) => {
                // The first error is the one to tell; what is left of a failed start goes with the process.
                let _ = running.stop().await;
                Err(error)
            }
        }
    }

    async fn start_nodes(
        &mut self,
        config: &UpConfig,
        cluster: &Arc<dyn Cluster>,
        recorder: &Recorder,
        address: SocketAddr,
    ) -> Result<()> {
        // Tokens are asked for as any agent would: the API server alone knows how they are made.
        let remote: Arc<dyn Cluster> = Arc::new(kubeconfig::connect(&self.kubeconfig).await?);
        let tokens: Arc<dyn Tokens> = Arc::new(ClusterTokens(remote));
        let data = self.data.path().to_owned();
        if config.nodes > 0 {
            let (data, files, stop) = (data.clone(), config.import.clone(), self.stop.clone());
            // One of the tasks that are waited for at the end: what is written to is not deleted.
            let imported = self.tasks.spawn_blocking(move || import(&data, &files, &stop));
            imported.await.context("importing images")??;
        }
        let common = Common {
            data: &data,
            cluster,
            recorder,
            tokens: &tokens,
            // A server on the loopback interface is out of reach for pods.
            api_server: Some(address)
                .filter(|address| !address.ip().is_loopback())
                .map(|address| ApiServerAddress {
                    host: address.ip().to_string(),
                    port: address.port(),
                }),
            agents: config.nodes + u32::from(config.control_plane),
        };
        self.nodes.start(config, &common).await
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Waits until the cluster cannot go on, and says why.
    async fn failed(&self) -> anyhow::Error {
        tokio::select! {
            () = self.failed.cancelled() => anyhow!("a part of the cluster stopped; the log above says why"),
            why = self.registry.store_failed() => anyhow!(
                "nothing can be stored in {} any more: {why}; everything that was acknowledged is there: make room or mend \
                 the disk, then start again",
                self.data.store().display()
            ),
        }
    }

    /// Stops everything. Containers go on running, except those of an ephemeral cluster.
    ///
    /// Errors: something of an ephemeral cluster could not be removed.
    pub(crate) async fn stop(self) -> Result<()> {
        self.nodes.stop();
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(STOP_MAX, self.tasks.wait()).await.is_err() {
            tracing::warn!("a part of the cluster did not stop in time");
        }
        if self.is_ephemeral {
            let path = self.data.path().to_owned();
            tokio::task::spawn_blocking(move || rota_agent::oci::cleanup(&path))
                .await
                .context("removing containers")?
                .context("removing containers")?;
        }
        Ok(())
    }
}

/// Runs a part of the cluster; notes it when it fails.
fn spawn(
    tasks: &TaskTracker,
    failed: &CancellationToken,
    name: &'static str,
    part: impl Future<Output = std::io::Result<()>> + Send + 'static,
) {
    let failed = failed.clone();
    tasks.spawn(async move {
        // A panic in a pure part must not leave a cluster without it and nobody knowing.
        let guard = failed.drop_guard();
        match part.await {
            Ok(()) => {
                guard.disarm();
            }
            Err(error) => tracing::error!(%error, "{name} cannot run"),
        }
    });
}

fn open_registry(data: &DataDir, is_ephemeral: bool, env: &Arc<SystemEnv>, pki: &Pki) -> Result<Arc<Registry>> {
    let store: Arc<dyn Store> = if is_ephemeral {
        Arc::new(MemoryStore::new())
    } else {
        Arc::new(DurableStore::open(data.store()).context("opening the store")?)
    };
    let checks = Checks {
        schedule: rota_cron::check_schedule,
        time_zone: rota_cron::check_time_zone,
    };
    let mut settings = Settings::new(checks);
    settings.next_run = rota_reconcile::cronjob::next_run;
    settings.cluster_ca = pki.ca_pem().to_owned();
    Registry::open(store, Arc::clone(env) as _, settings).context("reading the stored objects")
}

/// Deletes a data directory that was made in vain, with what its nodes made in the kernel.
async fn undo(novelty: Novelty) {
    let work = tokio::task::spawn_blocking(move || {
        rota_agent::oci::cleanup(novelty.path())?;
        novelty.undo()
    });
    if let Ok(Err(error)) = work.await {
        tracing::warn!(
            error = format!("{error:#}"),
            "what was made in vain could not be deleted"
        );
    }
}

/// A kubeconfig is written into a directory that is there: a name that was misspelt makes none.
fn check_place(kubeconfig: &Path) -> Result<()> {
    let directory = kubeconfig.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let shown = kubeconfig.display();
    if kubeconfig.is_dir() {
        bail!("--kubeconfig {shown} is a directory; name a file");
    }
    if !directory.is_dir() {
        bail!(
            "--kubeconfig {shown} cannot be written: there is no directory {}",
            directory.display()
        );
    }
    Ok(())
}

/// Keys that are lost are not replaced unasked: everybody would find out by being cut off.
fn check_keys(data: &DataDir) -> Result<()> {
    let missing = Pki::missing(&data.pki());
    if missing.is_empty() || !DurableStore::was_in(data.store()) {
        return Ok(());
    }
    let missing: Vec<String> = missing.iter().map(|path| path.display().to_string()).collect();
    bail!(
        "{} missing, and the objects of the cluster are there: clients, machines that joined and tokens of pods trust the lost \
         keys. Restore them from a copy; or have new ones made with --new-keys: then give clients the new kubeconfig, let \
         machines join again, and restart pods that use the API",
        match &missing[..] {
            [one] => format!("{one} is"),
            all => format!("{} are", all.join(" and ")),
        }
    )
}

/// Writes the administrator's kubeconfig where there is none that is as good as a new one.
fn write_kubeconfig(path: &Path, pki: &Pki, url: &str) -> Result<()> {
    let now = Timestamp::now();
    let written = std::fs::read_to_string(path).ok();
    let text = match written.filter(|text| Kubeconfig::is_admin(text, pki, url, now)) {
        Some(text) => text,
        None => Kubeconfig::admin(pki, url, now)
            .context("issuing the administrator's certificate")?
            .to_string(),
    };
    write_private(path, &text).with_context(|| format!("writing {}", path.display()))
}
