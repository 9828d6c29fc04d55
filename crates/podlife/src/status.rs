//! The status of a pod as its node reports it.
//!
//! Source: `spec/node-and-pod.md` §10.7, §11.4; kubernetes `pkg/kubelet/kubelet_pods.go`, `status/status_manager.go`.

use std::borrow::Cow;

use rota_api::Timestamp;
use rota_api::k8s::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    HostIP, PodIP, PodStatus,
};
use rota_api::k8s::apimachinery::pkg::apis::meta::v1::Time;

use crate::action::{Exit, Run};
use crate::conditions::{self, conditions};
use crate::life::Life;
use crate::phase::{Seen, phase};
use crate::restart::{Role, all_containers};
use crate::track::{Start, Track};

impl Life {
    /// What the cluster is to be told now.
    pub(crate) fn status(&self, now: Timestamp) -> PodStatus {
        let Some(spec) = self.pod.spec.as_ref() else {
            return self.reported.clone();
        };
        let is_over = self.is_over();
        let statuses: Vec<(Role, Cow<'_, Container>, ContainerStatus)> = all_containers(spec)
            .filter_map(|(role, c)| {
                let status = self.container_status(role, &c, self.tracks.get(&c.name)?, now);
                Some((role, c, status))
            })
            .collect();
        let seen: Vec<Seen<'_>> = statuses.iter().map(|(role, c, s)| (*role, &**c, s)).collect();
        // A run that makes room for another has an end that says nothing of the pod.
        let is_replaced = self
            .tracks
            .values()
            .any(|track| track.is_replaced && !track.is_running());
        let phase = if is_replaced && !is_over {
            "Running"
        } else {
            phase(spec, &seen, is_over)
        };
        let (phase, reason, message) = self.verdict(phase, is_over);
        let facts = conditions::Facts {
            pod: &self.pod,
            phase: &phase,
            containers: &seen,
            has_sandbox: self.sandbox.is_up() && !is_over,
            before: self.reported.conditions.as_deref().unwrap_or_default(),
            now,
        };
        let conditions = conditions(&facts);
        // A pod that was never let in says nothing of containers: they neither ran nor failed.
        let was_let_in = !self.was_refused() || self.tracks.values().any(Track::has_run);
        let list = |wanted: &[Role]| -> Option<Vec<ContainerStatus>> {
            let list: Vec<_> = statuses
                .iter()
                .filter(|(role, ..)| was_let_in && wanted.contains(role))
                .map(|(_, _, status)| status.clone())
                .collect();
            (!list.is_empty()).then_some(list)
        };
        let ips = self.pod_ips();
        PodStatus {
            phase: Some(phase),
            reason,
            message,
            host_ip: self.node.addresses.first().map(ToString::to_string),
            host_ips: some(self.node.addresses.iter().map(|ip| HostIP { ip: ip.to_string() })),
            pod_ip: ips.first().cloned(),
            pod_ips: some(ips.into_iter().map(|ip| PodIP { ip })),
            start_time: self.start_time.map(Time),
            conditions: Some(conditions),
            init_container_statuses: list(&[Role::Init, Role::Sidecar]),
            container_statuses: list(&[Role::Regular]),
            ephemeral_container_statuses: list(&[Role::Ephemeral]),
            observed_generation: self.pod.metadata.generation,
            qos_class: self.reported.qos_class.clone(),
            ..PodStatus::default()
        }
    }

    /// The phase with the pod's reason and message: a terminal one the cluster knows is never left.
    fn verdict(&self, phase: &str, is_over: bool) -> (String, Option<String>, Option<String>) {
        let before = self.reported.phase.as_deref().unwrap_or_default();
        if matches!(before, "Succeeded" | "Failed") {
            let before = &self.reported;
            return (
                before.phase.clone().unwrap_or_default(),
                before.reason.clone(),
                before.message.clone(),
            );
        }
        match &self.failure {
            Some((reason, message)) if is_over => ("Failed".to_owned(), Some(reason.clone()), Some(message.clone())),
            Some(_) | None => (phase.to_owned(), None, None),
        }
    }

    fn pod_ips(&self) -> Vec<String> {
        let spec = self.pod.spec.as_ref();
        if spec.is_some_and(|s| s.host_network == Some(true)) {
            return self.node.addresses.iter().map(ToString::to_string).collect();
        }
        match self.sandbox.current() {
            Some(sandbox) => sandbox.ips.iter().map(ToString::to_string).collect(),
            // What it had last stays visible.
            None => self.reported.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect(),
        }
    }

    fn container_status(&self, role: Role, container: &Container, track: &Track, now: Timestamp) -> ContainerStatus {
        let image = container.image.clone().unwrap_or_default();
        let run = track.run.as_ref();
        let before = self.before(&container.name);
        let mut last = track.last.as_ref().and_then(terminated);
        let state = match run {
            Some(run) if run.exit.is_none() => ContainerState {
                running: Some(ContainerStateRunning {
                    started_at: Some(Time(run.started)),
                }),
                ..ContainerState::default()
            },
            Some(ended) => match self.waiting(role, container, track, now) {
                Some(waiting) => {
                    last = terminated(ended);
                    waiting
                }
                None => terminated(ended).unwrap_or_default(),
            },
            None => self.never_ran(role, container, track, now),
        };
        let is_running = track.is_running();
        ContainerStatus {
            name: container.name.clone(),
            image: run.map_or(image, |run| run.image.clone()),
            image_id: run.map(|run| run.image_id.clone()).unwrap_or_default(),
            container_id: run.map(|run| run.id.clone()).filter(|id| !id.is_empty()),
            ready: track.is_ready(role),
            // Nobody asks whether one that serves nothing has come up.
            started: (role != Role::Ephemeral).then(|| is_running && track.is_started()),
            restart_count: restart_count(track),
            state: Some(state),
            last_state: Some(last.or_else(|| before?.last_state.clone()).unwrap_or_default()),
            ..ContainerStatus::default()
        }
    }

    /// Why a container that has ended does not run again yet; `None`: it has ended, and that is all to say.
    fn waiting(&self, role: Role, container: &Container, track: &Track, now: Timestamp) -> Option<ContainerState> {
        let spec = self.pod.spec.as_ref()?;
        if self.is_terminating() || !track.restarts(spec, role, container) {
            return None;
        }
        if let Some((reason, message)) = track.image.waiting(container, now) {
            return Some(waiting(&reason, Some(message)));
        }
        if let Start::Failed { reason, message, .. } = &track.start {
            return Some(waiting(reason, Some(message.clone())));
        }
        // Shown until the next run is up: what happens in between is too short to be told.
        let (_, seconds) = track
            .told_backoff
            .filter(|(attempt, _)| track.run.as_ref().is_some_and(|r| r.attempt == *attempt))?;
        Some(waiting(
            "CrashLoopBackOff",
            Some(self.back_off_message(&container.name, seconds)),
        ))
    }

    fn back_off_message(&self, container: &str, seconds: u64) -> String {
        format!(
            "back-off {seconds}s restarting failed container={container} pod={}",
            self.full_name()
        )
    }

    /// The state of a container that has not run in this pod as far as anyone knows.
    fn never_ran(&self, role: Role, container: &Container, track: &Track, now: Timestamp) -> ContainerState {
        let is_terminal = matches!(self.reported.phase.as_deref(), Some("Succeeded" | "Failed"));
        if let Some(known) = self
            .before(&container.name)
            .and_then(|s| s.state.clone())
            .filter(|_| is_terminal)
        {
            return known;
        }
        if self.is_over() && self.counts_as_lost(role) {
            // The pod could have run it and nobody can say what became of it: a failure, not a success.
            return ContainerState {
                terminated: Some(ContainerStateTerminated {
                    exit_code: 137,
                    reason: Some("ContainerStatusUnknown".to_owned()),
                    message: Some("The container could not be located when the pod was terminated".to_owned()),
                    ..ContainerStateTerminated::default()
                }),
                ..ContainerState::default()
            };
        }
        if let Some((reason, message)) = track.image.waiting(container, now) {
            return waiting(&reason, Some(message));
        }
        if let Start::Failed { reason, message, .. } = &track.start {
            return waiting(reason, Some(message.clone()));
        }
        let has_inits = self
            .pod
            .spec
            .as_ref()
            .is_some_and(|s| s.init_containers.iter().flatten().next().is_some());
        waiting(
            if has_inits {
                "PodInitializing"
            } else {
                "ContainerCreating"
            },
            None,
        )
    }

    /// True for containers whose turn had come: all once the pod was initialized, init containers never.
    fn counts_as_lost(&self, role: Role) -> bool {
        role == Role::Regular && self.inits_are_done()
    }
}

fn restart_count(track: &Track) -> i32 {
    let attempt = track.run.as_ref().map_or(track.next_attempt, |run| run.attempt);
    i32::try_from(attempt).unwrap_or(i32::MAX)
}

fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.to_owned()),
            message,
        }),
        ..ContainerState::default()
    }
}

fn terminated(run: &Run) -> Option<ContainerState> {
    let Exit {
        code,
        reason,
        message,
        finished,
    } = run.exit.as_ref()?;
    Some(ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: *code,
            reason: Some(reason.clone()),
            message: (!message.is_empty()).then(|| message.clone()),
            started_at: Some(Time(run.started)),
            finished_at: Some(Time(*finished)),
            container_id: (!run.id.is_empty()).then(|| run.id.clone()),
            signal: None,
        }),
        ..ContainerState::default()
    })
}

fn some<T>(items: impl Iterator<Item = T>) -> Option<Vec<T>> {
    let items: Vec<T> = items.collect();
    (!items.is_empty()).then_some(items)
}
