//! The agent of one real node: registers it, keeps it alive, runs its pods, and answers for their logs and commands.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rota_api::ApiError;
use rota_cluster::Cluster;
use rota_podlife::BackoffLimits;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::context::{Context, Recorder, bare_id};
use crate::env::ApiServerAddress;
use crate::logs::{self, LogOptions, LogStream};
use crate::node::NodeFacts;
use crate::paths::{self, Paths};
use crate::pods::{self, Pods};
use crate::references::References;
use crate::registration;
use crate::runtime::{ExecSpec, Runtime, Streams};
use crate::tokens::Tokens;
use crate::worker::{PodTask, PodView};
use crate::writer::Writer;

/// Everything an agent has to know.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The node it stands for.
    pub node: NodeFacts,
    /// Where it keeps volumes and logs; its own, shared with no other agent.
    pub data_dir: PathBuf,
    /// Where pods find the API server; `None` tells them nothing.
    pub api_server: Option<ApiServerAddress>,
    /// The DNS servers of the cluster; empty where it has none, and pods then ask the node's.
    pub cluster_dns: Vec<std::net::IpAddr>,
    /// The domain of the cluster's names, such as `cluster.local`.
    pub cluster_domain: String,
    /// How long containers that fail wait to be started again.
    pub backoff: BackoffLimits,
}

/// What an agent works with.
pub struct Ports {
    /// The cluster, seen and changed as `system:node:<name>`.
    pub cluster: Arc<dyn Cluster>,
    /// What runs its containers.
    pub runtime: Arc<dyn Runtime>,
    /// Tells users what happens.
    pub recorder: Arc<dyn Recorder>,
    /// Issues the tokens of its pods.
    pub tokens: Arc<dyn Tokens>,
}

/// What keeps an agent from starting.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The data directory cannot be made.
    #[error("create the data directory {path}")]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What failed.
        #[source]
        source: std::io::Error,
    },
}

/// Starts agents.
pub struct Agent;

/// A running agent. Dropping it stops the agent and leaves its containers running.
pub struct AgentHandle {
    context: Arc<Context>,
    pods: Arc<Pods>,
    stop: CancellationToken,
    ready: tokio::sync::watch::Receiver<bool>,
}

impl Agent {
    /// Registers the node and begins to run its pods, what already runs included.
    ///
    /// Errors: the data directory cannot be made. A cluster that cannot be reached is waited for.
    pub async fn start(config: AgentConfig, ports: Ports) -> Result<AgentHandle, AgentError> {
        let path = config.data_dir.clone();
        std::fs::create_dir_all(&path).map_err(|source| AgentError::DataDir { path, source })?;
        let context = Arc::new(Context::new(config, ports));
        let (stop, pods) = (CancellationToken::new(), Arc::new(Pods::default()));
        let (sender, ready) = tokio::sync::watch::channel(false);
        let node = registration::register(&context).await;
        let alive = registration::keep_alive(Arc::clone(&context), node, sender);
        tokio::spawn(stop.clone().run_until_cancelled_owned(alive));
        tokio::spawn(pods::run(Arc::clone(&context), Arc::clone(&pods), stop.clone()));
        Ok(AgentHandle {
            context,
            pods,
            stop,
            ready,
        })
    }
}

impl Context {
    fn new(config: AgentConfig, ports: Ports) -> Self {
        let Ports {
            cluster,
            runtime,
            recorder,
            tokens,
        } = ports;
        Self {
            tokens,
            paths: Paths::new(&config.data_dir),
            writer: Writer::start(Arc::clone(&cluster)),
            references: References::new(Arc::clone(&cluster)),
            sandboxes: Mutex::new(HashMap::new()),
            config,
            cluster,
            runtime,
            recorder,
        }
    }
}

impl AgentHandle {
    /// The name of the node.
    pub fn node(&self) -> &str {
        &self.context.config.node.name
    }

    /// Waits until the cluster knows that the node is Ready.
    pub async fn ready(&mut self) {
        // Refused only when the agent was stopped: then nothing is left to wait for.
        let _ = self.ready.wait_for(|ready| *ready).await;
    }

    /// Stops the agent; containers go on.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    fn task(&self, uid: &str) -> Option<PodTask> {
        self.pods
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(uid)
            .cloned()
    }

    fn view(&self, uid: &str) -> Result<PodView, ApiError> {
        let task = self.task(uid);
        task.map(|task| task.view.borrow().clone())
            .ok_or_else(|| ApiError::bad_request(format!("no pod with uid {uid:?} on node {:?}", self.node())))
    }

    /// The uid of the pod of that name which the node runs; `None` without one. Of a pod that ends and its successor it is
    /// the successor's.
    pub fn uid_of(&self, namespace: &str, name: &str) -> Option<String> {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let named = pods.iter().filter_map(|(uid, task)| {
            let view = task.view.borrow();
            let meta = view.object.meta();
            (meta.namespace == namespace && meta.name == name).then(|| (meta.created, uid.clone()))
        });
        named.max().map(|(_, uid)| uid)
    }

    /// The log of a container of the pod with this uid.
    ///
    /// Errors: the container has not run yet, or there is no such log.
    pub fn logs(&self, uid: &str, container: &str, options: &LogOptions) -> Result<LogStream, ApiError> {
        let task = self
            .task(uid)
            .ok_or_else(|| ApiError::bad_request(format!("no pod with uid {uid:?} on node {:?}", self.node())))?;
        let view = task.view.borrow().clone();
        let pod = view.object.meta().name.clone();
        let attempt = logs::attempt(&view.status, container, &pod, options.previous)?;
        let directory = self.context.paths.logs_of(view.object.meta());
        let path = paths::log(&directory, container, attempt);
        Ok(logs::read(
            path,
            options.clone(),
            logs::running(task.view, container.to_owned(), attempt),
        ))
    }

    /// Runs a command in a running container.
    ///
    /// Errors: the container does not run, or the runtime refuses.
    pub async fn exec(&self, uid: &str, container: &str, spec: &ExecSpec) -> Result<Streams, ApiError> {
        let id = self.running(uid, container)?;
        self.context.runtime.exec(&id, spec).await.map_err(ApiError::internal)
    }

    /// Reaches the streams of a running container, its standard input only if `stdin`.
    ///
    /// Errors: as for `exec`.
    pub async fn attach(&self, uid: &str, container: &str, stdin: bool) -> Result<Streams, ApiError> {
        let id = self.running(uid, container)?;
        self.context
            .runtime
            .attach(&id, stdin)
            .await
            .map_err(ApiError::internal)
    }

    /// Connects to a port of a pod.
    ///
    /// Errors: the pod has no sandbox, or nobody listens.
    pub async fn port_forward(&self, uid: &str, port: u16) -> Result<TcpStream, ApiError> {
        let view = self.view(uid)?;
        if view.sandbox.is_empty() {
            let name = &view.object.meta().name;
            return Err(ApiError::bad_request(format!("pod {name:?} is not running")));
        }
        self.context
            .runtime
            .connect(&view.sandbox, port)
            .await
            .map_err(ApiError::internal)
    }

    /// The runtime's name of the run of a container that runs.
    fn running(&self, uid: &str, container: &str) -> Result<String, ApiError> {
        let view = self.view(uid)?;
        let status = logs::status_of(&view.status, container);
        let running = status.filter(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()));
        let id = running.and_then(|status| status.container_id.as_deref()).map(bare_id);
        id.map(str::to_owned).ok_or_else(|| {
            let name = &view.object.meta().name;
            ApiError::bad_request(format!("container {container:?} in pod {name:?} is not running"))
        })
    }
}

impl Drop for AgentHandle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
