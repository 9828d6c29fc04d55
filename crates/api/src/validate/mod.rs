//! Validation: whether an object keeps the rules of its kind, and which it breaks.
//!
//! Works on defaulted and prepared objects. Each broken rule names the field, the kind of rule and the reason in upstream's
//! words and order. Not known here: other objects, the time, and how schedules are read ([`Checks`]).
//!
//! Source: `spec/api.md` §2.9; kubernetes `pkg/apis/*/validation/validation.go`.

mod apps;
mod certificates;
mod core;
mod cronjob;
mod cursor;
mod devices;
mod event;
mod job;
mod meta;
mod network;
mod node;
mod pod;
mod policy;
mod quota;
mod replicas;
mod service;
mod storage;
mod storage_class;
mod traffic;

use serde_json::Value;

use crate::{FieldError, Resource, resource};
use cursor::{Cursor, Errors};

pub use service::service_addresses;

/// Rules that this crate does not know itself. Each returns what is wrong in upstream's words.
#[derive(Clone, Copy, Debug)]
pub struct Checks {
    /// Whether a CronJob's schedule can be read.
    pub schedule: fn(&str) -> Result<(), String>,
    /// Whether a time zone of that name is known.
    pub time_zone: fn(&str) -> Result<(), String>,
}

/// The rules that a new object breaks; empty when it is valid.
pub fn create(resource: &'static Resource, value: &Value, checks: &Checks) -> Vec<FieldError> {
    let object = Cursor::root(value);
    let mut errors = Errors::default();
    match resource.kind {
        "Pod" => pod::create(&object, &mut errors),
        "Job" => job::create(&object, &mut errors),
        "CronJob" => cronjob::create(&object, checks, &mut errors),
        "DaemonSet" | "Deployment" | "ReplicaSet" | "StatefulSet" | "ReplicationController" | "ControllerRevision" => {
            apps::create(&object, resource, &mut errors);
        }
        "Event" => {
            if resource == resource::EVENTS_V1 {
                event::events(&object, resource, &mut errors);
            } else {
                event::core(&object, &mut errors);
            }
        }
        "PodDisruptionBudget" => policy::disruption_budget(&object, &mut errors),
        _ => {
            meta::create(&object, resource, &mut errors);
            rules(resource, &object, &mut errors);
            match resource.kind {
                "Ingress" => traffic::class_of_new_ingress(&object, &mut errors),
                "VolumeAttachment" => storage_class::new_attachment(&object, &mut errors),
                _ => {}
            }
        }
    }
    if errors.is_empty() {
        meta::create_every(&object, resource, &mut errors);
    }
    errors.into_list()
}

/// The rules about the metadata of every kind that a change from `old` to `new` breaks; what both hold besides their metadata
/// is not looked at.
pub fn update_metadata(resource: &'static Resource, new: &Value, old: &Value) -> Vec<FieldError> {
    let (new, old) = (Cursor::root(new), Cursor::root(old));
    let mut errors = Errors::default();
    meta::update_every(&new, &old, resource, &mut errors);
    meta::update(&new, &old, &mut errors);
    errors.into_list()
}

/// The rules that a change from `old` to `new` breaks; empty when it is valid.
///
/// `subresource` is the part written to (`status`, …); `None` is the object itself.
pub fn update(
    resource: &'static Resource,
    new: &Value,
    old: &Value,
    subresource: Option<&str>,
    checks: &Checks,
) -> Vec<FieldError> {
    let (new, old) = (Cursor::root(new), Cursor::root(old));
    let mut errors = Errors::default();
    // Upstream looks at the metadata of every kind, and again in most kinds' own rules.
    meta::update_every(&new, &old, resource, &mut errors);
    match subresource {
        None | Some("scale") => update_object(resource, &new, &old, checks, &mut errors),
        Some("status") => update_status(resource, &new, &old, &mut errors),
        Some("ephemeralcontainers") => pod::ephemeral_containers(&new, &old, &mut errors),
        Some("resize") => pod::resize(&new, &old, &mut errors),
        Some("finalize") => {
            meta::update(&new, &old, &mut errors);
            core::namespace_finalizers(&new, &mut errors);
        }
        Some("approval") => update_status(resource, &new, &old, &mut errors),
        Some(_) => meta::update(&new, &old, &mut errors),
    }
    errors.into_list()
}

fn update_object(
    resource: &'static Resource,
    new: &Cursor<'_>,
    old: &Cursor<'_>,
    checks: &Checks,
    errors: &mut Errors,
) {
    match resource.kind {
        "Pod" => pod::update(new, old, errors),
        "Job" => job::update(new, old, errors),
        "CronJob" => cronjob::update(new, old, checks, errors),
        "DaemonSet" | "Deployment" | "ReplicaSet" | "StatefulSet" | "ReplicationController" | "ControllerRevision" => {
            apps::update(new, old, resource, errors);
        }
        "Event" => {
            if resource == resource::EVENTS_V1 {
                event::change(new, old, errors);
            } else {
                event::core(new, errors);
            }
        }
        "PodDisruptionBudget" => policy::disruption_budget(new, errors),
        "DeviceClass" | "ResourceClaim" | "ResourceClaimTemplate" | "ResourceSlice" => {
            devices::update(new, old, resource, errors);
        }
        _ => {
            if first_of(resource) == Order::Rules {
                meta::create(new, resource, errors);
                rules(resource, new, errors);
            }
            if !matches!(resource.kind, "LimitRange" | "CSINode" | "VolumeAttachment") {
                meta::update(new, old, errors);
            }
            if first_of(resource) == Order::RulesWithin {
                rules(resource, new, errors);
            }
            changes(resource, new, old, errors);
            match first_of(resource) {
                Order::Rules | Order::RulesWithin => {}
                Order::Change => rules(resource, new, errors),
                Order::ChangeThenAll => {
                    meta::create(new, resource, errors);
                    rules(resource, new, errors);
                }
            }
        }
    }
}

/// In which order a changed object is looked at. It shows in the order and number of the causes that a client is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// As a new object first, then as a change.
    Rules,
    /// The change of its metadata, the rules that hold at any time, the rest of the change.
    RulesWithin,
    /// As a change, then the rules that hold at any time.
    Change,
    /// As a change, then in full as a new object.
    ChangeThenAll,
}

fn first_of(resource: &Resource) -> Order {
    match resource.kind {
        "Role" | "ClusterRole" | "RoleBinding" | "ClusterRoleBinding" | "RuntimeClass" | "StorageClass"
        | "PersistentVolume" | "LimitRange" | "EndpointSlice" | "CSINode" | "CSIStorageCapacity"
        | "VolumeAttachment" => Order::Rules,
        "CSIDriver" => Order::RulesWithin,
        "ConfigMap"
        | "Secret"
        | "ServiceAccount"
        | "Service"
        | "Endpoints"
        | "PersistentVolumeClaim"
        | "Ingress"
        | "IngressClass"
        | "VolumeAttributesClass" => Order::ChangeThenAll,
        _ => Order::Change,
    }
}

/// Rules that hold at any time, of kinds whose metadata needs nothing special.
fn rules(resource: &'static Resource, object: &Cursor<'_>, errors: &mut Errors) {
    match resource.kind {
        "PodTemplate" => pod::template(&object.at("template"), errors),
        "ConfigMap" => core::config_map(object, errors),
        "Secret" => core::secret(object, errors),
        "Namespace" => core::namespace(object, errors),
        "Node" => node::node(object, errors),
        "RuntimeClass" => node::runtime_class(object, errors),
        "Service" => service::service(object, errors),
        "Endpoints" => network::endpoints(object, errors),
        "EndpointSlice" => network::endpoint_slice(object, errors),
        "Role" | "ClusterRole" => policy::role(object, resource.is_namespaced(), errors),
        "RoleBinding" | "ClusterRoleBinding" => policy::binding(object, resource.is_namespaced(), errors),
        "Lease" => policy::lease(object, errors),
        "PriorityClass" => policy::priority_class(object, errors),
        "ResourceQuota" => quota::quota(object, errors),
        "LimitRange" => quota::limit_range(object, errors),
        "PersistentVolume" => storage::volume(object, errors),
        "PersistentVolumeClaim" => storage::claim(object, errors),
        "StorageClass" => storage_class::class(object, errors),
        "CSIDriver" => storage_class::driver(object, errors),
        "CSINode" => storage_class::node(object, errors),
        "VolumeAttachment" => storage_class::attachment(object, errors),
        "VolumeAttributesClass" => storage_class::attributes_class(object, errors),
        "CSIStorageCapacity" => storage_class::storage_capacity(object, errors),
        "CertificateSigningRequest" => certificates::request(object, errors),
        "NetworkPolicy" => traffic::policy(object, errors),
        "Ingress" => traffic::ingress(object, errors),
        "IngressClass" => traffic::class(object, errors),
        "DeviceClass" => devices::class(object, errors),
        "ResourceClaim" => devices::claim(object, errors),
        "ResourceClaimTemplate" => devices::template(object, errors),
        "ResourceSlice" => devices::slice(object, None, errors),
        _ => {}
    }
}

/// Rules of a change, of kinds whose metadata needs nothing special.
fn changes(resource: &'static Resource, new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    match resource.kind {
        "ConfigMap" => core::immutable_data(new, old, errors),
        "Secret" => {
            errors.check_immutable(&new.at("type"), &old.at("type"));
            core::immutable_data(new, old, errors);
        }
        "Node" => node::node_change(new, old, errors),
        "RuntimeClass" => errors.check_immutable(&new.at("handler"), &old.at("handler")),
        "Service" => service::change(new, old, errors),
        "RoleBinding" | "ClusterRoleBinding" => policy::binding_change(new, old, errors),
        "PriorityClass" => policy::priority_class_change(new, old, errors),
        "EndpointSlice" => errors.check_immutable(&new.at("addressType"), &old.at("addressType")),
        "ResourceQuota" => quota::quota_change(new, old, errors),
        "PersistentVolume" => storage::volume_change(new, old, errors),
        "PersistentVolumeClaim" => storage::claim_change(new, old, errors),
        "StorageClass" => storage_class::class_change(new, old, errors),
        "CSIDriver" => storage_class::driver_change(new, old, errors),
        "CSINode" => storage_class::node_change(new, old, errors),
        "IngressClass" => {
            errors.check_immutable(&new.at("spec").at("controller"), &old.at("spec").at("controller"));
        }
        "VolumeAttachment" => storage_class::attachment_change(new, old, errors),
        "VolumeAttributesClass" => storage_class::attributes_class_change(new, old, errors),
        "CSIStorageCapacity" => storage_class::storage_capacity_change(new, old, errors),
        "CertificateSigningRequest" => certificates::change(new, old, errors),
        _ => {}
    }
}

fn update_status(resource: &'static Resource, new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    match resource.kind {
        "Pod" => pod::update_status(new, old, errors),
        "Job" => job::update_status(new, old, errors),
        "CronJob" => {}
        "DaemonSet" | "Deployment" | "ReplicaSet" | "StatefulSet" | "ReplicationController" => {
            replicas::update_status(new, old, resource.kind, errors);
        }
        "PodDisruptionBudget" => policy::disruption_status(new, errors),
        kind => {
            meta::update(new, old, errors);
            match kind {
                "Service" => service::status(new, errors),
                "Ingress" => traffic::ingress_status(new, errors),
                "Namespace" => core::namespace_status(new, errors),
                "Node" => node::node_change(new, old, errors),
                "ResourceQuota" => quota::quota_status(new, errors),
                "PersistentVolumeClaim" => storage::claim_status(new, errors),
                "ResourceClaim" => devices::status(new, old, errors),
                "CertificateSigningRequest" => {
                    certificates::request(new, errors);
                    certificates::change(new, old, errors);
                }
                _ => {}
            }
        }
    }
}
