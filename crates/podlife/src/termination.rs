//! Brings a pod down: regular and ephemeral containers together, sidecars one by one in reverse, all within one grace; then the sandbox,
//! the volumes, and at the very end the word to the cluster that nothing is left.
//!
//! Order is meaning: a run is forgotten by the runtime only when the cluster knows how it ended, and the pod is confirmed
//! gone only after that. A crash in between repeats steps that are harmless to repeat.
//!
//! Source: `spec/node-and-pod.md` §14, §16; kubernetes `pkg/kubelet/kuberuntime/kuberuntime_container.go`.

use std::sync::Arc;
use std::time::Duration;

use rota_api::Timestamp;
use rota_api::k8s::api::core::v1::Container;

use crate::action::{Action, Note};
use crate::life::{Life, Out, Progress, SandboxState, Stage};
use crate::restart::{Role, all_containers, containers};
use crate::track::Track;

/// The least time a container is given to end, so that a grace used up elsewhere does not kill it outright.
const GRACE_MIN: Duration = Duration::from_secs(2);

impl Life {
    /// One step of a pod that is ending.
    pub(crate) fn terminate(&mut self, now: Timestamp, out: &mut Out) {
        if !self.stop_containers(now, out) || matches!(self.sandbox.state, SandboxState::Asked) {
            return;
        }
        if let SandboxState::Up(sandbox) = &self.sandbox.state {
            let sandbox = sandbox.clone();
            out.actions.push(Action::StopSandbox { id: sandbox.id.clone() });
            self.sandbox.state = SandboxState::Stopping(sandbox);
        }
        if matches!(self.sandbox.state, SandboxState::Stopping(_)) {
            return;
        }
        let is_removed = self.is_removed;
        let is_deleted = self.pod.metadata.deletion_timestamp.is_some();
        let sandbox = self.sandbox.current().map(|s| s.id.clone());
        let Stage::Terminating(ending) = &mut self.stage else {
            return;
        };
        if ending.cleaning == Progress::ToDo {
            ending.cleaning = Progress::Asked;
            out.actions.push(Action::CleanUp);
        }
        if !(ending.is_accepted || is_removed) {
            return;
        }
        if ending.removing == Progress::ToDo {
            ending.removing = Progress::Done;
            out.actions.extend(sandbox.map(|id| Action::RemoveSandbox { id }));
        }
        if is_deleted && !is_removed && ending.cleaning == Progress::Done && ending.confirming == Progress::ToDo {
            ending.confirming = Progress::Asked;
            out.actions.push(Action::ConfirmDeletion);
        }
    }

    /// Stops what runs. Returns true when nothing does, nor is about to.
    fn stop_containers(&mut self, now: Timestamp, out: &mut Out) -> bool {
        let pod = Arc::clone(&self.pod);
        let (Some(spec), Stage::Terminating(ending)) = (pod.spec.as_ref(), &self.stage) else {
            return true;
        };
        let deadline = ending.deadline;
        let mut others_run = false;
        for (role, container) in all_containers(spec).filter(|(role, _)| *role != Role::Sidecar) {
            if let Some(track) = self.tracks.get_mut(&container.name) {
                others_run |= track.is_busy();
                stop(role, &container.name, track, deadline, now, out);
            }
        }
        let sidecars = || containers(spec).rev().filter(|(role, _)| *role == Role::Sidecar);
        // Only their ends wait for their turn, not their hooks: what drains traffic begins at once.
        for (role, container) in sidecars() {
            if let Some(track) = self.tracks.get_mut(&container.name) {
                pre_stop(role, container, track, deadline, now, out);
            }
        }
        if others_run {
            return false;
        }
        for (role, container) in sidecars() {
            if let Some(track) = self.tracks.get_mut(&container.name)
                && track.is_busy()
            {
                if track.pre_stop == Progress::Asked && now < deadline {
                    out.wake_at(deadline);
                    return false;
                }
                stop(role, &container.name, track, deadline, now, out);
                return false;
            }
        }
        true
    }
}

/// Has the hook of a container run whose own turn is yet to come.
fn pre_stop(role: Role, container: &Container, track: &mut Track, deadline: Timestamp, now: Timestamp, out: &mut Out) {
    let has_hook = container
        .lifecycle
        .as_ref()
        .is_some_and(|hooks| hooks.pre_stop.is_some());
    let Some(run) = track.run.as_ref().filter(|run| run.exit.is_none() && has_hook) else {
        return;
    };
    if track.stopping.is_some() || track.pre_stop != Progress::ToDo {
        return;
    }
    track.pre_stop = Progress::Asked;
    out.notes.push(stopping(role, &container.name));
    let left = Duration::try_from(deadline.duration_since(now)).unwrap_or(Duration::ZERO);
    out.actions.push(Action::PreStop {
        container: container.name.clone(),
        id: run.id.clone(),
        grace: left.max(GRACE_MIN),
    });
}

fn stopping(role: Role, name: &str) -> Note {
    Track::note(role, name, false, "Killing", format!("Stopping container {name}"))
}

fn stop(role: Role, name: &str, track: &mut Track, deadline: Timestamp, now: Timestamp, out: &mut Out) {
    let Some(run) = track.run.as_ref().filter(|run| run.exit.is_none()) else {
        return;
    };
    let left = Duration::try_from(deadline.duration_since(now)).unwrap_or(Duration::ZERO);
    let grace = left.max(GRACE_MIN);
    let is_first = track.stopping.is_none() && track.pre_stop == Progress::ToDo;
    if track.stopping.is_some_and(|by| by <= now + grace) {
        return;
    }
    if is_first {
        out.notes.push(stopping(role, name));
    }
    track.stopping = Some(now + grace);
    out.actions.push(Action::StopContainer {
        container: name.to_owned(),
        id: run.id.clone(),
        grace,
        pre_stop: is_first,
    });
}
