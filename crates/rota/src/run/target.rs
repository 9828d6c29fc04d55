//! Where a run happens: in a cluster that runs already, or in one of its own.

use std::ops::ControlFlow;
use std::pin::Pin;

use anyhow::{Context, Result, bail};
use rota_cluster::RemoteCluster;

use crate::cli::RunArgs;
use crate::kubeconfig;
use crate::up::{Running, UpConfig};

/// The cluster of a run.
pub(crate) struct Target {
    /// How it is spoken to.
    pub(crate) cluster: RemoteCluster,
    /// A cluster of the run's own: it ends with the run.
    own: Option<Running>,
}

impl Target {
    /// The cluster that was named; else the one of `KUBECONFIG`; else a running `rota up` on the usual data
    /// directory (that of `ROTA_DATA_DIR`, where it is set); else one of its own. Or what `early` gives, if that comes first:
    /// nothing is left behind then.
    ///
    /// Errors: the named cluster cannot be reached, or a cluster of its own cannot be started.
    pub(crate) async fn find<T>(
        args: &RunArgs,
        mut early: Pin<&mut impl Future<Output = T>>,
    ) -> Result<ControlFlow<T, Self>> {
        tokio::select! {
            there = there(args) => if let Some(cluster) = there? {
                return Ok(ControlFlow::Continue(Self { cluster, own: None }));
            },
            early = &mut early => return Ok(ControlFlow::Break(early)),
        }
        let mut config = UpConfig::ephemeral();
        config.import.clone_from(&args.import);
        if config.lacks_root() {
            bail!(
                "no cluster runs here, and one for this run needs root: use sudo, or --kubeconfig FILE for a cluster that runs elsewhere"
            );
        }
        let started = Running::start(config, early).await;
        let running = match started.context("starting a cluster for this run")? {
            ControlFlow::Continue(running) => running,
            ControlFlow::Break(early) => return Ok(ControlFlow::Break(early)),
        };
        match kubeconfig::connect(running.kubeconfig()).await {
            Ok(cluster) => Ok(ControlFlow::Continue(Self {
                cluster,
                own: Some(running),
            })),
            Err(error) => {
                // The first error is the one to tell.
                let _ = running.stop().await;
                Err(error)
            }
        }
    }

    /// True when the cluster ends with the run.
    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Ends a cluster of the run's own.
    pub(crate) async fn close(self) -> Result<()> {
        match self.own {
            Some(running) => running.stop().await,
            None => Ok(()),
        }
    }
}

/// A cluster that runs already, if there is one to be used.
async fn there(args: &RunArgs) -> Result<Option<RemoteCluster>> {
    if args.ephemeral {
        return Ok(None);
    }
    kubeconfig::find(args.kubeconfig.as_deref()).await
}
