//! The port to whatever runs containers: sandboxes (one per pod) and the containers in them.
//!
//! Adapters: `oci` (containers of this kernel), `simulated` (no containers at all). What should run is decided in
//! `podlife`; here is only how to make it so and how to see what is. State survives a restart of this process: what
//! [`Runtime::inventory`] returns after a start is what runs, whoever started it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use futures::Stream;
use rota_api::Timestamp;

/// What a pod's sandbox needs: namespaces, an address, a place in the cgroup tree.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct SandboxSpec {
    /// The pod's uid; with `attempt` it names the sandbox.
    pub pod_uid: String,
    /// The pod's namespace.
    pub pod_namespace: String,
    /// The pod's name.
    pub pod_name: String,
    /// 0 for the first sandbox of the pod, one more for each re-creation.
    pub attempt: u32,
    /// The host name inside; at most 63 characters.
    pub hostname: String,
    /// Uses the node's network instead of one of its own.
    pub host_network: bool,
    /// Uses the node's process tree.
    pub host_pid: bool,
    /// Uses the node's IPC objects.
    pub host_ipc: bool,
    /// Containers of the pod see each other's processes.
    pub share_process_namespace: bool,
    /// Ports of the node that lead into the pod.
    pub port_mappings: Vec<PortMapping>,
    /// Kernel parameters to set inside.
    pub sysctls: BTreeMap<String, String>,
    /// Limits of the pod as a whole.
    pub resources: Resources,
}

/// A port of the node that leads into a pod.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PortMapping {
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The node's address it is bound to; `None` is all of them.
    pub host_ip: Option<IpAddr>,
    /// The node's port.
    pub host_port: u16,
    /// The pod's port.
    pub container_port: u16,
}

/// Limits for the kernel to enforce.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Resources {
    /// Relative weight of processor time, from the request, in thousandths of a core.
    pub cpu_request_millis: u64,
    /// Most processor time, in thousandths of a core; `None` is unlimited.
    pub cpu_limit_millis: Option<u64>,
    /// Most memory; `None` is unlimited.
    pub memory_limit_bytes: Option<u64>,
    /// Most processes; `None` is unlimited.
    pub pids_max: Option<u64>,
    /// `oom_score_adj` of its processes.
    pub oom_score_adj: i32,
}

/// What one container needs.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct ContainerSpec {
    /// The name in the pod.
    pub name: String,
    /// 0 for the first run in the pod, one more for each restart.
    pub attempt: u32,
    /// The image to run, as [`Runtime::image`] resolved it.
    pub image: String,
    /// The command, from the pod or from the image.
    pub args: Vec<String>,
    /// The environment, complete.
    pub env: Vec<(String, String)>,
    /// The working directory; empty is the image's.
    pub working_dir: String,
    /// What is mounted where, in order.
    pub mounts: Vec<Mount>,
    /// Limits of this container.
    pub resources: Resources,
    /// Who it runs as and what it may do.
    pub security: Security,
    /// The file its output is written to, in the CRI log format.
    pub log_path: PathBuf,
    /// Has standard input.
    pub stdin: bool,
    /// Standard input ends with the first client that ends its own; otherwise never, whoever comes and goes.
    #[serde(default)]
    pub stdin_once: bool,
    /// Gives it a terminal.
    pub tty: bool,
    /// A file inside whose content becomes the termination message; it is mounted by the caller.
    pub termination_message_path: String,
    /// The container of the sandbox whose processes it sees and may signal, by its name in the pod; empty is none. It must run,
    /// unless all processes of the pod are in one namespace anyway.
    #[serde(default)]
    pub target: String,
}

/// A directory or file of the node inside a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mount {
    /// The path on the node.
    pub source: PathBuf,
    /// The path inside.
    pub target: PathBuf,
    /// Without write access.
    pub read_only: bool,
    /// `None`, `HostToContainer` or `Bidirectional`; empty is `None`.
    pub propagation: String,
    /// The source lies inside of a volume, where containers may put links in its place at any time.
    #[serde(default)]
    pub is_part: bool,
}

/// Who a container runs as and what it may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Security {
    /// All privileges of the node.
    pub privileged: bool,
    /// Numeric user; `None` is the image's.
    pub run_as_user: Option<i64>,
    /// Numeric group; `None` is the image's.
    pub run_as_group: Option<i64>,
    /// Further groups.
    pub supplemental_groups: Vec<i64>,
    /// Refuses to run as user 0.
    pub run_as_non_root: bool,
    /// Capabilities added, without `CAP_`; `ALL` is all.
    pub capabilities_add: Vec<String>,
    /// Capabilities dropped, likewise.
    pub capabilities_drop: Vec<String>,
    /// Without write access to its root.
    pub read_only_root: bool,
    /// Forbids gaining privileges.
    pub no_new_privileges: bool,
}

/// A sandbox as it is.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct SandboxState {
    /// The runtime's name for it.
    pub id: String,
    /// The pod's uid.
    pub pod_uid: String,
    /// The pod's namespace.
    pub pod_namespace: String,
    /// The pod's name.
    pub pod_name: String,
    /// Which sandbox of the pod it is.
    pub attempt: u32,
    /// Its addresses; empty with the node's network.
    pub ips: Vec<IpAddr>,
    /// True while it can hold containers.
    pub ready: bool,
    /// When it was made.
    pub created: Timestamp,
    /// Its containers, running and ended, in the order in which they were created.
    pub containers: Vec<ContainerState>,
}

/// A container as it is.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ContainerState {
    /// The runtime's name for it, such as shown behind `rota://` in a pod's status.
    pub id: String,
    /// The sandbox it is in.
    pub sandbox: String,
    /// The name in the pod.
    pub name: String,
    /// Which run in the pod it is.
    pub attempt: u32,
    /// The image as it was asked for.
    pub image: String,
    /// The image's digest.
    pub image_id: String,
    /// What it is doing.
    pub phase: ContainerPhase,
    /// Where its output is.
    pub log_path: PathBuf,
}

/// What a container is doing.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum ContainerPhase {
    /// It runs since then.
    Running {
        /// When it was started.
        started: Timestamp,
    },
    /// It has ended.
    Exited {
        /// When it was started.
        started: Timestamp,
        /// When it ended.
        finished: Timestamp,
        /// Its exit code; 128 + n after signal n.
        exit_code: i32,
        /// True when the kernel killed it for want of memory.
        oom_killed: bool,
        /// Why it could not run or how it ended, where more is known than the code.
        message: String,
    },
}

/// An image that is on the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Its digest.
    pub id: String,
    /// The names it is known under.
    pub names: Vec<String>,
    /// Bytes of its layers.
    pub size_bytes: u64,
    /// Entry point and arguments it brings.
    pub entrypoint: Vec<String>,
    /// Arguments it brings.
    pub cmd: Vec<String>,
    /// Environment it brings.
    pub env: Vec<(String, String)>,
    /// Working directory it brings.
    pub working_dir: String,
    /// User it brings, as written: a name or number, perhaps with a group.
    pub user: String,
    /// Signal that asks it to end; empty is `SIGTERM`.
    pub stop_signal: String,
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The image is not on the node.
    #[error("image {0:?} is not present on this node; import it with `rota image import FILE`")]
    NoImage(String),
    /// The image could not be fetched.
    #[error("pulling image {image:?}: {reason}")]
    Pull {
        /// The image.
        image: String,
        /// What failed.
        reason: String,
    },
    /// The container could not be made from what was asked: the asker's fault, such as a command that is not there.
    #[error("{0}")]
    Start(String),
    /// The sandbox or container does not exist.
    #[error("{0} does not exist")]
    Gone(String),
    /// The node itself failed.
    #[error("{what}: {source}")]
    Node {
        /// What was attempted, on what.
        what: String,
        /// What failed.
        #[source]
        source: std::io::Error,
    },
}

/// Standard streams of a process started by [`Runtime::exec`] or reached by [`Runtime::attach`].
pub struct Streams {
    /// Its standard input.
    pub stdin: Option<Pin<Box<dyn tokio::io::AsyncWrite + Send>>>,
    /// Its standard output; with a terminal, all output.
    pub stdout: Option<Pin<Box<dyn tokio::io::AsyncRead + Send>>>,
    /// Its standard error; none with a terminal.
    pub stderr: Option<Pin<Box<dyn tokio::io::AsyncRead + Send>>>,
    /// Tells the terminal, if it has one, its size as (columns, rows).
    pub resize: Option<tokio::sync::mpsc::Sender<(u16, u16)>>,
    /// Its exit code, once it has ended.
    pub exit: tokio::sync::oneshot::Receiver<i32>,
}

/// A process to start in a running container.
#[derive(Clone, Debug, Default)]
pub struct ExecSpec {
    /// The command.
    pub args: Vec<String>,
    /// Wants standard input.
    pub stdin: bool,
    /// Wants a terminal.
    pub tty: bool,
    /// Ends with the interest in it: once the streams are dropped the process is killed, with what it started.
    pub kill_when_left: bool,
}

/// Something that runs containers.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Name and version as shown by a node, such as `rota://0.1.0`.
    fn version(&self) -> String;

    /// Everything there is on this node: sandboxes and their containers, running or ended and not yet removed.
    async fn inventory(&self) -> Result<Vec<SandboxState>, RuntimeError>;

    /// Every container that ends from now on, at once.
    fn exits(&self) -> Pin<Box<dyn Stream<Item = ContainerState> + Send>>;

    /// The image under this name, if it is on the node.
    async fn image(&self, name: &str) -> Result<Option<Image>, RuntimeError>;

    /// Fetches an image from its registry.
    async fn pull(&self, name: &str) -> Result<Image, RuntimeError>;

    /// The images on this node.
    async fn images(&self) -> Result<Vec<Image>, RuntimeError>;

    /// Makes a sandbox.
    async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<SandboxState, RuntimeError>;

    /// Ends a sandbox: kills what still runs in it, gives back its address and its ports. Idempotent.
    async fn stop_sandbox(&self, id: &str) -> Result<(), RuntimeError>;

    /// Removes a stopped sandbox and its ended containers, log files excepted. Idempotent.
    async fn remove_sandbox(&self, id: &str) -> Result<(), RuntimeError>;

    /// Creates and starts a container in a sandbox.
    ///
    /// Errors: `Start` with the kernel's words where the command cannot be run.
    async fn start_container(&self, sandbox: &str, spec: &ContainerSpec) -> Result<ContainerState, RuntimeError>;

    /// Asks a container to end, and kills it after `grace`. Returns when it has ended. Idempotent.
    async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), RuntimeError>;

    /// Removes an ended container. Idempotent.
    async fn remove_container(&self, id: &str) -> Result<(), RuntimeError>;

    /// Starts a process in a running container.
    async fn exec(&self, container: &str, spec: &ExecSpec) -> Result<Streams, RuntimeError>;

    /// Reaches the streams of a running container, its standard input only if `stdin`. Once what is written to that ends, so
    /// does the container's where it is for one client; else the streams end, with exit code 0, and the container goes on.
    async fn attach(&self, container: &str, stdin: bool) -> Result<Streams, RuntimeError>;

    /// Connects to a port inside a sandbox's network.
    async fn connect(&self, sandbox: &str, port: u16) -> Result<tokio::net::TcpStream, RuntimeError>;
}
