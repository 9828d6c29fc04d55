//! Reaching a cluster by its kubeconfig.

use std::path::Path;

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use rota_cluster::RemoteCluster;
use serde_json::Value;

/// The cluster of a kubeconfig's current context.
///
/// Errors: the file cannot be read or used, or the server does not answer.
pub(crate) async fn connect(file: &Path) -> Result<RemoteCluster> {
    let kubeconfig = Kubeconfig::read_from(file).with_context(|| format!("reading kubeconfig {}", file.display()))?;
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
