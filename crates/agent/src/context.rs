//! What all parts of one agent share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rota_api::{ApiError, Object, Timestamp};
use rota_cluster::Cluster;
use rota_podlife::Note;
use tokio::sync::mpsc;

use crate::agent::AgentConfig;
use crate::downward::Around;
use crate::paths::Paths;
use crate::references::References;
use crate::runtime::Runtime;
use crate::tokens::Tokens;
use crate::worker::Message;
use crate::writer::Writer;

/// Tells users what happens. Must not wait.
pub trait Recorder: Send + Sync + 'static {
    /// Says `note` about `regarding`, a pod or the node.
    fn record(&self, regarding: &Object, note: &Note);
}

/// A recorder that keeps quiet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Recorder for Quiet {
    fn record(&self, _: &Object, _: &Note) {}
}

/// One agent: its node, its cluster, its runtime.
pub(crate) struct Context {
    pub(crate) config: AgentConfig,
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) recorder: Arc<dyn Recorder>,
    pub(crate) tokens: Arc<dyn Tokens>,
    pub(crate) writer: Writer,
    pub(crate) references: References,
    pub(crate) paths: Paths,
    /// The tasks to which ends of containers go, by sandbox.
    pub(crate) sandboxes: Mutex<Sandboxes>,
}

/// Tasks of pods by the sandbox they run in.
pub(crate) type Sandboxes = HashMap<String, mpsc::UnboundedSender<Message>>;

impl Context {
    /// The tasks to which ends of containers go. Held only to look one up.
    pub(crate) fn sandboxes(&self) -> MutexGuard<'_, Sandboxes> {
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time, asked for at the edge and handed on as a value.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// What a pod with these addresses can be told of its surroundings.
    pub(crate) fn around(&self, pod_ips: &[IpAddr]) -> Around<'_> {
        let text = |ips: &[IpAddr]| ips.iter().map(ToString::to_string).collect();
        Around {
            node_name: &self.config.node.name,
            node_ips: text(&self.config.node.addresses),
            pod_ips: text(pod_ips),
            capacity: &self.config.node.capacity,
        }
    }

    /// The runtime's name for a run, with its scheme: `rota://<id>`.
    pub(crate) fn full_id(&self, id: &str) -> String {
        let version = self.runtime.version();
        let scheme = version.split("://").next().unwrap_or("rota");
        format!("{scheme}://{id}")
    }
}

/// The runtime's own name in a full one.
pub(crate) fn bare_id(full: &str) -> &str {
    full.split_once("://").map_or(full, |(_, id)| id)
}

/// What an error says, as part of another sentence.
pub(crate) fn words(error: &ApiError) -> String {
    error.message().to_owned()
}
