//! The [`Runtime`] port over shims: which sandboxes there are, and who is asked what.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::Stream;
use rota_api::Timestamp;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::cgroup::Cgroups;
use super::client::{Client, Event, connect, lock};
use super::protocol::{PodNetwork, Reply, Request, Setup, Start};
use super::record::{
    CONTAINER_FILE, ContainerRecord, Durability, Layout, ProcessId, SANDBOX_FILE, SandboxRecord, container_dir,
    container_id, container_records, read_record, write_record,
};
use super::streams::{self, Wanted};
use super::zygote::Zygote;
use crate::image::Store;
use crate::network::{Addresses, ForwardedPort, Links, Nat, Prefix};
use crate::runtime::{
    ContainerPhase, ContainerSpec, ContainerState, ExecSpec, Image, Runtime, RuntimeError, SandboxSpec, SandboxState,
    Streams,
};

/// Exit code of a container whose end nobody saw.
const EXIT_CODE_LOST: i32 = 137;

/// What the runtime of a node is made from.
#[derive(Clone, Debug)]
pub struct OciConfig {
    /// Where images, sandboxes and their records are kept.
    pub data_dir: PathBuf,
    /// The node's name; several nodes may share a data directory.
    pub node_name: String,
    /// The prefix its pods' addresses are from, such as `10.244.0.0/24`.
    pub pod_cidr: String,
    /// The prefix of all nodes' pods, which are reached without address translation; `None` is the node's own.
    pub cluster_cidr: Option<String>,
    /// A binary whose `main` calls [`super::shim::main_if_shim`]; `None` is this one.
    pub shim_program: Option<PathBuf>,
}

/// Containers of this kernel.
pub struct OciRuntime {
    layout: Layout,
    images: Arc<Store>,
    cgroups: Cgroups,
    zygote: Mutex<Zygote>,
    network: Network,
    state: Arc<State>,
}

/// The node's side of its pods' network.
struct Network {
    prefix: Prefix,
    bridge_index: u32,
    nat: Nat,
    addresses: Mutex<Addresses>,
    /// One change of the forwarded ports at a time, so that the latest set is the one that stays.
    ports: tokio::sync::Mutex<()>,
}

/// What is known of the sandboxes.
#[derive(Default)]
struct State {
    sandboxes: Mutex<BTreeMap<String, Arc<Sandbox>>>,
    /// The sandbox of each container.
    homes: Mutex<HashMap<String, String>>,
    listeners: Mutex<Vec<mpsc::UnboundedSender<ContainerState>>>,
}

struct Sandbox {
    dir: PathBuf,
    record: SandboxRecord,
    /// None once the shim is gone.
    client: Mutex<Option<Arc<Client>>>,
    containers: Mutex<Vec<ContainerState>>,
    /// Whether its address is still taken.
    holds_network: AtomicBool,
}

impl OciRuntime {
    /// Opens the runtime of a node and finds again what runs.
    ///
    /// Errors: `Node`, when this machine cannot hold containers: no root, no bridge, a pod prefix that is none.
    pub async fn open(config: OciConfig) -> Result<Arc<Self>, RuntimeError> {
        if !rustix::process::geteuid().is_root() {
            let denied = io::Error::new(io::ErrorKind::PermissionDenied, "containers need root");
            return Err(node("opening the container runtime", denied));
        }
        let layout = Layout::new(&config.data_dir, &config.node_name);
        std::fs::create_dir_all(layout.sandboxes()).map_err(|e| node(layout.sandboxes().display(), e))?;
        let prefix: Prefix = parse_prefix(&config.pod_cidr)?;
        let cluster = config.cluster_cidr.as_deref().map(parse_prefix).transpose()?;
        let images =
            Arc::new(Store::open(&config.data_dir.join("images")).map_err(|e| node("opening the image store", e))?);
        let cgroups = Cgroups::of_host().map_err(|e| node("reading the cgroup mounts", e))?;
        let program = config
            .shim_program
            .clone()
            .unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
        let zygote =
            Zygote::start(&program, &format!("{}/shims", layout.cgroup())).map_err(|e| node(program.display(), e))?;

        let state = Arc::new(State::default());
        for sandbox in find_sandboxes(&layout, &cgroups, &state).await? {
            state.insert(Arc::new(sandbox));
        }
        let used: Vec<_> = state
            .all()
            .iter()
            .filter(|s| s.is_ready())
            .filter_map(|s| Some(s.record.network.as_ref()?.address))
            .collect();
        let links = Links::open().map_err(|e| node("opening a netlink socket", e))?;
        let bridge = layout.bridge();
        let bridge_index = links
            .ensure_bridge(&bridge, prefix)
            .map_err(|e| node(format_args!("making the bridge {bridge}"), e))?;
        let network = Network {
            prefix,
            bridge_index,
            nat: Nat::new(&layout.tag, &bridge, prefix, cluster),
            addresses: Mutex::new(Addresses::new(prefix, used)),
            ports: tokio::sync::Mutex::new(()),
        };
        if let Err(e) = network.nat.install(&state.forwarded_ports()?) {
            // Pods still reach each other and the node; a hostPort will say what is missing when it is asked for.
            tracing::warn!(error = %e, "this kernel has no nf_tables: pods cannot reach beyond this node");
        }
        Ok(Arc::new(Self {
            layout,
            images,
            cgroups,
            zygote: Mutex::new(zygote),
            network,
            state,
        }))
    }

    /// The images of the node's data directory.
    pub fn store(&self) -> &Arc<Store> {
        &self.images
    }

    /// A container as it is, if there is one of this id.
    pub fn container(&self, id: &str) -> Option<ContainerState> {
        let sandbox = self.home(id)?;
        let containers = lock(&sandbox.containers);
        containers.iter().find(|container| container.id == id).cloned()
    }

    fn take_network(&self, id: &str, spec: &SandboxSpec) -> Result<Option<PodNetwork>, RuntimeError> {
        if spec.host_network {
            return Ok(None);
        }
        let address = lock(&self.network.addresses).take();
        let full = || {
            io::Error::new(
                io::ErrorKind::AddrInUse,
                "all addresses of the node's pod prefix are in use",
            )
        };
        let address = address.ok_or_else(|| node("choosing the pod's address", full()))?;
        let name = container_id(&self.layout.tag, id, 0);
        Ok(Some(PodNetwork {
            address,
            prefix_len: self.network.prefix.len,
            gateway: self.network.prefix.gateway(),
            bridge_index: self.network.bridge_index,
            host_link: format!("rv{}", &name[..12]),
        }))
    }

    /// Gives a sandbox's address back once, however often it is stopped: it may be another's by then.
    fn give_back(&self, sandbox: &Sandbox) {
        if sandbox.holds_network.swap(false, Ordering::Relaxed) {
            self.release_network(sandbox.record.network.as_ref());
        }
    }

    fn release_network(&self, network: Option<&PodNetwork>) {
        if let Some(network) = network {
            lock(&self.network.addresses).release(network.address);
        }
    }

    async fn create_sandbox(
        &self,
        id: &str,
        spec: &SandboxSpec,
        network: Option<PodNetwork>,
    ) -> Result<Sandbox, RuntimeError> {
        let dir = self.layout.sandbox(id);
        let fresh = dir.clone();
        blocking(move || {
            // What is there is of a sandbox that never stood or was lost; nobody knows it.
            remove_tree(&fresh)?;
            std::fs::create_dir_all(fresh.join("containers"))
                .map_err(|e| node(format_args!("making {}", fresh.display()), e))
        })
        .await?;
        let cgroup = format!("{}/pod{id}", self.layout.cgroup());
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(|e| node("making a socket", e))?;
        ours.set_nonblocking(true).map_err(|e| node("making a socket", e))?;
        lock(&self.zygote)
            .fork_shim(&dir, &theirs.into())
            .map_err(|e| node("forking a shim", e))?;
        let stream = UnixStream::from_std(ours).map_err(|e| node("making a socket", e))?;
        let client = self.state.client(stream, id, &self.cgroups);
        let setup = Setup {
            id: id.to_owned(),
            spec: spec.clone(),
            network: network.clone(),
            cgroup: cgroup.clone(),
        };
        let Reply::Ready { pid } = client.request(Request::Setup(Box::new(setup))).await? else {
            return Err(node("setting the sandbox up", io::ErrorKind::InvalidData.into()));
        };
        let shim = ProcessId::of(pid).map_err(|e| node("reading the shim's start time", e))?;
        let record = SandboxRecord {
            id: id.to_owned(),
            spec: spec.clone(),
            network,
            cgroup,
            shim,
            created: Timestamp::now(),
        };
        write_record(&dir.join(SANDBOX_FILE), &record, Durability::Process)
            .map_err(|e| node("writing the sandbox's record", e))?;
        Ok(Sandbox {
            dir,
            record,
            client: Mutex::new(Some(Arc::new(client))),
            containers: Mutex::new(Vec::new()),
            holds_network: AtomicBool::new(true),
        })
    }

    /// Removes what is left of a sandbox that never stood, so that it can be tried again under the same id.
    async fn remove_rest(&self, id: &str, network: Option<PodNetwork>) -> Result<(), RuntimeError> {
        let (cgroups, cgroup) = (self.cgroups.clone(), format!("{}/pod{id}", self.layout.cgroup()));
        let dir = self.layout.sandbox(id);
        blocking(move || {
            let _ = cgroups.remove(&cgroup);
            if let Some(PodNetwork { host_link, .. }) = network {
                // The kernel takes its time with the links of a network that nobody is in any more.
                let removed = Links::open().and_then(|links| links.remove(&host_link));
                removed.map_err(|e| node(format_args!("removing the link {host_link}"), e))?;
            }
            remove_tree(&dir)
        })
        .await
    }

    async fn update_ports(&self) -> Result<(), RuntimeError> {
        let _turn = self.network.ports.lock().await;
        let ports = self.state.forwarded_ports()?;
        let nat = self.network.nat.clone();
        blocking(move || {
            nat.set_ports(&ports)
                .map_err(|e| node("forwarding the node's ports", e))
        })
        .await
    }

    fn home(&self, container: &str) -> Option<Arc<Sandbox>> {
        let sandbox = lock(&self.state.homes).get(container).cloned()?;
        self.state.get(&sandbox)
    }

    fn running(&self, container: &str) -> Result<(Arc<Sandbox>, Arc<Client>), RuntimeError> {
        let gone = || RuntimeError::Gone(format!("container {container}"));
        let sandbox = self.home(container).ok_or_else(gone)?;
        let client = sandbox.client().ok_or_else(gone)?;
        Ok((sandbox, client))
    }
}

#[async_trait]
impl Runtime for OciRuntime {
    fn version(&self) -> String {
        concat!("rota://", env!("CARGO_PKG_VERSION")).to_owned()
    }

    async fn inventory(&self) -> Result<Vec<SandboxState>, RuntimeError> {
        Ok(self.state.all().iter().map(|sandbox| sandbox.state()).collect())
    }

    fn exits(&self) -> Pin<Box<dyn Stream<Item = ContainerState> + Send>> {
        // One message for each container, when it has ended.
        let (sender, receiver) = mpsc::unbounded_channel();
        lock(&self.state.listeners).push(sender);
        Box::pin(futures::stream::unfold(receiver, async |mut receiver| {
            Some((receiver.recv().await?, receiver))
        }))
    }

    async fn image(&self, name: &str) -> Result<Option<Image>, RuntimeError> {
        Ok(self
            .images
            .get(name)
            .map_err(|e| node("reading the image store", e))?
            .map(|stored| stored.image))
    }

    async fn pull(&self, name: &str) -> Result<Image, RuntimeError> {
        self.images.pull(name).await.map_err(|e| RuntimeError::Pull {
            image: name.to_owned(),
            reason: error_chain(&e),
        })
    }

    async fn images(&self) -> Result<Vec<Image>, RuntimeError> {
        self.images.list().map_err(|e| node("reading the image store", e))
    }

    async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<SandboxState, RuntimeError> {
        let id = sandbox_id(spec)?;
        if let Some(sandbox) = self.state.get(&id).filter(|sandbox| sandbox.is_ready()) {
            return Ok(sandbox.state());
        }
        let network = self.take_network(&id, spec)?;
        let created = self.create_sandbox(&id, spec, network.clone()).await;
        let sandbox = match created {
            Ok(sandbox) => Arc::new(sandbox),
            Err(e) => {
                self.release_network(network.as_ref());
                self.remove_rest(&id, network).await?;
                return Err(e);
            }
        };
        self.state.insert(Arc::clone(&sandbox));
        if !spec.port_mappings.is_empty()
            && let Err(e) = self.update_ports().await
        {
            // A pod that was promised a port of the node does not run without it: what stands is given up, and the ports
            // are set again without it, which may fail for the same reason.
            let _ = self.stop_sandbox(&id).await;
            self.give_back(&sandbox);
            self.state.remove(&id);
            self.remove_rest(&id, network).await?;
            return Err(e);
        }
        // An earlier sandbox of the pod whose shim died is stopped by nobody. No port leads to it any more.
        let is_lost = |old: &Arc<Sandbox>| old.record.spec.pod_uid == spec.pod_uid && !old.is_ready();
        for old in self.state.all().iter().filter(|old| is_lost(old)) {
            self.give_back(old);
        }
        Ok(sandbox.state())
    }

    async fn stop_sandbox(&self, id: &str) -> Result<(), RuntimeError> {
        let Some(sandbox) = self.state.get(id) else {
            return Ok(());
        };
        let answer = match sandbox.client() {
            Some(client) => client.request(Request::Shutdown).await,
            None => Ok(Reply::Done),
        };
        lock(&sandbox.client).take();
        let held = sandbox.holds_network.load(Ordering::Relaxed);
        if held && !sandbox.record.spec.port_mappings.is_empty() {
            // Before the address is given back: a port that still led there would lead into another pod.
            self.update_ports().await?;
        }
        self.give_back(&sandbox);
        match answer {
            // A shim that is gone took its sandbox with it.
            Ok(_) | Err(RuntimeError::Gone(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    async fn remove_sandbox(&self, id: &str) -> Result<(), RuntimeError> {
        let Some(sandbox) = self.state.get(id) else {
            return Ok(());
        };
        self.stop_sandbox(id).await?;
        let dir = sandbox.dir.clone();
        blocking(move || remove_tree(&dir)).await?;
        self.state.remove(id);
        Ok(())
    }

    async fn start_container(&self, sandbox: &str, spec: &ContainerSpec) -> Result<ContainerState, RuntimeError> {
        let gone = || RuntimeError::Gone(format!("sandbox {sandbox}"));
        let home = self.state.get(sandbox).ok_or_else(gone)?;
        let client = home.client().ok_or_else(gone)?;
        let stored = self
            .images
            .get(&spec.image)
            .map_err(|e| node("reading the image store", e))?;
        let stored = stored.ok_or_else(|| RuntimeError::NoImage(spec.image.clone()))?;
        let id = container_id(sandbox, &spec.name, spec.attempt);
        let start = Start {
            id: id.clone(),
            spec: spec.clone(),
            root: stored.root,
            image_id: stored.image.id,
            image_user: stored.image.user,
            image_working_dir: stored.image.working_dir,
            stop_signal: stored.image.stop_signal,
        };
        lock(&self.state.homes).insert(id, sandbox.to_owned());
        match client.request(Request::Start(Box::new(start))).await? {
            Reply::Started(state) => Ok(home.note_started(*state)),
            _ => Err(node("starting the container", io::ErrorKind::InvalidData.into())),
        }
    }

    async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), RuntimeError> {
        let Ok((_, client)) = self.running(id) else {
            return Ok(());
        };
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        match client
            .request(Request::Stop {
                container: id.to_owned(),
                grace_ms,
            })
            .await
        {
            Ok(_) | Err(RuntimeError::Gone(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    async fn remove_container(&self, id: &str) -> Result<(), RuntimeError> {
        let Some(sandbox) = self.home(id) else { return Ok(()) };
        if let Some(client) = sandbox.client() {
            client
                .request(Request::Remove {
                    container: id.to_owned(),
                })
                .await?;
        }
        let dir = container_dir(&sandbox.dir, id);
        blocking(move || remove_tree(&dir)).await?;
        lock(&sandbox.containers).retain(|container| container.id != id);
        lock(&self.state.homes).remove(id);
        Ok(())
    }

    async fn exec(&self, container: &str, spec: &ExecSpec) -> Result<Streams, RuntimeError> {
        let (sandbox, _) = self.running(container)?;
        let stream = connect(&sandbox.dir)
            .await
            .map_err(|e| node("connecting to the sandbox's shim", e))?;
        let (args, container) = (spec.args.clone(), container.to_owned());
        let request = Request::Exec {
            container,
            args,
            stdin: spec.stdin,
            tty: spec.tty,
            kill_when_left: spec.kill_when_left,
        };
        streams::open(
            stream,
            request,
            Wanted {
                stdin: spec.stdin,
                tty: spec.tty,
                kill_when_left: spec.kill_when_left,
            },
        )
        .await
    }

    async fn attach(&self, container: &str, stdin: bool) -> Result<Streams, RuntimeError> {
        let (sandbox, _) = self.running(container)?;
        let stream = connect(&sandbox.dir)
            .await
            .map_err(|e| node("connecting to the sandbox's shim", e))?;
        let request = Request::Attach {
            container: container.to_owned(),
        };
        streams::open(
            stream,
            request,
            Wanted {
                stdin,
                tty: false,
                kill_when_left: false,
            },
        )
        .await
    }

    async fn connect(&self, sandbox: &str, port: u16) -> Result<tokio::net::TcpStream, RuntimeError> {
        let home = self.state.get(sandbox).filter(|home| home.is_ready());
        let home = home.ok_or_else(|| RuntimeError::Gone(format!("sandbox {sandbox}")))?;
        let shim = home.record.shim;
        let stream = blocking(move || {
            connect_inside(shim, port).map_err(|e| node(format_args!("connecting to port {port} of the pod"), e))
        });
        tokio::net::TcpStream::from_std(stream.await?).map_err(|e| node("connecting to the pod", e))
    }
}

impl Sandbox {
    fn client(&self) -> Option<Arc<Client>> {
        lock(&self.client).clone()
    }

    fn is_ready(&self) -> bool {
        lock(&self.client).is_some()
    }

    fn state(&self) -> SandboxState {
        let spec = &self.record.spec;
        SandboxState {
            id: self.record.id.clone(),
            pod_uid: spec.pod_uid.clone(),
            pod_namespace: spec.pod_namespace.clone(),
            pod_name: spec.pod_name.clone(),
            attempt: spec.attempt,
            ips: self
                .record
                .network
                .iter()
                .map(|network| IpAddr::V4(network.address))
                .collect(),
            ready: self.is_ready(),
            created: self.record.created,
            containers: lock(&self.containers).clone(),
        }
    }

    /// Takes note of a start; the exit may have been told before the answer to the start was read.
    fn note_started(&self, state: ContainerState) -> ContainerState {
        let mut containers = lock(&self.containers);
        match containers.iter().find(|known| known.id == state.id) {
            Some(known) => known.clone(),
            None => {
                containers.push(state.clone());
                state
            }
        }
    }

    fn note_exit(&self, state: ContainerState) {
        let mut containers = lock(&self.containers);
        match containers.iter_mut().find(|known| known.id == state.id) {
            Some(known) => *known = state,
            None => containers.push(state),
        }
    }
}

impl State {
    fn insert(&self, sandbox: Arc<Sandbox>) {
        let id = sandbox.record.id.clone();
        let homes = lock(&sandbox.containers)
            .iter()
            .map(|c| (c.id.clone(), id.clone()))
            .collect::<Vec<_>>();
        lock(&self.homes).extend(homes);
        lock(&self.sandboxes).insert(id, sandbox);
    }

    fn remove(&self, id: &str) {
        lock(&self.sandboxes).remove(id);
        lock(&self.homes).retain(|_, home| home != id);
    }

    fn get(&self, id: &str) -> Option<Arc<Sandbox>> {
        lock(&self.sandboxes).get(id).cloned()
    }

    fn all(&self) -> Vec<Arc<Sandbox>> {
        lock(&self.sandboxes).values().cloned().collect()
    }

    fn announce(&self, state: &ContainerState) {
        lock(&self.listeners).retain(|listener| listener.send(state.clone()).is_ok());
    }

    /// A client whose events land here.
    fn client(self: &Arc<Self>, stream: UnixStream, sandbox: &str, cgroups: &Cgroups) -> Client {
        let state = Arc::downgrade(self);
        let id = sandbox.to_owned();
        let cgroups = cgroups.clone();
        Client::new(stream, move |event| {
            let Some(state) = state.upgrade() else { return };
            let sandbox = state.get(&id);
            match (event, sandbox) {
                (Event::Exited(container), Some(sandbox)) => {
                    sandbox.note_exit(ContainerState::clone(&container));
                    state.announce(&container);
                }
                (Event::Gone, Some(sandbox)) => {
                    lock(&sandbox.client).take();
                    let cgroups = cgroups.clone();
                    // Waits for processes to end and for the disk.
                    tokio::task::spawn_blocking(move || {
                        for container in sandbox.bury(&cgroups) {
                            state.announce(&container);
                        }
                    });
                }
                (_, None) => {}
            }
        })
    }

    fn forwarded_ports(&self) -> Result<Vec<ForwardedPort>, RuntimeError> {
        let mut ports = Vec::new();
        for sandbox in self.all().iter().filter(|sandbox| sandbox.is_ready()) {
            let Some(network) = &sandbox.record.network else {
                continue;
            };
            for mapping in &sandbox.record.spec.port_mappings {
                let protocol = ForwardedPort::protocol_number(&mapping.protocol).ok_or_else(|| {
                    RuntimeError::Start(format!("protocol {:?} cannot be forwarded", mapping.protocol))
                })?;
                let host_address = match mapping.host_ip {
                    Some(IpAddr::V4(address)) if !address.is_unspecified() => Some(address),
                    Some(IpAddr::V6(address)) if !address.is_unspecified() => continue,
                    _ => None,
                };
                let (host_port, pod_port) = (mapping.host_port, mapping.container_port);
                ports.push(ForwardedPort {
                    protocol,
                    host_address,
                    host_port,
                    pod: network.address,
                    pod_port,
                });
            }
        }
        Ok(ports)
    }
}

impl Sandbox {
    /// After the shim is gone: what still ran ends, and is recorded as ended by nobody knows what.
    fn bury(&self, cgroups: &Cgroups) -> Vec<ContainerState> {
        cgroups.kill(&self.record.cgroup);
        // The shim's last words on disk are newer than what it could still tell.
        let mut buried = Vec::new();
        for mut record in container_records(&self.dir) {
            let known = lock(&self.containers)
                .iter()
                .find(|known| known.id == record.state.id)
                .cloned();
            record.bury(&self.dir);
            if known.as_ref() != Some(&record.state) {
                self.note_exit(record.state.clone());
                buried.push(record.state);
            }
        }
        let _ = cgroups.remove(&self.record.cgroup);
        buried
    }
}

impl ContainerRecord {
    /// Turns a record of something that ran when its shim died into that of its end.
    fn bury(&mut self, sandbox_dir: &Path) {
        if let ContainerPhase::Running { started } = self.state.phase {
            self.state.phase = ContainerPhase::Exited {
                started,
                finished: Timestamp::now(),
                exit_code: EXIT_CODE_LOST,
                oom_killed: false,
                message: "The container could not be located when the pod was terminated".to_owned(),
            };
            let path = container_dir(sandbox_dir, &self.state.id).join(CONTAINER_FILE);
            let _ = write_record(&path, self, Durability::Power);
        }
    }
}

/// The sandboxes on disk: connects to those whose shim lives, buries the others, removes what never stood.
async fn find_sandboxes(layout: &Layout, cgroups: &Cgroups, state: &Arc<State>) -> Result<Vec<Sandbox>, RuntimeError> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(layout.sandboxes()).map_err(|e| node(layout.sandboxes().display(), e))?;
    for entry in entries.filter_map(Result::ok) {
        let dir = entry.path();
        let Ok(record) = read_record::<SandboxRecord>(&dir.join(SANDBOX_FILE)) else {
            let id = entry.file_name().to_string_lossy().into_owned();
            let cgroup = format!("{}/pod{id}", layout.cgroup());
            cgroups.kill(&cgroup);
            let _ = cgroups.remove(&cgroup);
            remove_tree(&dir)?;
            continue;
        };
        let containers = container_records(&dir).into_iter().map(|record| record.state).collect();
        let sandbox = Sandbox {
            dir,
            record,
            client: Mutex::new(None),
            containers: Mutex::new(containers),
            holds_network: AtomicBool::new(false),
        };
        match reconnect(&sandbox, cgroups, state).await {
            Ok(client) => {
                *lock(&sandbox.client) = Some(client);
                sandbox.holds_network.store(true, Ordering::Relaxed);
            }
            Err(_) => drop(sandbox.bury(cgroups)),
        }
        found.push(sandbox);
    }
    Ok(found)
}

async fn reconnect(sandbox: &Sandbox, cgroups: &Cgroups, state: &Arc<State>) -> Result<Arc<Client>, RuntimeError> {
    if !sandbox.record.shim.is_alive() {
        return Err(RuntimeError::Gone("the sandbox's shim".to_owned()));
    }
    let stream = connect(&sandbox.dir)
        .await
        .map_err(|e| node("connecting to the sandbox's shim", e))?;
    let client = state.client(stream, &sandbox.record.id, cgroups);
    if let Reply::Containers(containers) = client.request(Request::Hello).await? {
        for container in containers {
            sandbox.note_exit(container);
        }
    }
    Ok(Arc::new(client))
}

/// Connects from inside the network namespace of a process.
fn connect_inside(process: ProcessId, port: u16) -> io::Result<std::net::TcpStream> {
    // A thread of its own: a namespace belongs to a thread, and a worker of the async runtime must not change its own.
    let thread = std::thread::spawn(move || {
        let namespace = std::fs::File::open(format!("/proc/{}/ns/net", process.pid))?;
        if !process.is_alive() {
            return Err(io::ErrorKind::NotFound.into());
        }
        use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(LinkNameSpaceType::Network))?;
        let stream = std::net::TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    });
    thread
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the connecting thread panicked")))
}

/// The id of a sandbox: the same attempt of the same pod always has the same id.
///
/// Errors: the uid cannot name a directory.
fn sandbox_id(spec: &SandboxSpec) -> Result<String, RuntimeError> {
    let uid = &spec.pod_uid;
    let safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if uid.is_empty() || uid.len() > 64 || !uid.chars().all(safe) {
        return Err(RuntimeError::Start(format!(
            "{uid:?} cannot name a sandbox: letters, digits and - only, at most 64"
        )));
    }
    Ok(format!("{uid}-{}", spec.attempt))
}

fn parse_prefix(text: &str) -> Result<Prefix, RuntimeError> {
    text.parse()
        .map_err(|e| node("the node's pod prefix", io::Error::new(io::ErrorKind::InvalidInput, e)))
}

fn remove_tree(dir: &Path) -> Result<(), RuntimeError> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(node(format_args!("removing {}", dir.display()), e)),
        _ => Ok(()),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RuntimeError> + Send + 'static,
) -> Result<T, RuntimeError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| node("a worker thread", e.into()))?
}

fn node(what: impl std::fmt::Display, source: io::Error) -> RuntimeError {
    RuntimeError::Node {
        what: what.to_string(),
        source,
    }
}

fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
