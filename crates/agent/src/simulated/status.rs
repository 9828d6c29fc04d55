//! What the status of a simulated pod says, and what its annotations ask for.
//!
//! Patches for the status subresource; merged strategically, so that conditions of others stay.

use std::net::IpAddr;
use std::time::Duration;

use rota_api::k8s::api::core::v1::{Container, EphemeralContainer, Pod};
use rota_api::{Object, Timestamp};
use serde_json::{Map, Value, json};

use crate::node::seconds;

/// Longest span an annotation can ask for: ten years. Beyond it, sums of times would overflow sooner than anyone waits.
const SPAN_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// Completion index of a pod of an Indexed Job.
const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// What a pod's annotations and restart policy ask for.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) start: Option<Duration>,
    pub(super) run: Option<Duration>,
    pub(super) stop: Option<Duration>,
    exit_codes: Vec<i32>,
    pub(super) restarts_always: bool,
    pub(super) restarts_on_failure: bool,
}

impl Script {
    /// The exit code of the run after `restarts` restarts.
    pub(super) fn exit_code(&self, restarts: u32) -> i32 {
        let run = usize::try_from(restarts).unwrap_or(usize::MAX);
        self.exit_codes
            .get(run)
            .or(self.exit_codes.last())
            .copied()
            .unwrap_or(0)
    }
}

/// Reads a pod's script. What cannot be understood counts as absent.
pub(super) fn script(object: &Object) -> Script {
    let Ok(pod) = object.view::<Pod>() else {
        return Script::default();
    };
    let annotation = |name: &str| pod.metadata.annotations.as_ref().and_then(|all| all.get(name));
    let span = |name: &str| {
        let millis = annotation(name)?.trim().parse().ok()?;
        Some(Duration::from_millis(millis).min(SPAN_MAX))
    };
    let list =
        |name: &str| annotation(name).map(|text| text.split(',').filter_map(|n| n.trim().parse().ok()).collect());
    let fails = match (list("rota.dev/sim-fail-indexes"), annotation(COMPLETION_INDEX)) {
        (Some::<Vec<i32>>(indexes), Some(index)) => index.parse().is_ok_and(|index| indexes.contains(&index)),
        (Some(_), None) | (None, _) => true,
    };
    let policy = pod
        .spec
        .as_ref()
        .and_then(|s| s.restart_policy.as_deref())
        .unwrap_or("Always");
    Script {
        start: span("rota.dev/sim-start-ms"),
        run: span("rota.dev/sim-run-ms"),
        stop: span("rota.dev/sim-stop-ms"),
        exit_codes: list("rota.dev/sim-exit-code").filter(|_| fails).unwrap_or_default(),
        restarts_always: policy == "Always",
        restarts_on_failure: policy == "OnFailure",
    }
}

/// What a simulated pod's status says beyond its spec.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    address: IpAddr,
    node: IpAddr,
    pub(super) started: Option<Timestamp>,
    pub(super) restarts: u32,
    last: Option<Run>,
}

/// A run of the containers that is over.
#[derive(Clone, Copy, Debug)]
struct Run {
    code: i32,
    started: Timestamp,
    finished: Timestamp,
}

impl Facts {
    pub(super) fn new(address: IpAddr, node: IpAddr) -> Self {
        Self {
            address,
            node,
            started: None,
            restarts: 0,
            last: None,
        }
    }

    /// Goes on where a process before this one stopped.
    pub(super) fn resume(&mut self, pod: &Pod) {
        let Some(status) = &pod.status else { return };
        if let Some(ip) = status.pod_ip.as_deref().and_then(|ip| ip.parse().ok()) {
            self.address = ip;
        }
        let first = status.container_statuses.as_ref().and_then(|all| all.first());
        let running = first.and_then(|c| c.state.as_ref()).and_then(|s| s.running.as_ref());
        self.started = running.and_then(|r| r.started_at.as_ref()).map(|t| t.0);
        self.restarts = first.and_then(|c| u32::try_from(c.restart_count).ok()).unwrap_or(0);
    }

    pub(super) fn run_started(&mut self, now: Timestamp) {
        self.started = Some(now);
        if self.last.is_some() {
            self.restarts += 1;
        }
    }

    pub(super) fn run_ended(&mut self, code: i32, now: Timestamp) {
        self.last = Some(Run {
            code,
            started: self.started.unwrap_or(now),
            finished: now,
        });
    }
}

/// All containers run and are ready; ordinary init containers are done.
pub(super) fn running(pod: &Pod, facts: &Facts, now: Timestamp) -> Value {
    let started = facts.started.unwrap_or(now);
    let run = json!({"running": {"startedAt": seconds(started)}});
    let done = terminated(Run {
        code: 0,
        started,
        finished: started,
    });
    let statuses = Statuses {
        sidecar: run.clone(),
        init: done,
        regular: run,
        is_up: true,
    };
    statuses.patch(pod, facts, "Running", now)
}

/// The regular containers have failed and wait to be started again.
pub(super) fn backing_off(pod: &Pod, facts: &Facts, wait: Duration, now: Timestamp) -> Value {
    let started = facts.started.unwrap_or(now);
    let message = format!("back-off {}s restarting failed container", wait.as_secs());
    let statuses = Statuses {
        sidecar: json!({"running": {"startedAt": seconds(started)}}),
        init: terminated(Run {
            code: 0,
            started,
            finished: started,
        }),
        regular: json!({"waiting": {"reason": "CrashLoopBackOff", "message": message}}),
        is_up: false,
    };
    statuses.patch(pod, facts, "Running", now)
}

/// All containers have ended, the regular ones with `code`.
pub(super) fn ended(pod: &Pod, facts: &Facts, code: i32, now: Timestamp) -> Value {
    let started = facts.started.unwrap_or(now);
    let end = |code| {
        terminated(Run {
            code,
            started,
            finished: now,
        })
    };
    let statuses = Statuses {
        sidecar: end(0),
        init: end(0),
        regular: end(code),
        is_up: false,
    };
    statuses.patch(pod, facts, if code == 0 { "Succeeded" } else { "Failed" }, now)
}

fn terminated(run: Run) -> Value {
    json!({"terminated": {
        "exitCode": run.code,
        "reason": if run.code == 0 { "Completed" } else { "Error" },
        "startedAt": seconds(run.started),
        "finishedAt": seconds(run.finished),
    }})
}

/// The states of a pod's containers, by kind.
struct Statuses {
    sidecar: Value,
    init: Value,
    regular: Value,
    is_up: bool,
}

impl Statuses {
    fn patch(&self, pod: &Pod, facts: &Facts, phase: &str, now: Timestamp) -> Value {
        let Some(spec) = &pod.spec else {
            return json!({"status": {"phase": phase}});
        };
        let host_network = spec.host_network.unwrap_or(false);
        let address = if host_network { facts.node } else { facts.address }.to_string();
        let node = facts.node.to_string();
        let start_time = pod
            .status
            .as_ref()
            .and_then(|s| s.start_time.as_ref())
            .map_or(now, |t| t.0);
        let regular = spec
            .containers
            .iter()
            .map(|c| self.container(pod, c, &self.regular, facts, true));
        let mut status = json!({
            "phase": phase,
            "hostIP": node, "hostIPs": [{"ip": node}],
            "podIP": address, "podIPs": [{"ip": address}],
            "startTime": seconds(start_time),
        });
        // Values that are there already are moved in: the macro would write each out and read it again.
        status["conditions"] = self.conditions(pod, phase, now);
        status["containerStatuses"] = regular.collect();
        if let Some(generation) = pod.metadata.generation {
            status["observedGeneration"] = generation.into();
        }
        if let Some(inits) = spec.init_containers.as_ref().filter(|inits| !inits.is_empty()) {
            let inits = inits.iter().map(|c| {
                let is_sidecar = c.restart_policy.as_deref() == Some("Always");
                let state = if is_sidecar { &self.sidecar } else { &self.init };
                self.container(pod, c, state, facts, false)
            });
            status["initContainerStatuses"] = inits.collect();
        }
        if let Some(added) = spec.ephemeral_containers.as_ref().filter(|added| !added.is_empty()) {
            let is_over = matches!(phase, "Succeeded" | "Failed");
            let added = added.iter().map(|c| self.ephemeral(pod, c, facts, is_over, now));
            status["ephemeralContainerStatuses"] = added.collect();
        }
        Map::from_iter([("status".to_owned(), status)]).into()
    }

    fn container(&self, pod: &Pod, container: &Container, state: &Value, facts: &Facts, is_regular: bool) -> Value {
        let image = container.image.as_deref().unwrap_or_default();
        let restarts = if is_regular { facts.restarts } else { 0 };
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let id = format!("simulated://{uid}-{}-{restarts}", container.name);
        let is_running = state.get("running").is_some();
        let mut state = state.clone();
        if let Some(terminated) = state.get_mut("terminated") {
            terminated["containerID"] = id.as_str().into();
        }
        let last = facts.last.filter(|_| is_regular).map_or_else(|| json!({}), terminated);
        let mut status = json!({
            "name": container.name,
            "image": image,
            "imageID": format!("simulated://{image}"),
            "containerID": id,
            "ready": is_running || (!is_regular && state["terminated"]["exitCode"] == 0),
            "started": is_running,
            "restartCount": restarts,
        });
        status["state"] = state;
        status["lastState"] = last;
        status
    }

    /// An ephemeral container runs from when it is first told of until the pod is over, which ends it by a signal.
    fn ephemeral(&self, pod: &Pod, added: &EphemeralContainer, facts: &Facts, is_over: bool, now: Timestamp) -> Value {
        let told = pod
            .status
            .iter()
            .flat_map(|s| s.ephemeral_container_statuses.iter().flatten());
        let told = told.into_iter().find(|told| told.name == added.name);
        let running = told.and_then(|told| told.state.as_ref()?.running.as_ref()?.started_at.as_ref());
        let started = running.map_or(now, |since| since.0);
        let state = match is_over {
            true => terminated(Run {
                code: 143,
                started,
                finished: now,
            }),
            false => json!({"running": {"startedAt": seconds(started)}}),
        };
        let container = Container {
            name: added.name.clone(),
            image: added.image.clone(),
            ..Container::default()
        };
        let mut status = self.container(pod, &container, &state, facts, false);
        // Nobody asks whether one that serves nothing has come up.
        status["ready"] = false.into();
        status["started"] = Value::Null;
        status
    }

    fn conditions(&self, pod: &Pod, phase: &str, now: Timestamp) -> Value {
        let before = pod
            .status
            .as_ref()
            .and_then(|s| s.conditions.as_deref())
            .unwrap_or_default();
        let unready = match phase {
            "Succeeded" => "PodCompleted",
            "Failed" => "PodFailed",
            _ => "ContainersNotReady",
        };
        let is_over = matches!(phase, "Succeeded" | "Failed");
        let conditions = [
            ("PodReadyToStartContainers", !is_over, ""),
            (
                "Initialized",
                true,
                if phase == "Succeeded" { "PodCompleted" } else { "" },
            ),
            ("Ready", self.is_up, unready),
            ("ContainersReady", self.is_up, unready),
            ("PodScheduled", true, ""),
        ];
        conditions
            .iter()
            .map(|(kind, holds, reason)| {
                let status = if *holds { "True" } else { "False" };
                let same = before.iter().find(|c| c.type_ == *kind && c.status == status);
                let since = same.and_then(|c| c.last_transition_time.as_ref()).map_or(now, |t| t.0);
                let mut condition = json!({
                    "type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": seconds(since),
                });
                if let Some(generation) = pod.metadata.generation {
                    condition["observedGeneration"] = generation.into();
                }
                // A reason that no longer holds has to be taken back from a condition that is merged.
                condition["reason"] = match (*holds, *reason) {
                    (_, "") | (true, "ContainersNotReady" | "PodFailed") => Value::Null,
                    (_, reason) => reason.into(),
                };
                condition
            })
            .collect()
    }
}
