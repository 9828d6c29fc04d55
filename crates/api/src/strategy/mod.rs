//! What a create or an update makes of an object before it is validated: parts that the caller may not set are reset, and
//! what the server generates is generated.
//!
//! The registry sets uid, creation time and name before it calls here. Not known here: other objects, so nothing is
//! allocated or resolved. Source: `spec/api.md` §2.4; kubernetes `pkg/registry/*/*/strategy.go`.

mod apps;
mod batch;
mod certificates;
mod claim;
mod core;
mod gates;
mod pod;
mod qos;
mod service;
mod status;
mod warn;

use serde_json::Value;

use crate::Resource;
use crate::table;
use crate::value::{copy, ensure_object, integer, semantically_equal, set};

pub(crate) use apps::TEMPLATE_GENERATION;
pub use qos::quality_of_service;
pub use service::{link_cluster_ips, needs_cluster_ip, needs_health_port, needs_node_ports};

/// How a kind's objects are prepared.
struct Strategy {
    kind: &'static str,
    /// Whether `metadata.generation` counts changes, and of what.
    generation: Generation,
    /// Who may write the status.
    status: Status,
    /// What a create makes of the object, beyond status and generation.
    create: fn(&mut Value),
    /// What an update of the object itself makes of it, beyond status and generation.
    update: fn(&mut Value, &Value),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Generation {
    /// Left to its author.
    Free,
    /// 1 at the create and never changed here.
    First,
    /// Counts changes of `spec`.
    Spec,
    /// Left to its author at the create, and counts changes of `spec` from there on.
    SpecLater,
    /// Counts changes of these fields of the object.
    Fields(&'static [&'static str]),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    /// The kind has none, or it is data like any other.
    None,
    /// Emptied at the create, kept at updates of the object.
    Own,
    /// Kept as given at the create, kept at updates of the object.
    KeptAtCreate,
}

fn nothing(_: &mut Value) {}
fn nothing_changed(_: &mut Value, _: &Value) {}

const fn plain(kind: &'static str, generation: Generation, status: Status) -> Strategy {
    Strategy {
        kind,
        generation,
        status,
        create: nothing,
        update: nothing_changed,
    }
}

/// How objects are prepared, per kind; kinds that need nothing are absent.
static STRATEGIES: &[Strategy] = &[
    Strategy {
        create: pod::create,
        update: pod::update,
        ..plain("Pod", Generation::Spec, Status::Own)
    },
    Strategy {
        create: batch::create_job,
        update: gates::drop_at_update,
        ..plain("Job", Generation::Spec, Status::Own)
    },
    Strategy {
        create: gates::drop_at_create,
        update: gates::drop_at_update,
        ..plain("CronJob", Generation::Spec, Status::Own)
    },
    Strategy {
        create: apps::create_daemon_set,
        update: apps::update_daemon_set,
        ..plain("DaemonSet", Generation::Spec, Status::Own)
    },
    Strategy {
        create: gates::drop_at_create,
        update: gates::drop_at_update,
        ..plain("ReplicaSet", Generation::Spec, Status::Own)
    },
    Strategy {
        create: gates::drop_at_create,
        update: apps::update_deployment,
        ..plain("Deployment", Generation::Spec, Status::Own)
    },
    Strategy {
        create: gates::drop_at_create,
        update: gates::drop_at_update,
        ..plain("StatefulSet", Generation::Spec, Status::Own)
    },
    Strategy {
        create: gates::drop_at_create,
        update: gates::drop_at_update,
        ..plain("ReplicationController", Generation::Spec, Status::Own)
    },
    Strategy {
        create: gates::drop_at_create,
        update: gates::drop_at_update,
        ..plain("PodTemplate", Generation::Fields(&["template"]), Status::None)
    },
    Strategy {
        update: |new, old| copy(old, new, "spec"),
        ..plain("CertificateSigningRequest", Generation::Free, Status::Own)
    },
    plain("PodDisruptionBudget", Generation::Spec, Status::Own),
    plain("Ingress", Generation::Spec, Status::Own),
    plain("IngressClass", Generation::Spec, Status::None),
    plain("NetworkPolicy", Generation::Spec, Status::None),
    plain("DeviceClass", Generation::Spec, Status::None),
    plain("ResourceClaim", Generation::Free, Status::Own),
    Strategy {
        create: core::create_slice,
        ..plain("ResourceSlice", Generation::Spec, Status::None)
    },
    plain(
        "EndpointSlice",
        Generation::Fields(&["endpoints", "ports", "addressType"]),
        Status::None,
    ),
    plain("PriorityClass", Generation::First, Status::None),
    Strategy {
        create: core::create_namespace,
        update: core::update_namespace,
        ..plain("Namespace", Generation::Free, Status::Own)
    },
    plain("Node", Generation::Free, Status::KeptAtCreate),
    Strategy {
        create: gates::drop_from_lease,
        update: |new, _| gates::drop_from_lease(new),
        ..plain("Lease", Generation::Free, Status::None)
    },
    Strategy {
        create: service::create,
        update: service::update,
        ..plain("Service", Generation::Free, Status::Own)
    },
    Strategy {
        update: core::update_secret,
        ..plain("Secret", Generation::Free, Status::None)
    },
    plain("ResourceQuota", Generation::Free, Status::Own),
    Strategy {
        create: core::create_volume,
        ..plain("PersistentVolume", Generation::Free, Status::Own)
    },
    Strategy {
        create: claim::create,
        update: claim::update,
        ..plain("PersistentVolumeClaim", Generation::Free, Status::Own)
    },
    plain("CSIDriver", Generation::SpecLater, Status::None),
    plain("VolumeAttachment", Generation::Free, Status::Own),
];

fn strategy_of(resource: &Resource) -> Option<&'static Strategy> {
    STRATEGIES.iter().find(|strategy| strategy.kind == resource.kind)
}

/// Prepares a new object: status emptied, generation 1 where the kind counts it, generated fields filled in.
pub fn prepare_create(resource: &'static Resource, value: &mut Value) {
    let Some(strategy) = strategy_of(resource) else {
        return;
    };
    if !matches!(strategy.generation, Generation::Free | Generation::SpecLater) {
        set(ensure_object(value, "metadata"), "generation", 1);
    }
    if strategy.status == Status::Own {
        set(value, "status", status::initial(resource));
    }
    (strategy.create)(value);
}

/// Prepares a changed object: what the request may not touch is taken from `old`, generation is counted up.
///
/// `subresource` is the part written to (`status`, …); `None` is the object itself.
pub fn prepare_update(resource: &'static Resource, new: &mut Value, old: &Value, subresource: Option<&str>) {
    copy(&old["metadata"], ensure_object(new, "metadata"), "generation");
    match subresource {
        None => prepare_object(resource, new, old),
        Some("status") => status::prepare_update(resource, new, old),
        Some("ephemeralcontainers") => pod::only_ephemeral_containers(new, old),
        Some("resize") => pod::only_resources(new, old),
        Some("finalize") => core::only_finalizers(new, old),
        Some("approval") => certificates::only_conditions(new, old),
        // Scale, binding and eviction build their objects from the stored one.
        Some(_) => {}
    }
    if matches!(subresource, None | Some("ephemeralcontainers" | "resize"))
        && let Some(strategy) = strategy_of(resource)
        && counts_up(resource, strategy, new, old)
    {
        let generation = integer(&old["metadata"], "generation").unwrap_or_default();
        set(ensure_object(new, "metadata"), "generation", generation + 1);
    }
}

fn prepare_object(resource: &'static Resource, new: &mut Value, old: &Value) {
    let Some(strategy) = strategy_of(resource) else {
        return;
    };
    if strategy.status != Status::None {
        copy(old, new, "status");
    }
    (strategy.update)(new, old);
}

fn counts_up(resource: &'static Resource, strategy: &Strategy, new: &Value, old: &Value) -> bool {
    let changed = |field: &str| {
        let only = |whole: &Value| Value::Object([(field.to_owned(), whole[field].clone())].into_iter().collect());
        !semantically_equal(&new[field], &old[field]) && !table::means_the_same(resource.schema, &only(new), &only(old))
    };
    match strategy.generation {
        Generation::Free | Generation::First => false,
        Generation::Spec if strategy.kind == "Deployment" => {
            changed("spec") || !semantically_equal(&new["metadata"]["annotations"], &old["metadata"]["annotations"])
        }
        Generation::Spec | Generation::SpecLater => changed("spec"),
        Generation::Fields(fields) => {
            let labels = strategy.kind == "EndpointSlice"
                && !semantically_equal(&new["metadata"]["labels"], &old["metadata"]["labels"]);
            labels || fields.iter().any(|field| changed(field))
        }
    }
}

/// Remarks for the author of a valid object, sent as `Warning` headers. `old` is `None` at a create; `subresource` is the part
/// written to, `None` for the object itself.
pub fn warnings(
    resource: &'static Resource,
    new: &Value,
    old: Option<&Value>,
    subresource: Option<&str>,
) -> Vec<String> {
    match subresource {
        Some("status") if resource.kind == "Pod" => warn::status_warnings(new),
        _ => warn::warnings(resource, new, old),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource;
    use serde_json::json;

    #[test]
    fn a_new_job_selects_its_own_pods() {
        let mut job = json!({
            "metadata": {"name": "pi", "uid": "u", "generation": 7},
            "spec": {"template": {"metadata": {}, "spec": {}}},
            "status": {"active": 3},
        });
        prepare_create(resource::JOBS, &mut job);
        let labels = json!({
            "controller-uid": "u", "batch.kubernetes.io/controller-uid": "u",
            "job-name": "pi", "batch.kubernetes.io/job-name": "pi",
        });
        assert_eq!(job["metadata"]["generation"], 1);
        assert_eq!(job["status"], json!({}));
        assert_eq!(
            job["spec"]["selector"],
            json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}})
        );
        assert_eq!(job["spec"]["template"]["metadata"]["labels"], labels);
        assert_eq!(job["metadata"]["labels"], labels);
    }

    #[test]
    fn generation_counts_changes_of_spec_only() {
        let old = json!({"metadata": {"generation": 3}, "spec": {"suspend": false}, "status": {"active": 1}});
        let mut new = json!({"metadata": {"generation": 9, "labels": {"a": "b"}}, "spec": {"suspend": false}});
        prepare_update(resource::JOBS, &mut new, &old, None);
        assert_eq!(new["metadata"]["generation"], 3);
        assert_eq!(new["status"], old["status"]);
        new["spec"]["suspend"] = true.into();
        prepare_update(resource::JOBS, &mut new, &old, None);
        assert_eq!(new["metadata"]["generation"], 4);
        prepare_update(resource::JOBS, &mut new, &old, Some("status"));
        assert_eq!(new["spec"], old["spec"]);
        assert_eq!(new["metadata"]["generation"], 3);
    }

    #[test]
    fn a_daemon_set_counts_changes_of_its_template_in_an_annotation() {
        const KEY: &str = "deprecated.daemonset.template.generation";
        let template = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"image": image}]}}}});
        let mut old = template("a:1");
        prepare_create(resource::DAEMON_SETS, &mut old);
        assert_eq!(old["metadata"]["annotations"][KEY], "1");
        let mut new = template("a:2");
        prepare_update(resource::DAEMON_SETS, &mut new, &old, None);
        assert_eq!(new["metadata"]["annotations"][KEY], "2");
        assert_eq!(new["metadata"]["generation"], 2);
    }
}
