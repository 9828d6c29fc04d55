//! The checks that the level `restricted` has beyond the baseline.
//!
//! Source: kubernetes `pod-security-admission/policy/check_*.go`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::baseline::{Added, is_usual_seccomp, proc_mount, unusual_seccomp};
use super::subject::{Subject, counted, uses};
use super::{Check, Violation};
use crate::value::{list, present, text};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "allowPrivilegeEscalation",
        since: 8,
        replaces: None,
        find: privilege_escalation,
    },
    Check {
        id: "capabilities_restricted",
        since: 22,
        replaces: Some("capabilities_baseline"),
        find: capabilities,
    },
    Check {
        id: "procMount_restricted",
        since: 35,
        replaces: Some("procMount"),
        find: proc_mount,
    },
    Check {
        id: "restrictedVolumes",
        since: 0,
        replaces: Some("hostPathVolumes"),
        find: volumes,
    },
    Check {
        id: "runAsNonRoot",
        since: 0,
        replaces: None,
        find: non_root,
    },
    Check {
        id: "runAsUser",
        since: 23,
        replaces: None,
        find: user,
    },
    Check {
        id: "seccompProfile_restricted",
        since: 19,
        replaces: Some("seccompProfile_baseline"),
        find: seccomp,
    },
];

/// Since then, Linux settings are not asked of pods that run on another system.
fn is_exempt(pod: &Subject<'_>, minor: u32) -> bool {
    minor >= 25 && pod.is_for_windows()
}

fn privilege_escalation(pod: &Subject<'_>, minor: u32) -> Option<Violation> {
    if is_exempt(pod, minor) {
        return None;
    }
    let containers =
        pod.containers_that(|container| container.security("allowPrivilegeEscalation") != Some(&Value::Bool(false)));
    (!containers.is_empty()).then(|| Violation {
        reason: "allowPrivilegeEscalation != false",
        detail: format!(
            "{} must set securityContext.allowPrivilegeEscalation=false",
            counted("container", &containers)
        ),
    })
}

fn capabilities(pod: &Subject<'_>, minor: u32) -> Option<Violation> {
    if is_exempt(pod, minor) {
        return None;
    }
    let keeping = pod.containers_that(|container| {
        let dropped = container.security("capabilities").map(|all| list(all, "drop"));
        !dropped.is_some_and(|dropped| dropped.iter().any(|name| name == "ALL"))
    });
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!(
            "{} must set securityContext.capabilities.drop=[\"ALL\"]",
            counted("container", &keeping)
        ));
    }
    details.extend(Added::beyond(pod, |name| name == "NET_BIND_SERVICE").map(|added| added.detail()));
    (!details.is_empty()).then(|| Violation {
        reason: "unrestricted capabilities",
        detail: details.join("; "),
    })
}

/// Volumes of the cluster's own, or that a driver of the cluster provides.
const VOLUMES: &[&str] = &[
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// All others, in the order in which they are looked for.
const OTHER_VOLUMES: &[&str] = &[
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];

fn volumes(pod: &Subject<'_>, _: u32) -> Option<Violation> {
    let is = |volume: &Value, kind: &str| present(volume, kind).is_some();
    let mut names = Vec::new();
    let mut kinds = BTreeSet::new();
    for volume in list(pod.spec, "volumes") {
        if VOLUMES.iter().any(|kind| is(volume, kind)) {
            continue;
        }
        names.push(text(volume, "name"));
        kinds.insert(OTHER_VOLUMES.iter().find(|kind| is(volume, kind)).unwrap_or(&"unknown"));
    }
    let kinds: Vec<&str> = kinds.into_iter().copied().collect();
    (!names.is_empty()).then(|| Violation {
        reason: "restricted volume types",
        detail: format!(
            "{} {} {}",
            counted("volume", &names),
            uses(names.len()),
            counted("restricted volume type", &kinds)
        ),
    })
}

fn non_root(pod: &Subject<'_>, minor: u32) -> Option<Violation> {
    if minor >= 35 && pod.has_own_users() {
        return None;
    }
    let reason = "runAsNonRoot != true";
    let setters = pod.setters("runAsNonRoot", |value| value == &Value::Bool(true));
    if !setters.is_empty() {
        return Some(Violation {
            reason,
            detail: format!(
                "{} must not set securityContext.runAsNonRoot=false",
                setters.join(" and ")
            ),
        });
    }
    if pod.security("runAsNonRoot").is_some() {
        return None;
    }
    let silent = pod.containers_that(|container| container.security("runAsNonRoot").is_none());
    (!silent.is_empty()).then(|| Violation {
        reason,
        detail: format!(
            "pod or {} must set securityContext.runAsNonRoot=true",
            counted("container", &silent)
        ),
    })
}

fn user(pod: &Subject<'_>, minor: u32) -> Option<Violation> {
    if minor >= 35 && pod.has_own_users() {
        return None;
    }
    let setters = pod.setters("runAsUser", |user| user.as_i64() != Some(0));
    (!setters.is_empty()).then(|| Violation {
        reason: "runAsUser=0",
        detail: format!("{} must not set runAsUser=0", setters.join(" and ")),
    })
}

fn seccomp(pod: &Subject<'_>, minor: u32) -> Option<Violation> {
    if is_exempt(pod, minor) {
        return None;
    }
    if let Some(unusual) = unusual_seccomp(pod) {
        return Some(unusual);
    }
    if pod.security("seccompProfile").is_some_and(is_usual_seccomp) {
        return None;
    }
    let silent = pod.containers_that(|container| container.security("seccompProfile").is_none());
    (!silent.is_empty()).then(|| Violation {
        reason: "seccompProfile",
        detail: format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            counted("container", &silent)
        ),
    })
}
