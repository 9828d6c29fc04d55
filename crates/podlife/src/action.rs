//! What goes into a pod's life and what comes out: observations, actions, notes. Values only.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rota_api::Timestamp;
use rota_api::k8s::api::core::v1::{Pod, PodStatus};

/// Something that was observed about a pod or about what runs for it.
#[derive(Clone, Debug)]
pub enum Input {
    /// The pod as the cluster has it now.
    Pod(Arc<Pod>),
    /// The pod no longer exists in the cluster.
    Removed,
    /// The node does not take the pod in, or throws it out: the pod fails with this reason and message.
    Refused {
        /// Such as `OutOfcpu`, `NodeAffinity`, `Evicted`.
        reason: String,
        /// The sentence for people.
        message: String,
    },
    /// Every volume is in place.
    VolumesReady,
    /// A volume could not be put in place.
    VolumesFailed(String),
    /// A sandbox is up: a new one, or one found at the start of the agent.
    Sandbox(Sandbox),
    /// The sandbox could not be made.
    SandboxFailed(String),
    /// The sandbox is down.
    SandboxStopped,
    /// Whether a container's image is on the node.
    ImageFound {
        /// The container.
        container: String,
        /// True when it is.
        present: bool,
    },
    /// A container's image was fetched.
    ImagePulled {
        /// The container.
        container: String,
        /// How long that took.
        took: Duration,
        /// Bytes of the image.
        size_bytes: u64,
    },
    /// A container's image could not be fetched, or has a name under which it cannot even be looked for.
    PullFailed {
        /// The container.
        container: String,
        /// `ErrImagePull`, `InvalidImageName`, `RegistryUnavailable`.
        reason: String,
        /// What failed.
        message: String,
    },
    /// A container runs: a new one, or one found at the start of the agent.
    Started(Run),
    /// A container could not be started.
    StartFailed {
        /// The container.
        container: String,
        /// Which run was attempted.
        attempt: u32,
        /// Why.
        failure: StartFailure,
    },
    /// A container has ended.
    Exited(Run),
    /// A run of a container has ended, and nobody knows how.
    Lost {
        /// The container.
        container: String,
        /// The runtime's name of the run.
        id: String,
    },
    /// A container could not be stopped; it is tried again.
    StopFailed {
        /// The container.
        container: String,
    },
    /// The hook after the start of a container is done; with a text: it failed.
    PostStart {
        /// The container.
        container: String,
        /// The runtime's name of the run.
        id: String,
        /// What failed.
        error: Option<String>,
    },
    /// The hook before the end of a container failed; the container is stopped all the same.
    PreStopFailed {
        /// The container.
        container: String,
        /// What failed.
        error: String,
    },
    /// The hook before the end of a container that is stopped later is over, however it went.
    PreStopped {
        /// The container.
        container: String,
        /// The runtime's name of the run.
        id: String,
    },
    /// A probe has answered.
    Probed {
        /// The container.
        container: String,
        /// The runtime's name of the run that was probed.
        id: String,
        /// Which of its probes.
        kind: ProbeKind,
        /// What it says.
        verdict: ProbeVerdict,
    },
    /// The cluster has the pod's terminal status.
    TerminalStatusAccepted,
    /// The pod's volumes and directories are gone.
    CleanedUp,
}

/// Why a container could not be started: decides what its status says and whether the attempt counts as a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartFailure {
    /// Its configuration cannot be put together, such as for want of a secret; tried again, not a run.
    Config(String),
    /// The node could not make it; tried again, not a run.
    Create(String),
    /// It was made but its command cannot be run; counts as a run that ended with code 128.
    Run(String),
}

/// A pod's sandbox that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// The runtime's name for it.
    pub id: String,
    /// Which sandbox of the pod it is.
    pub attempt: u32,
    /// The pod's addresses; empty with the node's network.
    pub ips: Vec<IpAddr>,
}

/// One run of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The container.
    pub container: String,
    /// The runtime's name for the run, scheme included: `rota://…`.
    pub id: String,
    /// The sandbox it is in.
    pub sandbox: String,
    /// Which run it is; 0 is the first.
    pub attempt: u32,
    /// The image as it was asked for.
    pub image: String,
    /// The image's digest.
    pub image_id: String,
    /// When it was started.
    pub started: Timestamp,
    /// How it ended, if it has.
    pub exit: Option<Exit>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; 128 + n after signal n.
    pub code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerStatusUnknown`.
    pub reason: String,
    /// The termination message.
    pub message: String,
    /// When.
    pub finished: Timestamp,
}

/// Which of a container's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// Holds back the other two until it succeeds once.
    Startup,
    /// Kills the container when it fails.
    Liveness,
    /// Makes the container ready or not.
    Readiness,
}

impl ProbeKind {
    /// As events name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// What one probe says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeVerdict {
    /// Healthy.
    Success,
    /// Not healthy, and what was seen.
    Failure(String),
    /// The probe itself could not be made; changes nothing.
    Unknown(String),
}

/// Something to do for a pod. Each is asked for once; its outcome comes back as an [`Input`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Put all volumes in place.
    PrepareVolumes,
    /// Make the sandbox.
    RunSandbox {
        /// Which sandbox of the pod it is.
        attempt: u32,
    },
    /// End the sandbox and give back its address.
    StopSandbox {
        /// The runtime's name for it.
        id: String,
    },
    /// Forget a stopped sandbox and its ended containers; nothing comes back.
    RemoveSandbox {
        /// The runtime's name for it.
        id: String,
    },
    /// Look whether a container's image is on the node.
    FindImage {
        /// The container.
        container: String,
        /// The image.
        image: String,
    },
    /// Fetch a container's image.
    PullImage {
        /// The container.
        container: String,
        /// The image.
        image: String,
    },
    /// Create and start a container.
    StartContainer {
        /// The container.
        container: String,
        /// Which run it is.
        attempt: u32,
        /// The sandbox it goes into.
        sandbox: String,
    },
    /// Run the preStop hook of a container whose turn to be stopped has not come.
    PreStop {
        /// The container.
        container: String,
        /// The runtime's name of the run.
        id: String,
        /// How long it may take.
        grace: Duration,
    },
    /// Ask a container to end, and kill it after the grace. Asked again with a shorter grace, the shorter one counts.
    StopContainer {
        /// The container.
        container: String,
        /// The runtime's name of the run.
        id: String,
        /// How long it may take, its hook included.
        grace: Duration,
        /// True when its preStop hook is to be run first.
        pre_stop: bool,
    },
    /// Forget an ended run and its log; nothing comes back.
    RemoveContainer {
        /// The container.
        container: String,
        /// The runtime's name of the run.
        id: String,
        /// Which run it was.
        attempt: u32,
    },
    /// Run a container's postStart hook.
    PostStart {
        /// The container.
        container: String,
        /// The runtime's name of the run.
        id: String,
    },
    /// Probe a container.
    Probe {
        /// The container.
        container: String,
        /// The runtime's name of the run.
        id: String,
        /// Which of its probes.
        kind: ProbeKind,
    },
    /// Take down the volumes and directories, logs excepted while the pod exists.
    CleanUp,
    /// Tell the cluster that nothing of the pod is left: the delete with grace 0.
    ConfirmDeletion,
}

/// An event for users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// True for trouble, false for news.
    pub warning: bool,
    /// The machine-readable word, such as `Pulled`.
    pub reason: Cow<'static, str>,
    /// The sentence.
    pub message: String,
    /// The container it is about, as `involvedObject.fieldPath`; empty for the pod as a whole.
    pub field_path: String,
}

/// Everything a pod needs now.
#[derive(Clone, Debug)]
pub struct Step {
    /// What to do; the order does not matter.
    pub actions: Vec<Action>,
    /// The status to report.
    pub status: PodStatus,
    /// What people are told.
    pub notes: Vec<Note>,
    /// When to take the next step although nothing was observed.
    pub wake: Option<Timestamp>,
    /// True when nothing is left to do and the pod is gone: it can be forgotten.
    pub over: bool,
}
