//! What is known about one container of a pod: its runs, and what is under way for it.

use rota_api::Timestamp;
use rota_api::k8s::api::core::v1::{Container, PodSpec, Probe};

use crate::action::{Exit, Note, ProbeKind, Run};
use crate::backoff::Backoff;
use crate::image::Image;
use crate::life::Progress;
use crate::probe::{ProbeResult, Prober};
use crate::restart::{Role, restarts};

/// One container.
#[derive(Clone, Debug, Default)]
pub(crate) struct Track {
    /// The latest run.
    pub(crate) run: Option<Run>,
    /// The run before it.
    pub(crate) last: Option<Run>,
    /// What the next run is numbered.
    pub(crate) next_attempt: u32,
    pub(crate) image: Image,
    pub(crate) start: Start,
    /// Between runs.
    pub(crate) backoff: Backoff,
    /// The run after which people were told of the back-off, and its seconds.
    pub(crate) told_backoff: Option<(u32, u64)>,
    pub(crate) hook: Hook,
    /// The hook of the latest run was asked for.
    pub(crate) hook_asked: bool,
    /// Where the preStop hook of the latest run stands, if it is run ahead of the stop.
    pub(crate) pre_stop: Progress,
    /// The latest run is ended to make room for one of another image, whatever policies say of its end.
    pub(crate) is_replaced: bool,
    /// By when a stop that is under way is to be over.
    pub(crate) stopping: Option<Timestamp>,
    pub(crate) probers: Vec<Prober>,
}

/// Where the start of a container stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Start {
    /// Nothing is under way.
    #[default]
    Idle,
    /// Asked for, no answer yet.
    Asked,
    /// Refused; tried again at `retry`.
    Failed {
        reason: &'static str,
        message: String,
        retry: Timestamp,
    },
}

/// Where the postStart hook of the latest run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Hook {
    #[default]
    Running,
    Done,
    /// The run is ended for it.
    Failed,
}

impl Track {
    pub(crate) fn is_running(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.exit.is_none())
    }

    /// True while a run exists or may come to exist.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_running() || self.start == Start::Asked
    }

    /// True from the moment its start begins until it runs and its hook is done: containers after it wait for that.
    pub(crate) fn is_being_started(&self) -> bool {
        self.start == Start::Asked || self.image.is_awaited() || (self.is_running() && self.hook != Hook::Done)
    }

    /// How the latest run ended.
    pub(crate) fn exit(&self) -> Option<&Exit> {
        self.run.as_ref().and_then(|run| run.exit.as_ref())
    }

    /// True when it has ended and is to be started again.
    pub(crate) fn restarts(&self, spec: &PodSpec, role: Role, container: &Container) -> bool {
        let restarts = |exit: &Exit| self.is_replaced || restarts(spec, role, container, exit.code);
        self.exit().is_some_and(restarts)
    }

    /// True when it ran at least once.
    pub(crate) fn has_run(&self) -> bool {
        self.run.is_some()
    }

    fn result(&self, kind: ProbeKind) -> Option<ProbeResult> {
        self.probers.iter().find(|p| p.kind == kind).map(|p| p.result)
    }

    /// True when it runs, its hook is done and its startup probe, if any, has succeeded.
    pub(crate) fn is_started(&self) -> bool {
        self.is_running()
            && self.hook == Hook::Done
            && self
                .result(ProbeKind::Startup)
                .is_none_or(|r| r == ProbeResult::Success)
    }

    /// True when it counts towards the readiness of its pod.
    pub(crate) fn is_ready(&self, role: Role) -> bool {
        match role {
            Role::Init => self.exit().is_some_and(|exit| exit.code == 0),
            Role::Ephemeral => false,
            Role::Sidecar | Role::Regular => {
                self.is_started()
                    && self
                        .result(ProbeKind::Readiness)
                        .is_none_or(|r| r == ProbeResult::Success)
            }
        }
    }

    /// Takes in a run that has begun, or that was found running. `before`: what the cluster knows of this very run.
    pub(crate) fn began(&mut self, role: Role, container: &Container, run: Run, before: Option<Before>) {
        self.next_attempt = self.next_attempt.max(run.attempt + 1);
        self.start = Start::Idle;
        if self
            .run
            .as_ref()
            .is_some_and(|known| known.attempt >= run.attempt && known.exit.is_some())
        {
            // It ended faster than its start was told.
            return;
        }
        self.stopping = None;
        self.is_replaced = false;
        self.pre_stop = Progress::ToDo;
        let has_hook = container.lifecycle.as_ref().is_some_and(|l| l.post_start.is_some());
        self.hook = if has_hook && before.is_none() {
            Hook::Running
        } else {
            Hook::Done
        };
        let before = before.unwrap_or_default();
        self.probers = probes(container)
            .filter(|_| role != Role::Init)
            .map(|(kind, probe)| {
                let holds = match kind {
                    ProbeKind::Startup => before.started,
                    ProbeKind::Readiness => before.ready,
                    ProbeKind::Liveness => true,
                };
                Prober::new(kind, probe, run.started, holds)
            })
            .collect();
        self.succeed_with(run);
    }

    /// True when the end of this run is known, or the run is an earlier one than that which counts.
    pub(crate) fn knows_end_of(&self, run: &Run) -> bool {
        let known = self.run.as_ref();
        known.is_some_and(|known| known.attempt > run.attempt || known.attempt == run.attempt && known.exit.is_some())
    }

    /// Takes in that a run has ended, nobody knows how.
    pub(crate) fn lost(&mut self, id: &str, now: Timestamp) {
        let lost = self.run.clone().filter(|run| run.id == id && run.exit.is_none());
        if let Some(mut run) = lost {
            run.exit = Some(Exit::unknown(now));
            self.ended(run);
        }
    }

    /// Takes in a run that has ended; it may never have been seen running.
    pub(crate) fn ended(&mut self, run: Run) {
        if self.run.as_ref().is_some_and(|known| known.attempt < run.attempt) {
            // The run for which room was made is there, if only to end at once.
            self.is_replaced = false;
        }
        self.next_attempt = self.next_attempt.max(run.attempt + 1);
        self.start = Start::Idle;
        self.stopping = None;
        self.probers.clear();
        self.image = Image::default();
        self.succeed_with(run);
    }

    fn succeed_with(&mut self, run: Run) {
        match &self.run {
            Some(current) if current.attempt > run.attempt => {}
            Some(current) if current.attempt == run.attempt => self.run = Some(run),
            Some(_) | None => {
                let ended = self.run.take().map(|mut before| {
                    // A successor exists, so it has ended, whether or not that was seen.
                    before.exit.get_or_insert_with(|| Exit::unknown(run.started));
                    before
                });
                self.last = ended.or(self.last.take());
                self.run = Some(run);
            }
        }
    }

    /// The container's part of the pod in the field path of a note.
    pub(crate) fn note(role: Role, name: &str, warning: bool, reason: &'static str, message: String) -> Note {
        let list = match role {
            Role::Init | Role::Sidecar => "initContainers",
            Role::Regular => "containers",
            Role::Ephemeral => "ephemeralContainers",
        };
        Note {
            warning,
            reason: reason.into(),
            message,
            field_path: format!("spec.{list}{{{name}}}"),
        }
    }
}

/// What the cluster knows of a run from before the agent restarted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Before {
    pub(crate) started: bool,
    pub(crate) ready: bool,
}

impl Exit {
    /// The end of a run nobody saw.
    pub(crate) fn unknown(at: Timestamp) -> Self {
        Self {
            code: 137,
            reason: "ContainerStatusUnknown".to_owned(),
            message: "The container could not be located when the pod was terminated".to_owned(),
            finished: at,
        }
    }
}

/// The probes of a container, by kind.
pub(crate) fn probes(container: &Container) -> impl Iterator<Item = (ProbeKind, &Probe)> {
    [
        (ProbeKind::Startup, &container.startup_probe),
        (ProbeKind::Liveness, &container.liveness_probe),
        (ProbeKind::Readiness, &container.readiness_probe),
    ]
    .into_iter()
    .filter_map(|(kind, probe)| Some((kind, probe.as_ref()?)))
}
