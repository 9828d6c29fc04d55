//! `rota join`: this machine as one more node of a running cluster.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rota_agent::env::ApiServerAddress;
use rota_agent::tokens::{ClusterTokens, Tokens};
use rota_cluster::{Cluster, Recorder};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::JoinArgs;
use crate::up::{Common, DataDir, RealNode, host_name, start_real};
use crate::{kubeconfig, output};

/// Runs the command.
pub(crate) async fn command(args: JoinArgs) -> Result<ExitCode> {
    if !rustix::process::geteuid().is_root() {
        bail!("running containers needs root: use sudo");
    }
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let data = DataDir::open(&args.data_dir)?;
    let remote = Arc::new(kubeconfig::connect(&args.kubeconfig).await?);
    let cluster: Arc<dyn Cluster> = remote;
    let tokens: Arc<dyn Tokens> = Arc::new(ClusterTokens(Arc::clone(&cluster)));
    let stop = CancellationToken::new();
    let recorder = Recorder::start(Arc::clone(&cluster), stop.clone());
    let mut labels = Vec::new();
    for label in &args.label {
        let Some((name, value)) = label.split_once('=') else {
            bail!("--label {label:?} is not NAME=VALUE");
        };
        labels.push((name.to_owned(), value.to_owned()));
    }
    let common = Common {
        data: data.path(),
        cluster: &cluster,
        recorder: &recorder,
        tokens: &tokens,
        api_server: None::<ApiServerAddress>,
        agents: 1,
    };
    let node = RealNode {
        name: args.name.unwrap_or_else(host_name),
        labels,
        taints: Vec::new(),
        cluster_cidr: args.pod_cidr.clone(),
        pod_cidr: args.pod_cidr,
    };
    let agent = start_real(&common, node).await?;
    output::say(&format!("node {} has joined", agent.node()));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    agent.stop();
    stop.cancel();
    Ok(ExitCode::SUCCESS)
}
