//! The checks of the level `baseline`.
//!
//! Source: kubernetes `pod-security-admission/policy/check_*.go`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::subject::{Container, Subject, counted, plural, quoted, says_true, uses};
use super::{Check, Violation};
use crate::value::{flag, integer, list, members, present, text};

pub(super) const CHECKS: &[Check] = &[
    check("appArmorProfile", app_armor),
    check("capabilities_baseline", capabilities),
    check("hostNamespaces", host_namespaces),
    check("hostPathVolumes", host_path_volumes),
    check("hostPorts", host_ports),
    Check {
        since: 34,
        ..check("hostProbesAndHostLifecycle", hosts_of_handlers)
    },
    check("privileged", privileged),
    check("procMount", proc_mount_of_host_users),
    check("seLinuxOptions", se_linux),
    check("seccompProfile_baseline", seccomp),
    check("sysctls", sysctls),
    check("windowsHostProcess", host_process),
];

const fn check(id: &'static str, find: fn(&Subject<'_>, u32) -> Option<Violation>) -> Check {
    Check {
        id,
        since: 0,
        replaces: None,
        find,
    }
}

fn app_armor(pod: &Subject<'_>, _: u32) -> Option<Violation> {
    const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";
    let is_allowed = |profile: &Value| matches!(text(profile, "type"), "RuntimeDefault" | "Localhost");
    let mut setters = pod.setters("appArmorProfile", is_allowed);
    let bad = pod.values("appArmorProfile").filter(|profile| !is_allowed(profile));
    let values: BTreeSet<String> = bad.map(|profile| text(profile, "type").to_owned()).collect();
    let annotations: Vec<String> = members(pod.metadata, "annotations")
        .filter_map(|(key, value)| Some((key, value.as_str()?)))
        .filter(|(key, value)| {
            let is_usual = value.is_empty() || *value == "runtime/default" || value.starts_with("localhost/");
            key.starts_with(ANNOTATION) && !is_usual
        })
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    if !annotations.is_empty() {
        setters.push(plural("annotation", annotations.len()));
    }
    let values: Vec<String> = values.into_iter().chain(annotations).collect();
    (!setters.is_empty()).then(|| Violation {
        reason: match values.len() {
            1 => "forbidden AppArmor profile",
            _ => "forbidden AppArmor profiles",
        },
        detail: format!(
            "{} must not set AppArmor profile type to {}",
            setters.join(" and "),
            quoted(&values)
        ),
    })
}

/// Those that containers have without asking.
const CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

fn capabilities(pod: &Subject<'_>, _: u32) -> Option<Violation> {
    let added = Added::beyond(pod, |name| CAPABILITIES.contains(&name))?;
    Some(Violation {
        reason: "non-default capabilities",
        detail: added.detail(),
    })
}

/// Capabilities that containers add and should not.
pub(super) struct Added<'a> {
    containers: Vec<&'a str>,
    capabilities: Vec<&'a str>,
}

impl<'a> Added<'a> {
    /// Those that are not `allowed`; `None` without any.
    pub(super) fn beyond(pod: &Subject<'a>, allowed: fn(&str) -> bool) -> Option<Self> {
        let of = |container: Container<'a>| {
            let added = container.security("capabilities").map(|all| list(all, "add"));
            let names = added.into_iter().flatten().filter_map(Value::as_str);
            names.filter(|name| !allowed(name)).collect::<BTreeSet<&str>>()
        };
        let containers = pod.containers_that(|container| !of(container).is_empty());
        let capabilities: BTreeSet<&str> = pod.containers().flat_map(of).collect();
        (!containers.is_empty()).then(|| Self {
            containers,
            capabilities: capabilities.into_iter().collect(),
        })
    }

    pub(super) fn detail(&self) -> String {
        format!(
            "{} must not include {} in securityContext.capabilities.add",
            counted("container", &self.containers),
            quoted(&self.capabilities)
        )
    }
}

fn host_namespaces(pod: &Subject<'_>, _: u32) -> Option<Violation> {
    let shared: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|namespace| flag(pod.spec, namespace))
        .map(|namespace| format!("{namespace}=true"))
        .collect();
    (!shared.is_empty()).then(|| Violation {
        reason: "host namespaces",
        detail: shared.join(", "),
    })
}

fn host_path_volumes(pod: &Subject<'_>, _: u32) -> Option<Violation> {
    let volumes: Vec<&str> = list(pod.spec, "volumes")
        .iter()
        .filter(|volume| present(volume, "hostPath").is_some())
        .map(|volume| text(volume, "name"))
        .collect();
    (!volumes.is_empty()).then(|| Violation {
        reason: "hostPath volumes",
        detail: counted("volume", &volumes),
    })
}

fn host_ports(pod: &Subject<'_>, _: u32) -> Option<Violation> {
    let of = |container: Container<'_>| {
        let ports = list(container.0, "ports").iter();
        let taken = ports
            .filter_map(|port| integer(port, "hostPort"))
            .filter(|port| *port != 0);
        taken.map(|port| port.to_string()).collect::<Vec<_>>()
    };
    let containers = pod.containers_that(|container| !of(container).is_empty());
    let ports: BTreeSet<String> = pod.containers().flat_map(of).collect();
    (!containers.is_empty()).then(|| Violation {
        reason: "hostPort",
        detail: format!(
            "{} {} {} {}",
            counted("container", &containers),
            uses(containers.len()),
            plural("hostPort", ports.len()),
            ports.into_iter().collect::<Vec<_>>().join(", ")
        ),
    })
}

fn hosts_of_handlers(pod: &Subject<'_>, _: u32) -> Option<Violation> {
    let of = |container: Container<'_>| -> BTreeSet<String> {
        let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| &container.0[probe]);
        let hooks = ["postStart", "preStop"].map(|hook| &container.0["lifecycle"][hook]);
        let handlers = probes.into_iter().chain(hooks);
        let hosts = handlers.flat_map(|handler| ["httpGet", "tcpSocket"].map(|kind| text(&handler[kind], "host")));
        hosts.filter(|host| !host.is_empty()).map(str::to_owned).collect()
    };
    let containers: BTreeSet<&str> = pod
        .containers_that(|container| !of(container).is_empty())
        .into_iter()
        .collect();
    let containers: Vec<&str> = containers.into_iter().collect();
    let hosts: BTreeSet<String> = pod.containers().flat_map(of).collect();
    let hosts: Vec<String> = hosts.into_iter().collect();
    (!containers.is_empty()).then(|| Violation {
        reason: "probe or lifecycle host",
        detail: format!(
            "{} {} {}",
            counted("container", &containers),
            uses(containers.len()),
            counted("probe or lifecycle host", &hosts)
        ),
    })
}

fn privileged(pod: &Subject<'_>, _: u32) -> Option<Violation> {
    let containers = pod.containers_that(|container| container.security("privileged") == Some(&Value::Bool(true)));
    (!containers.is_empty()).then(|| Violation {
        reason: "privileged",
        detail: format!(
            "{} must not set securityContext.privileged=true",
            counted("container", &containers)
        ),
    })
}

fn proc_mount_of_host_users(pod: &Subject<'_>, minor: u32) -> Option<Violation> {
    if minor >= 35 && pod.has_own_users() {
        return None;
    }
    proc_mount(pod, minor)
}

/// Only the usual view of `/proc`.
pub(super) fn proc_mount(pod: &Subject<'_>, _: u32) -> Option<Violation> {
    let of = |container: Container<'_>| {
        let mount = container.security("procMount").and_then(Value::as_str);
        mount.filter(|mount| *mount != "Default").map(str::to_owned)
    };
    let containers = pod.containers_that(|container| of(container).is_some());
    let mounts: BTreeSet<String> = pod.containers().filter_map(of).collect();
    (!containers.is_empty()).then(|| Violation {
        reason: "procMount",
        detail: format!(
            "{} must not set securityContext.procMount to {}",
            counted("container", &containers),
            quoted(&mounts.into_iter().collect::<Vec<_>>())
        ),
    })
}

fn se_linux(pod: &Subject<'_>, minor: u32) -> Option<Violation> {
    let is_allowed_type = |name: &str| match name {
        "" | "container_t" | "container_init_t" | "container_kvm_t" => true,
        "container_engine_t" => minor >= 31,
        _ => false,
    };
    let setters = pod.setters("seLinuxOptions", |options| {
        is_allowed_type(text(options, "type")) && text(options, "user").is_empty() && text(options, "role").is_empty()
    });
    if setters.is_empty() {
        return None;
    }
    let types: BTreeSet<&str> = pod
        .values("seLinuxOptions")
        .map(|options| text(options, "type"))
        .collect();
    let types: Vec<&str> = types.into_iter().filter(|name| !is_allowed_type(name)).collect();
    let mut wrong = Vec::new();
    if !types.is_empty() {
        wrong.push(counted("type", &types));
    }
    for field in ["user", "role"] {
        if pod
            .values("seLinuxOptions")
            .any(|options| !text(options, field).is_empty())
        {
            wrong.push(format!("{field} may not be set"));
        }
    }
    Some(Violation {
        reason: "seLinuxOptions",
        detail: format!(
            "{} set forbidden securityContext.seLinuxOptions: {}",
            setters.join(" and "),
            wrong.join("; ")
        ),
    })
}

fn seccomp(pod: &Subject<'_>, minor: u32) -> Option<Violation> {
    match minor {
        ..19 => seccomp_annotations(pod),
        _ => unusual_seccomp(pod),
    }
}

fn seccomp_annotations(pod: &Subject<'_>) -> Option<Violation> {
    let of_containers = pod
        .containers()
        .map(|container| format!("container.seccomp.security.alpha.kubernetes.io/{}", container.name()));
    let forbidden: BTreeSet<String> = std::iter::once("seccomp.security.alpha.kubernetes.io/pod".to_owned())
        .chain(of_containers)
        .filter_map(|key| {
            let value = pod.metadata["annotations"][&key].as_str()?;
            let is_usual = matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/");
            (!is_usual).then(|| format!("{key}={value:?}"))
        })
        .collect();
    (!forbidden.is_empty()).then(|| Violation {
        reason: "seccompProfile",
        detail: format!(
            "forbidden {} {}",
            plural("annotation", forbidden.len()),
            forbidden.into_iter().collect::<Vec<_>>().join(", ")
        ),
    })
}

/// Profiles that switch the filter off.
pub(super) fn unusual_seccomp(pod: &Subject<'_>) -> Option<Violation> {
    let setters = pod.setters("seccompProfile", is_usual_seccomp);
    let types: BTreeSet<&str> = pod
        .values("seccompProfile")
        .filter(|profile| !is_usual_seccomp(profile))
        .map(|profile| text(profile, "type"))
        .collect();
    (!setters.is_empty()).then(|| Violation {
        reason: "seccompProfile",
        detail: format!(
            "{} must not set securityContext.seccompProfile.type to {}",
            setters.join(" and "),
            quoted(&types.into_iter().collect::<Vec<_>>())
        ),
    })
}

pub(super) fn is_usual_seccomp(profile: &Value) -> bool {
    matches!(text(profile, "type"), "RuntimeDefault" | "Localhost")
}

/// The harmless ones, and the minor version since which they count as such.
const SYSCTLS: &[(&str, u32)] = &[
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.tcp_wmem", 32),
];

fn sysctls(pod: &Subject<'_>, minor: u32) -> Option<Violation> {
    let set = pod.security("sysctls").and_then(Value::as_array);
    let is_harmless = |name: &str| SYSCTLS.iter().any(|(known, since)| *known == name && *since <= minor);
    let forbidden: Vec<&str> = set
        .into_iter()
        .flatten()
        .map(|sysctl| text(sysctl, "name"))
        .filter(|name| !is_harmless(name))
        .collect();
    (!forbidden.is_empty()).then(|| Violation {
        reason: "forbidden sysctls",
        detail: forbidden.join(", "),
    })
}

fn host_process(pod: &Subject<'_>, _: u32) -> Option<Violation> {
    let setters = pod.setters("windowsOptions", |options| !says_true(options, "hostProcess"));
    (!setters.is_empty()).then(|| Violation {
        reason: "hostProcess",
        detail: format!(
            "{} must not set securityContext.windowsOptions.hostProcess=true",
            setters.join(" and ")
        ),
    })
}
