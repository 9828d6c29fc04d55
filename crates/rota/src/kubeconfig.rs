//! Reaching a cluster by its kubeconfig.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use rota_cluster::RemoteCluster;
use serde_json::Value;

use crate::cli::usual_data_dir;

/// Reads a kubeconfig.
///
/// Errors: there is none, or it cannot be read as one.
pub(crate) fn read(file: &Path) -> Result<Kubeconfig> {
    let read = || {
        let bytes = std::fs::read(file)?;
        let Ok(_) = std::str::from_utf8(&bytes) else {
            bail!("it is not written in UTF-8 (a shell of Windows writes UTF-16, for one): save it as UTF-8");
        };
        Ok(Kubeconfig::read_from(file)?)
    };
    read().with_context(|| format!("reading kubeconfig {}", file.display()))
}

/// The cluster to use: that of `file` if one was named; else that of `KUBECONFIG`; else a `rota up` that runs on the usual data
/// directory; else none.
///
/// Errors: one that was named, by either way, cannot be used.
pub(crate) async fn find(file: Option<&Path>) -> Result<Option<RemoteCluster>> {
    let named = file
        .map(Path::to_owned)
        .or_else(|| std::env::var_os("KUBECONFIG").map(PathBuf::from));
    if let Some(file) = named {
        return connect(&file).await.map(Some);
    }
    let usual = usual_data_dir().join("kubeconfig");
    if !usual.exists() {
        return Ok(None);
    }
    Ok(connect(&usual).await.ok())
}

/// The cluster of a kubeconfig's current context.
///
/// Errors: the file cannot be read or used, or the server does not answer.
pub(crate) async fn connect(file: &Path) -> Result<RemoteCluster> {
    let kubeconfig = read(file)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("using kubeconfig {}", file.display()))?;
    let server = config.cluster_url.to_string();
    let cluster = RemoteCluster::connect(config).with_context(|| format!("using kubeconfig {}", file.display()))?;
    cluster
        .request(http::Method::GET, "/version", "", &Value::Null)
        .await
        .with_context(|| format!("reaching {server} as {} says", file.display()))?;
    Ok(cluster)
}
