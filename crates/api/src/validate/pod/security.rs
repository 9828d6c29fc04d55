//! Identities, privileges and operating systems.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::cursor::{Cursor, Errors};
use super::windows;

/// A number of a user or group of Linux.
pub(super) fn id(at: &Cursor<'_>, errors: &mut Errors) {
    let most = i64::from(i32::MAX);
    if at.integer().is_some_and(|id| !(0..=most).contains(&id)) {
        errors.invalid(at, format!("must be between 0 and {most}, inclusive"));
    }
}

/// The security context of a pod.
pub(super) fn pod(spec: &Cursor<'_>, errors: &mut Errors) {
    let context = spec.at("securityContext");
    if !context.is_set() {
        return;
    }
    id(&context.at("fsGroup"), errors);
    id(&context.at("runAsUser"), errors);
    id(&context.at("runAsGroup"), errors);
    for group in context.at("supplementalGroups").items() {
        id(&group, errors);
    }
    if spec.at("shareProcessNamespace").flag() && spec.at("hostPID").flag() {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid_as(&context.at("shareProcessNamespace"), true, detail);
    }
    sysctls(spec, &context.at("sysctls"), errors);
    optional_one_of(
        &context.at("fsGroupChangePolicy"),
        &["Always", "OnRootMismatch"],
        errors,
    );
    seccomp(&context.at("seccompProfile"), errors);
    windows::options(&context.at("windowsOptions"), errors);
    app_armor(&context.at("appArmorProfile"), errors);
    optional_one_of(&context.at("supplementalGroupsPolicy"), &["Merge", "Strict"], errors);
    optional_one_of(
        &context.at("seLinuxChangePolicy"),
        &["MountOption", "Recursive"],
        errors,
    );
}

fn optional_one_of(at: &Cursor<'_>, supported: &[&str], errors: &mut Errors) {
    if at.is_set() {
        errors.check_one_of(at, supported);
    }
}

/// Settings of the kernel: those of a namespace that the pod shares with its host are not its own.
fn sysctls(spec: &Cursor<'_>, sysctls: &Cursor<'_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for sysctl in sysctls.items() {
        let at = sysctl.at("name");
        let name = at.text();
        if name.is_empty() {
            errors.required(&at, "");
        } else if !is_sysctl_name(name) {
            errors.invalid(
                &at,
                "must have at most 253 characters and match regex \
                 ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
            );
        } else if seen.contains(name) {
            errors.duplicate(&at);
        }
        let (of_network, of_ipc) = sysctl_namespace(name);
        for (shared, namespace) in [("hostNetwork", of_network), ("hostIPC", of_ipc)] {
            if namespace && spec.at(shared).flag() {
                errors.invalid_as(&at, name, format!("may not be specified when '{shared}' is true"));
            }
        }
        seen.insert(name.to_owned());
    }
}

/// Whether a setting belongs to the network namespace, and whether to that of inter-process communication.
fn sysctl_namespace(name: &str) -> (bool, bool) {
    // Whichever separator comes first is the separator.
    let name = match name.find(['.', '/']).map(|at| &name[at..=at]) {
        Some("/") => name.replace('.', "\u{0}").replace('/', ".").replace('\u{0}', "/"),
        _ => name.to_owned(),
    };
    let of_ipc = name == "kernel.sem"
        || ["kernel.shm", "kernel.msg", "fs.mqueue."]
            .iter()
            .any(|prefix| name.starts_with(prefix));
    (name.starts_with("net."), of_ipc)
}

fn is_sysctl_name(name: &str) -> bool {
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let segment = |text: &str| {
        text.starts_with(outer) && text.ends_with(outer) && text.chars().all(|c| outer(c) || "-_".contains(c))
    };
    name.len() <= 253 && name.split(['.', '/']).all(segment)
}

fn seccomp(profile: &Cursor<'_>, errors: &mut Errors) {
    if !profile.is_set() {
        return;
    }
    let (kind, local) = (profile.at("type"), profile.at("localhostProfile"));
    match kind.text() {
        "" => errors.required(&kind, "type is required when seccompProfile is set"),
        _ => errors.check_one_of(&kind, &["Localhost", "RuntimeDefault", "Unconfined"]),
    }
    if kind.text() == "Localhost" {
        if local.is_set() {
            super::volume::local_descending_path(&local, errors);
        } else {
            errors.required(&local, "must be set when seccomp type is Localhost");
        }
    } else if local.is_set() {
        errors.invalid(&local, "can only be set when seccomp type is Localhost");
    }
}

fn app_armor(profile: &Cursor<'_>, errors: &mut Errors) {
    if !profile.is_set() {
        return;
    }
    let (kind, local) = (profile.at("type"), profile.at("localhostProfile"));
    match kind.text() {
        "Localhost" => {
            const PATH_MAX: usize = 4095;
            if local.text().trim() != local.text() {
                errors.invalid(&local, "must not be padded with whitespace");
            } else if local.is_empty() {
                errors.required(&local, "must be set when AppArmor type is Localhost");
            }
            if local.text().len() > PATH_MAX {
                errors.too_long(&local, PATH_MAX);
            }
        }
        "RuntimeDefault" | "Unconfined" => {
            if local.is_set() {
                errors.invalid(&local, "can only be set when AppArmor type is Localhost");
            }
        }
        "" => errors.required(&kind, "type is required when appArmorProfile is set"),
        _ => errors.unsupported(&kind, &["Localhost", "RuntimeDefault", "Unconfined"]),
    }
}

/// The security context of a container.
pub(super) fn container(container: &Cursor<'_>, spec: &Value, errors: &mut Errors) {
    let context = container.at("securityContext");
    if !context.is_set() {
        return;
    }
    id(&context.at("runAsUser"), errors);
    id(&context.at("runAsGroup"), errors);
    let mount = context.at("procMount");
    if mount.is_set() {
        errors.check_one_of(&mount, &["Default", "Unmasked"]);
        if mount.text() == "Unmasked" && spec["hostUsers"] != false {
            errors.invalid(&mount, "`hostUsers` must be false to use `Unmasked`");
        }
    }
    seccomp(&context.at("seccompProfile"), errors);
    if context.at("allowPrivilegeEscalation").value == &Value::Bool(false) {
        if context.at("privileged").flag() {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.invalid(&context, detail);
        }
        let capabilities = context.at("capabilities");
        let admin = |capability: &Cursor<'_>| capability.text() == "CAP_SYS_ADMIN";
        for _ in capabilities.at("add").items().filter(admin) {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.invalid(&context, detail);
        }
    }
    windows::options(&context.at("windowsOptions"), errors);
    app_armor(&context.at("appArmorProfile"), errors);
}

/// A pod with users of its own shares nothing with its host.
pub(super) fn host_users(spec: &Cursor<'_>, errors: &mut Errors) {
    if spec.at("hostUsers").value != &Value::Bool(false) {
        return;
    }
    for (field, name) in [
        ("hostNetwork", "hostNetwork"),
        ("hostPID", "HostPID"),
        ("hostIPC", "HostIPC"),
    ] {
        if spec.at(field).flag() {
            errors.forbidden(&spec.at(name), "when `hostUsers` is false");
        }
    }
}

/// The operating system that a pod is for, and what goes with it.
pub(super) fn operating_system(spec: &Cursor<'_>, errors: &mut Errors) {
    let system = spec.at("os");
    if !system.is_set() {
        return;
    }
    let name = system.at("name");
    match name.text() {
        "" => errors.required(&name, ""),
        "linux" => windows::of_linux(spec, errors),
        "windows" => windows::of_windows(spec, errors),
        _ => errors.unsupported_as(&system, name.text().into(), &["linux", "windows"]),
    }
}
