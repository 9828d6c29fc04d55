//! What Windows has instead of users and capabilities. No node of ours runs it; its pods are stored for others.
//!
//! Source: kubernetes `validateWindowsSecurityContextOptions`, `validateWindowsHostProcessPod`, `validateWindows`.

use super::super::cursor::{Cursor, Errors};
use super::all_containers;
use crate::names;

const CREDENTIAL_KIB_MAX: usize = 64;
const DOMAIN_MAX: usize = 256;
const USER_MAX: usize = 104;

/// `windowsOptions`.
pub(super) fn options(options: &Cursor<'_>, errors: &mut Errors) {
    let (name, spec) = (options.at("gmsaCredentialSpecName"), options.at("gmsaCredentialSpec"));
    if name.is_set() {
        errors.complaints(&name, names::dns_subdomain(name.text()));
    }
    if spec.is_set() {
        if spec.is_empty() {
            errors.invalid(&spec, "gmsaCredentialSpec cannot be an empty string");
        } else if spec.text().len() > CREDENTIAL_KIB_MAX * 1024 {
            let detail = format!("gmsaCredentialSpec size must be under {CREDENTIAL_KIB_MAX} KiB");
            errors.invalid(&spec, detail);
        }
    }
    let user = options.at("runAsUserName");
    if user.is_set() {
        user_name(&user, errors);
    }
}

fn user_name(at: &Cursor<'_>, errors: &mut Errors) {
    let text = at.text();
    if text.is_empty() {
        errors.invalid(at, "runAsUserName cannot be an empty string");
        return;
    }
    if text.chars().any(|c| c.is_ascii_control()) {
        errors.invalid(at, "runAsUserName cannot contain control characters");
        return;
    }
    let (domain, user) = match text.split('\\').collect::<Vec<_>>().as_slice() {
        [user] => (None, *user),
        [domain, user] => (Some(*domain), *user),
        _ => {
            errors.invalid(at, "runAsUserName cannot contain more than one backslash");
            return;
        }
    };
    if let Some(domain) = domain {
        if domain.len() >= DOMAIN_MAX {
            let detail = format!("runAsUserName's Domain length must be under {DOMAIN_MAX} characters");
            errors.invalid(at, detail);
        }
        if !is_net_bios(domain) && !is_domain(domain) {
            errors.invalid(
                at,
                "runAsUserName's Domain doesn't match the NetBios nor the DNS format",
            );
        }
    }
    if user.is_empty() {
        errors.invalid(at, "runAsUserName's User cannot be empty");
    } else if user.len() > USER_MAX {
        let detail = format!("runAsUserName's User length must not be longer than {USER_MAX} characters");
        errors.invalid(at, detail);
    }
    if !user.is_empty() && user.chars().all(|c| c == '.' || c == ' ') {
        errors.invalid(at, "runAsUserName's User cannot contain only periods or spaces");
    }
    if user.contains(|c: char| "\"/\\:;|=,+*?<>@[]".contains(c)) {
        let detail = "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]";
        errors.invalid(at, detail);
    }
}

fn is_net_bios(text: &str) -> bool {
    let bad = |c: char| "\\/:*?\"<>|".contains(c);
    !text.is_empty() && text.chars().count() <= 15 && !text.starts_with('.') && !text.contains(bad)
}

fn is_domain(text: &str) -> bool {
    text.split('.').all(|label| {
        let outer = |c: char| c.is_ascii_alphanumeric();
        (1..=63).contains(&label.len())
            && label.starts_with(outer)
            && label.ends_with(outer)
            && label.chars().all(|c| outer(c) || c == '-')
    })
}

/// Processes of the host: all containers are, or none.
pub(super) fn host_processes(spec: &Cursor<'_>, errors: &mut Errors) {
    let of = |owner: &Cursor<'_>| owner.value["securityContext"]["windowsOptions"]["hostProcess"].as_bool();
    let of_pod = of(spec);
    let (mut count, mut host_count) = (0, 0);
    all_containers(spec, |container| {
        count += 1;
        let own = of(container);
        if let (Some(pod), Some(own)) = (of_pod, own)
            && pod != own
        {
            let (context, options);
            context = container.at("securityContext");
            options = context.at("windowsOptions");
            let detail = format!("pod hostProcess value must be identical if both are specified, was {pod}");
            errors.invalid(&options.at("hostProcess"), detail);
        }
        host_count += usize::from(own.or(of_pod) == Some(true));
    });
    if host_count == 0 {
        return;
    }
    if host_count != count {
        let detail = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.invalid_as(spec, "", detail);
    }
    if !spec.at("hostNetwork").flag() {
        let detail = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.invalid_as(&spec.at("hostNetwork"), false, detail);
    }
}

/// A pod for Windows has nothing that only Linux knows.
pub(super) fn of_windows(spec: &Cursor<'_>, errors: &mut Errors) {
    let context = spec.at("securityContext");
    let forbid = |at: &Cursor<'_>, errors: &mut Errors| errors.forbidden(at, "cannot be set for a windows pod");
    for field in ["appArmorProfile", "seLinuxOptions"] {
        if context.at(field).is_set() {
            forbid(&context.at(field), errors);
        }
    }
    if spec.at("hostUsers").is_set() {
        forbid(&spec.at("hostUsers"), errors);
    }
    for field in ["hostPID", "hostIPC"] {
        if spec.at(field).flag() {
            forbid(&spec.at(field), errors);
        }
    }
    for field in ["seccompProfile", "fsGroup", "fsGroupChangePolicy", "sysctls"] {
        if !context.at(field).is_empty() {
            forbid(&context.at(field), errors);
        }
    }
    if spec.at("shareProcessNamespace").is_set() {
        forbid(&spec.at("shareProcessNamespace"), errors);
    }
    for field in [
        "runAsUser",
        "runAsGroup",
        "supplementalGroups",
        "supplementalGroupsPolicy",
        "seLinuxChangePolicy",
    ] {
        if context.at(field).is_set() {
            forbid(&context.at(field), errors);
        }
    }
    all_containers(spec, |container| {
        let context = container.at("securityContext");
        for field in [
            "appArmorProfile",
            "seLinuxOptions",
            "seccompProfile",
            "capabilities",
            "readOnlyRootFilesystem",
            "privileged",
            "allowPrivilegeEscalation",
            "procMount",
            "runAsUser",
            "runAsGroup",
        ] {
            if context.at(field).is_set() {
                forbid(&context.at(field), errors);
            }
        }
    });
}

/// A pod for Linux has none of these options.
pub(super) fn of_linux(spec: &Cursor<'_>, errors: &mut Errors) {
    let mut check = |owner: &Cursor<'_>| {
        let context = owner.at("securityContext");
        let options = context.at("windowsOptions");
        if options.is_set() {
            errors.forbidden(&options, "windows options cannot be set for a linux pod");
        }
    };
    check(spec);
    all_containers(spec, check);
}
