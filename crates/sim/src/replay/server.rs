//! A server as a stage: requests over the port to a cluster, watches, and the clock on the wall.
//!
//! Any number of scenarios are played at the same time, each in a namespace of its own with nodes of its own. The controllers
//! are the server's; the script plays users and node agents, and keeps the nodes' leases alive.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use kube::config::{KubeConfigOptions, Kubeconfig};
use rota_api::taints::NOT_READY;
use rota_api::{ApiError, DeleteOptions, Object, PatchKind, Reason, Resource, Write, resource};
use rota_cluster::reflect::reflect;
use rota_cluster::{Cluster, RemoteCluster, Selection, Written};
use rota_reconcile::{World, WorldChange};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::outcome::Played;
use super::recordings;
use super::script::{list, replay_on, text};
use super::stage::Stage;
use crate::record::Record;

/// What is watched.
static KINDS: [&Resource; 9] = [
    resource::NODES,
    resource::PODS,
    resource::JOBS,
    resource::CRON_JOBS,
    resource::DAEMON_SETS,
    resource::REPLICA_SETS,
    resource::CONTROLLER_REVISIONS,
    resource::CONFIG_MAPS,
    resource::EVENTS,
];

/// Watch events that may wait to be entered.
const UPDATES_MAX: usize = 8192;
/// Between two renewals of a node's lease.
const LEASE_PERIOD: Duration = Duration::from_secs(10);
/// Longest sleep between two looks at what is due.
const NAP: Duration = Duration::from_millis(50);
/// Longest wait for a namespace of the same name to go.
const EMPTY_MAX: Duration = Duration::from_secs(120);
/// Longest wait for what comes before a script begins.
const BEGIN_MAX: Duration = Duration::from_secs(20);
/// Longest wait for a namespace to settle.
const SETTLE_MAX: Duration = Duration::from_secs(180);

/// A server that is watched.
pub struct Server {
    cluster: Arc<dyn Cluster>,
    runtime: Handle,
    seen: Mutex<BTreeMap<String, Seen>>,
    changed: Condvar,
    stop: CancellationToken,
    manner: Manner,
}

/// What was seen of one scenario.
struct Seen {
    id: String,
    record: Record,
    last_change: Instant,
}

/// How scenarios are played on a server.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// How many at the same time.
    pub at_once: usize,
    /// By how much what the recordings show may come later: nothing where controllers and server are one, more where the
    /// network between them is made to be bad.
    pub late: Duration,
    /// The controllers reach the server over a network.
    pub is_remote: bool,
}

/// The cluster of a kubeconfig's current context.
///
/// Errors: the file cannot be read or used.
pub async fn connect(kubeconfig: &Path) -> Result<Arc<dyn Cluster>> {
    let file = || format!("using kubeconfig {}", kubeconfig.display());
    let config = Kubeconfig::read_from(kubeconfig).with_context(file)?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(config, &options).await;
    let config = config.with_context(file)?;
    Ok(Arc::new(RemoteCluster::connect(config).with_context(file)?))
}

/// Plays all these scenarios, and once more, one after another, those that differed: what happens a moment too late on a busy
/// machine does not do so alone. Those named in `known` are known to differ anyway.
pub async fn play_all(cluster: &Arc<dyn Cluster>, scenarios: Vec<Value>, manner: Manner, known: &str) -> Vec<Played> {
    let known = recordings::ids(known);
    let mut played = play_each(cluster, scenarios.clone(), manner).await;
    let is_again = |played: &Played| !played.differences.is_empty() && !known.contains(&played.id.as_str());
    let again: BTreeSet<String> = played.iter().filter(|p| is_again(p)).map(|p| p.id.clone()).collect();
    if again.is_empty() {
        return played;
    }
    played.retain(|played| !again.contains(&played.id));
    let scenarios = scenarios
        .into_iter()
        .filter(|scenario| again.contains(text(&scenario["id"])));
    let alone = Manner { at_once: 1, ..manner };
    let second = play_each(cluster, scenarios.collect(), alone).await;
    played.extend(second.into_iter().map(|played| Played {
        is_second: true,
        ..played
    }));
    played
}

/// Plays all these scenarios, so many at once; those that need the server for themselves one after another behind the
/// others.
async fn play_each(cluster: &Arc<dyn Cluster>, scenarios: Vec<Value>, manner: Manner) -> Vec<Played> {
    let server = Server::watch(cluster, manner);
    let (alone, together): (Vec<_>, Vec<_>) = scenarios
        .into_iter()
        .partition(|scenario| scenario["exclusive"] == true || scenario["recordNodes"] == true);
    let places = Arc::new(Semaphore::new(manner.at_once));
    let mut tasks = Vec::new();
    for scenario in together {
        let (server, places) = (Arc::clone(&server), Arc::clone(&places));
        tasks.push(tokio::spawn(async move {
            let _place = places.acquire().await.expect("the places are never closed");
            server.play(scenario).await
        }));
    }
    let mut played = Vec::new();
    for task in tasks {
        played.push(task.await.expect("a script does not panic"));
    }
    for scenario in alone {
        played.push(server.play(scenario).await);
    }
    server.stop.cancel();
    played
}

impl Server {
    fn watch(cluster: &Arc<dyn Cluster>, manner: Manner) -> Arc<Self> {
        let server = Arc::new(Self {
            cluster: Arc::clone(cluster),
            runtime: Handle::current(),
            seen: Mutex::default(),
            changed: Condvar::new(),
            stop: CancellationToken::new(),
            manner,
        });
        let (sender, mut updates) = mpsc::channel(UPDATES_MAX);
        for kind in KINDS {
            let (cluster, sender, stop) = (Arc::clone(cluster), sender.clone(), server.stop.clone());
            tokio::spawn(reflect(cluster, kind, Selection::all(), sender, stop));
        }
        let watching = Arc::clone(&server);
        tokio::spawn(async move {
            let mut world = World::watching(&KINDS, &[]);
            while let Some(update) = updates.recv().await {
                let changes = update.enter(&mut world);
                watching.enter(&changes);
            }
        });
        server
    }

    fn enter(&self, changes: &[WorldChange]) {
        let mut seen = self.seen();
        for change in changes {
            let object = change.latest();
            let meta = object.meta();
            let about = node_that_is_told_of(object);
            for (namespace, seen) in seen.iter_mut() {
                let is_of_scenario = match about.as_deref() {
                    Some(node) => node.starts_with(&format!("{}-", seen.id)),
                    None => meta.namespace == *namespace,
                };
                if is_of_scenario {
                    seen.record.observe(change, Timestamp::now());
                    if object.resource() != resource::EVENTS {
                        seen.last_change = Instant::now();
                    }
                }
            }
        }
        drop(seen);
        self.changed.notify_all();
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn play(self: &Arc<Self>, scenario: Value) -> Played {
        let server = Arc::clone(self);
        let played = tokio::task::spawn_blocking(move || {
            let id = text(&scenario["id"]).to_owned();
            let differences = match Place::begin(server, &id) {
                Ok(mut place) => {
                    let differences = replay_on(&mut place, &scenario);
                    place.end();
                    differences
                }
                Err(error) => vec![format!("cannot begin: {error}")],
            };
            Played {
                id,
                differences,
                is_second: false,
            }
        });
        played.await.expect("a script does not panic")
    }
}

/// The name of the node that this is, or that this Event is about.
fn node_that_is_told_of(object: &Object) -> Option<String> {
    if object.resource() == resource::NODES {
        return Some(object.meta().name.clone());
    }
    if object.resource() != resource::EVENTS {
        return None;
    }
    let value = object.to_value();
    let about = &value["involvedObject"];
    (about["kind"] == "Node").then(|| text(&about["name"]).to_owned())
}

/// The place of one scenario on a server.
struct Place {
    server: Arc<Server>,
    namespace: String,
    agents: Option<Value>,
    nodes: BTreeSet<String>,
    renewed: BTreeSet<String>,
    lease_due: Instant,
}

impl Place {
    fn begin(server: Arc<Server>, id: &str) -> std::result::Result<Self, ApiError> {
        let namespace = format!("ns-{id}");
        let mut place = Self {
            server,
            namespace,
            agents: None,
            nodes: BTreeSet::new(),
            renewed: BTreeSet::new(),
            lease_due: Instant::now(),
        };
        place.create_namespace()?;
        place.wait_for_service_account()?;
        let seen = Seen {
            id: id.to_owned(),
            record: Record::default(),
            last_change: Instant::now(),
        };
        place.server.seen().insert(place.namespace.clone(), seen);
        Ok(place)
    }

    /// Creates the namespace, once that of an earlier play is gone.
    fn create_namespace(&mut self) -> Result<(), ApiError> {
        let began = Instant::now();
        let namespace = json!({"metadata": {"name": self.namespace}});
        loop {
            match self.write(&Write::create(resource::NAMESPACES, namespace.clone())) {
                Err(error) if error.reason() == Reason::AlreadyExists && began.elapsed() < EMPTY_MAX => {
                    std::thread::sleep(NAP);
                }
                done => return done,
            }
        }
    }

    fn wait_for_service_account(&self) -> Result<(), ApiError> {
        let began = Instant::now();
        loop {
            let accounts = resource::SERVICE_ACCOUNTS;
            let asked = self.server.cluster.get(accounts, &self.namespace, "default");
            match self.server.runtime.block_on(asked) {
                Err(error) if error.is_not_found() && began.elapsed() < BEGIN_MAX => std::thread::sleep(NAP),
                found => return found.map(|_| ()),
            }
        }
    }

    /// Removes what the scenario leaves, so that a long campaign does not fill the server.
    fn end(mut self) {
        let mut deletions = vec![(resource::NAMESPACES, self.namespace.clone())];
        deletions.extend(self.nodes.iter().map(|node| (resource::NODES, node.clone())));
        for (resource, name) in deletions {
            // A node may be gone already, which is as well.
            let _ = self.write(&Write::delete(resource, "", &name, DeleteOptions::default()));
        }
        self.server.seen().remove(&self.namespace);
    }

    /// Does what is due, then sleeps until something changes, but not beyond `until`.
    fn pass(&mut self, until: Instant) {
        if self.lease_due <= Instant::now() {
            self.lease_due = Instant::now() + LEASE_PERIOD;
            for node in self.renewed.clone() {
                self.renew(&node);
            }
        }
        self.act_for_agents();
        let nap = until.saturating_duration_since(Instant::now()).min(NAP);
        let seen = self.server.seen();
        let waited = self.server.changed.wait_timeout(seen, nap);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn renew(&mut self, node: &str) {
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
        let spec = json!({"holderIdentity": node, "leaseDurationSeconds": 40, "renewTime": now});
        let patch = json!({"spec": spec});
        let leases = "kube-node-lease";
        if self
            .write(&Write::merge(resource::LEASES, leases, node, patch))
            .is_err()
        {
            let lease = json!({"metadata": {"name": node, "namespace": leases}, "spec": spec});
            // Tried again with the next renewal.
            let _ = self.write(&Write::create(resource::LEASES, lease));
        }
    }

    fn act_for_agents(&mut self) {
        let Some(status) = self.agents.clone() else { return };
        let is_due = |pod: &&Arc<Object>| {
            let meta = pod.meta();
            !meta.node.is_empty() && (meta.deleting.is_some() || meta.phase == "Pending")
        };
        let due: Vec<Arc<Object>> = self.look(|record| record.all(resource::PODS).filter(is_due).cloned().collect());
        for pod in due {
            let meta = pod.meta();
            let write = if meta.deleting.is_some() {
                let at_once = DeleteOptions {
                    grace_period_secs: Some(0),
                    ..DeleteOptions::default()
                };
                Write::delete(resource::PODS, &meta.namespace, &meta.name, at_once)
            } else {
                let (kind, patch) = (PatchKind::Strategic, json!({"status": status}));
                Write::patch(resource::PODS, &meta.namespace, &meta.name, kind, patch, Some("status"))
            };
            // A pod that is gone meanwhile needs nothing more.
            let _ = self.write(&write);
        }
    }

    /// Waits until the watch shows what was written: the next step must not choose pods by what they were before.
    fn wait_to_see(&self, written: &Written) {
        let object = written.object();
        let meta = object.meta();
        if meta.namespace != self.namespace || !KINDS.contains(&object.resource()) {
            return;
        }
        let began = Instant::now();
        while began.elapsed() < BEGIN_MAX {
            let known = self.look(|record| record.get(object.resource(), &meta.namespace, &meta.name).cloned());
            let is_seen = match (written, known) {
                (Written::Present(_), Some(known)) => known.revision() >= object.revision(),
                (Written::Gone(_), Some(known)) => known.meta().uid != meta.uid,
                (Written::Gone(_), None) => true,
                // It may have come and gone.
                (Written::Present(_), None) => self.look(|record| record.names.contains_key(&meta.uid)),
            };
            if is_seen {
                return;
            }
            std::thread::sleep(NAP / 10);
        }
    }

    fn quiet_since(&self) -> Instant {
        let seen = self.server.seen();
        seen.get(&self.namespace)
            .map_or_else(Instant::now, |seen| seen.last_change)
    }
}

impl Stage for Place {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn write(&mut self, write: &Write) -> Result<(), ApiError> {
        let written = self.server.cluster.write(write.clone());
        let written = self.server.runtime.block_on(written)?;
        self.wait_to_see(&written);
        Ok(())
    }

    fn after_change(&mut self, _of_pods: bool) {}

    fn nodes_created(&mut self, names: &[String]) {
        for name in names {
            self.nodes.insert(name.clone());
            self.renew_lease(name, true);
        }
        let is_awaited = |node: &Object| {
            let value = node.to_value();
            let conditions = list(&value["status"]["conditions"]);
            let is_ready = conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
            is_ready
                && list(&value["spec"]["taints"])
                    .iter()
                    .any(|taint| taint["key"] == NOT_READY)
        };
        let names = names.to_vec();
        self.run_until(BEGIN_MAX.as_secs_f64(), &|record| {
            let nodes = names.iter().filter_map(|name| record.get(resource::NODES, "", name));
            nodes.clone().count() >= names.len().min(1) && !nodes.into_iter().any(|node| is_awaited(node))
        });
    }

    fn renew_lease(&mut self, node: &str, renew: bool) {
        if renew {
            self.renewed.insert(node.to_owned());
            self.renew(node);
        } else {
            self.renewed.remove(node);
        }
    }

    fn play_agents(&mut self, status: Option<Value>) {
        self.agents = status;
    }

    fn run_for(&mut self, secs: f64) {
        let end = Instant::now() + Duration::from_secs_f64(secs.max(0.0));
        while Instant::now() < end {
            self.pass(end);
        }
    }

    fn run_until(&mut self, max_secs: f64, held: &dyn Fn(&Record) -> bool) -> Option<f64> {
        let began = Instant::now();
        let end = began + Duration::from_secs_f64(max_secs);
        loop {
            if self.look(held) {
                return Some(began.elapsed().as_secs_f64());
            }
            if Instant::now() >= end {
                return None;
            }
            self.pass(end);
        }
    }

    fn settle(&mut self, quiet_secs: f64) {
        let (began, quiet) = (Instant::now(), Duration::from_secs_f64(quiet_secs));
        loop {
            let due = self.quiet_since().max(began) + quiet;
            if Instant::now() >= due.min(began + SETTLE_MAX) {
                return;
            }
            self.pass(due);
        }
    }

    fn late_secs(&self) -> f64 {
        self.server.manner.late.as_secs_f64()
    }

    fn warns_more(&self) -> bool {
        self.server.manner.is_remote
    }

    fn look<R>(&self, at: impl FnOnce(&Record) -> R) -> R {
        let seen = self.server.seen();
        match seen.get(&self.namespace) {
            Some(seen) => at(&seen.record),
            None => at(&Record::default()),
        }
    }
}
