//! How the cluster is reached: by a kubeconfig, or as a pod inside it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use rota_cluster::remote::budget::Budget;
use rota_cluster::remote::rivals::Rivals;
use rota_cluster::remote::traffic::Traffic;
use rota_cluster::remote::{Options, RemoteCluster};
use rota_cluster::{Cluster, Fence};

use crate::cli::ControllersArgs;

/// Events in the long run, and at once: beside the budget of the work, and less than a server lets one client have.
const EVENTS_PER_SECOND: f64 = 50.0;
const EVENTS_BURST: u32 = 250;

/// The way to the cluster.
pub(super) struct Access {
    pub(super) config: kube::Config,
    /// The server's address.
    pub(super) server: String,
    /// The name of this process among others like it.
    pub(super) identity: String,
    pub(super) traffic: Arc<Traffic>,
    budget: Arc<Budget>,
    namespace: Option<String>,
    timeout: Duration,
}

impl Access {
    /// The way that the arguments name.
    ///
    /// Errors: there is none, or it cannot be used.
    pub(super) async fn of(args: &ControllersArgs) -> Result<Self> {
        let (config, from) = config(args).await?;
        let burst = args.kube_api_burst.unwrap_or_else(|| burst_of(args.kube_api_qps));
        let access = Self {
            server: config.cluster_url.to_string(),
            identity: identity()?,
            config,
            traffic: Arc::default(),
            budget: Arc::new(Budget::new(args.kube_api_qps, burst)),
            namespace: args.namespace.clone(),
            timeout: args.request_timeout,
        };
        // Credentials are used for the first time here: what is wrong with them is known before anything begins.
        access.control().with_context(|| format!("using {from}"))?;
        Ok(access)
    }

    /// The cluster as the program itself uses it: for questions and Leases, behind no fence and in no budget.
    ///
    /// Errors: the credentials cannot be used.
    pub(super) fn control(&self) -> Result<RemoteCluster> {
        self.connect(Options {
            timeout: self.timeout,
            traffic: Arc::clone(&self.traffic),
            ..Options::default()
        })
    }

    /// The cluster as controllers see and change it, behind `fence`.
    ///
    /// Errors: the credentials cannot be used.
    pub(super) fn work(&self, fence: &Fence, rivals: Option<&Arc<Rivals>>) -> Result<RemoteCluster> {
        self.connect(Options {
            fence: fence.clone(),
            timeout: self.timeout,
            namespace: self.namespace.clone(),
            prunes: true,
            budget: Arc::clone(&self.budget),
            traffic: Arc::clone(&self.traffic),
            rivals: rivals.cloned(),
        })
    }

    /// The cluster to which Events are written, behind `fence`, on a budget of their own.
    ///
    /// Errors: the credentials cannot be used.
    pub(super) fn events(&self, fence: &Fence) -> Result<Arc<dyn Cluster>> {
        let cluster = self.connect(Options {
            fence: fence.clone(),
            timeout: self.timeout,
            budget: Arc::new(Budget::new(EVENTS_PER_SECOND, EVENTS_BURST)),
            traffic: Arc::clone(&self.traffic),
            ..Options::default()
        })?;
        Ok(Arc::new(cluster))
    }

    fn connect(&self, options: Options) -> Result<RemoteCluster> {
        RemoteCluster::connect_with(&self.config, options).context("using the credentials")
    }
}

/// What is allowed at once where only the rate is given: as upstream's controllers, half as much again.
fn burst_of(qps: f64) -> u32 {
    // Rates that people write fit; others are cut.
    (qps * 1.5).clamp(1.0, f64::from(u32::MAX)) as u32
}

/// The configuration, and where it is from.
async fn config(args: &ControllersArgs) -> Result<(kube::Config, String)> {
    let options = KubeConfigOptions {
        context: args.context.clone(),
        ..KubeConfigOptions::default()
    };
    let (kubeconfig, from) = if let Some(file) = &args.kubeconfig {
        let from = format!("kubeconfig {}", file.display());
        (Some(crate::kubeconfig::read(file)?), from)
    } else {
        let read = Kubeconfig::from_env().context("reading the kubeconfig of $KUBECONFIG")?;
        (read, "the kubeconfig of $KUBECONFIG".to_owned())
    };
    if let Some(kubeconfig) = kubeconfig {
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .with_context(|| format!("using {from}"))?;
        return Ok((config, from));
    }
    match kube::Config::incluster() {
        Ok(config) => Ok((config, "the service account of this pod".to_owned())),
        Err(error) => bail!(
            "which cluster? Say --kubeconfig FILE, set KUBECONFIG, or run this in a pod with a service account ({error})"
        ),
    }
}

/// This machine's name and something that no other process has, as upstream has it.
fn identity() -> Result<String> {
    let random = getrandom::u64().context("reading randomness")?;
    Ok(format!("{}_{random:016x}", crate::up::host_name()))
}
