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

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Regular,
    Init,
    Sidecar,
    Ephemeral,
}

/// All containers of a pod.
pub(super) fn containers(spec: &Cursor<'_>, context: &Context<'_>, errors: &mut Errors) {
    let regular = spec.at("containers");
    if regular.is_empty() {
        errors.required(&regular, "");
    }
    let mut seen = BTreeSet::new();
    for container in regular.items() {
        one(&container, Kind::Regular, context, errors);
        unique_name(&container, &mut seen, errors);
    }
    host_ports(&regular, errors);
    for container in spec.at("initContainers").items() {
        let kind = match container.at("restartPolicy").text() {
            "Always" => Kind::Sidecar,
            _ => Kind::Init,
        };
        one(&container, kind, context, errors);
        unique_name(&container, &mut seen, errors);
    }
    for container in spec.at("ephemeralContainers").items() {
        one(&container, Kind::Ephemeral, context, errors);
        unique_name(&container, &mut seen, errors);
        ephemeral(&container, spec, errors);
    }
}

fn unique_name(container: &Cursor<'_>, seen: &mut BTreeSet<String>, errors: &mut Errors) {
    let name = text(container.value, "name");
    if !name.is_empty() && !seen.insert(name.to_owned()) {
        errors.duplicate(&container.at("name"));
    }
}

/// Host ports are taken once per protocol and address.
fn host_ports(containers: &Cursor<'_>, errors: &mut Errors) {
    let mut taken = BTreeMap::new();
    for container in containers.items() {
        for port in container.at("ports").items() {
            let number = port.at("hostPort").integer().unwrap_or_default();
            if number == 0 {
                continue;
            }
            let key = format!("{}/{}/{number}", port.at("protocol").text(), port.at("hostIP").text());
            if taken.insert(key.clone(), ()).is_some() {
                errors.duplicate_as(&port.at("hostPort"), key);
            }
        }
    }
}

fn one(container: &Cursor<'_>, kind: Kind, context: &Context<'_>, errors: &mut Errors) {
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
        "File" | "FallbackToLogsOnError" => {}
        "" => errors.required(&policy, ""),
        _ => errors.unsupported(&policy, &["File", "FallbackToLogsOnError"]),
    }
    ports(&container.at("ports"), errors);
    env::variables(&container.at("env"), errors);
    env::sources(&container.at("envFrom"), errors);
    mounts(container, context, errors);
    devices(container, context, errors);
    let pull = container.at("imagePullPolicy");
    match pull.text() {
        "" => errors.required(&pull, ""),
        _ => errors.check_one_of(&pull, &["Always", "IfNotPresent", "Never"]),
    }
    resources::container(container, context.claims, errors);
    resources::resize_policies(&container.at("resizePolicy"), errors);
    security::container(container, context.spec, errors);
    restart(container, kind, errors);
    lifecycle(container, kind, context, errors);
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

fn mounts(container: &Cursor<'_>, context: &Context<'_>, errors: &mut Errors) {
    let mounts = container.at("volumeMounts");
    let mut paths = BTreeSet::new();
    for mount in mounts.items() {
        let (name, path) = (mount.at("name"), mount.at("mountPath"));
        if name.is_empty() {
            errors.required(&name, "");
        }
        if path.is_empty() {
            errors.required(&path, "");
        }
        if !context.volumes.has(name.text()) {
            errors.not_found(&name, name.text());
        }
        if !paths.insert(path.text().to_owned()) {
            errors.invalid(&path, "must be unique");
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
    let mut seen = BTreeSet::new();
    for device in container.at("volumeDevices").items() {
        let (name, path) = (device.at("name"), device.at("devicePath"));
        if name.is_empty() {
            errors.required(&name, "");
        }
        if path.is_empty() {
            errors.required(&path, "");
        }
        if !seen.insert(name.text().to_owned()) {
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
        if path.text().split('/').any(|part| part == "..") {
            errors.invalid(&path, "must not contain '..'");
        }
    }
}

fn restart(container: &Cursor<'_>, kind: Kind, errors: &mut Errors) {
    let policy = container.at("restartPolicy");
    if policy.is_set() {
        if kind == Kind::Ephemeral {
            errors.forbidden(&policy, "may not be set for ephemeral containers");
        } else {
            errors.check_one_of(&policy, &["Always", "Never", "OnFailure"]);
        }
    }
    for rule in container.at("restartPolicyRules").items() {
        errors.check_one_of(&rule.at("action"), &["Restart", "RestartAllContainers"]);
    }
}

fn lifecycle(container: &Cursor<'_>, kind: Kind, context: &Context<'_>, errors: &mut Errors) {
    let lifecycle = container.at("lifecycle");
    let probes = ["livenessProbe", "readinessProbe", "startupProbe"];
    if matches!(kind, Kind::Init | Kind::Ephemeral) {
        let detail = match kind {
            Kind::Ephemeral => "cannot be set for an Ephemeral Container",
            _ => "may not be set for init containers without restartPolicy=Always",
        };
        for field in ["lifecycle"].iter().chain(&probes) {
            if container.at(field).is_set() {
                errors.forbidden(&container.at(field), detail);
            }
        }
        return;
    }
    if lifecycle.is_set() {
        for field in ["postStart", "preStop"] {
            let handler = lifecycle.at(field);
            if handler.is_set() {
                probe::handler(&handler, context.grace_seconds(), errors);
            }
        }
    }
    for field in probes {
        let probe = container.at(field);
        if probe.is_set() {
            probe::probe(&probe, field, context.grace_seconds(), errors);
        }
    }
}

fn ephemeral(container: &Cursor<'_>, spec: &Cursor<'_>, errors: &mut Errors) {
    let target = container.at("targetContainerName");
    let known = |field: &str| {
        crate::value::list(spec.value, field)
            .iter()
            .any(|c| text(c, "name") == target.text())
    };
    if !target.is_empty() && !known("containers") && !known("initContainers") {
        errors.not_found(&target, target.text());
    }
    for field in ["ports", "resources", "volumeDevices"] {
        let at = container.at(field);
        if !at.is_empty() {
            errors.forbidden(&at, "cannot be set for an Ephemeral Container");
        }
    }
}
