//! Keeps in every namespace what belongs there: the account `default` and the ConfigMap with the cluster's certificate
//! authority, which pods mount.
//!
//! The registry makes both together with the namespace; this puts back what was deleted or changed. Namespaces that are being
//! deleted are let go. Source: `pkg/controller/serviceaccount/serviceaccounts_controller.go`,
//! `pkg/controller/certificates/rootcacertpublisher`.

use rota_api::namespace_objects::{DEFAULT_ACCOUNT, ROOT_CA, default_account, root_ca};
use rota_api::{Resource, Timestamp, Write, resource};
use serde_json::json;

use crate::{Controller, Key, Plan, World, WorldChange};

/// Puts back the account of pods that name none.
#[derive(Default)]
pub struct DefaultAccounts;

static ACCOUNTS: [&Resource; 2] = [resource::NAMESPACES, resource::SERVICE_ACCOUNTS];

impl Controller for DefaultAccounts {
    fn name(&self) -> &'static str {
        "serviceaccount"
    }

    fn event_source(&self) -> &'static str {
        "serviceaccount-controller"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &ACCOUNTS
    }

    fn touched(&mut self, change: &WorldChange, _world: &World) -> Vec<Key> {
        namespace_of(change, DEFAULT_ACCOUNT)
    }

    fn reconcile(&mut self, key: &Key, world: &World, _now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        let is_there = world
            .get(resource::SERVICE_ACCOUNTS, &key.name, DEFAULT_ACCOUNT)
            .is_some();
        if is_open(world, &key.name) && !is_there {
            let account = Write::create(resource::SERVICE_ACCOUNTS, default_account(&key.name));
            plan.act(account, "every namespace has one");
        }
        plan
    }
}

/// Puts back the cluster's certificate authority.
pub struct RootCaPublisher {
    cluster_ca: String,
}

impl RootCaPublisher {
    /// Publishes this certificate (PEM).
    pub fn new(cluster_ca: impl Into<String>) -> Self {
        Self {
            cluster_ca: cluster_ca.into(),
        }
    }
}

static CONFIG_MAPS: [&Resource; 2] = [resource::NAMESPACES, resource::CONFIG_MAPS];

impl Controller for RootCaPublisher {
    fn name(&self) -> &'static str {
        "root-ca-certificate-publisher"
    }

    fn event_source(&self) -> &'static str {
        "root-ca-cert-publisher"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &CONFIG_MAPS
    }

    fn touched(&mut self, change: &WorldChange, _world: &World) -> Vec<Key> {
        namespace_of(change, ROOT_CA)
    }

    fn reconcile(&mut self, key: &Key, world: &World, _now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        if !is_open(world, &key.name) {
            return plan;
        }
        let wanted = root_ca(&key.name, &self.cluster_ca);
        let Some(published) = world.get(resource::CONFIG_MAPS, &key.name, ROOT_CA) else {
            plan.act(Write::create(resource::CONFIG_MAPS, wanted), "every namespace has one");
            return plan;
        };
        let mut value = published.to_value();
        let annotations = wanted["metadata"]["annotations"].as_object();
        let is_described = annotations
            .into_iter()
            .flatten()
            .all(|(name, text)| value["metadata"]["annotations"].get(name) == Some(text));
        if value["data"] == wanted["data"] && is_described {
            return plan;
        }
        value["data"] = wanted["data"].clone();
        if !value["metadata"]["annotations"].is_object() {
            value["metadata"]["annotations"] = json!({});
        }
        for (name, text) in annotations.into_iter().flatten() {
            value["metadata"]["annotations"][name] = text.clone();
        }
        let update = Write::update(resource::CONFIG_MAPS, value, None);
        let guarded = update.if_uid(&published.meta().uid).if_revision(published.revision());
        plan.act(guarded, "it no longer said what the cluster's authority is");
        plan
    }
}

/// The namespace to look at: one that changed, or one in which the object of that name did.
fn namespace_of(change: &WorldChange, name: &str) -> Vec<Key> {
    let meta = change.latest().meta();
    if change.resource() == resource::NAMESPACES {
        // A namespace that merely changes has what it needs.
        return match change.old {
            None => vec![Key::new("", &meta.name)],
            Some(_) => Vec::new(),
        };
    }
    match meta.name == name {
        true => vec![Key::new("", &meta.namespace)],
        false => Vec::new(),
    }
}

fn is_open(world: &World, namespace: &str) -> bool {
    world
        .get(resource::NAMESPACES, "", namespace)
        .is_some_and(|namespace| namespace.meta().deleting.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_api::Object;
    use serde_json::Value;
    use std::sync::Arc;

    fn world(objects: &[(&'static Resource, Value)]) -> World {
        let kinds = [resource::NAMESPACES, resource::SERVICE_ACCOUNTS, resource::CONFIG_MAPS];
        let mut world = World::watching(&kinds, &[]);
        for (kind, value) in objects {
            world.apply(Arc::new(Object::from_value(kind, value.clone())));
        }
        world
    }

    #[track_caller]
    fn check(controller: &mut dyn Controller, objects: &[(&'static Resource, Value)], expected: &str) {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let plan = controller.reconcile(&Key::new("", "n"), &world(objects), now);
        assert_eq!(plan.explain(), expected);
    }

    fn namespace(deleting: Option<&str>) -> (&'static Resource, Value) {
        (
            resource::NAMESPACES,
            json!({"metadata": {"name": "n", "deletionTimestamp": deleting}}),
        )
    }

    #[test]
    fn a_namespace_gets_back_its_account() {
        let created = "0 create ServiceAccount n/default (every namespace has one)\n";
        check(&mut DefaultAccounts, &[namespace(None)], created);
        let account = (resource::SERVICE_ACCOUNTS, default_account("n"));
        check(&mut DefaultAccounts, &[namespace(None), account], "");
        check(&mut DefaultAccounts, &[namespace(Some("2026-01-01T00:00:00Z"))], "");
    }

    #[test]
    fn a_namespace_gets_back_its_authority_as_it_was() {
        let mut publisher = RootCaPublisher::new("PEM");
        let created = "0 create ConfigMap n/kube-root-ca.crt (every namespace has one)\n";
        check(&mut publisher, &[namespace(None)], created);
        let mut map = root_ca("n", "PEM");
        check(
            &mut publisher,
            &[namespace(None), (resource::CONFIG_MAPS, map.clone())],
            "",
        );
        map["data"]["more"] = "x".into();
        let updated = "0 update ConfigMap n/kube-root-ca.crt (it no longer said what the cluster's authority is)\n";
        check(
            &mut publisher,
            &[namespace(None), (resource::CONFIG_MAPS, map)],
            updated,
        );
    }
}
