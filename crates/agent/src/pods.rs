//! All pods of a node: one task each, fed by one watch and by the runtime's ends of containers.
//!
//! At the start, what already runs is handed to the pods it belongs to, and what belongs to no pod is ended.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use futures::StreamExt;
use rota_api::k8s::api::core::v1::{Node, Pod};
use rota_api::{Object, resource};
use rota_cluster::reflect::{Update, reflect};
use rota_cluster::{EventKind, Selection};
use rota_podlife::{Input, admission};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::context::Context;
use crate::runtime::{ContainerState, SandboxState};
use crate::worker::{self, Message, PodTask};

/// How many watch updates may wait to be taken in.
const UPDATES_MAX: usize = 1024;

/// The pods of a node by uid; shared with those who ask for logs and commands.
pub(crate) type Pods = std::sync::Mutex<HashMap<String, PodTask>>;

/// Runs all pods of the node until `stop`.
pub(crate) async fn run(context: Arc<Context>, pods: Arc<Pods>, stop: CancellationToken) {
    let mut exits = context.runtime.exits();
    let (sender, mut updates) = mpsc::channel(UPDATES_MAX);
    let selection = Selection::on_node(&context.config.node.name);
    // One message for each pod, when it is over.
    let (done, mut ended) = mpsc::unbounded_channel();
    let mut dispatcher = Dispatcher {
        found: take_inventory(&context).await,
        tasks: pods,
        done,
        is_synced: false,
        context: Arc::clone(&context),
    };
    tokio::spawn(reflect(
        Arc::clone(&context.cluster),
        resource::PODS,
        selection,
        sender,
        stop.clone(),
    ));
    loop {
        tokio::select! {
            // An end of a container is what people wait for: it goes first.
            biased;
            Some(exit) = exits.next() => dispatcher.exited(exit),
            update = updates.recv() => match update {
                Some(update) => dispatcher.updated(update).await,
                None => return,
            },
            Some(object) = ended.recv() => dispatcher.forget(&object),
            () = stop.cancelled() => return,
        }
    }
}

/// What runs, by the uid of the pod it runs for; of several sandboxes of a pod the latest.
async fn take_inventory(context: &Context) -> BTreeMap<String, Vec<SandboxState>> {
    let mut found: BTreeMap<String, Vec<SandboxState>> = BTreeMap::new();
    match context.runtime.inventory().await {
        Ok(sandboxes) => {
            for sandbox in sandboxes {
                found.entry(sandbox.pod_uid.clone()).or_default().push(sandbox);
            }
        }
        // Pods are begun as if nothing ran: what was told to the cluster still says what may not run again.
        Err(failure) => error!(%failure, "the runtime cannot say what runs"),
    }
    for sandboxes in found.values_mut() {
        sandboxes.sort_by_key(|sandbox| sandbox.attempt);
    }
    found
}

struct Dispatcher {
    context: Arc<Context>,
    tasks: Arc<Pods>,
    found: BTreeMap<String, Vec<SandboxState>>,
    done: mpsc::UnboundedSender<Arc<Object>>,
    is_synced: bool,
}

impl Dispatcher {
    fn exited(&self, exit: ContainerState) {
        match self.context.sandboxes().get(&exit.sandbox) {
            Some(outbox) => {
                let _ = outbox.send(Message::Exit(exit));
            }
            None => debug!(container = exit.id, "a container of no pod has ended"),
        }
    }

    async fn updated(&mut self, update: Update) {
        match update {
            Update::Reset(_, mut pods, _) => {
                let there: HashSet<String> = pods.iter().map(|pod| pod.meta().uid.clone()).collect();
                for (uid, task) in &*self.lock() {
                    if !there.contains(uid) {
                        let _ = task.inbox.send(Message::Removed);
                    }
                }
                // In the order in which they came to be, as they were once taken in.
                pods.sort_by_key(|pod| pod.meta().created);
                for pod in pods {
                    self.applied(pod).await;
                }
                if !std::mem::replace(&mut self.is_synced, true) {
                    self.end_orphans(&there);
                }
            }
            Update::Event(event) => match event.kind {
                EventKind::Added | EventKind::Modified => self.applied(event.object).await,
                EventKind::Deleted => {
                    if let Some(task) = self.lock().get(&event.object.meta().uid) {
                        let _ = task.inbox.send(Message::Removed);
                    }
                }
            },
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, PodTask>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn applied(&mut self, object: Arc<Object>) {
        let uid = object.meta().uid.clone();
        if let Some(task) = self.lock().get(&uid) {
            let _ = task.inbox.send(Message::Object(object));
            return;
        }
        let mut sandboxes = self.found.remove(&uid).unwrap_or_default();
        let latest = sandboxes.pop();
        for old in sandboxes {
            end_sandbox(&self.context, old);
        }
        let refusal = if latest.is_none() {
            self.refusal(&object).await
        } else {
            None
        };
        let (done, ended) = (self.done.clone(), Arc::clone(&object));
        let started = worker::start(&self.context, &object, latest, refusal, move || {
            let _ = done.send(ended);
        });
        match started {
            Ok(task) => {
                self.lock().insert(uid, task);
            }
            Err(failure) => warn!(%failure, pod = ?object, "a pod cannot be read and is left alone"),
        }
    }

    /// Why the node does not take in a pod that has not begun.
    async fn refusal(&self, object: &Object) -> Option<Input> {
        let pod = object.view::<Pod>().ok()?;
        let has_begun = pod.status.as_ref().is_some_and(|s| s.start_time.is_some());
        let meta = object.meta();
        if has_begun || meta.deleting.is_some() || matches!(meta.phase.as_str(), "Succeeded" | "Failed") {
            return None;
        }
        let name = &self.context.config.node.name;
        // A node that cannot be read refuses nothing: the scheduler has seen it.
        let node = self
            .context
            .cluster
            .get(resource::NODES, "", name)
            .await
            .ok()?
            .view::<Node>()
            .ok()?;
        let others: Vec<Arc<Pod>> = self
            .lock()
            .values()
            .filter_map(|task| {
                let view = task.view.borrow();
                let is_over = matches!(view.status.phase.as_deref(), Some("Succeeded" | "Failed"));
                if is_over { None } else { view.object.view::<Pod>().ok() }
            })
            .collect();
        let others: Vec<&Pod> = others.iter().map(|pod| &**pod).collect();
        let refusal = admission::admit(&pod, &node, &others).err()?;
        Some(Input::Refused {
            reason: refusal.reason,
            message: refusal.message,
        })
    }

    /// Ends what runs for pods that no longer exist, and removes what they left on disk.
    fn end_orphans(&mut self, there: &HashSet<String>) {
        let mut left = Vec::new();
        for sandbox in std::mem::take(&mut self.found).into_values().flatten() {
            end_sandbox(&self.context, sandbox);
        }
        for (directory, uid_of) in [
            ("state", (|name| name) as fn(&str) -> &str),
            ("pods", |name| name.rsplit('_').next().unwrap_or(name)),
        ] {
            let path = self.context.paths.data().join(directory);
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            for entry in entries {
                let name = entry.file_name();
                let uid = uid_of(name.to_str().unwrap_or_default());
                if !there.contains(uid) {
                    left.push(entry.path());
                }
            }
        }
        tokio::task::spawn_blocking(move || {
            for path in left {
                if let Err(failure) = crate::volumes::take_down(&path) {
                    warn!(%failure, path = %path.display(), "removing what a pod left behind failed");
                }
            }
        });
    }

    /// Forgets a pod that is gone, its logs included.
    fn forget(&self, object: &Object) {
        self.lock().remove(&object.meta().uid);
        let logs = self.context.paths.logs_of(object.meta());
        tokio::task::spawn_blocking(move || {
            if let Err(failure) = crate::volumes::take_down(&logs) {
                warn!(%failure, path = %logs.display(), "removing the logs of a pod failed");
            }
        });
    }
}

fn end_sandbox(context: &Arc<Context>, sandbox: SandboxState) {
    let context = Arc::clone(context);
    tokio::spawn(async move {
        let outcome = match context.runtime.stop_sandbox(&sandbox.id).await {
            Ok(()) => context.runtime.remove_sandbox(&sandbox.id).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = outcome {
            warn!(%failure, sandbox = sandbox.id, "ending a sandbox of no pod failed");
        }
    });
}
