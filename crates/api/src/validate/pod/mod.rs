//! Pods and pod templates.
//!
//! Source: `spec/api.md` §2.9, `spec/node-and-pod.md` §8; kubernetes `pkg/apis/core/validation/validation.go`.

mod affinity;
mod annotation;
mod claim;
mod container;
mod dns;
mod env;
mod ephemeral;
mod external;
mod probe;
mod resize;
mod resources;
mod security;
mod status;
mod toleration;
mod update;
mod volume;
mod windows;

use std::collections::BTreeSet;

use super::cursor::{Cursor, Errors};
use super::meta;
use crate::names;
use crate::resource;

pub(super) use affinity::node_selector;
pub(super) use external::{csi_driver as csi_driver_name, persistent as persistent_source};
pub(super) use resize::resize;
pub(super) use resources::{
    amount as resource_amount, amounts as resource_amounts, container_name as container_resource_name, is_exclusive,
    is_extended, resource_name,
};
pub(super) use status::update as update_status;
pub(super) use toleration::tolerations;
pub(super) use update::{ephemeral_containers, update};

/// What the spec of a pod is part of.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// The pod's name, where it has one already.
    pod_name: Option<&'a str>,
    /// Whether it is a pod; templates have less to keep.
    is_pod: bool,
}

/// A new pod.
pub(super) fn create(pod: &Cursor<'_>, errors: &mut Errors) {
    whole(pod, errors);
    let (metadata, spec) = (pod.at("metadata"), pod.at("spec"));
    if !spec.at("ephemeralContainers").is_empty() {
        errors.forbidden(&spec.at("ephemeralContainers"), "cannot be set on create");
    }
    if !spec.at("nodeName").is_empty() && !spec.at("schedulingGates").is_empty() {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.forbidden(&spec.at("nodeName"), detail);
    }
    annotation::match_fields(&metadata.at("annotations"), &spec, errors);
}

/// A pod, new or changed.
fn whole(pod: &Cursor<'_>, errors: &mut Errors) {
    meta::create(pod, resource::PODS, errors);
    let (metadata, spec) = (pod.at("metadata"), pod.at("spec"));
    annotation::of_pod(&metadata.at("annotations"), &spec, errors);
    let name = metadata.at("name");
    let place = Place {
        pod_name: Some(name.text()).filter(|name| !name.is_empty()),
        is_pod: true,
    };
    self::spec(&spec, place, errors);
    if spec.at("serviceAccountName").is_empty() {
        for volume in spec.at("volumes").items() {
            let projected = volume.at("projected");
            for source in projected.at("sources").items() {
                let token = source.at("serviceAccountToken");
                if token.is_set() {
                    errors.forbidden(&token, "must not be specified when serviceAccountName is not set");
                }
            }
        }
    }
    for field in ["containers", "initContainers"] {
        for container in spec.at(field).items() {
            unpadded(&container.at("image"), errors);
        }
    }
}

/// The image of a pod's container has no spaces around it; those of templates may.
fn unpadded(image: &Cursor<'_>, errors: &mut Errors) {
    if image.text().trim() != image.text() {
        errors.invalid(image, "must not have leading or trailing whitespace");
    }
}

/// The template of pods that something makes.
pub(super) fn template(template: &Cursor<'_>, errors: &mut Errors) {
    let (metadata, spec) = (template.at("metadata"), template.at("spec"));
    // Upstream names labels and annotations without the metadata they stand in.
    let labels = template.at("labels").with(metadata.at("labels").value);
    meta::labels(&labels, errors);
    let noted = template.at("annotations");
    let noted = noted.with(metadata.at("annotations").value);
    meta::annotations(&noted, errors);
    annotation::of_pod(&noted, &spec, errors);
    let place = Place {
        pod_name: None,
        is_pod: false,
    };
    self::spec(&spec, place, errors);
    annotation::match_fields(&noted, &spec, errors);
    if !spec.at("ephemeralContainers").is_empty() {
        let detail = "ephemeral containers not allowed in pod template";
        errors.forbidden(&spec.at("ephemeralContainers"), detail);
    }
}

/// All containers of a pod with their lists, the pod's own first.
fn all_containers(spec: &Cursor<'_>, mut each: impl FnMut(&Cursor<'_>)) {
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        for container in spec.at(field).items() {
            each(&container);
        }
    }
}

/// The spec of a pod.
fn spec(spec: &Cursor<'_>, place: Place<'_>, errors: &mut Errors) {
    let volumes = volume::volumes(&spec.at("volumes"), place, errors);
    let claims = claim::claims(&spec.at("resourceClaims"), errors);
    let context = container::Context {
        spec: spec.value,
        volumes: &volumes,
        claims: &claims,
    };
    container::containers(spec, &context, errors);
    if spec.at("resources").is_set() {
        resources::pod(spec, errors);
    }
    host_network_ports(spec, place, errors);
    restart_policy(&spec.at("restartPolicy"), errors);
    dns::policy(&spec.at("dnsPolicy"), errors);
    meta::labels(&spec.at("nodeSelector"), errors);
    security::pod(spec, errors);
    affinity::affinity(&spec.at("affinity"), errors);
    dns::config(spec, errors);
    gates(spec, errors);
    affinity::spread(&spec.at("topologySpreadConstraints"), errors);
    windows::host_processes(spec, errors);
    security::host_users(spec, errors);
    named_things(spec, errors);
    toleration::tolerations(&spec.at("tolerations"), errors);
    host_aliases(&spec.at("hostAliases"), errors);
    classes(spec, errors);
    security::operating_system(spec, errors);
}

fn restart_policy(at: &Cursor<'_>, errors: &mut Errors) {
    if at.is_empty() {
        errors.required(at, "");
    } else {
        errors.check_one_of(at, &["Always", "OnFailure", "Never"]);
    }
}

/// On the host's network a container's port is the host's.
fn host_network_ports(spec: &Cursor<'_>, place: Place<'_>, errors: &mut Errors) {
    if !spec.at("hostNetwork").flag() {
        return;
    }
    for container in spec.at("containers").items() {
        for port in container.at("ports").items() {
            let number = |field: &str| port.at(field).integer().unwrap_or_default();
            let host = number("hostPort");
            // Templates may leave the host's port open; pods get it by default.
            if (place.is_pod || host != 0) && host != number("containerPort") {
                let detail = "must match `containerPort` when `hostNetwork` is true";
                errors.invalid_as(&port.at("hostPort"), host, detail);
            }
        }
    }
}

fn gates(spec: &Cursor<'_>, errors: &mut Errors) {
    for gate in spec.at("readinessGates").items() {
        let kind = gate.at("conditionType");
        for complaint in names::qualified_name(kind.text()) {
            errors.invalid_as(&kind, kind.text(), complaint);
        }
    }
    let mut seen = BTreeSet::new();
    for gate in spec.at("schedulingGates").items() {
        let name = gate.at("name").text();
        for complaint in names::qualified_name(name) {
            errors.invalid_as(&gate, name, complaint);
        }
        if !seen.insert(name.to_owned()) {
            errors.duplicate_as(&gate, name);
        }
    }
}

fn named_things(spec: &Cursor<'_>, errors: &mut Errors) {
    let rules: [(&str, meta::NameRule); 4] = [
        ("serviceAccountName", names::dns_subdomain),
        ("nodeName", names::dns_subdomain),
        ("hostname", names::dns_label),
        ("subdomain", names::dns_label),
    ];
    for (field, rule) in rules {
        if field == "hostname" {
            deadline(&spec.at("activeDeadlineSeconds"), errors);
        }
        let at = spec.at(field);
        if !at.is_empty() {
            errors.complaints(&at, rule(at.text()));
        }
    }
    hostname_override(spec, errors);
}

/// The name that a pod goes by instead of its own, which leaves no room for other ways to give it one.
///
/// Source: the documentation of the field; KEP-4762.
fn hostname_override(spec: &Cursor<'_>, errors: &mut Errors) {
    const LENGTH_MAX: usize = 64;
    let at = spec.at("hostnameOverride");
    if !at.is_set() {
        return;
    }
    if at.text().len() > LENGTH_MAX {
        errors.too_long(&at, LENGTH_MAX);
    }
    for complaint in names::dns_subdomain(at.text()) {
        errors.invalid_as(&at, at.text(), complaint);
    }
    for field in ["setHostnameAsFQDN", "hostNetwork"] {
        if spec.at(field).flag() {
            errors.forbidden(&at, format!("may not be set when `{field}` is true"));
        }
    }
}

fn deadline(at: &Cursor<'_>, errors: &mut Errors) {
    let most = i64::from(i32::MAX);
    if at.integer().is_some_and(|seconds| !(1..=most).contains(&seconds)) {
        errors.invalid(at, format!("must be between 1 and {most}, inclusive"));
    }
}

fn host_aliases(at: &Cursor<'_>, errors: &mut Errors) {
    for alias in at.items() {
        let ip = alias.at("ip");
        super::network::ip(&ip, errors);
        for name in alias.at("hostnames").items() {
            errors.complaints(&name, names::dns_subdomain(name.text()));
        }
    }
}

fn classes(spec: &Cursor<'_>, errors: &mut Errors) {
    for field in ["priorityClassName", "runtimeClassName"] {
        let at = spec.at(field);
        if at.is_set() && (field == "runtimeClassName" || !at.is_empty()) {
            errors.complaints(&at, names::dns_subdomain(at.text()));
        }
    }
    let preemption = spec.at("preemptionPolicy");
    if preemption.is_set() {
        match preemption.text() {
            "" => errors.required(&preemption, ""),
            _ => errors.check_one_of(&preemption, &["PreemptLowerPriority", "Never"]),
        }
    }
    let overhead = spec.at("overhead");
    if overhead.is_set() {
        resources::amounts(&overhead, &overhead, errors);
    }
}
