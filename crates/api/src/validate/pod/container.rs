//! Containers: of a pod's life, of its start, and those added to look into it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::cursor::{Cursor, Errors};
use super::volume::Volumes;
use super::{env, probe, resources, security};
use crate::names;
use crate::value::text;

/// What containers refer to in their pod.
pub(super) struct Context<'a> {
    pub(super) spec: &'a Value,
    pub(super) volumes: &'a Volumes,
    pub(super) claims: &'a BTreeSet<String>,
}

impl Context<'_> {
    /// Seconds between the stop signal and the kill.
    pub(super) fn grace_seconds(&self) -> i64 {
        self.spec["terminationGracePeriodSeconds"].as_i64().unwrap_or(30)
    }
}

/// Most rules by which a container is started again, and most exit codes of one.
const RESTART_RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;

/// All containers of a pod.
pub(super) fn containers(spec: &Cursor<'_>, context: &Context<'_>, errors: &mut Errors) {
    let (regular, init) = (spec.at("containers"), spec.at("initContainers"));
    if regular.is_empty() {
        errors.required(&regular, "");
    }
    let mut seen = BTreeSet::new();
    for container in regular.items() {
        common(&container, context, errors);
        unique_name(&container, &mut seen, errors);
        hooks(&container, context, errors);
        restart(&container, errors);
    }
    let mut taken = BTreeSet::new();
    for container in regular.items() {
        host_ports(&container, &container.at("ports"), &mut taken, errors);
    }
    for container in init.items() {
        common(&container, context, errors);
        restart(&container, errors);
        let name = text(container.value, "name");
        if seen.contains(name) {
            errors.duplicate_as(&container.at("name"), name);
        } else if !name.is_empty() {
            seen.insert(name.to_owned());
        }
        init_hooks(&container, &init, context, errors);
    }
    for container in spec.at("ephemeralContainers").items() {
        common(&container, context, errors);
        super::unpadded(&container.at("image"), errors);
        unique_name(&container, &mut seen, errors);
        super::ephemeral::container(&container, spec, errors);
    }
}

/// Start-up containers run one by one; only those that stay have hooks and probes.
fn init_hooks(container: &Cursor<'_>, list: &Cursor<'_>, context: &Context<'_>, errors: &mut Errors) {
    let first = list.index(0);
    let ports = first.at("ports");
    // Upstream reports these as if they were the first container's.
    host_ports(
        container,
        &ports.with(container.at("ports").value),
        &mut BTreeSet::new(),
        errors,
    );
    if container.at("restartPolicy").text() == "Always" {
        hooks(container, context, errors);
        return;
    }
    for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if container.at(field).is_set() {
            let detail = "may not be set for init containers without restartPolicy=Always";
            errors.forbidden(&container.at(field), detail);
        }
    }
}

fn unique_name(container: &Cursor<'_>, seen: &mut BTreeSet<String>, errors: &mut Errors) {
    let name = text(container.value, "name");
    if !seen.insert(name.to_owned()) {
        errors.duplicate_as(&container.at("name"), name);
    }
}

/// Host ports are taken once per protocol and address.
fn host_ports(container: &Cursor<'_>, shown: &Cursor<'_>, taken: &mut BTreeSet<String>, errors: &mut Errors) {
    for (index, port) in container.at("ports").items().enumerate() {
        let number = port.at("hostPort").integer().unwrap_or_default();
        if number == 0 {
            continue;
        }
        let key = format!("{}/{}/{number}", port.at("protocol").text(), port.at("hostIP").text());
        if !taken.insert(key.clone()) {
            let at = shown.index(index);
            errors.duplicate_as(&at.at("hostPort"), key);
        }
    }
}

/// What holds of every container.
fn common(container: &Cursor<'_>, context: &Context<'_>, errors: &mut Errors) {
    let name = container.at("name");
    if name.is_empty() {
        errors.required(&name, "");
    } else {
        errors.complaints(&name, names::dns_label(name.text()));
    }
    let image = container.at("image");
    if image.is_empty() {
        errors.required(&image, "");
    }
    let policy = container.at("terminationMessagePolicy");
    match policy.text() {
        "" => errors.required(&policy, ""),
        _ => errors.check_one_of(&policy, &["File", "FallbackToLogsOnError"]),
    }
    ports(&container.at("ports"), errors);
    env::variables(&container.at("env"), context.volumes, errors);
    env::sources(&container.at("envFrom"), errors);
    mounts(container, context, errors);
    devices(container, context, errors);
    pull_policy(&container.at("imagePullPolicy"), errors);
    resources::container(container, context.claims, errors);
    resources::resize_policies(
        &container.at("resizePolicy"),
        text(context.spec, "restartPolicy"),
        errors,
    );
    security::container(container, context.spec, errors);
}

/// When an image is asked for although it is there.
pub(super) fn pull_policy(at: &Cursor<'_>, errors: &mut Errors) {
    match at.text() {
        "" => errors.required(at, ""),
        _ => errors.check_one_of(at, &["Always", "IfNotPresent", "Never"]),
    }
}

fn ports(ports: &Cursor<'_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for port in ports.items() {
        let name = port.at("name");
        if !name.is_empty() {
            let complaints = names::port_name(name.text());
            if complaints.is_empty() {
                if !seen.insert(name.text().to_owned()) {
                    errors.duplicate(&name);
                }
            } else {
                errors.complaints(&name, complaints);
            }
        }
        let number = port.at("containerPort");
        if number.integer().unwrap_or_default() == 0 {
            errors.required(&number, "");
        } else {
            errors.check_port(&number);
        }
        if port.at("hostPort").integer().unwrap_or_default() != 0 {
            errors.check_port(&port.at("hostPort"));
        }
        let protocol = port.at("protocol");
        match protocol.text() {
            "" => errors.required(&protocol, ""),
            _ => errors.check_one_of(&protocol, &["SCTP", "TCP", "UDP"]),
        }
    }
}

/// `devicePath` or `mountPath` of each entry that is called by name; of several the last.
fn paths<'a>(list: &Cursor<'a>, field: &str) -> BTreeMap<&'a str, &'a str> {
    let entries = list.value.as_array().into_iter().flatten();
    entries.map(|entry| (text(entry, "name"), text(entry, field))).collect()
}

fn mounts(container: &Cursor<'_>, context: &Context<'_>, errors: &mut Errors) {
    let mounts = container.at("volumeMounts");
    let devices = container.at("volumeDevices");
    let devices = paths(&devices, "devicePath");
    let mut seen = BTreeSet::new();
    for mount in mounts.items() {
        let (name, path) = (mount.at("name"), mount.at("mountPath"));
        if name.is_empty() {
            errors.required(&name, "");
        }
        if !context.volumes.has(name.text()) {
            errors.not_found(&name, name.text());
        }
        if path.is_empty() {
            errors.required(&path, "");
        }
        if !seen.insert(path.text().to_owned()) {
            errors.invalid_as(&path, path.text(), "must be unique");
        }
        if devices.contains_key(name.text()) {
            errors.invalid(&name, "must not already exist in volumeDevices");
        }
        if devices.values().any(|device| *device == path.text()) {
            errors.invalid(&path, "must not already exist as a path in volumeDevices");
        }
        // Upstream leaves the index out of these paths.
        let (sub, expression) = (mount.at("subPath"), mount.at("subPathExpr"));
        if !sub.is_empty() {
            super::volume::local_descending_path(&mounts.at("subPath").with(sub.value), errors);
        }
        if !expression.is_empty() {
            if !sub.is_empty() {
                let detail = "subPathExpr and subPath are mutually exclusive";
                errors.invalid(&expression, detail);
            }
            super::volume::local_descending_path(&mounts.at("subPathExpr").with(expression.value), errors);
        }
        propagation(&mounts, &mount, container, errors);
        recursive_read_only(&mounts, &mount, errors);
    }
}

fn propagation(mounts: &Cursor<'_>, mount: &Cursor<'_>, container: &Cursor<'_>, errors: &mut Errors) {
    let mode = mount.at("mountPropagation");
    if !mode.is_set() {
        return;
    }
    let shown = mounts.at("mountPropagation");
    let shown = shown.with(mode.value);
    errors.check_one_of(&shown, &["Bidirectional", "HostToContainer", "None"]);
    let privileged = container.value["securityContext"]["privileged"] == true;
    if mode.text() == "Bidirectional" && !privileged {
        let detail = "Bidirectional mount propagation is available only to privileged containers";
        errors.forbidden(&shown, detail);
    }
}

fn recursive_read_only(mounts: &Cursor<'_>, mount: &Cursor<'_>, errors: &mut Errors) {
    let mode = mount.at("recursiveReadOnly");
    if !mode.is_set() {
        return;
    }
    let shown = mounts.at("recursiveReadOnly");
    let shown = shown.with(mode.value);
    match mode.text() {
        "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if !mount.at("readOnly").flag() {
                errors.forbidden(&shown, "may only be specified when readOnly is true");
            }
            if !matches!(mount.at("mountPropagation").text(), "" | "None") {
                errors.forbidden(
                    &shown,
                    "may only be specified when mountPropagation is None or not specified",
                );
            }
        }
        _ => errors.unsupported(&shown, &["Disabled", "Enabled", "IfPossible"]),
    }
}

fn devices(container: &Cursor<'_>, context: &Context<'_>, errors: &mut Errors) {
    let mounts = container.at("volumeMounts");
    let mounts = paths(&mounts, "mountPath");
    let (mut names_seen, mut paths_seen) = (BTreeSet::new(), BTreeSet::new());
    for device in container.at("volumeDevices").items() {
        let (name, path) = (device.at("name"), device.at("devicePath"));
        if name.is_empty() {
            errors.required(&name, "");
        }
        if !name.is_empty() && !names_seen.insert(name.text().to_owned()) {
            errors.invalid(&name, "must be unique");
        }
        match context.volumes.source(name.text()) {
            None => errors.not_found(&name, name.text()),
            Some("persistentVolumeClaim" | "ephemeral") => {}
            Some(_) => {
                let detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.invalid(&name, detail);
            }
        }
        if path.is_empty() {
            errors.required(&path, "");
        }
        if paths_seen.contains(path.text()) {
            errors.invalid_as(&path, path.text(), "must be unique");
        }
        if path.text().split('/').any(|part| part == "..") {
            errors.invalid(&path, "can not contain backsteps ('..')");
        } else {
            paths_seen.insert(path.text().to_owned());
        }
        if mounts.contains_key(name.text()) {
            errors.invalid(&name, "must not already exist in volumeMounts");
        }
        if mounts.values().any(|mount| *mount == path.text()) {
            errors.invalid(&path, "must not already exist as a path in volumeMounts");
        }
    }
}

/// Whether and when a container is started again, where it has a say of its own.
fn restart(container: &Cursor<'_>, errors: &mut Errors) {
    let (policy, rules) = (container.at("restartPolicy"), container.at("restartPolicyRules"));
    if policy.is_set() {
        errors.check_one_of(&policy, &["Always", "Never", "OnFailure"]);
    } else if !rules.is_empty() {
        errors.required(&policy, "must specify restartPolicy when restart rules are used");
        return;
    }
    if rules.len() > RESTART_RULES_MAX {
        errors.too_many(&rules, RESTART_RULES_MAX);
    }
    for rule in rules.items() {
        errors.check_one_of(&rule.at("action"), &["Restart", "RestartAllContainers"]);
        let codes = rule.at("exitCodes");
        if !codes.is_set() {
            errors.required(&codes, "must be specified");
            continue;
        }
        errors.check_one_of(&codes.at("operator"), &["In", "NotIn"]);
        if codes.at("values").len() > EXIT_CODES_MAX {
            errors.too_many(&codes.at("values"), EXIT_CODES_MAX);
        }
    }
}

/// Hooks and probes of a container that stays.
fn hooks(container: &Cursor<'_>, context: &Context<'_>, errors: &mut Errors) {
    let lifecycle = container.at("lifecycle");
    for field in ["postStart", "preStop"] {
        let handler = lifecycle.at(field);
        if handler.is_set() {
            probe::handler(&handler, context.grace_seconds(), errors);
        }
    }
    for field in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = container.at(field);
        if probe.is_set() {
            probe::probe(&probe, field, context.grace_seconds(), errors);
        }
    }
}
