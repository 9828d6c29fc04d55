//! The conditions of a pod that its node owns.
//!
//! Source: `spec/node-and-pod.md` §11.3; kubernetes `pkg/kubelet/status/generate.go`.

use rota_api::Timestamp;
use rota_api::k8s::api::core::v1::{Pod, PodCondition};
use rota_api::k8s::apimachinery::pkg::apis::meta::v1::Time;

use crate::phase::{Seen, has_started};
use crate::restart::Role;

/// What conditions depend on.
pub(crate) struct Facts<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) phase: &'a str,
    pub(crate) containers: &'a [Seen<'a>],
    pub(crate) has_sandbox: bool,
    /// The conditions before: what stays keeps its transition time.
    pub(crate) before: &'a [PodCondition],
    pub(crate) now: Timestamp,
}

struct Verdict {
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    fn holds() -> Self {
        Self {
            holds: true,
            reason: None,
            message: None,
        }
    }

    fn because(holds: bool, reason: &'static str) -> Self {
        Self {
            holds,
            reason: Some(reason),
            message: None,
        }
    }

    fn fails(reason: &'static str, message: String) -> Self {
        Self {
            message: Some(message),
            ..Self::because(false, reason)
        }
    }
}

/// The conditions, in the order in which they are reported.
pub(crate) fn conditions(facts: &Facts<'_>) -> Vec<PodCondition> {
    let sandbox = Verdict {
        holds: facts.has_sandbox,
        reason: None,
        message: None,
    };
    [
        ("PodReadyToStartContainers", sandbox),
        ("Initialized", initialized(facts)),
        ("Ready", ready(facts)),
        ("ContainersReady", containers_ready(facts)),
        ("PodScheduled", Verdict::holds()),
    ]
    .into_iter()
    .map(|(kind, verdict)| facts.condition(kind, verdict))
    .collect()
}

impl Facts<'_> {
    fn condition(&self, kind: &str, verdict: Verdict) -> PodCondition {
        let status = if verdict.holds { "True" } else { "False" };
        let same = self.before.iter().find(|c| c.type_ == kind && c.status == status);
        PodCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: verdict.reason.map(str::to_owned),
            message: verdict.message,
            last_probe_time: None,
            last_transition_time: same
                .and_then(|c| c.last_transition_time.clone())
                .or(Some(Time(self.now))),
            observed_generation: self.pod.metadata.generation,
        }
    }

    fn unready(&self, roles: &[Role]) -> Vec<&str> {
        let of = self.containers.iter().filter(|(role, ..)| roles.contains(role));
        of.filter(|(_, _, status)| !status.ready)
            .map(|(_, c, _)| c.name.as_str())
            .collect()
    }
}

fn containers_ready(facts: &Facts<'_>) -> Verdict {
    if facts.phase == "Succeeded" {
        return Verdict::because(false, "PodCompleted");
    }
    if facts.phase == "Failed" {
        return Verdict::because(false, "PodFailed");
    }
    let unready = facts.unready(&[Role::Sidecar, Role::Regular]);
    if unready.is_empty() {
        return Verdict::holds();
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    Verdict::fails("ContainersNotReady", message)
}

fn ready(facts: &Facts<'_>) -> Verdict {
    let containers = containers_ready(facts);
    if !containers.holds {
        return containers;
    }
    let gates = facts
        .pod
        .spec
        .as_ref()
        .and_then(|s| s.readiness_gates.as_deref())
        .unwrap_or_default();
    let others = facts
        .pod
        .status
        .as_ref()
        .and_then(|s| s.conditions.as_deref())
        .unwrap_or_default();
    let missing: Vec<String> = gates
        .iter()
        .filter_map(|gate| {
            let kind = &gate.condition_type;
            match others.iter().find(|c| c.type_ == *kind) {
                None => Some(format!(
                    "corresponding condition of pod readiness gate {kind:?} does not exist."
                )),
                Some(c) if c.status != "True" => Some(format!(
                    "the status of pod readiness gate {kind:?} is not \"True\", but {}",
                    c.status
                )),
                Some(_) => None,
            }
        })
        .collect();
    if missing.is_empty() {
        Verdict::holds()
    } else {
        Verdict::fails("ReadinessGatesNotReady", missing.join(", "))
    }
}

fn initialized(facts: &Facts<'_>) -> Verdict {
    // What a sidecar is later does not undo that it was started.
    let incomplete: Vec<&str> = facts
        .containers
        .iter()
        .filter(|(role, _, status)| match role {
            Role::Init => !status.ready,
            Role::Sidecar => status.started != Some(true),
            Role::Regular | Role::Ephemeral => false,
        })
        .map(|(_, container, _)| container.name.as_str())
        .collect();
    if facts.phase == "Succeeded" {
        return Verdict::because(true, "PodCompleted");
    }
    if incomplete.is_empty() || has_started(facts.containers) {
        return Verdict::holds();
    }
    let message = format!("containers with incomplete status: [{}]", incomplete.join(" "));
    Verdict::fails("ContainersNotInitialized", message)
}
