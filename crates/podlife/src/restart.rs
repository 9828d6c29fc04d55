//! Which containers a pod has, and whether one that ended is started again.
//!
//! Source: `spec/node-and-pod.md` §12.1–12.2, §23; kubernetes `pkg/kubelet/container/helpers.go`.

use std::borrow::Cow;

use rota_api::k8s::api::core::v1::{Container, EphemeralContainer, PodSpec};

/// What a container is to its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Must end well before the next one starts.
    Init,
    /// An init container that keeps running beside the others.
    Sidecar,
    /// What the pod is for.
    Regular,
    /// Added to a pod that is there, to look into it; decides nothing about the pod.
    Ephemeral,
}

/// The containers that a pod was made with, in the order in which they start, with their roles.
pub fn containers(spec: &PodSpec) -> impl DoubleEndedIterator<Item = (Role, &Container)> {
    let inits = spec.init_containers.iter().flatten().map(|container| {
        let is_sidecar = container.restart_policy.as_deref() == Some("Always");
        (if is_sidecar { Role::Sidecar } else { Role::Init }, container)
    });
    inits.chain(spec.containers.iter().map(|container| (Role::Regular, container)))
}

/// All containers of a pod, with their roles: those it was made with, and those that were added to it.
pub fn all_containers(spec: &PodSpec) -> impl Iterator<Item = (Role, Cow<'_, Container>)> {
    let made = containers(spec).map(|(role, container)| (role, Cow::Borrowed(container)));
    let added = spec.ephemeral_containers.iter().flatten();
    made.chain(added.map(|container| (Role::Ephemeral, Cow::Owned(as_container(container)))))
}

/// The container of this name.
pub fn container<'a>(spec: &'a PodSpec, name: &str) -> Option<(Role, Cow<'a, Container>)> {
    all_containers(spec).find(|(_, container)| container.name == name)
}

/// What an ephemeral container has in common with every other. The fields of its type that it must not set (ports, probes,
/// hooks, resources, restart policies) are left out.
fn as_container(ephemeral: &EphemeralContainer) -> Container {
    let own = ephemeral.clone();
    Container {
        name: own.name,
        image: own.image,
        image_pull_policy: own.image_pull_policy,
        command: own.command,
        args: own.args,
        working_dir: own.working_dir,
        env: own.env,
        env_from: own.env_from,
        volume_mounts: own.volume_mounts,
        volume_devices: own.volume_devices,
        security_context: own.security_context,
        stdin: own.stdin,
        stdin_once: own.stdin_once,
        tty: own.tty,
        termination_message_path: own.termination_message_path,
        termination_message_policy: own.termination_message_policy,
        ..Container::default()
    }
}

/// True when a container that ended with `exit_code` is to be started again.
pub fn restarts(spec: &PodSpec, role: Role, container: &Container, exit_code: i32) -> bool {
    let rules = container.restart_policy_rules.iter().flatten();
    for rule in rules {
        let Some(exit_codes) = &rule.exit_codes else { continue };
        let listed = exit_codes.values.iter().flatten().any(|code| *code == exit_code);
        let matches = match exit_codes.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        };
        // An action that is not known here leaves the decision to the policies.
        if matches && rule.action == "Restart" {
            return true;
        }
    }
    let of_pod = spec.restart_policy.as_deref().unwrap_or("Always");
    match (container.restart_policy.as_deref().unwrap_or(of_pod), role) {
        ("Never", _) | (_, Role::Ephemeral) => false,
        // An init container is done once it ended well, whatever the policy.
        ("OnFailure", _) | (_, Role::Init) => exit_code != 0,
        (_, Role::Sidecar | Role::Regular) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(pod_policy: &str, role: Role, container: Value, exit_code: i32, expected: bool) {
        let mut container = container;
        container["name"] = "c".into();
        let container: Container = serde_json::from_value(container).unwrap();
        let spec: PodSpec = serde_json::from_value(json!({"containers": [], "restartPolicy": pod_policy})).unwrap();
        assert_eq!(
            restarts(&spec, role, &container, exit_code),
            expected,
            "{pod_policy} {role:?} exit {exit_code}"
        );
    }

    #[test]
    fn the_policy_of_the_pod_decides() {
        for (policy, after_success, after_failure) in [
            ("Always", true, true),
            ("OnFailure", false, true),
            ("Never", false, false),
        ] {
            check(policy, Role::Regular, json!({}), 0, after_success);
            check(policy, Role::Regular, json!({}), 1, after_failure);
        }
    }

    #[test]
    fn an_init_container_that_ended_well_is_never_started_again() {
        check("Always", Role::Init, json!({}), 0, false);
        check("Always", Role::Init, json!({}), 1, true);
        check("Never", Role::Init, json!({}), 1, false);
    }

    #[test]
    fn an_ephemeral_container_is_never_started_again() {
        for policy in ["Always", "OnFailure", "Never"] {
            check(policy, Role::Ephemeral, json!({}), 0, false);
            check(policy, Role::Ephemeral, json!({}), 1, false);
        }
    }

    #[test]
    fn containers_that_were_added_come_last() {
        let spec: PodSpec = serde_json::from_value(json!({
            "containers": [{"name": "c"}],
            "initContainers": [{"name": "i"}],
            "ephemeralContainers": [{"name": "e", "image": "x", "command": ["sh"], "stdin": true, "targetContainerName": "c"}],
        }))
        .unwrap();
        let all: Vec<_> = all_containers(&spec).map(|(role, c)| (role, c.name.clone())).collect();
        let expected = [(Role::Init, "i"), (Role::Regular, "c"), (Role::Ephemeral, "e")];
        assert_eq!(all, expected.map(|(role, name)| (role, name.to_owned())));
        let (_, added) = container(&spec, "e").unwrap();
        assert_eq!((added.image.as_deref(), added.stdin), (Some("x"), Some(true)));
    }

    #[test]
    fn a_sidecar_is_always_started_again() {
        check("Never", Role::Sidecar, json!({"restartPolicy": "Always"}), 0, true);
    }

    #[test]
    fn the_first_rule_of_a_container_that_matches_wins_over_policies() {
        let rules = json!({"restartPolicy": "Never", "restartPolicyRules": [
            {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]});
        check("Never", Role::Regular, rules.clone(), 42, true);
        check("Always", Role::Regular, rules, 1, false);
        let all = json!({"restartPolicyRules": [
            {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}]});
        check("OnFailure", Role::Regular, all.clone(), 42, true);
        check("Never", Role::Regular, all, 42, false);
    }
}
