//! The stages of a pod's life on a node, never backwards.
//!
//! ```text
//! syncing ──deleted, refused, deadline, all done, terminal in the cluster, gone──▶ terminating ──all stopped──▶ over
//! ```
//!
//! [`Life::see`] takes in what was observed, [`Life::step`] says what to do and to report. What a stage does is in `sync`
//! and `termination`.
//!
//! Source: `spec/node-and-pod.md` §10.1, §10.4, §10.6, §11.6; kubernetes `pkg/kubelet/pod_workers.go`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rota_api::Timestamp;
use rota_api::k8s::api::core::v1::{Container, ContainerStatus, Pod, PodStatus};

use crate::action::{Action, Exit, Input, Note, ProbeKind, ProbeVerdict, Run, Sandbox, StartFailure, Step};
use crate::backoff::{BackoffLimits, later};
use crate::restart::{self, Role, all_containers, containers, restarts};
use crate::track::{Before, Hook, Start, Track, probes};

/// How long until volumes or a sandbox that could not be made are tried again.
pub(crate) const SETUP_RETRY: Duration = Duration::from_secs(2);

/// What a pod's status says about its node.
#[derive(Clone, Debug, Default)]
pub struct NodeFacts {
    /// The node's addresses, preferred one first.
    pub addresses: Vec<IpAddr>,
}

/// One pod on one node.
#[derive(Clone, Debug)]
pub struct Life {
    pub(crate) pod: Arc<Pod>,
    pub(crate) node: NodeFacts,
    pub(crate) limits: BackoffLimits,
    pub(crate) stage: Stage,
    pub(crate) volumes: Volumes,
    pub(crate) sandbox: SandboxTrack,
    pub(crate) tracks: BTreeMap<String, Track>,
    pub(crate) start_time: Option<Timestamp>,
    /// Reason and message with which the pod fails, whatever its containers do.
    pub(crate) failure: Option<(String, String)>,
    /// What was last reported, or what the cluster said when the agent first saw the pod.
    pub(crate) reported: PodStatus,
    /// True when the pod no longer exists in the cluster.
    pub(crate) is_removed: bool,
    refused: bool,
    is_adopted: bool,
    /// What taking something in led to; told and done with the next step.
    pending: Out,
}

/// Where a pod is in its life.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    Syncing,
    Terminating(Ending),
}

/// Where the end of a pod stands.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    /// By when everything is to have ended.
    pub(crate) deadline: Timestamp,
    /// The cluster knows the terminal status.
    pub(crate) is_accepted: bool,
    pub(crate) cleaning: Progress,
    pub(crate) confirming: Progress,
    pub(crate) removing: Progress,
}

/// Where something that is done once stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Progress {
    #[default]
    ToDo,
    Asked,
    Done,
}

/// Where the pod's volumes stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Volumes {
    #[default]
    Unprepared,
    Preparing,
    Ready,
    Failed {
        retry: Timestamp,
    },
}

/// Where the pod's sandbox stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct SandboxTrack {
    pub(crate) next_attempt: u32,
    pub(crate) state: SandboxState,
}

#[derive(Clone, Debug, Default)]
pub(crate) enum SandboxState {
    #[default]
    None,
    Asked,
    Failed {
        retry: Timestamp,
    },
    Up(Sandbox),
    Stopping(Sandbox),
    Down(Sandbox),
}

impl SandboxTrack {
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, SandboxState::Up(_))
    }

    pub(crate) fn current(&self) -> Option<&Sandbox> {
        match &self.state {
            SandboxState::Up(s) | SandboxState::Stopping(s) | SandboxState::Down(s) => Some(s),
            SandboxState::None | SandboxState::Asked | SandboxState::Failed { .. } => None,
        }
    }
}

/// What a step leads to, while it is being put together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Out {
    pub(crate) actions: Vec<Action>,
    pub(crate) notes: Vec<Note>,
    wake: Option<Timestamp>,
}

impl Out {
    pub(crate) fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

impl Life {
    /// The life of a pod as first seen. What already runs for it is told by [`Input::Sandbox`], [`Input::Started`] and
    /// [`Input::Exited`] before the first step.
    pub fn new(pod: Arc<Pod>, node: NodeFacts, limits: BackoffLimits) -> Self {
        let reported = pod.status.clone().unwrap_or_default();
        let mut life = Self {
            start_time: reported.start_time.as_ref().map(|t| t.0),
            node,
            limits,
            stage: Stage::Syncing,
            volumes: Volumes::default(),
            sandbox: SandboxTrack::default(),
            tracks: BTreeMap::new(),
            failure: None,
            reported,
            is_removed: false,
            refused: false,
            is_adopted: false,
            pending: Out::default(),
            pod,
        };
        life.make_tracks();
        life
    }

    /// One track per container. What ran before and is no longer known to the runtime still counts as having run.
    fn make_tracks(&mut self) {
        let pod = Arc::clone(&self.pod);
        for (_, container) in pod.spec.iter().flat_map(all_containers) {
            if self.tracks.contains_key(&container.name) {
                continue;
            }
            let before = self.before(&container.name).map(|status| {
                let ran = status.container_id.is_some();
                u32::try_from(status.restart_count).unwrap_or(0) + u32::from(ran)
            });
            let track = Track {
                next_attempt: before.unwrap_or(0),
                ..Track::default()
            };
            self.tracks.insert(container.name.clone(), track);
        }
    }

    /// What the cluster was last told about a container.
    pub(crate) fn before(&self, name: &str) -> Option<&ContainerStatus> {
        let lists = [
            &self.reported.init_container_statuses,
            &self.reported.container_statuses,
            &self.reported.ephemeral_container_statuses,
        ];
        let mut statuses = lists.into_iter().flatten().flatten();
        statuses.find(|status| status.name == name)
    }

    /// Runs that the cluster was told of and the runtime no longer knows have ended, seen or not: that a process may have
    /// run must not be forgotten, or what may run once would run twice.
    fn adopt_reported(&mut self, now: Timestamp) {
        if std::mem::replace(&mut self.is_adopted, true) {
            return;
        }
        let pod = Arc::clone(&self.pod);
        for (_, container) in pod.spec.iter().flat_map(all_containers) {
            let lost = self
                .before(&container.name)
                .and_then(|status| reported_run(status, now));
            if let Some(track) = self.tracks.get_mut(&container.name).filter(|track| !track.has_run())
                && let Some(run) = lost
            {
                track.ended(run);
            }
        }
    }

    /// The pod as last seen.
    pub fn pod(&self) -> &Arc<Pod> {
        &self.pod
    }

    /// The addresses of the pod's present sandbox.
    pub fn ips(&self) -> Vec<IpAddr> {
        if self.pod.spec.as_ref().is_some_and(|s| s.host_network == Some(true)) {
            return self.node.addresses.clone();
        }
        self.sandbox
            .current()
            .map(|sandbox| sandbox.ips.clone())
            .unwrap_or_default()
    }

    /// `name_namespace(uid)`, as messages name a pod.
    pub(crate) fn full_name(&self) -> String {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let metadata = &self.pod.metadata;
        format!(
            "{}_{}({})",
            text(&metadata.name),
            text(&metadata.namespace),
            text(&metadata.uid)
        )
    }

    pub(crate) fn is_terminating(&self) -> bool {
        matches!(self.stage, Stage::Terminating(_))
    }

    /// True when the pod has ended for good and nothing of it runs or is about to.
    pub(crate) fn is_over(&self) -> bool {
        self.is_terminating()
            && !self.tracks.values().any(Track::is_busy)
            && !matches!(self.sandbox.state, SandboxState::Asked)
    }

    /// True when the node did not let the pod in, now or before this agent was started: then it never began.
    pub(crate) fn was_refused(&self) -> bool {
        let before = &self.reported;
        let has_begun = before.container_statuses.iter().flatten().next().is_some()
            || before.init_container_statuses.iter().flatten().next().is_some();
        self.refused || (before.phase.as_deref() == Some("Failed") && !has_begun)
    }

    /// Takes in what was observed.
    pub fn see(&mut self, input: Input, now: Timestamp) {
        let mut out = std::mem::take(&mut self.pending);
        match input {
            Input::Pod(pod) => {
                self.pod = pod;
                // Containers may have been added.
                self.make_tracks();
            }
            Input::Removed => self.is_removed = true,
            Input::Refused { reason, message } => {
                out.notes.push(pod_note(true, reason.clone(), message.clone()));
                self.refused = true;
                self.failure.get_or_insert((reason, message));
            }
            Input::VolumesReady => self.volumes = Volumes::Ready,
            Input::VolumesFailed(message) => {
                out.notes.push(pod_note(true, "FailedMount", message));
                self.volumes = Volumes::Failed {
                    retry: now + SETUP_RETRY,
                };
            }
            Input::Sandbox(sandbox) => {
                self.sandbox.next_attempt = self.sandbox.next_attempt.max(sandbox.attempt + 1);
                self.sandbox.state = SandboxState::Up(sandbox);
            }
            Input::SandboxFailed(message) => {
                let message = format!("Failed to create pod sandbox: {message}");
                out.notes.push(pod_note(true, "FailedCreatePodSandBox", message));
                self.sandbox.state = SandboxState::Failed {
                    retry: now + SETUP_RETRY,
                };
            }
            Input::SandboxStopped => {
                if let Some(sandbox) = self.sandbox.current().cloned() {
                    self.sandbox.state = SandboxState::Down(sandbox);
                }
            }
            Input::TerminalStatusAccepted => {
                if let Stage::Terminating(ending) = &mut self.stage {
                    ending.is_accepted = true;
                }
            }
            Input::CleanedUp => {
                if let Stage::Terminating(ending) = &mut self.stage {
                    ending.cleaning = Progress::Done;
                }
            }
            of_container => self.see_container(of_container, now, &mut out),
        }
        self.pending = out;
    }

    fn see_container(&mut self, input: Input, now: Timestamp, out: &mut Out) {
        let pod = Arc::clone(&self.pod);
        let name = match &input {
            Input::Started(run) | Input::Exited(run) => run.container.clone(),
            Input::ImageFound { container, .. }
            | Input::ImagePulled { container, .. }
            | Input::PullFailed { container, .. }
            | Input::StartFailed { container, .. }
            | Input::StopFailed { container }
            | Input::Lost { container, .. }
            | Input::PostStart { container, .. }
            | Input::PreStopFailed { container, .. }
            | Input::PreStopped { container, .. }
            | Input::Probed { container, .. } => container.clone(),
            Input::Pod(_)
            | Input::Removed
            | Input::Refused { .. }
            | Input::VolumesReady
            | Input::VolumesFailed(_)
            | Input::Sandbox(_)
            | Input::SandboxFailed(_)
            | Input::SandboxStopped
            | Input::TerminalStatusAccepted
            | Input::CleanedUp => return,
        };
        let found = pod.spec.as_ref().and_then(|spec| restart::container(spec, &name));
        let (Some((role, container)), Some(mut track)) = (found, self.tracks.remove(&name)) else {
            return;
        };
        if matches!(&input, Input::Exited(run) if track.knows_end_of(run)) {
            // Told again.
            self.tracks.insert(name, track);
            return;
        }
        let container = &*container;
        let note = |warning, reason, message| Track::note(role, &name, warning, reason, message);
        // The end of a run that is over at once may be told before its start.
        if matches!(input, Input::Started(_) | Input::Exited(_)) && track.start == Start::Asked {
            out.notes.push(note(false, "Created", "Container created".to_owned()));
            out.notes.push(note(false, "Started", "Container started".to_owned()));
        }
        match input {
            Input::ImageFound { present, .. } => track.image.found(role, container, present, now, out),
            Input::ImagePulled { took, size_bytes, .. } => track.image.pulled(role, container, took, size_bytes, out),
            Input::PullFailed { reason, message, .. } => {
                track
                    .image
                    .failed(role, container, (reason, message), self.limits, now, out);
            }
            Input::Started(run) => {
                // A run nobody asked for was found at the start of the agent: what the cluster knows of it still holds.
                let before = (track.start != Start::Asked).then(|| self.known_of(&run));
                track.began(role, container, run, before);
            }
            Input::StartFailed { attempt, failure, .. } => {
                out.notes
                    .push(note(true, "Failed", format!("Error: {}", failure.message())));
                self.start_failed(&mut track, container, attempt, failure, now);
            }
            Input::Exited(run) => track.ended(run),
            Input::Lost { id, .. } => track.lost(&id, now),
            Input::StopFailed { .. } => track.stopping = None,
            Input::PostStart { id, error, .. } => {
                let is_current = track.run.as_ref().is_some_and(|run| run.id == id);
                if is_current && track.hook == Hook::Running {
                    track.hook = if error.is_none() { Hook::Done } else { Hook::Failed };
                }
                if is_current
                    && track.hook == Hook::Failed
                    && let Some(error) = error
                {
                    let message = format!("PostStartHook failed: {error}");
                    out.notes.push(note(true, "FailedPostStartHook", message));
                    self.kill(role, container, &mut track, None, "failed postStart hook", now, out);
                }
            }
            Input::PreStopFailed { error, .. } => {
                out.notes
                    .push(note(true, "FailedPreStopHook", format!("PreStopHook failed: {error}")));
            }
            Input::PreStopped { id, .. } => {
                if track.run.as_ref().is_some_and(|run| run.id == id) {
                    track.pre_stop = Progress::Done;
                }
            }
            Input::Probed { id, kind, verdict, .. } => {
                self.probed(role, container, &mut track, (&id, kind, &verdict), now, out);
            }
            Input::Pod(_)
            | Input::Removed
            | Input::Refused { .. }
            | Input::VolumesReady
            | Input::VolumesFailed(_)
            | Input::Sandbox(_)
            | Input::SandboxFailed(_)
            | Input::SandboxStopped
            | Input::TerminalStatusAccepted
            | Input::CleanedUp => {}
        }
        self.tracks.insert(name, track);
    }

    /// What the cluster was told about this very run.
    fn known_of(&self, run: &Run) -> Before {
        self.before(&run.container)
            .filter(|status| status.container_id.as_deref() == Some(run.id.as_str()))
            .map(|status| Before {
                started: status.started == Some(true),
                ready: status.ready,
            })
            .unwrap_or_default()
    }

    fn start_failed(
        &self,
        track: &mut Track,
        container: &Container,
        attempt: u32,
        failure: StartFailure,
        now: Timestamp,
    ) {
        let (reason, message) = match failure {
            StartFailure::Config(message) => ("CreateContainerConfigError", message),
            StartFailure::Create(message) => ("CreateContainerError", message),
            StartFailure::Run(message) => {
                // It was made and could not run: to policies that is an end like any other.
                return track.ended(Run {
                    container: container.name.clone(),
                    id: String::new(),
                    sandbox: self.sandbox.current().map(|s| s.id.clone()).unwrap_or_default(),
                    attempt,
                    image: container.image.clone().unwrap_or_default(),
                    image_id: String::new(),
                    started: Timestamp::UNIX_EPOCH,
                    exit: Some(Exit {
                        code: 128,
                        reason: "StartError".to_owned(),
                        message,
                        finished: now,
                    }),
                });
            }
        };
        track.image.forget();
        track.start = Start::Failed {
            reason,
            message,
            retry: now + SETUP_RETRY,
        };
    }

    /// A probe has answered: tells people of a failure, and kills the container when that is what the probe is for.
    fn probed(
        &self,
        role: Role,
        container: &Container,
        track: &mut Track,
        (id, kind, verdict): (&str, ProbeKind, &ProbeVerdict),
        now: Timestamp,
        out: &mut Out,
    ) {
        let is_current = track.run.as_ref().is_some_and(|run| run.id == id);
        let probe = probes(container).find(|(k, _)| *k == kind).map(|(_, probe)| probe);
        let prober = track.probers.iter_mut().find(|p| p.kind == kind);
        let (true, Some(probe), Some(prober)) = (is_current, probe, prober) else {
            return;
        };
        let changed = prober.answer(probe, verdict);
        if let ProbeVerdict::Failure(what) = verdict {
            let message = format!("{} probe failed: {what}", kind.as_str());
            out.notes
                .push(Track::note(role, &container.name, true, "Unhealthy", message));
        }
        if let ProbeVerdict::Unknown(why) = verdict {
            let message = format!("{} probe errored and resulted in unknown state: {why}", kind.as_str());
            out.notes
                .push(Track::note(role, &container.name, true, "Unhealthy", message));
        }
        let failed = matches!(verdict, ProbeVerdict::Failure(_));
        if changed && failed && kind != ProbeKind::Readiness && !self.is_terminating() {
            let grace = probe.termination_grace_period_seconds;
            let why = match kind {
                ProbeKind::Startup => "failed startup probe",
                ProbeKind::Liveness | ProbeKind::Readiness => "failed liveness probe",
            };
            self.kill(role, container, track, grace, why, now, out);
        }
    }

    /// Stops one container of a pod that goes on.
    #[expect(
        clippy::too_many_arguments,
        reason = "who, what, why and when of one stop; a struct would only rename them"
    )]
    pub(crate) fn kill(
        &self,
        role: Role,
        container: &Container,
        track: &mut Track,
        grace_secs: Option<i64>,
        why: &str,
        now: Timestamp,
        out: &mut Out,
    ) {
        let (Some(run), None) = (track.run.as_ref().filter(|run| run.exit.is_none()), track.stopping) else {
            return;
        };
        let spec = self.pod.spec.as_ref();
        let again = track.is_replaced || spec.is_some_and(|spec| restarts(spec, role, container, 137));
        let ending = if again { ", will be restarted" } else { "" };
        let message = format!("Container {} {why}{ending}", container.name);
        out.notes
            .push(Track::note(role, &container.name, false, "Killing", message));
        let grace = self.grace(grace_secs);
        track.stopping = Some(now + grace);
        out.actions.push(Action::StopContainer {
            container: container.name.clone(),
            id: run.id.clone(),
            grace,
            pre_stop: true,
        });
    }

    /// The grace of a stop, in the pod's or the given seconds.
    pub(crate) fn grace(&self, seconds: Option<i64>) -> Duration {
        let of_pod = self.pod.spec.as_ref().and_then(|s| s.termination_grace_period_seconds);
        let seconds = seconds.or(of_pod).unwrap_or(30);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(GRACE_SECS_MAX))
    }

    /// What the pod needs now. Asks for each thing once.
    pub fn step(&mut self, now: Timestamp) -> Step {
        let mut out = std::mem::take(&mut self.pending);
        out.wake = None;
        self.start_time.get_or_insert(now);
        self.adopt_reported(now);
        self.judge(now, &mut out);
        match self.stage {
            Stage::Syncing => self.sync(now, &mut out),
            Stage::Terminating(_) => self.terminate(now, &mut out),
        }
        self.judge_end(now, &mut out);
        self.ask_probes(now, &mut out);
        let status = self.status(now);
        self.reported = status.clone();
        let over = match &self.stage {
            Stage::Terminating(ending) => {
                self.is_removed
                    && self.is_over()
                    && ending.cleaning == Progress::Done
                    && ending.removing != Progress::ToDo
            }
            Stage::Syncing => false,
        };
        Step {
            actions: out.actions,
            status,
            notes: out.notes,
            wake: out.wake,
            over,
        }
    }

    /// Decides whether the pod's end has come for reasons other than that its containers are done.
    fn judge(&mut self, now: Timestamp, out: &mut Out) {
        let metadata = &self.pod.metadata;
        let is_deleted = metadata.deletion_timestamp.is_some() || self.is_removed;
        let deletion_grace = metadata.deletion_grace_period_seconds.filter(|_| is_deleted);
        if let Stage::Terminating(ending) = &mut self.stage {
            // A later delete may only shorten the wait.
            if let Some(seconds) = deletion_grace {
                let grace = Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(GRACE_SECS_MAX));
                ending.deadline = ending.deadline.min(now + grace);
            }
            return;
        }
        let seconds = self.pod.spec.as_ref().and_then(|s| s.active_deadline_seconds);
        let deadline = seconds.zip(self.start_time).map(|(seconds, start)| {
            later(
                start,
                Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(GRACE_SECS_MAX)),
            )
        });
        if deadline.is_some_and(|deadline| deadline <= now) {
            let message = "Pod was active on the node longer than the specified deadline";
            self.failure
                .get_or_insert_with(|| ("DeadlineExceeded".to_owned(), message.to_owned()));
            out.notes.push(pod_note(false, "DeadlineExceeded", message.to_owned()));
        } else if let Some(deadline) = deadline {
            out.wake_at(deadline);
        }
        let phase = self.pod.status.as_ref().and_then(|s| s.phase.as_deref());
        let is_terminal = matches!(phase, Some("Succeeded" | "Failed"));
        if is_terminal && let Some(status) = self.pod.status.clone() {
            // Written by someone else, or by an agent before this one: it stands.
            self.reported.phase = status.phase;
            self.reported.reason = status.reason;
            self.reported.message = status.message;
        }
        if is_deleted || is_terminal || self.failure.is_some() {
            self.end(self.grace(deletion_grace), is_terminal, now);
        }
    }

    /// Decides whether the containers are done, and begins the end if so.
    fn judge_end(&mut self, now: Timestamp, out: &mut Out) {
        if matches!(self.stage, Stage::Syncing) && self.is_done() {
            self.end(self.grace(None), false, now);
            self.terminate(now, out);
        }
    }

    fn end(&mut self, grace: Duration, is_accepted: bool, now: Timestamp) {
        self.stage = Stage::Terminating(Ending {
            deadline: now + grace,
            is_accepted,
            cleaning: Progress::ToDo,
            confirming: Progress::ToDo,
            removing: Progress::ToDo,
        });
    }

    fn ask_probes(&mut self, now: Timestamp, out: &mut Out) {
        let Some(spec) = self.pod.spec.clone() else { return };
        let is_terminating = self.is_terminating();
        for (_, container) in containers(&spec) {
            let Some(track) = self.tracks.get_mut(&container.name) else {
                continue;
            };
            let is_started = track.is_started();
            let Some(run) = track.run.as_ref().filter(|run| run.exit.is_none()) else {
                continue;
            };
            for prober in &mut track.probers {
                let Some(probe) = probes(container).find(|(k, _)| *k == prober.kind).map(|(_, p)| p) else {
                    continue;
                };
                let wanted = match prober.kind {
                    ProbeKind::Startup => !is_started && !is_terminating,
                    ProbeKind::Liveness => is_started && !is_terminating,
                    ProbeKind::Readiness => is_started,
                };
                let Some(due) = prober.due().filter(|_| wanted) else {
                    continue;
                };
                if due > now {
                    out.wake_at(due);
                    continue;
                }
                prober.ask(probe, now);
                out.actions.push(Action::Probe {
                    container: container.name.clone(),
                    id: run.id.clone(),
                    kind: prober.kind,
                });
            }
        }
    }
}

/// The run that a container's status tells of, ended; `None` when it tells of none.
fn reported_run(status: &ContainerStatus, now: Timestamp) -> Option<Run> {
    let id = status.container_id.clone()?;
    let states = [&status.state, &status.last_state];
    let ended = states.into_iter().find_map(|state| state.as_ref()?.terminated.as_ref());
    let is_running = status.state.as_ref().is_some_and(|state| state.running.is_some());
    let exit = match ended.filter(|_| !is_running) {
        Some(ended) => Exit {
            code: ended.exit_code,
            reason: ended.reason.clone().unwrap_or_default(),
            message: ended.message.clone().unwrap_or_default(),
            finished: ended.finished_at.as_ref().map_or(now, |t| t.0),
        },
        None => Exit::unknown(now),
    };
    let running = status.state.as_ref().and_then(|state| state.running.as_ref());
    let started = ended
        .and_then(|e| e.started_at.as_ref())
        .or(running.and_then(|r| r.started_at.as_ref()));
    Some(Run {
        container: status.name.clone(),
        id,
        sandbox: String::new(),
        attempt: u32::try_from(status.restart_count).unwrap_or(0),
        image: status.image.clone(),
        image_id: status.image_id.clone(),
        started: started.map_or(now, |t| t.0),
        exit: Some(exit),
    })
}

/// Longest grace or deadline, a hundred years: beyond it sums of times overflow sooner than anyone waits.
const GRACE_SECS_MAX: u64 = 100 * 366 * 24 * 3600;

pub(crate) fn pod_note(warning: bool, reason: impl Into<std::borrow::Cow<'static, str>>, message: String) -> Note {
    Note {
        warning,
        reason: reason.into(),
        message,
        field_path: String::new(),
    }
}

impl StartFailure {
    fn message(&self) -> &str {
        match self {
            Self::Config(message) | Self::Create(message) | Self::Run(message) => message,
        }
    }
}
