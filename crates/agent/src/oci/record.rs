//! What is on disk about sandboxes and containers, and where.
//!
//! ```text
//! <data_dir>/images/                      shared by all nodes of the data directory (see `image`)
//! <data_dir>/nodes/<node>/sandboxes/<id>/
//!     sandbox.json                        written once by the agent when the sandbox stands; its address is the lease
//!     shim.sock                           where the shim listens
//!     run/                                in the shim's mount namespace: a tmpfs with bundles and merged roots
//!     containers/<id>/state.json          written by the shim at start and at exit, before anyone is told
//!     containers/<id>/{upper,work}        the writable layer
//! ```
//!
//! Each file is replaced as a whole (write, rename), so a reader sees the old or the new one. An exit is also flushed
//! to the disk before it is renamed: what was reported to the cluster is never forgotten.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rota_api::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::protocol::PodNetwork;
use crate::runtime::{ContainerState, SandboxSpec};

/// A sandbox that stands or stood.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SandboxRecord {
    /// Its id.
    pub id: String,
    /// What the pod asked for.
    pub spec: SandboxSpec,
    /// Its network, unless it uses the node's.
    pub network: Option<PodNetwork>,
    /// Its cgroup, relative to each hierarchy.
    pub cgroup: String,
    /// Its shim.
    pub shim: ProcessId,
    /// When it was made.
    pub created: Timestamp,
}

/// A container that runs or ran.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    /// What everyone may know.
    pub state: ContainerState,
    /// Its first process, in the node's numbering.
    pub process: Option<ProcessId>,
}

/// A process, told apart from a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub start_ticks: u64,
}

impl ProcessId {
    /// The process that has this number now.
    ///
    /// Errors: there is none.
    pub(super) fn of(pid: u32) -> io::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The second field is the command in parentheses and may contain anything; fields count from behind it.
        let start_ticks = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(19))
            .and_then(|field| field.parse().ok())
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat is malformed")))?;
        Ok(Self { pid, start_ticks })
    }

    /// Whether it still exists.
    pub(super) fn is_alive(self) -> bool {
        Self::of(self.pid).is_ok_and(|now| now == self)
    }
}

/// Where one node of a data directory keeps its things, and what it calls them in the kernel.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// The node's directory in the data directory.
    pub node_dir: PathBuf,
    /// Eight hexadecimal digits that name this node's objects in the kernel.
    pub tag: String,
}

impl Layout {
    /// The layout of a node.
    pub(super) fn new(data_dir: &Path, node_name: &str) -> Self {
        let data_dir = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
        let digest = Sha256::digest(format!("{}\0{node_name}", data_dir.display()));
        Self {
            node_dir: data_dir.join("nodes").join(node_name),
            tag: hex(&digest[..4]),
        }
    }

    /// The directory of all sandboxes.
    pub(super) fn sandboxes(&self) -> PathBuf {
        self.node_dir.join("sandboxes")
    }

    /// The directory of one sandbox.
    pub(super) fn sandbox(&self, id: &str) -> PathBuf {
        self.sandboxes().join(id)
    }

    /// The cgroup of all pods of this node.
    pub(super) fn cgroup(&self) -> String {
        format!("rota-{}", self.tag)
    }

    /// The bridge of this node.
    pub(super) fn bridge(&self) -> String {
        format!("rota{}", self.tag)
    }
}

/// The file in a sandbox's directory that describes it.
pub(crate) const SANDBOX_FILE: &str = "sandbox.json";
/// The socket in a sandbox's directory.
pub(crate) const SOCKET_FILE: &str = "shim.sock";
/// The file in a container's directory that describes it.
pub(crate) const CONTAINER_FILE: &str = "state.json";

/// The id of the `attempt`th run of a container in a sandbox: the same run always has the same id.
pub(crate) fn container_id(sandbox: &str, name: &str, attempt: u32) -> String {
    hex(&Sha256::digest(format!("{sandbox}\0{name}\0{attempt}")))
}

/// The directory of a container in its sandbox's directory.
pub(crate) fn container_dir(sandbox_dir: &Path, id: &str) -> PathBuf {
    sandbox_dir.join("containers").join(id)
}

/// The digests of images that containers of a data directory run from, on any of its nodes.
pub(crate) fn images_in_use(data_dir: &Path) -> BTreeSet<String> {
    let entries = |dir: &Path| {
        std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
            .map(|entry| entry.path())
    };
    entries(&data_dir.join("nodes"))
        .flat_map(|node| entries(&node.join("sandboxes")).collect::<Vec<_>>())
        .flat_map(|sandbox| container_records(&sandbox))
        .filter(|record| record.process.is_some_and(ProcessId::is_alive))
        .map(|record| record.state.image_id)
        .collect()
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How hard a record must be to lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Survives the end of every process.
    Process,
    /// Survives a power failure too.
    Power,
}

/// Replaces a record as a whole.
pub(crate) fn write_record<T: Serialize>(path: &Path, record: &T, durability: Durability) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    if durability == Durability::Power {
        file.sync_data()?;
    }
    std::fs::rename(&fresh, path)
}

/// Reads a record.
pub(crate) fn read_record<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

/// The container records of a sandbox's directory, in the order in which the containers were started.
///
/// A directory without a readable record is a start that never finished; it is left out.
pub(crate) fn container_records(sandbox_dir: &Path) -> Vec<ContainerRecord> {
    use crate::runtime::ContainerPhase::{Exited, Running};
    let Ok(entries) = std::fs::read_dir(sandbox_dir.join("containers")) else {
        return Vec::new();
    };
    let mut records: Vec<ContainerRecord> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| read_record(&entry.path().join(CONTAINER_FILE)).ok())
        .collect();
    records.sort_by_key(|record| {
        let (Running { started } | Exited { started, .. }) = record.state.phase;
        (started, record.state.name.clone(), record.state.attempt)
    });
    records
}
