//! Keeps volumes and claims while they are in use: takes their finalizer off once they are being deleted and nobody uses them.
//!
//! A volume is in use while it is bound, a claim while a pod of its namespace that has not ended names it. The finalizers
//! themselves are the registry's to add.
//! Source: `pkg/controller/volume/{pvprotection,pvcprotection}`.

use rota_api::{Object, PatchKind, Resource, Timestamp, Write, resource};
use serde_json::{Value, json};

use crate::{Controller, Key, Plan, World, WorldChange};

const OF_VOLUMES: &str = "kubernetes.io/pv-protection";
const OF_CLAIMS: &str = "kubernetes.io/pvc-protection";

static WATCHED: [&Resource; 3] = [
    resource::PERSISTENT_VOLUMES,
    resource::PERSISTENT_VOLUME_CLAIMS,
    resource::PODS,
];

/// Lets volumes and claims go that are no longer in use.
#[derive(Default)]
pub struct StorageProtection;

impl Controller for StorageProtection {
    fn name(&self) -> &'static str {
        "storage-protection"
    }

    fn event_source(&self) -> &'static str {
        "storage-protection-controller"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &WATCHED
    }

    fn touched(&mut self, change: &WorldChange, world: &World) -> Vec<Key> {
        let latest = change.latest();
        if change.resource() != resource::PODS {
            return if change.is_deleted() || latest.meta().deleting.is_none() {
                Vec::new()
            } else {
                vec![Key::of(latest)]
            };
        }
        if world.count(resource::PERSISTENT_VOLUME_CLAIMS) == 0 || !(change.is_deleted() || has_ended(latest)) {
            return Vec::new();
        }
        let namespace = &latest.meta().namespace;
        claims(latest)
            .into_iter()
            .map(|claim| Key::new(namespace, claim))
            .collect()
    }

    fn reconcile(&mut self, key: &Key, world: &World, _now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        let (kind, finalizer) = match key.namespace.is_empty() {
            true => (resource::PERSISTENT_VOLUMES, OF_VOLUMES),
            false => (resource::PERSISTENT_VOLUME_CLAIMS, OF_CLAIMS),
        };
        let Some(object) = world.get(kind, &key.namespace, &key.name) else {
            return plan;
        };
        let meta = object.meta();
        if meta.deleting.is_none() || !meta.finalizers.iter().any(|present| present == finalizer) {
            return plan;
        }
        let in_use = match kind == resource::PERSISTENT_VOLUMES {
            true => meta.phase == "Bound",
            false => world
                .in_namespace(resource::PODS, &key.namespace)
                .any(|pod| !has_ended(pod) && claims(pod).contains(&key.name)),
        };
        if !in_use {
            let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": [finalizer]}});
            let write = Write::patch(kind, &key.namespace, &key.name, PatchKind::Strategic, patch, None);
            plan.act(write.if_uid(&meta.uid), "it is being deleted and nobody uses it");
        }
        plan
    }
}

fn has_ended(pod: &Object) -> bool {
    matches!(pod.meta().phase.as_str(), "Succeeded" | "Failed")
}

/// The claims that a pod uses: those it names, and those made for its ephemeral volumes.
fn claims(pod: &Object) -> Vec<String> {
    let value = pod.to_value();
    let volumes = value["spec"]["volumes"].as_array().into_iter().flatten();
    volumes
        .filter_map(|volume| {
            let named = volume["persistentVolumeClaim"]["claimName"].as_str().map(str::to_owned);
            named.or_else(|| made_for(volume, &pod.meta().name))
        })
        .collect()
}

fn made_for(volume: &Value, pod: &str) -> Option<String> {
    let name = volume["name"].as_str()?;
    volume["ephemeral"].is_object().then(|| format!("{pod}-{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn world(objects: &[(&'static Resource, Value)]) -> World {
        let mut world = World::watching(&WATCHED, &[]);
        for (kind, value) in objects {
            world.apply(Arc::new(Object::from_value(kind, value.clone())));
        }
        world
    }

    fn deleted(namespace: &str, finalizer: &str, phase: &str) -> Value {
        json!({
            "metadata": {"namespace": namespace, "name": "x", "uid": "u", "finalizers": [finalizer],
                         "deletionTimestamp": "2026-01-01T12:00:00Z"},
            "status": {"phase": phase},
        })
    }

    fn plan(key: &Key, world: &World) -> String {
        let plan = StorageProtection.reconcile(key, world, Timestamp::UNIX_EPOCH);
        plan.explain().trim_end().to_owned()
    }

    #[test]
    fn a_volume_goes_once_it_is_no_longer_bound() {
        let key = Key::new("", "x");
        let with = |phase: &str| world(&[(resource::PERSISTENT_VOLUMES, deleted("", OF_VOLUMES, phase))]);
        assert_eq!(plan(&key, &with("Bound")), "");
        assert!(plan(&key, &with("Available")).contains("nobody uses it"));
    }

    #[test]
    fn a_claim_goes_once_the_last_pod_that_names_it_has_ended() {
        let key = Key::new("d", "x");
        let with = |phase: &str| {
            let pod = json!({
                "metadata": {"namespace": "d", "name": "p", "uid": "p"},
                "spec": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "x"}}]},
                "status": {"phase": phase},
            });
            world(&[
                (resource::PERSISTENT_VOLUME_CLAIMS, deleted("d", OF_CLAIMS, "Bound")),
                (resource::PODS, pod),
            ])
        };
        assert_eq!(plan(&key, &with("Running")), "");
        assert!(plan(&key, &with("Succeeded")).contains("nobody uses it"));
    }
}
