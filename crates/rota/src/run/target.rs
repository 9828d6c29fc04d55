//! Where a run happens: in a cluster that runs already, or in one of its own.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use rota_cluster::RemoteCluster;

use crate::cli::{RunArgs, usual_data_dir};
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
    /// directory (that of `ROTA_DATA_DIR`, where it is set); else one of its own.
    ///
    /// Errors: the named cluster cannot be reached, or a cluster of its own cannot be started.
    pub(crate) async fn find(args: &RunArgs) -> Result<Self> {
        if !args.ephemeral {
            let named = args
                .kubeconfig
                .clone()
                .or_else(|| std::env::var_os("KUBECONFIG").map(PathBuf::from));
            if let Some(file) = named {
                let cluster = kubeconfig::connect(&file).await?;
                return Ok(Self { cluster, own: None });
            }
            let default = usual_data_dir().join("kubeconfig");
            if default.exists()
                && let Ok(cluster) = kubeconfig::connect(&default).await
            {
                return Ok(Self { cluster, own: None });
            }
        }
        let mut config = UpConfig::ephemeral();
        config.import.clone_from(&args.import);
        if config.lacks_root() {
            bail!(
                "no cluster runs here, and one for this run needs root: use sudo, or --kubeconfig FILE for a cluster that runs elsewhere"
            );
        }
        let running = Running::start(config)
            .await
            .context("starting a cluster for this run")?;
        let cluster = kubeconfig::connect(running.kubeconfig()).await?;
        Ok(Self {
            cluster,
            own: Some(running),
        })
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
