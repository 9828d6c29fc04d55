//! The nodes of a cluster: real ones on this machine, and simulated ones.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rota_agent::env::ApiServerAddress;
use rota_agent::image::Store;
use rota_agent::machine;
use rota_agent::node::{NodeFacts, Taint};
use rota_agent::oci::{OciConfig, OciRuntime};
use rota_agent::runtime::Runtime as _;
use rota_agent::simulated::{SimulatedConfig, SimulatedNodes};
use rota_agent::tokens::Tokens;
use rota_agent::{Agent, AgentConfig, AgentHandle, Ports};
use rota_cluster::{Cluster, Recorder};
use tokio_util::sync::CancellationToken;

use super::access::LocalNodes;
use super::config::UpConfig;
use super::pod_range::{Parts, PodRange};
use super::recorder::NodeRecorder;

/// The label of a control-plane node, and the key of its taint.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
/// The domain of a cluster's names.
const CLUSTER_DOMAIN: &str = "cluster.local";

/// The nodes.
#[derive(Default)]
pub(crate) struct Nodes {
    real: Arc<LocalNodes>,
    simulated: Vec<SimulatedNodes>,
    count: u32,
}

/// What the nodes of a cluster have in common.
pub(crate) struct Common<'a> {
    /// The data directory.
    pub(crate) data: &'a Path,
    /// The cluster.
    pub(crate) cluster: &'a Arc<dyn Cluster>,
    /// Where events go.
    pub(crate) recorder: &'a Recorder,
    /// Who issues tokens for pods.
    pub(crate) tokens: &'a Arc<dyn Tokens>,
    /// Where pods find the API server.
    pub(crate) api_server: Option<ApiServerAddress>,
    /// How many agents share this machine.
    pub(crate) agents: u32,
}

/// One node with real containers.
pub(crate) struct RealNode {
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) taints: Vec<Taint>,
    /// The addresses of its pods.
    pub(crate) pod_cidr: String,
    /// The addresses of all pods of the cluster.
    pub(crate) cluster_cidr: String,
    /// Where the API server reaches the node's endpoint; `None` where it needs none.
    pub(crate) endpoint: Option<std::net::SocketAddr>,
}

impl Nodes {
    /// The way to the containers of the nodes, for the API server.
    pub(crate) fn access(&self) -> Arc<LocalNodes> {
        Arc::clone(&self.real)
    }

    /// Starts the nodes; returns when all of them are ready.
    ///
    /// Errors: this machine cannot hold containers.
    pub(crate) async fn start(&mut self, config: &UpConfig, common: &Common<'_>) -> Result<()> {
        if config.nodes > 0 {
            // Until its bridges stand, nothing shows other clusters that the range is taken.
            let (range, _claim) = PodRange::of(common.data)?;
            let mut parts = Parts::of_cluster(range, &**common.cluster).await?;
            for node in real_nodes(config, range, &mut parts)? {
                let handle = start_real(common, node).await?;
                self.real.add(handle);
                self.count += 1;
            }
        }
        for simulated in simulated_nodes(config) {
            let mut nodes = SimulatedNodes::start(&simulated, common.cluster);
            nodes.registered().await;
            self.simulated.push(nodes);
            self.count += simulated.count;
        }
        Ok(())
    }

    /// How many nodes there are.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Stops the nodes. Their containers go on running.
    pub(crate) fn stop(&self) {
        self.real.stop();
        for simulated in &self.simulated {
            simulated.stop();
        }
    }
}

/// Starts the agent of one real node; returns when the cluster knows that it is ready.
///
/// Errors: this machine cannot hold containers.
pub(crate) async fn start_real(common: &Common<'_>, node: RealNode) -> Result<AgentHandle> {
    let runtime = OciRuntime::open(OciConfig {
        data_dir: common.data.to_owned(),
        node_name: node.name.clone(),
        pod_cidr: node.pod_cidr.clone(),
        cluster_cidr: Some(node.cluster_cidr),
        shim_program: None,
    })
    .await
    .with_context(|| format!("preparing node {:?} for containers", node.name))?;
    let address = match node.endpoint {
        Some(endpoint) => endpoint.ip(),
        None => first_address(&node.pod_cidr)?,
    };
    let agents = NonZero::new(common.agents).unwrap_or(NonZero::<u32>::MIN);
    let facts = NodeFacts {
        name: node.name.clone(),
        labels: node.labels.into_iter().collect(),
        taints: node.taints,
        addresses: vec![address],
        pod_cidr: node.pod_cidr,
        capacity: machine::capacity(common.data, agents),
        machine: machine::machine(&runtime.version()),
        port: node.endpoint.map_or(0, |endpoint| endpoint.port()),
    };
    let config = AgentConfig {
        node: facts,
        data_dir: common.data.join("nodes").join(&node.name),
        api_server: common.api_server.clone(),
        cluster_dns: Vec::new(),
        cluster_domain: CLUSTER_DOMAIN.to_owned(),
        backoff: rota_agent::BackoffLimits::default(),
    };
    let ports = Ports {
        cluster: Arc::clone(common.cluster),
        runtime,
        recorder: Arc::new(NodeRecorder::new(&node.name, common.recorder.clone())),
        tokens: Arc::clone(common.tokens),
    };
    let mut handle = Agent::start(config, ports)
        .await
        .with_context(|| format!("starting the agent of node {:?}", node.name))?;
    handle.ready().await;
    Ok(handle)
}

/// Imports image archives into the data directory; begins none after `stop`. Blocking.
///
/// Errors: which archive is wrong, and how.
pub(super) fn import(data: &Path, files: &[PathBuf], stop: &CancellationToken) -> Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let store = Store::open(&data.join("images")).context("opening the image store")?;
    for file in files.iter().take_while(|_| !stop.is_cancelled()) {
        store
            .import(file)
            .with_context(|| format!("importing {}", file.display()))?;
    }
    Ok(())
}

/// The name of this machine, as a node is called by it.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().to_lowercase()
}

fn real_nodes(config: &UpConfig, range: PodRange, parts: &mut Parts) -> Result<Vec<RealNode>> {
    let is_alone = config.nodes == 1 && !config.control_plane;
    let mut node = |name: String, index: u32| -> Result<RealNode> {
        Ok(RealNode {
            pod_cidr: parts.of_node(&name, index)?,
            cluster_cidr: range.cluster(),
            name,
            labels: Vec::new(),
            taints: Vec::new(),
            endpoint: None,
        })
    };
    let names = (1..=config.nodes).map(|index| (if is_alone { host_name() } else { format!("node-{index}") }, index));
    let mut nodes = names
        .map(|(name, index)| node(name, index))
        .collect::<Result<Vec<RealNode>>>()?;
    if config.control_plane && config.nodes > 0 {
        nodes.push(RealNode {
            labels: vec![(CONTROL_PLANE.to_owned(), String::new())],
            taints: vec![control_plane_taint()],
            ..node("control-plane".to_owned(), 0)?
        });
    }
    Ok(nodes)
}

fn simulated_nodes(config: &UpConfig) -> Vec<SimulatedConfig> {
    let mut nodes = Vec::new();
    let paced = SimulatedConfig {
        start: config.sim_start,
        run: config.sim_run,
        ..SimulatedConfig::default()
    };
    if config.sim_nodes > 0 {
        nodes.push(SimulatedConfig {
            count: config.sim_nodes,
            ..paced.clone()
        });
    }
    if config.control_plane && config.nodes == 0 {
        nodes.push(SimulatedConfig {
            count: 1,
            name_prefix: "control-plane-".to_owned(),
            labels: [(CONTROL_PLANE.to_owned(), String::new())].into(),
            taints: vec![control_plane_taint()],
            ..paced
        });
    }
    nodes
}

fn control_plane_taint() -> Taint {
    Taint {
        key: CONTROL_PLANE.to_owned(),
        value: String::new(),
        effect: "NoSchedule".to_owned(),
    }
}

/// The address of the node's bridge: the first of its pods' range.
fn first_address(cidr: &str) -> Result<std::net::IpAddr> {
    let network: std::net::Ipv4Addr = cidr
        .split('/')
        .next()
        .unwrap_or_default()
        .parse()
        .with_context(|| format!("pod range {cidr:?}"))?;
    Ok(std::net::Ipv4Addr::from(u32::from(network) + 1).into())
}
