//! Defaulting: what an object's fields are when its author leaves them out.
//!
//! Runs on each decoded object, before admission, and again on what a patch made. It fills in what follows from the object
//! alone; what depends on other objects (token volumes, default tolerations, priorities) is admission, and what happens once
//! at a create or an update (resets of status, generated selectors) is [`crate::strategy`].
//!
//! Source: `spec/api.md` §2.9; kubernetes `pkg/apis/*/v1/defaults.go`.

mod apps;
pub(crate) mod batch;
mod core;
mod devices;
mod image;
mod network;
pub(crate) mod pod;
mod template;
mod volume;

use serde_json::Value;

use crate::Resource;

/// Fills in the defaults of an object of `resource`. Idempotent.
///
/// The object has the form of its type already: empty fields that are not written are absent ([`crate::codec`]).
pub fn apply(resource: &'static Resource, value: &mut Value) {
    if let Some((_, apply)) = RULES.iter().find(|(kind, _)| *kind == resource.kind) {
        apply(value);
    }
}

type Rule = fn(&mut Value);

/// What is filled in, per kind; kinds with nothing to fill in are absent.
const RULES: &[(&str, Rule)] = &[
    ("Pod", pod::pod),
    ("PodTemplate", template::pod_template),
    ("Job", batch::job),
    ("CronJob", batch::cron_job),
    ("DaemonSet", apps::daemon_set),
    ("Deployment", apps::deployment),
    ("ReplicaSet", apps::replica_set),
    ("StatefulSet", apps::stateful_set),
    ("ReplicationController", apps::replication_controller),
    ("Namespace", core::namespace),
    ("Node", core::node),
    ("Secret", core::secret),
    ("LimitRange", core::limit_range),
    ("PersistentVolume", core::persistent_volume),
    ("PersistentVolumeClaim", core::persistent_volume_claim),
    ("StorageClass", core::storage_class),
    ("CSIDriver", core::csi_driver),
    ("PriorityClass", core::priority_class),
    ("Service", network::service),
    ("Endpoints", network::endpoints),
    ("EndpointSlice", network::endpoint_slice),
    ("IngressClass", network::ingress_class),
    ("NetworkPolicy", network::policy),
    ("ResourceClaim", devices::claim),
    ("ResourceClaimTemplate", devices::template),
    ("RoleBinding", core::role_binding),
    ("ClusterRoleBinding", core::role_binding),
];
