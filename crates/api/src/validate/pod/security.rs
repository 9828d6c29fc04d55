//! Identities, privileges and operating systems.

use serde_json::Value;

use super::super::cursor::{Cursor, Errors};

/// A number of a user or group of Linux.
fn id(at: &Cursor<'_>, errors: &mut Errors) {
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
        errors.invalid(&spec.at("shareProcessNamespace"), detail);
    }
    for sysctl in context.at("sysctls").items() {
        sysctl_name(&sysctl.at("name"), errors);
    }
    optional_one_of(
        &context.at("fsGroupChangePolicy"),
        &["Always", "OnRootMismatch"],
        errors,
    );
    seccomp(&context.at("seccompProfile"), errors);
    optional_one_of(&context.at("supplementalGroupsPolicy"), &["Merge", "Strict"], errors);
    app_armor(&context.at("appArmorProfile"), errors);
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

fn sysctl_name(at: &Cursor<'_>, errors: &mut Errors) {
    if at.is_empty() {
        errors.required(at, "");
        return;
    }
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    let segment = |text: &str| {
        let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        text.starts_with(outer) && text.ends_with(outer) && text.chars().all(inner)
    };
    if at.text().len() > 253 || !at.text().split(['.', '/']).all(segment) {
        errors.invalid(
            at,
            "must have at most 253 characters and match regex \
             ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
        );
    }
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
        "Localhost" => match local.text().trim() {
            _ if !local.is_set() => errors.required(&local, "must be set when AppArmor type is Localhost"),
            "" => errors.required(&local, "must be set when AppArmor type is Localhost"),
            trimmed if trimmed != local.text() => errors.invalid(&local, "must not be padded with whitespace"),
            _ => {}
        },
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
        let admin = capabilities.at("add").items().any(|c| c.text() == "CAP_SYS_ADMIN");
        if admin {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.invalid(&context, detail);
        }
    }
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
        "linux" => {
            windows_options(spec, errors);
            for field in ["containers", "initContainers", "ephemeralContainers"] {
                for container in spec.at(field).items() {
                    windows_options(&container, errors);
                }
            }
        }
        "windows" => {
            for field in ["hostNetwork", "hostPID", "hostIPC"] {
                if spec.at(field).flag() {
                    errors.forbidden(&spec.at(field), "cannot be set for a windows pod");
                }
            }
        }
        _ => errors.unsupported_as(&system, name.text().into(), &["linux", "windows"]),
    }
}

fn windows_options(owner: &Cursor<'_>, errors: &mut Errors) {
    let context = owner.at("securityContext");
    let options = context.at("windowsOptions");
    if options.is_set() {
        errors.forbidden(&options, "windows options cannot be set for a linux pod");
    }
}
