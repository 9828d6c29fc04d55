//! `rota join`: this machine as one more node of a running cluster.
//!
//! With a URL and a token the node gets an identity of its own, which it keeps, and an endpoint by which the API server reaches
//! its containers. With a kubeconfig it acts as whoever that is for, and has no endpoint: a foreign API server would not be
//! known to it.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rota_agent::env::ApiServerAddress;
use rota_agent::tokens::{ClusterTokens, Tokens};
use rota_apiserver::join::{JoinToken, enroll, host_and_port, own_address};
use rota_apiserver::kubelet;
use rota_apiserver::kubelet::server::NodeEndpoint;
use rota_apiserver::{Identity, Kubeconfig, write_private};
use rota_cluster::{Cluster, Recorder, RemoteCluster};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::JoinArgs;
use crate::up::{Common, DataDir, LocalNodes, RealNode, host_name, start_real};
use crate::{kubeconfig, output};

/// Runs the command.
pub(crate) async fn command(args: JoinArgs) -> Result<ExitCode> {
    if !rustix::process::geteuid().is_root() {
        bail!("running containers needs root: use sudo");
    }
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let data = DataDir::open(&args.data_dir)?;
    let name = args.name.clone().unwrap_or_else(host_name);
    let stop = CancellationToken::new();
    let nodes = Arc::new(LocalNodes::default());
    let joined = join(&args, &data, &name, &nodes, &stop).await?;
    let cluster: Arc<dyn Cluster> = Arc::new(joined.cluster);
    let tokens: Arc<dyn Tokens> = Arc::new(ClusterTokens(Arc::clone(&cluster)));
    let recorder = Recorder::start(Arc::clone(&cluster), stop.clone());
    let common = Common {
        data: data.path(),
        cluster: &cluster,
        recorder: &recorder,
        tokens: &tokens,
        api_server: joined.api_server,
        agents: 1,
    };
    let node = RealNode {
        name,
        labels: labels(&args.label)?,
        taints: Vec::new(),
        cluster_cidr: args.pod_cidr.clone(),
        pod_cidr: args.pod_cidr,
        endpoint: joined.endpoint,
    };
    let agent = start_real(&common, node).await?;
    output::say(&format!("node {} has joined", agent.node()));
    nodes.add(agent);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    nodes.stop();
    stop.cancel();
    Ok(ExitCode::SUCCESS)
}

fn labels(named: &[String]) -> Result<Vec<(String, String)>> {
    named
        .iter()
        .map(|label| match label.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => bail!("--label {label:?} is not NAME=VALUE"),
        })
        .collect()
}

/// A cluster that this machine is part of.
struct Joined {
    cluster: RemoteCluster,
    /// Where the API server reaches the node.
    endpoint: Option<SocketAddr>,
    /// Where pods reach the API server.
    api_server: Option<ApiServerAddress>,
}

async fn join(
    args: &JoinArgs,
    data: &DataDir,
    name: &str,
    nodes: &Arc<LocalNodes>,
    stop: &CancellationToken,
) -> Result<Joined> {
    let Some(url) = &args.server else {
        let Some(file) = &args.kubeconfig else {
            bail!("say which cluster: rota join URL --token TOKEN, or --kubeconfig FILE");
        };
        return Ok(Joined {
            cluster: kubeconfig::connect(file).await?,
            endpoint: None,
            api_server: None,
        });
    };
    let known = Known::find(data, url, name, args.token.as_deref()).await?;
    let access = data.path().join("kubeconfig");
    let user = format!("system:node:{name}");
    let config = Kubeconfig::with_certificate(&known.authority, url, &user, &known.client());
    write_private(&access, &config.to_string()).with_context(|| format!("writing {}", access.display()))?;
    let cluster = kubeconfig::connect(&access).await?;
    let address = own_address(url).await.context("finding this machine's address")?;
    let endpoint = NodeEndpoint::bind(
        SocketAddr::new(address, kubelet::PORT),
        name.to_owned(),
        &known.serving(),
        &known.authority,
        Arc::clone(nodes) as _,
    )
    .await
    .context("opening the node's endpoint")?;
    let listens = endpoint.address();
    tokio::spawn(endpoint.run(stop.clone()));
    Ok(Joined {
        cluster,
        endpoint: Some(listens),
        api_server: api_server(url),
    })
}

/// Where pods reach the API server; `None` where it is on the loopback interface, or known by a name that they may not know.
fn api_server(url: &str) -> Option<ApiServerAddress> {
    let (host, port) = host_and_port(url)?;
    let address: IpAddr = host.parse().ok()?;
    (!address.is_loopback()).then(|| ApiServerAddress {
        host: host.to_owned(),
        port,
    })
}

/// Who this machine is in a cluster: what it was given when it joined.
#[derive(Serialize, Deserialize)]
struct Known {
    server: String,
    node: String,
    /// The cluster's authority.
    authority: String,
    key: String,
    client: String,
    serving: String,
}

impl Known {
    /// The identity that the machine has, or a new one.
    ///
    /// Errors: there is none and no token to get one, or the server does not give one.
    async fn find(data: &DataDir, url: &str, name: &str, token: Option<&str>) -> Result<Self> {
        let token = match token {
            Some(text) => {
                Some(JoinToken::parse(text).context("--token is no join token: see DIR/join-token of rota up")?)
            }
            None => None,
        };
        let file = data.identity();
        let kept = fs::read_to_string(&file).ok();
        let kept: Option<Self> = kept.and_then(|text| serde_json::from_str(&text).ok());
        // A token for another cluster at the same address means that the old one is gone.
        let is_this = |known: &Self| {
            let is_same = known.server == url && known.node == name;
            is_same && token.as_ref().is_none_or(|token| token.is_for(&known.authority))
        };
        if let Some(known) = kept.filter(is_this) {
            return Ok(known);
        }
        let Some(token) = token else {
            bail!("this machine has not joined {url} as {name:?} before: --token is needed");
        };
        let enrolled = enroll(url, &token, name)
            .await
            .with_context(|| format!("joining {url} as {name:?}"))?;
        let known = Self {
            server: url.to_owned(),
            node: name.to_owned(),
            authority: enrolled.authority,
            key: enrolled.client.key_pem,
            client: enrolled.client.certificate_pem,
            serving: enrolled.serving.certificate_pem,
        };
        let text = serde_json::to_string_pretty(&known).context("writing down who this machine is")?;
        write_private(&file, &text).with_context(|| format!("writing {}", file.display()))?;
        Ok(known)
    }

    fn client(&self) -> Identity {
        self.identity(&self.client)
    }

    fn serving(&self) -> Identity {
        self.identity(&self.serving)
    }

    fn identity(&self, certificate_pem: &str) -> Identity {
        Identity {
            certificate_pem: certificate_pem.to_owned(),
            key_pem: self.key.clone(),
        }
    }
}
