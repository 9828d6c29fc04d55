//! The task of one pod: hands what is observed to the pod's life, and carries out what it says.
//!
//! Everything long runs beside the task and reports back by message, so that a container's end is never behind a pull. A
//! status goes out as soon as it differs from what the cluster has, whoever changed that; while one is under way the next is
//! gathered.

use std::sync::Arc;
use std::time::Duration;

use rota_api::k8s::api::core::v1::{Pod, PodStatus};
use rota_api::{ApiError, DeleteOptions, Object, PatchKind, Revision, Timestamp, Write, resource};
use rota_cluster::Written;
use rota_podlife::{Action, Input, Life, NodeFacts};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::context::Context;
use crate::runtime::{ContainerState, SandboxState};
use crate::status_patch::{is_same, status_patch};
use crate::volumes::{self, Keeper, Prepared};
use crate::work;

/// How long until a write the server refused for reasons of its own is tried again.
const REFUSED_RETRY: Duration = Duration::from_secs(1);

/// How long until volumes that could not be brought up to date are tried again: at first, and at most.
const REFRESH_RETRY: Duration = Duration::from_secs(1);
const REFRESH_RETRY_MAX: Duration = Duration::from_secs(120);

/// Something for a pod's task.
#[derive(Debug)]
pub(crate) enum Message {
    /// The pod as the cluster has it now.
    Object(Arc<Object>),
    /// The pod no longer exists in the cluster.
    Removed,
    /// Something done for the pod has an outcome.
    Input(Input),
    /// The volumes are in place.
    Prepared(Prepared),
    /// What a volume is made from has changed.
    Refresh,
    /// The volumes were brought up to date, or why not.
    Refreshed(Result<Prepared, String>),
    /// A container has ended.
    Exit(ContainerState),
    /// A sandbox is up.
    Sandbox(SandboxState),
    /// The sandbox with this id is there no more.
    SandboxLost(String),
    /// The answer to the status that was sent.
    Reported(Result<Written, ApiError>),
    /// The answer to the delete that confirms the end.
    Confirmed(Result<Written, ApiError>),
    /// Time to try the last refused write again.
    Retry,
}

/// What of a pod others on the node may ask for: its runs, for logs and for commands.
#[derive(Clone, Debug)]
pub(crate) struct PodView {
    /// The pod as last seen.
    pub(crate) object: Arc<Object>,
    /// The status as last decided.
    pub(crate) status: PodStatus,
    /// The runtime's name of the sandbox; empty while there is none.
    pub(crate) sandbox: String,
}

/// The handle of a pod's task.
#[derive(Clone, Debug)]
pub(crate) struct PodTask {
    pub(crate) inbox: mpsc::UnboundedSender<Message>,
    pub(crate) view: watch::Receiver<PodView>,
}

struct Worker {
    context: Arc<Context>,
    life: Life,
    object: Arc<Object>,
    inbox: mpsc::UnboundedReceiver<Message>,
    outbox: mpsc::UnboundedSender<Message>,
    view: watch::Sender<PodView>,
    sandbox: String,
    /// The status the cluster has, as far as is known, whoever wrote it; and the revision that has it.
    known: Value,
    known_at: Revision,
    /// The status that is on its way.
    sent: Option<Value>,
    retries: u32,
    volumes: Arc<Keeper>,
    /// Ends what follows the pod's volumes.
    following: CancellationToken,
    /// How long until a refresh of the volumes that fails is tried again, and what gives that up.
    refresh_retry: Duration,
    retrying: CancellationToken,
}

/// Starts the task of a pod. `found` is what already runs for it.
pub(crate) fn start(
    context: &Arc<Context>,
    object: &Arc<Object>,
    found: Option<SandboxState>,
    refusal: Option<Input>,
    done: impl FnOnce() + Send + 'static,
) -> Result<PodTask, serde_json::Error> {
    let pod = object.view::<Pod>()?;
    let node = NodeFacts {
        addresses: context.config.node.addresses.clone(),
    };
    // The task itself and holders of locks send, and must not wait. All that has come is taken in at once, so that no more
    // waits than one step is behind: changes of the pod, and an answer for each thing that was asked for.
    let (outbox, inbox) = mpsc::unbounded_channel();
    let status = pod.status.clone().unwrap_or_default();
    let view = PodView {
        object: Arc::clone(object),
        status,
        sandbox: String::new(),
    };
    let (sender, receiver) = watch::channel(view);
    let volumes = Arc::new(Keeper::default());
    let mut worker = Worker {
        life: Life::new(pod, node, context.config.backoff),
        context: Arc::clone(context),
        object: Arc::clone(object),
        inbox,
        outbox: outbox.clone(),
        view: sender,
        sandbox: String::new(),
        known: status_of(object),
        known_at: object.revision(),
        sent: None,
        retries: 0,
        following: volumes.child_token(),
        volumes,
        refresh_retry: REFRESH_RETRY,
        retrying: CancellationToken::new(),
    };
    let now = context.now();
    if let Some(sandbox) = found {
        worker.adopt(sandbox, now);
    }
    if let Some(refusal) = refusal {
        worker.life.see(refusal, now);
    }
    tokio::spawn(async move {
        // Also after a panic, which is told where it happens: the next that is heard of the pod begins another task.
        let _done = Finally(Some(done));
        worker.run().await;
    });
    Ok(PodTask {
        inbox: outbox,
        view: receiver,
    })
}

/// Does something when it is dropped.
struct Finally<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for Finally<F> {
    fn drop(&mut self) {
        if let Some(last) = self.0.take() {
            last();
        }
    }
}

impl Worker {
    fn adopt(&mut self, sandbox: SandboxState, now: Timestamp) {
        let containers = sandbox.containers.clone();
        let is_ready = sandbox.ready;
        self.see(Message::Sandbox(sandbox), now);
        for container in containers {
            let input = work::run_of(&self.context, &self.life.pod().clone(), &container);
            self.life.see(input, now);
        }
        if !is_ready {
            self.life.see(Input::SandboxStopped, now);
        }
    }

    async fn run(&mut self) {
        let mut wake = None;
        let mut is_first = true;
        loop {
            if !std::mem::replace(&mut is_first, false) {
                let message = tokio::select! {
                    message = self.inbox.recv() => message,
                    () = sleep_until(wake, self.context.now()) => None,
                };
                let now = self.context.now();
                // What else has arrived is taken in before anything is decided.
                let mut next = message;
                while let Some(message) = next {
                    self.see(message, now);
                    next = self.inbox.try_recv().ok();
                }
            }
            let now = self.context.now();
            let step = self.life.step(now);
            wake = step.wake;
            self.report(&step.status);
            for note in &step.notes {
                self.context.recorder.record(&self.object, note);
            }
            for action in step.actions {
                self.act(action);
            }
            self.view.send_modify(|view| {
                view.object = Arc::clone(&self.object);
                view.status = step.status;
                view.sandbox.clone_from(&self.sandbox);
            });
            if step.over {
                return;
            }
        }
    }

    fn see(&mut self, message: Message, now: Timestamp) {
        let input = match message {
            Message::Object(object) => match object.view::<Pod>() {
                Ok(pod) => {
                    // What was reported last comes back as well, and is known.
                    if object.revision() > self.known_at {
                        self.known = status_of(&object);
                        self.known_at = object.revision();
                    }
                    let is_told_otherwise = volumes::tells_otherwise(self.life.pod(), &pod);
                    self.object = object;
                    self.life.see(Input::Pod(pod), now);
                    // Its volumes may tell of its labels and annotations.
                    if is_told_otherwise {
                        self.refresh();
                    }
                    return;
                }
                Err(error) => return warn!(%error, pod = ?object, "a pod cannot be read"),
            },
            Message::Removed => Input::Removed,
            Message::Input(input) => {
                if matches!(input, Input::SandboxStopped) {
                    work::forget_sandbox(&self.context, &self.sandbox);
                    self.sandbox.clear();
                }
                input
            }
            // Another may stand by the time that is found out.
            Message::SandboxLost(id) if id != self.sandbox => return,
            Message::SandboxLost(_) => return self.see(Message::Input(Input::SandboxStopped), now),
            Message::Prepared(prepared) => {
                self.follow(&prepared);
                Input::VolumesReady
            }
            Message::Refresh => return self.refresh(),
            Message::Refreshed(outcome) => return self.refreshed(outcome),
            Message::Exit(container) => work::run_of(&self.context, self.life.pod(), &container),
            Message::Sandbox(sandbox) => {
                work::remember_sandbox(&self.context, &sandbox.id, &self.outbox);
                self.sandbox.clone_from(&sandbox.id);
                work::sandbox_of(&sandbox)
            }
            Message::Reported(outcome) => match self.reported(outcome) {
                Some(input) => input,
                None => return,
            },
            Message::Confirmed(Ok(_)) => return,
            Message::Confirmed(Err(error)) if error.is_not_found() || error.is_conflict() => Input::Removed,
            Message::Confirmed(Err(error)) => {
                warn!(%error, pod = ?self.object, "confirming the end of a pod failed, trying again");
                let (context, object, outbox) =
                    (Arc::clone(&self.context), Arc::clone(&self.object), self.outbox.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(REFUSED_RETRY).await;
                    confirm(&context, &object, &outbox).await;
                });
                return;
            }
            Message::Retry => return,
        };
        self.life.see(input, now);
    }

    /// Takes in the answer to a status: it is known now, or the pod is gone, or it is sent again later.
    fn reported(&mut self, outcome: Result<Written, ApiError>) -> Option<Input> {
        let sent = self.sent.take()?;
        match outcome {
            Ok(written) => {
                self.retries = 0;
                let is_terminal = matches!(sent["phase"].as_str(), Some("Succeeded" | "Failed"));
                // Somebody may have changed it since.
                if written.object().revision() >= self.known_at {
                    self.known = sent;
                    self.known_at = written.object().revision();
                }
                is_terminal.then_some(Input::TerminalStatusAccepted)
            }
            Err(error) if error.is_not_found() || error.is_conflict() => Some(Input::Removed),
            Err(error) => {
                warn!(%error, pod = ?self.object, "reporting the status of a pod failed, trying again");
                self.retries += 1;
                let (outbox, wait) = (self.outbox.clone(), REFUSED_RETRY * self.retries.min(10));
                tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    let _ = outbox.send(Message::Retry);
                });
                None
            }
        }
    }

    /// Sends the status if the cluster has another one and nothing is on its way.
    fn report(&mut self, status: &PodStatus) {
        if self.sent.is_some() {
            return;
        }
        let Ok(status) = serde_json::to_value(status) else {
            return;
        };
        if is_same(&self.known, &status) {
            return;
        }
        let meta = self.object.meta();
        let patch = json!({"status": status_patch(&self.known, &status)});
        let write = Write::patch(
            resource::PODS,
            &meta.namespace,
            &meta.name,
            PatchKind::Strategic,
            patch,
            Some("status"),
        )
        .if_uid(meta.uid.as_str());
        self.sent = Some(status);
        let (writer, outbox) = (self.context.writer.clone(), self.outbox.clone());
        tokio::spawn(async move {
            let _ = outbox.send(Message::Reported(writer.write(write).await));
        });
    }

    fn act(&mut self, action: Action) {
        if action == Action::ConfirmDeletion {
            let (context, object, outbox) = (Arc::clone(&self.context), Arc::clone(&self.object), self.outbox.clone());
            tokio::spawn(async move { confirm(&context, &object, &outbox).await });
            return;
        }
        let job = work::Job {
            context: Arc::clone(&self.context),
            pod: Arc::clone(self.life.pod()),
            ips: self.life.ips(),
            volumes: Arc::clone(&self.volumes),
            outbox: self.outbox.clone(),
        };
        tokio::spawn(job.perform(action));
    }

    /// Puts the volumes in place again, as what they are made from has changed.
    fn refresh(&self) {
        let (context, pod, outbox) = (
            Arc::clone(&self.context),
            Arc::clone(self.life.pod()),
            self.outbox.clone(),
        );
        let volumes = Arc::clone(&self.volumes);
        tokio::spawn(async move {
            if let Some(outcome) = volumes.prepare(&context, &pod).await {
                let _ = outbox.send(Message::Refreshed(outcome));
            }
        });
    }

    /// Goes on following, or tries again later. Until then the files stay as they were, as they do when an object that a
    /// pod mounts is deleted.
    fn refreshed(&mut self, outcome: Result<Prepared, String>) {
        match outcome {
            Ok(prepared) => {
                self.refresh_retry = REFRESH_RETRY;
                self.follow(&prepared);
            }
            Err(why) => {
                let wait = self.refresh_retry;
                self.refresh_retry = (wait * 2).min(REFRESH_RETRY_MAX);
                warn!(why, pod = ?self.object, retry = ?wait, "bringing volumes up to date failed, trying again");
                // One attempt ahead, however many changes failed meanwhile.
                self.retrying.cancel();
                self.retrying = self.following.child_token();
                let outbox = self.outbox.clone();
                let work = async move {
                    tokio::time::sleep(wait).await;
                    let _ = outbox.send(Message::Refresh);
                };
                tokio::spawn(self.retrying.clone().run_until_cancelled_owned(work));
            }
        }
    }

    /// Looks again at the volumes whenever what they are made from changes, or a token grows old.
    fn follow(&mut self, prepared: &Prepared) {
        self.following.cancel();
        self.following = self.volumes.child_token();
        for reference in &prepared.follows {
            let mut changes = self.context.references.follow(reference);
            let outbox = self.outbox.clone();
            let work = async move { while changes.changed().await.is_ok() && outbox.send(Message::Refresh).is_ok() {} };
            tokio::spawn(self.following.clone().run_until_cancelled_owned(work));
        }
        if let Some(at) = prepared.refresh {
            let (outbox, now) = (self.outbox.clone(), self.context.now());
            let work = async move {
                sleep_until(Some(at), now).await;
                let _ = outbox.send(Message::Refresh);
            };
            tokio::spawn(self.following.clone().run_until_cancelled_owned(work));
        }
    }
}

/// The status that an object has, in the form in which statuses are reported.
fn status_of(object: &Object) -> Value {
    let pod = object.view::<Pod>().ok();
    let status = pod.as_ref().and_then(|pod| pod.status.as_ref());
    status
        .and_then(|status| serde_json::to_value(status).ok())
        .unwrap_or_default()
}

async fn sleep_until(at: Option<Timestamp>, now: Timestamp) {
    match at {
        Some(at) => tokio::time::sleep(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)).await,
        None => std::future::pending().await,
    }
}

/// The delete with grace 0: the word that nothing of the pod is left.
async fn confirm(context: &Context, object: &Object, outbox: &mpsc::UnboundedSender<Message>) {
    let meta = object.meta();
    let options = DeleteOptions {
        grace_period_secs: Some(0),
        ..DeleteOptions::default()
    };
    let write = Write::delete(resource::PODS, &meta.namespace, &meta.name, options).if_uid(meta.uid.as_str());
    let _ = outbox.send(Message::Confirmed(context.writer.write(write).await));
}
