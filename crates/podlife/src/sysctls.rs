//! Which kernel parameters a pod may set: those that belong to a pod alone and touch nothing outside of it.
//!
//! Source: kubernetes `pkg/kubelet/sysctl/{safe_sysctls,allowlist}.go`, documentation "Using sysctls in a Kubernetes Cluster".

use rota_api::k8s::api::core::v1::PodSpec;

/// The parameters of a pod's network.
const OF_NETWORK: [&str; 11] = [
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// The parameters of the memory that a pod's processes share.
const OF_IPC: [&str; 1] = ["kernel.shm_rmid_forced"];

/// Whether the pod may set all that it wants to set.
///
/// Errors: the first that it may not, as part of a sentence.
pub(crate) fn check(spec: &PodSpec) -> Result<(), String> {
    let wanted = spec
        .security_context
        .iter()
        .flat_map(|security| security.sysctls.iter().flatten());
    for sysctl in wanted {
        let name = dotted(&sysctl.name);
        let (is_shared, namespace) = if OF_NETWORK.contains(&name.as_str()) {
            (spec.host_network == Some(true), "network")
        } else if OF_IPC.contains(&name.as_str()) {
            (spec.host_ipc == Some(true), "ipc")
        } else {
            return Err(format!("{name:?} not allowlisted"));
        };
        if is_shared {
            return Err(format!("{name:?} not allowed with host {namespace} enabled"));
        }
    }
    Ok(())
}

/// The name with dots between its parts: where the first separator is a slash, dots and slashes have changed places.
fn dotted(name: &str) -> String {
    if name.find(['.', '/']).is_none_or(|at| name[at..].starts_with('.')) {
        return name.to_owned();
    }
    let swapped = name.chars().map(|character| match character {
        '/' => '.',
        '.' => '/',
        other => other,
    });
    swapped.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn verdict(name: &str, of_pod: Value) -> String {
        let mut spec = of_pod;
        spec["containers"] = json!([]);
        spec["securityContext"] = json!({"sysctls": [{"name": name, "value": "1"}]});
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        check(&spec).err().unwrap_or_default()
    }

    #[test]
    fn only_what_is_the_pods_own_may_be_set() {
        assert_eq!(verdict("kernel.shm_rmid_forced", json!({})), "");
        assert_eq!(verdict("net/ipv4/tcp_rmem", json!({})), "");
        assert_eq!(
            verdict("vm.stat_interval", json!({})),
            "\"vm.stat_interval\" not allowlisted"
        );
        assert_eq!(verdict("kernel/msgmax", json!({})), "\"kernel.msgmax\" not allowlisted");
    }

    #[test]
    fn what_a_pod_shares_with_its_node_it_may_not_set() {
        let network = "\"net.ipv4.tcp_rmem\" not allowed with host network enabled";
        assert_eq!(verdict("net.ipv4.tcp_rmem", json!({"hostNetwork": true})), network);
        let ipc = "\"kernel.shm_rmid_forced\" not allowed with host ipc enabled";
        assert_eq!(verdict("kernel.shm_rmid_forced", json!({"hostIPC": true})), ipc);
        assert_eq!(verdict("kernel.shm_rmid_forced", json!({"hostNetwork": true})), "");
    }
}
