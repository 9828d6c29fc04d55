//! Whether a container that ended is started again.
//!
//! Source: `spec/node-and-pod.md` §12.1–12.2; kubernetes `pkg/kubelet/container/helpers.go`.

use rota_api::k8s::api::core::v1::{Container, PodSpec};

/// What a container is to its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Must end well before the next one starts.
    Init,
    /// An init container that keeps running beside the others.
    Sidecar,
    /// What the pod is for.
    Regular,
}

/// The pod's containers in the order in which they start, with their roles.
pub fn containers(spec: &PodSpec) -> impl DoubleEndedIterator<Item = (Role, &Container)> {
    let inits = spec.init_containers.iter().flatten().map(|container| {
        let is_sidecar = container.restart_policy.as_deref() == Some("Always");
        (if is_sidecar { Role::Sidecar } else { Role::Init }, container)
    });
    inits.chain(spec.containers.iter().map(|container| (Role::Regular, container)))
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
        if matches {
            return rule.action == "Restart";
        }
    }
    let of_pod = spec.restart_policy.as_deref().unwrap_or("Always");
    match (container.restart_policy.as_deref().unwrap_or(of_pod), role) {
        ("Never", _) => false,
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
    fn a_sidecar_is_always_started_again() {
        check("Never", Role::Sidecar, json!({"restartPolicy": "Always"}), 0, true);
    }

    #[test]
    fn the_first_rule_of_a_container_that_matches_wins_over_policies() {
        let rules = json!({"restartPolicy": "Never", "restartPolicyRules": [
            {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]});
        check("Never", Role::Regular, rules.clone(), 42, true);
        check("Always", Role::Regular, rules, 1, false);
    }
}
