//! Carries out single actions for a pod and reports what came of them.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rota_api::k8s::api::core::v1::{Container, Pod};
use rota_podlife::restart;
use rota_podlife::{Action, Exit, Input, Run, Sandbox, StartFailure};
use tokio::sync::mpsc;
use tracing::warn;

use crate::container_spec::Wanted;
use crate::context::{Context, bare_id};
use crate::image::{BadReference, normalize};
use crate::last_words;
use crate::paths;
use crate::probes;
use crate::runtime::{ContainerPhase, ContainerState, Image, RuntimeError, SandboxState};
use crate::sandbox_spec::{sandbox_spec, write_etc};
use crate::volumes::Keeper;
use crate::worker::Message;

/// The least time a container is given to end once its hook is done.
const GRACE_MIN: Duration = Duration::from_secs(2);

/// How often taking something down that is still in use is tried, and how long is waited in between.
const TAKE_DOWN_TRIES: u32 = 5;
const TAKE_DOWN_PAUSE: Duration = Duration::from_millis(200);

/// Something to do for a pod.
pub(crate) struct Job {
    pub(crate) context: Arc<Context>,
    pub(crate) pod: Arc<Pod>,
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) volumes: Arc<Keeper>,
    pub(crate) outbox: mpsc::UnboundedSender<Message>,
}

impl Job {
    /// Does it. What came of it goes to the pod's task.
    pub(crate) async fn perform(self, action: Action) {
        let message = match action {
            Action::PrepareVolumes => match self.volumes.prepare(&self.context, &self.pod).await {
                Some(Ok(prepared)) => Some(Message::Prepared(prepared)),
                Some(Err(why)) => Some(Message::Input(Input::VolumesFailed(why))),
                None => None,
            },
            Action::RunSandbox { attempt } => Some(self.run_sandbox(attempt).await),
            Action::StopSandbox { id } => {
                if let Err(error) = self.context.runtime.stop_sandbox(&id).await {
                    warn!(%error, sandbox = id, "stopping a sandbox failed");
                }
                Some(Message::Input(Input::SandboxStopped))
            }
            Action::RemoveSandbox { id } => {
                if let Err(error) = self.context.runtime.remove_sandbox(&id).await {
                    warn!(%error, sandbox = id, "removing a sandbox failed");
                }
                None
            }
            Action::FindImage { container, image } => Some(Message::Input(self.find(container, &image).await)),
            Action::PullImage { container, image } => Some(Message::Input(self.pull(container, &image).await)),
            Action::StartContainer {
                container,
                attempt,
                sandbox,
            } => Some(Message::Input(self.start(container, attempt, &sandbox).await)),
            Action::StopContainer {
                container,
                id,
                grace,
                pre_stop,
            } => self.stop(container, &id, grace, pre_stop).await,
            Action::PreStop { container, id, grace } => {
                self.pre_stop(&container, &id, grace).await;
                Some(Message::Input(Input::PreStopped { container, id }))
            }
            Action::RemoveContainer { container, id, attempt } => {
                self.remove(&container, &id, attempt).await;
                None
            }
            Action::PostStart { container, id } => {
                let spec = self.container(&container);
                let hook = spec.as_ref().and_then(|c| c.lifecycle.as_ref()?.post_start.as_ref());
                let error = match hook {
                    Some(hook) => probes::hook(&self.context, bare_id(&id), hook, spec.as_deref(), &self.ips)
                        .await
                        .err(),
                    None => None,
                };
                Some(Message::Input(Input::PostStart { container, id, error }))
            }
            Action::Probe { container, id, kind } => {
                let verdict = match self.container(&container) {
                    Some(spec) => probes::probe(&self.context, bare_id(&id), &spec, kind, &self.ips).await,
                    None => return,
                };
                Some(Message::Input(Input::Probed {
                    container,
                    id,
                    kind,
                    verdict,
                }))
            }
            Action::CleanUp => Some(self.clean_up().await),
            Action::ConfirmDeletion => None,
        };
        if let Some(message) = message {
            // The task may be gone: then nobody needs to know.
            let _ = self.outbox.send(message);
        }
    }

    fn container(&self, name: &str) -> Option<Cow<'_, Container>> {
        let (_, container) = restart::container(self.pod.spec.as_ref()?, name)?;
        Some(container)
    }

    async fn run_sandbox(&self, attempt: u32) -> Message {
        let spec = sandbox_spec(&self.context, &self.pod, attempt);
        let sandbox = match self.context.runtime.run_sandbox(&spec).await {
            Ok(sandbox) => sandbox,
            Err(error) => return Message::Input(Input::SandboxFailed(error.to_string())),
        };
        let ips = if spec.host_network {
            &self.context.config.node.addresses
        } else {
            &sandbox.ips
        };
        let etc = self.context.paths.etc(&spec.pod_uid);
        match write_etc(&self.context, &self.pod, ips, &etc) {
            Ok(()) => Message::Sandbox(sandbox),
            Err(error) => Message::Input(Input::SandboxFailed(format!("write {}: {error}", etc.display()))),
        }
    }

    async fn find(&self, container: String, image: &str) -> Input {
        if let Err(error) = normalize(image) {
            return invalid_name(container, &error);
        }
        let found = self.context.runtime.image(image).await;
        let present = matches!(found, Ok(Some(_)));
        Input::ImageFound { container, present }
    }

    async fn pull(&self, container: String, image: &str) -> Input {
        if let Err(error) = normalize(image) {
            return invalid_name(container, &error);
        }
        let started = Instant::now();
        match self.context.runtime.pull(image).await {
            Ok(Image { size_bytes, .. }) => Input::ImagePulled {
                container,
                took: started.elapsed(),
                size_bytes,
            },
            Err(error) => Input::PullFailed {
                container,
                reason: "ErrImagePull".to_owned(),
                message: error.to_string(),
            },
        }
    }

    async fn start(&self, name: String, attempt: u32, sandbox: &str) -> Input {
        match self.try_start(&name, attempt, sandbox).await {
            Ok(run) => Input::Started(run),
            Err(failure) => Input::StartFailed {
                container: name,
                attempt,
                failure,
            },
        }
    }

    async fn try_start(&self, name: &str, attempt: u32, sandbox: &str) -> Result<Run, StartFailure> {
        let container = self
            .container(name)
            .ok_or_else(|| StartFailure::Config(format!("no container {name:?}")))?;
        let image = container.image.as_deref().unwrap_or_default();
        let found = self
            .context
            .runtime
            .image(image)
            .await
            .map_err(|e| StartFailure::Create(e.to_string()))?;
        let image = found.ok_or_else(|| StartFailure::Create(RuntimeError::NoImage(image.to_owned()).to_string()))?;
        let wanted = Wanted {
            context: &self.context,
            pod: &self.pod,
            container: &container,
            attempt,
            image: &image,
            pod_ips: &self.ips,
        };
        let spec = wanted.spec().await.map_err(StartFailure::Config)?;
        match self.context.runtime.start_container(sandbox, &spec).await {
            Ok(state) => match run_of(&self.context, &self.pod, &state) {
                Input::Started(run) | Input::Exited(run) => Ok(run),
                _ => Err(StartFailure::Create(
                    "the runtime told nothing of the container".to_owned(),
                )),
            },
            Err(RuntimeError::Start(why)) => Err(StartFailure::Run(why)),
            Err(error) => {
                if matches!(error, RuntimeError::Gone(_)) {
                    let _ = self.outbox.send(Message::SandboxLost(sandbox.to_owned()));
                }
                Err(StartFailure::Create(error.to_string()))
            }
        }
    }

    /// Runs the hook before the end of a container, if it has one. Returns how long that took.
    async fn pre_stop(&self, name: &str, id: &str, grace: Duration) -> Duration {
        let started = Instant::now();
        let container = self.container(name);
        let hook = container.as_ref().and_then(|c| c.lifecycle.as_ref()?.pre_stop.as_ref());
        let Some(hook) = hook else { return Duration::ZERO };
        let hook = probes::hook(&self.context, bare_id(id), hook, container.as_deref(), &self.ips);
        let error = match tokio::time::timeout(grace, hook).await {
            Ok(Ok(())) => return started.elapsed(),
            Ok(Err(error)) => error,
            Err(_) => format!("did not end within {}s", grace.as_secs()),
        };
        let container = name.to_owned();
        let failed = Input::PreStopFailed { container, error };
        let _ = self.outbox.send(Message::Input(failed));
        started.elapsed()
    }

    /// Runs the hook, if it has not been, and stops the container, both within the grace.
    async fn stop(&self, name: String, id: &str, grace: Duration, pre_stop: bool) -> Option<Message> {
        let took = if pre_stop {
            self.pre_stop(&name, id, grace).await
        } else {
            Duration::ZERO
        };
        // What the hook took is taken off, down to the least a container is given.
        let left = grace.saturating_sub(took).max(GRACE_MIN.min(grace));
        match self.context.runtime.stop_container(bare_id(id), left).await {
            Ok(()) | Err(RuntimeError::Gone(_)) => self.end_of(name, id).await,
            Err(error) => {
                warn!(%error, container = id, "stopping a container failed");
                tokio::time::sleep(TAKE_DOWN_PAUSE).await;
                Some(Message::Input(Input::StopFailed { container: name }))
            }
        }
    }

    /// The end of a container that no longer runs. It was told where the runtime saw it; told again it changes nothing, and
    /// where nobody saw it the pod would wait for it for ever.
    async fn end_of(&self, name: String, id: &str) -> Option<Message> {
        let sandboxes = match self.context.runtime.inventory().await {
            Ok(sandboxes) => sandboxes,
            Err(error) => {
                warn!(%error, container = id, "learning how a container ended failed");
                tokio::time::sleep(TAKE_DOWN_PAUSE).await;
                return Some(Message::Input(Input::StopFailed { container: name }));
            }
        };
        let mut containers = sandboxes.into_iter().flat_map(|sandbox| sandbox.containers);
        match containers.find(|container| container.id == bare_id(id)) {
            Some(container) if matches!(container.phase, ContainerPhase::Exited { .. }) => {
                Some(Message::Exit(container))
            }
            // Its shim is gone and its end is being recorded.
            Some(_) => {
                tokio::time::sleep(TAKE_DOWN_PAUSE).await;
                Some(Message::Input(Input::StopFailed { container: name }))
            }
            None => Some(Message::Input(Input::Lost {
                container: name,
                id: id.to_owned(),
            })),
        }
    }

    /// Forgets an ended run: the runtime's record, its last words and its log.
    async fn remove(&self, name: &str, id: &str, attempt: u32) {
        if !id.is_empty()
            && let Err(error) = self.context.runtime.remove_container(bare_id(id)).await
        {
            warn!(%error, container = id, "removing a container failed");
        }
        let metadata = &self.pod.metadata;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let logs = self
            .context
            .paths
            .logs(&text(&metadata.namespace), &text(&metadata.name), &text(&metadata.uid));
        // Either may never have been written.
        let _ = std::fs::remove_file(paths::log(&logs, name, attempt));
        let _ = std::fs::remove_file(self.context.paths.termination(&text(&metadata.uid), name, attempt));
    }

    async fn clean_up(&self) -> Message {
        let uid = self.pod.metadata.uid.as_deref().unwrap_or_default();
        for attempt in 0..TAKE_DOWN_TRIES {
            match self.volumes.take_down(&self.context, uid).await {
                Ok(()) => break,
                // What a container still holds is let go of a moment after its end; what stays is left to the next start.
                Err(error) => warn!(%error, attempt, "taking down the volumes of a pod failed"),
            }
            tokio::time::sleep(TAKE_DOWN_PAUSE).await;
        }
        Message::Input(Input::CleanedUp)
    }
}

/// From now on the ends of containers in this sandbox go to the pod's task.
pub(crate) fn remember_sandbox(context: &Context, id: &str, outbox: &mpsc::UnboundedSender<Message>) {
    context.sandboxes().insert(id.to_owned(), outbox.clone());
}

/// No more containers end in this sandbox.
pub(crate) fn forget_sandbox(context: &Context, id: &str) {
    context.sandboxes().remove(id);
}

/// A sandbox as the pod's life sees it.
pub(crate) fn sandbox_of(sandbox: &SandboxState) -> Input {
    Input::Sandbox(Sandbox {
        id: sandbox.id.clone(),
        attempt: sandbox.attempt,
        ips: sandbox.ips.clone(),
    })
}

/// A container as the pod's life sees it: running, or ended with its last words.
pub(crate) fn run_of(context: &Context, pod: &Pod, state: &ContainerState) -> Input {
    let run = |started, exit| Run {
        container: state.name.clone(),
        id: context.full_id(&state.id),
        sandbox: state.sandbox.clone(),
        attempt: state.attempt,
        image: state.image.clone(),
        image_id: state.image_id.clone(),
        started,
        exit,
    };
    match &state.phase {
        ContainerPhase::Running { started } => Input::Started(run(*started, None)),
        ContainerPhase::Exited {
            started,
            finished,
            exit_code,
            oom_killed,
            message,
        } => {
            let reason = match exit_code {
                _ if *oom_killed => "OOMKilled",
                0 => "Completed",
                _ => "Error",
            };
            let words = last_words::read(context, pod, state, *exit_code);
            let exit = Exit {
                code: *exit_code,
                reason: reason.to_owned(),
                message: if words.is_empty() { message.clone() } else { words },
                finished: *finished,
            };
            Input::Exited(run(*started, Some(exit)))
        }
    }
}

fn invalid_name(container: String, error: &BadReference) -> Input {
    Input::PullFailed {
        container,
        reason: "InvalidImageName".to_owned(),
        message: error.to_string(),
    }
}
