//! Pods and pod templates. A pod's status column tells why it does not run, where its containers say so.
//!
//! Source: kubernetes `printers.go` (`printPod`).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, NONE, Printer, age, containers_and_images, name, or_none, pairs, string};
use crate::value::{flag, integer, list, present, text};

pub(super) const PRINTERS: &[Printer] = &[
    Printer {
        kind: "Pod",
        columns: POD,
        cells: pod,
    },
    Printer {
        kind: "PodTemplate",
        columns: &[NAME, string("Containers"), string("Images"), string("Pod Labels")],
        cells: |object, _| {
            let template = &object["template"];
            let [containers, images] = containers_and_images(&template["spec"]);
            vec![name(object), containers, images, pairs(&template["metadata"], "labels")]
        },
    },
];

const POD: &[Column] = &[
    NAME,
    string("Ready"),
    string("Status"),
    string("Restarts"),
    AGE,
    string("IP").wide(),
    string("Node").wide(),
    string("Nominated Node").wide(),
    string("Readiness Gates").wide(),
];

/// Row conditions, by which old clients hide pods that have ended.
pub(super) fn row_conditions(pod: &Value) -> Option<Value> {
    let (reason, message) = match text(&pod["status"], "phase") {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

/// What the containers of a pod add up to.
struct Tally {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
    sidecar_restarts: i64,
    last_sidecar_restart: Option<Timestamp>,
}

fn pod(pod: &Value, now: Timestamp) -> Vec<Value> {
    let tally = tally(pod);
    let restarts = match tally.last_restart {
        Some(last) if tally.restarts != 0 => format!("{} ({} ago)", tally.restarts, super::age::between(last, now)),
        _ => tally.restarts.to_string(),
    };
    let status = &pod["status"];
    let ip = list(status, "podIPs").first().map_or("", |ip| text(ip, "ip"));
    vec![
        name(pod),
        format!("{}/{}", tally.ready, tally.total).into(),
        tally.reason.into(),
        restarts.into(),
        age(pod, now),
        or_none(ip),
        or_none(text(&pod["spec"], "nodeName")),
        or_none(text(status, "nominatedNodeName")),
        readiness_gates(pod),
    ]
}

fn readiness_gates(pod: &Value) -> Value {
    let gates = list(&pod["spec"], "readinessGates");
    if gates.is_empty() {
        return NONE.into();
    }
    let open = gates
        .iter()
        .filter(|gate| {
            let condition = condition(pod, text(gate, "conditionType"));
            condition.is_some_and(|c| text(c, "status") == "True")
        })
        .count();
    format!("{open}/{}", gates.len()).into()
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list(&object["status"], "conditions")
        .iter()
        .find(|c| text(c, "type") == kind)
}

fn tally(pod: &Value) -> Tally {
    let status = &pod["status"];
    let mut tally = Tally {
        reason: match text(status, "reason") {
            "" => text(status, "phase").to_owned(),
            reason => reason.to_owned(),
        },
        ready: 0,
        total: list(&pod["spec"], "containers").len(),
        restarts: 0,
        last_restart: None,
        sidecar_restarts: 0,
        last_sidecar_restart: None,
    };
    if condition(pod, "PodScheduled").is_some_and(|c| text(c, "reason") == "SchedulingGated") {
        "SchedulingGated".clone_into(&mut tally.reason);
    }
    let initializing = init_containers(pod, &mut tally);
    if !initializing || is_initialized(pod) {
        containers(pod, &mut tally);
    }
    if present(&pod["metadata"], "deletionTimestamp").is_some() {
        if text(status, "reason") == "NodeLost" {
            "Unknown".clone_into(&mut tally.reason);
        } else if !matches!(text(status, "phase"), "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut tally.reason);
        }
    }
    tally
}

fn is_initialized(pod: &Value) -> bool {
    condition(pod, "Initialized").is_some_and(|c| text(c, "status") == "True")
}

/// Counts the init containers and finds the one that the pod waits for; false when it waits for none.
fn init_containers(pod: &Value, tally: &mut Tally) -> bool {
    let specs = list(&pod["spec"], "initContainers");
    let is_sidecar = |name: &str| {
        specs
            .iter()
            .any(|c| text(c, "name") == name && text(c, "restartPolicy") == "Always")
    };
    tally.total += specs.iter().filter(|c| text(c, "restartPolicy") == "Always").count();
    for (index, container) in list(&pod["status"], "initContainerStatuses").iter().enumerate() {
        let sidecar = is_sidecar(text(container, "name"));
        let restarts = integer(container, "restartCount").unwrap_or_default();
        let last = last_finished(container);
        tally.restarts += restarts;
        tally.last_restart = tally.last_restart.max(last);
        if sidecar {
            tally.sidecar_restarts += restarts;
            tally.last_sidecar_restart = tally.last_sidecar_restart.max(last);
        }
        let state = &container["state"];
        let terminated = present(state, "terminated");
        if terminated.is_some_and(|t| integer(t, "exitCode").unwrap_or_default() == 0) {
            continue;
        }
        if sidecar && flag(container, "started") {
            if flag(container, "ready") {
                tally.ready += 1;
            }
            continue;
        }
        tally.reason = match (terminated, present(state, "waiting").map(|w| text(w, "reason"))) {
            (Some(terminated), _) => format!("Init:{}", exit_reason(terminated)),
            (None, Some(reason)) if !reason.is_empty() && reason != "PodInitializing" => format!("Init:{reason}"),
            _ => format!("Init:{index}/{}", specs.len()),
        };
        return true;
    }
    false
}

fn containers(pod: &Value, tally: &mut Tally) {
    tally.restarts = tally.sidecar_restarts;
    tally.last_restart = tally.last_sidecar_restart;
    let mut running = false;
    let mut last_error = None;
    for container in list(&pod["status"], "containerStatuses").iter().rev() {
        tally.restarts += integer(container, "restartCount").unwrap_or_default();
        tally.last_restart = tally.last_restart.max(last_finished(container));
        let state = &container["state"];
        let waiting = present(state, "waiting").map(|w| text(w, "reason")).unwrap_or_default();
        if !waiting.is_empty() {
            waiting.clone_into(&mut tally.reason);
        } else if let Some(terminated) = present(state, "terminated") {
            tally.reason = exit_reason(terminated);
            if integer(terminated, "exitCode").unwrap_or_default() != 0 {
                last_error = Some(tally.reason.clone());
            }
        } else if flag(container, "ready") && present(state, "running").is_some() {
            running = true;
            tally.ready += 1;
        }
    }
    // One container has completed while another still runs.
    if tally.reason == "Completed" {
        if running {
            let ready = condition(pod, "Ready").is_some_and(|c| text(c, "status") == "True");
            (if ready { "Running" } else { "NotReady" }).clone_into(&mut tally.reason);
        } else if let Some(error) = last_error {
            tally.reason = error;
        }
    }
}

fn exit_reason(terminated: &Value) -> String {
    let reason = text(terminated, "reason");
    let signal = integer(terminated, "signal").unwrap_or_default();
    match (reason, signal) {
        ("", 0) => format!("ExitCode:{}", integer(terminated, "exitCode").unwrap_or_default()),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn last_finished(container: &Value) -> Option<Timestamp> {
    super::age::moment(present(&container["lastState"], "terminated")?, "finishedAt")
}
