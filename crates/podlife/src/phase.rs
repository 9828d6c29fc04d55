//! The phase of a pod, from the states of its containers.
//!
//! Source: `spec/node-and-pod.md` §11.1; kubernetes `pkg/kubelet/kubelet_pods.go` `getPhase`.

use rota_api::k8s::api::core::v1::{Container, ContainerState, ContainerStatus, PodSpec};

use crate::restart::{Role, restarts};

/// One container with what its status says.
pub(crate) type Seen<'a> = (Role, &'a Container, &'a ContainerStatus);

/// The exit code of the run that counts: of the present state, or of the last one of a container that waits.
fn exit_code(status: &ContainerStatus) -> Option<i32> {
    let code = |state: &Option<ContainerState>| Some(state.as_ref()?.terminated.as_ref()?.exit_code);
    let waits = status.state.as_ref().is_none_or(|s| s.waiting.is_some());
    code(&status.state).or_else(|| code(&status.last_state).filter(|_| waits))
}

fn is_running(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|s| s.running.is_some())
}

/// True when some regular container has ever been started.
pub(crate) fn has_started(containers: &[Seen<'_>]) -> bool {
    let mut regular = containers.iter().filter(|(role, ..)| *role == Role::Regular);
    regular.any(|(_, _, status)| is_running(status) || exit_code(status).is_some())
}

/// The phase. `is_over`: the pod is ended for good and none of its containers runs or will.
pub(crate) fn phase(spec: &PodSpec, containers: &[Seen<'_>], is_over: bool) -> &'static str {
    let of = |wanted: Role| containers.iter().filter(move |(role, ..)| *role == wanted);
    let has_failed = of(Role::Init)
        .any(|(role, c, s)| exit_code(s).is_some_and(|code| code != 0 && !restarts(spec, *role, c, code)));
    if has_failed
        && !of(Role::Regular)
            .chain(of(Role::Sidecar))
            .any(|(_, _, s)| is_running(s))
    {
        return "Failed";
    }
    if is_over {
        let all_well = of(Role::Regular).all(|(_, _, s)| exit_code(s) == Some(0));
        return if all_well { "Succeeded" } else { "Failed" };
    }
    let init_pending = of(Role::Init).any(|(_, _, s)| exit_code(s) != Some(0));
    let sidecar_pending = of(Role::Sidecar).any(|(_, _, s)| {
        if is_running(s) {
            s.started != Some(true)
        } else {
            exit_code(s).is_none()
        }
    });
    if (init_pending || sidecar_pending) && !has_started(containers) {
        return "Pending";
    }
    let waits = |(_, _, status): &&Seen<'_>| !is_running(status) && exit_code(status).is_none();
    if of(Role::Regular).any(|seen| waits(&seen)) {
        return "Pending";
    }
    if of(Role::Regular)
        .chain(of(Role::Sidecar))
        .any(|(_, _, s)| is_running(s))
    {
        return "Running";
    }
    let restartable = |(role, c, s): &Seen<'_>| exit_code(s).is_some_and(|code| restarts(spec, *role, c, code));
    if of(Role::Regular).any(restartable) {
        "Running"
    } else if of(Role::Regular).all(|(_, _, s)| exit_code(s) == Some(0)) {
        "Succeeded"
    } else {
        "Failed"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn state(word: &str) -> Value {
        let (state, last) = match word {
            "running" | "unstarted" => (json!({"running": {}}), json!({})),
            "waiting" => (json!({"waiting": {}}), json!({})),
            word => match word.strip_prefix("crash") {
                Some(code) => (
                    json!({"waiting": {"reason": "CrashLoopBackOff"}}),
                    json!({"terminated": {"exitCode": code.parse::<i32>().unwrap()}}),
                ),
                None => (
                    json!({"terminated": {"exitCode": word.parse::<i32>().unwrap()}}),
                    json!({}),
                ),
            },
        };
        json!({"name": "", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": state, "lastState": last, "started": word == "running"})
    }

    /// Containers written as `role:state`, such as `init:0 sidecar:running app:1`.
    fn check_with(policy: &str, containers: &str, is_over: bool, expected: &str) {
        let spec: PodSpec = serde_json::from_value(json!({"containers": [], "restartPolicy": policy})).unwrap();
        let parsed: Vec<(Role, Container, ContainerStatus)> = containers
            .split(' ')
            .map(|text| {
                let (role, word) = text.split_once(':').unwrap();
                let (role, container) = match role {
                    "init" => (Role::Init, json!({"name": ""})),
                    "sidecar" => (Role::Sidecar, json!({"name": "", "restartPolicy": "Always"})),
                    _ => (Role::Regular, json!({"name": ""})),
                };
                (
                    role,
                    serde_json::from_value(container).unwrap(),
                    serde_json::from_value(state(word)).unwrap(),
                )
            })
            .collect();
        let seen: Vec<Seen<'_>> = parsed.iter().map(|(r, c, s)| (*r, c, s)).collect();
        assert_eq!(phase(&spec, &seen, is_over), expected, "{policy}: {containers}");
    }

    fn check(policy: &str, containers: &str, expected: &str) {
        check_with(policy, containers, false, expected);
    }

    #[test]
    fn a_pod_is_pending_until_every_regular_container_has_started() {
        check("Always", "app:waiting", "Pending");
        check("Always", "app:running app:waiting", "Pending");
        check("Always", "app:running app:running", "Running");
    }

    #[test]
    fn a_container_that_will_be_started_again_keeps_the_pod_running() {
        check("Always", "app:0", "Running");
        check("OnFailure", "app:1", "Running");
        check("OnFailure", "app:crash1", "Running");
        check("Always", "app:crash0", "Running");
    }

    #[test]
    fn a_pod_ends_when_its_last_container_does() {
        check("Never", "app:0", "Succeeded");
        check("Never", "app:1", "Failed");
        check("OnFailure", "app:0", "Succeeded");
        check("Never", "app:1 app:running", "Running");
        check("Never", "app:1 app:0", "Failed");
    }

    #[test]
    fn init_containers_keep_a_pod_pending_and_fail_it_when_they_may_not_restart() {
        check("Never", "init:running app:waiting", "Pending");
        check("OnFailure", "init:1 app:waiting", "Pending");
        check("OnFailure", "init:crash1 app:waiting", "Pending");
        check("Never", "init:1 app:waiting", "Failed");
        check("Never", "init:0 app:running", "Running");
    }

    #[test]
    fn a_sidecar_holds_the_start_but_does_not_decide_the_end() {
        check("Never", "sidecar:unstarted app:waiting", "Pending");
        check("Never", "sidecar:running app:waiting", "Pending");
        check("Never", "sidecar:running app:running", "Running");
        check("Never", "sidecar:running app:0", "Running");
        check("Never", "sidecar:137 app:0", "Succeeded");
        check("Never", "sidecar:crash1 app:running", "Running");
    }

    #[test]
    fn a_pod_that_is_over_is_terminal_whatever_its_policy() {
        check_with("Always", "app:0", true, "Succeeded");
        check_with("Always", "app:143", true, "Failed");
        check_with("Always", "app:waiting", true, "Failed");
        check_with("OnFailure", "init:1 app:waiting", true, "Failed");
    }
}
