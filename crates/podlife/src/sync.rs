//! Brings a pod up: volumes, sandbox, init containers in order, then the rest; starts again what ended. Ephemeral containers
//! wait for the sandbox only: whoever adds one may want to see why the pod does not come up.
//!
//! Source: `spec/node-and-pod.md` §10.4–10.5, §12, §14; kubernetes `pkg/kubelet/kuberuntime/kuberuntime_manager.go`.

use std::sync::Arc;

use rota_api::Timestamp;
use rota_api::k8s::api::core::v1::{Container, PodSpec};

use crate::action::Action;
use crate::life::{Life, Out, SandboxState, Volumes, pod_note};
use crate::restart::{Role, all_containers, containers, restarts};
use crate::track::{Hook, Start, Track};

impl Life {
    /// One step of a pod that is to run.
    pub(crate) fn sync(&mut self, now: Timestamp, out: &mut Out) {
        let pod = Arc::clone(&self.pod);
        let Some(spec) = pod.spec.as_ref() else { return };
        if self.is_done() || !self.ensure_volumes(now, out) || !self.ensure_sandbox(now, out) {
            return;
        }
        for (role, container) in all_containers(spec).filter(|(role, _)| *role == Role::Ephemeral) {
            self.ensure_running(spec, role, &container, now, out);
        }
        let inits_done = self.inits_are_done();
        let regulars_finished = self.regulars_are_finished(spec);
        // One after the other: whoever starts, its postStart hook included, holds up those after it.
        let mut is_held = false;
        for (role, container) in containers(spec) {
            if role == Role::Regular && !inits_done {
                break;
            }
            if role != Role::Init {
                self.replace_changed(role, container, now, out);
            }
            let is_free = |track: &Track| track.is_running() || !is_held;
            // A sidecar is no longer needed once everything it served is done.
            let is_idle = match role {
                Role::Sidecar => regulars_finished,
                Role::Init => inits_done,
                Role::Regular | Role::Ephemeral => false,
            };
            if !is_idle && self.tracks.get(&container.name).is_some_and(is_free) {
                self.ensure_running(spec, role, container, now, out);
            }
            is_held |= self.tracks.get(&container.name).is_some_and(Track::is_being_started);
            if !inits_done && !self.may_pass(role, &container.name) {
                break;
            }
        }
    }

    /// Ends a run whose container has another image by now, so that it is started with that.
    fn replace_changed(&mut self, role: Role, container: &Container, now: Timestamp, out: &mut Out) {
        let Some(mut track) = self.tracks.remove(&container.name) else {
            return;
        };
        let mut running = track.run.iter().filter(|run| run.exit.is_none());
        if running.any(|run| Some(&run.image) != container.image.as_ref()) && track.stopping.is_none() {
            track.is_replaced = true;
            self.kill(role, container, &mut track, None, "definition changed", now, out);
        }
        self.tracks.insert(container.name.clone(), track);
    }

    fn ensure_volumes(&mut self, now: Timestamp, out: &mut Out) -> bool {
        match self.volumes {
            Volumes::Ready => return true,
            Volumes::Preparing => return false,
            Volumes::Failed { retry } if now < retry => {
                out.wake_at(retry);
                return false;
            }
            Volumes::Unprepared | Volumes::Failed { .. } => {}
        }
        self.volumes = Volumes::Preparing;
        out.actions.push(Action::PrepareVolumes);
        false
    }

    fn ensure_sandbox(&mut self, now: Timestamp, out: &mut Out) -> bool {
        match &self.sandbox.state {
            SandboxState::Up(_) => return true,
            SandboxState::Asked | SandboxState::Stopping(_) => return false,
            SandboxState::Failed { retry } if now < *retry => {
                out.wake_at(*retry);
                return false;
            }
            SandboxState::Down(_) => {
                let message = "Pod sandbox changed, it will be killed and re-created.";
                out.notes.push(pod_note(false, "SandboxChanged", message.to_owned()));
            }
            SandboxState::None | SandboxState::Failed { .. } => {}
        }
        out.actions.push(Action::RunSandbox {
            attempt: self.sandbox.next_attempt,
        });
        self.sandbox.state = SandboxState::Asked;
        false
    }

    /// True when every init container has done its part, or a regular container shows that they had.
    pub(crate) fn inits_are_done(&self) -> bool {
        let Some(spec) = self.pod.spec.as_ref() else {
            return false;
        };
        let track = |container: &Container| self.tracks.get(&container.name);
        let in_sandbox = |t: &Track| t.run.as_ref().is_some_and(|run| self.is_current(&run.sandbox));
        if spec.containers.iter().filter_map(track).any(in_sandbox) {
            return true;
        }
        containers(spec)
            .filter(|(role, _)| *role != Role::Regular)
            .all(|(role, container)| self.may_pass(role, &container.name))
    }

    /// True unless the sandbox is known to be another one than that of a run.
    fn is_current(&self, sandbox: &str) -> bool {
        self.sandbox.current().is_none_or(|current| current.id == sandbox)
    }

    /// True when what comes after this init container may start.
    fn may_pass(&self, role: Role, name: &str) -> bool {
        let Some(track) = self.tracks.get(name) else {
            return true;
        };
        let is_current = track.run.as_ref().is_some_and(|run| self.is_current(&run.sandbox));
        match role {
            Role::Init => is_current && track.exit().is_some_and(|exit| exit.code == 0),
            Role::Sidecar => track.is_started(),
            Role::Regular | Role::Ephemeral => true,
        }
    }

    fn regulars_are_finished(&self, spec: &PodSpec) -> bool {
        containers(spec)
            .filter(|(role, _)| *role == Role::Regular)
            .all(|(role, container)| {
                self.tracks.get(&container.name).is_some_and(|track| {
                    track.exit().is_some() && !track.restarts(spec, role, container) && !track.is_busy()
                })
            })
    }

    /// True when nothing of the pod is to run again: the regular containers are finished, or an init container failed
    /// for good.
    pub(crate) fn is_done(&self) -> bool {
        let Some(spec) = self.pod.spec.as_ref() else {
            return true;
        };
        if self.regulars_are_finished(spec) {
            return true;
        }
        // A pod that never restarts is not begun again in a new sandbox.
        let lost_sandbox = self
            .tracks
            .values()
            .filter_map(|track| track.run.as_ref())
            .any(|run| !self.sandbox.is_up() || !self.is_current(&run.sandbox));
        if lost_sandbox && spec.restart_policy.as_deref() == Some("Never") {
            return true;
        }
        let init_failed = containers(spec)
            .filter(|(role, _)| *role == Role::Init)
            .any(|(role, container)| {
                let exit = self.tracks.get(&container.name).and_then(Track::exit);
                exit.is_some_and(|exit| exit.code != 0 && !restarts(spec, role, container, exit.code))
            });
        init_failed
            && !spec
                .containers
                .iter()
                .any(|c| self.tracks.get(&c.name).is_some_and(Track::has_run))
    }

    /// Starts a container that does not run and is to.
    fn ensure_running(&mut self, spec: &PodSpec, role: Role, container: &Container, now: Timestamp, out: &mut Out) {
        let Some(sandbox) = self.sandbox.current().cloned() else {
            return;
        };
        let limits = self.limits;
        let full_name = self.full_name();
        let Some(track) = self.tracks.get_mut(&container.name) else {
            return;
        };
        if track.is_running() {
            if track.hook == Hook::Running && !track.hook_asked {
                track.hook_asked = true;
                out.actions.push(Action::PostStart {
                    container: container.name.clone(),
                    id: track.run.as_ref().map(|run| run.id.clone()).unwrap_or_default(),
                });
            }
            return;
        }
        match &track.start {
            Start::Asked => return,
            Start::Failed { retry, .. } if now < *retry => return out.wake_at(*retry),
            Start::Idle | Start::Failed { .. } => {}
        }
        let mut failed = None;
        if let Some(run) = &track.run
            && let Some(exit) = &run.exit
        {
            // In a new sandbox init containers do their work again; what else ended for good is not begun again.
            let is_init_again = role == Role::Init && run.sandbox != sandbox.id;
            if !is_init_again && !track.restarts(spec, role, container) {
                return;
            }
            if let Some((until, wait)) = track
                .backoff
                .until(limits, exit.finished)
                .filter(|(until, _)| now < *until && !track.is_replaced)
            {
                out.wake_at(until);
                let told = Some((run.attempt, wait.as_secs()));
                if std::mem::replace(&mut track.told_backoff, told) != told {
                    let message = format!(
                        "Back-off restarting failed container {} in pod {full_name}",
                        container.name
                    );
                    out.notes
                        .push(Track::note(role, &container.name, true, "BackOff", message));
                }
                return;
            }
            failed = Some(exit.finished).filter(|_| !track.is_replaced);
        }
        if !track.image.ensure(role, container, now, out) {
            return;
        }
        if let Some(failed) = failed {
            track.backoff.count(limits, failed, now);
        }
        if let Some(old) = track.last.take_if(|last| last.exit.is_some()) {
            // One run before the coming one is kept, for its log and its end; this is the one before that.
            if track.run.is_some() {
                out.actions.push(Action::RemoveContainer {
                    container: container.name.clone(),
                    id: old.id,
                    attempt: old.attempt,
                });
            } else {
                track.last = Some(old);
            }
        }
        track.start = Start::Asked;
        track.hook_asked = false;
        out.actions.push(Action::StartContainer {
            container: container.name.clone(),
            attempt: track.next_attempt,
            sandbox: sandbox.id,
        });
    }
}
