//! Namespace deletion: empties a namespace that is being deleted, then lets it go.
//!
//! | what is left in the namespace | what happens |
//! | --- | --- |
//! | pods that nobody has asked to go yet | deleted, with their grace |
//! | pods, all of them going | nothing else is touched: what a pod relies on, such as its policies, outlives it |
//! | objects of other kinds that nobody has asked to go yet | deleted |
//! | only objects that take their time (grace, finalizers) | the conditions of the namespace name them |
//! | nothing, for a moment | the finalizer `kubernetes` is taken off, and the registry removes the namespace |
//!
//! Nothing can be created in a namespace from its deletion timestamp on; that refusal is the registry's business. Who
//! takes finalizers off the objects is not known here.
//! Source: `pkg/controller/namespace/deletion`, specification of nodes and pods §28, of the API §2.6 and §8.

mod conditions;

use std::sync::{Arc, LazyLock};

use jiff::SignedDuration;
use rota_api::{DeleteOptions, Object, Propagation, Resource, Timestamp, Write, resource};
use serde_json::{Value, json};

use crate::{Controller, Key, Plan, World, WorldChange};

/// The entry of `spec.finalizers` that this controller answers for.
const FINALIZER: &str = "kubernetes";

/// Deletions in one plan: what is left over follows when these have been seen to be done.
const DELETIONS_PER_PLAN_MAX: usize = 1000;

/// Seconds after the deletion timestamp before an empty namespace is believed to be empty. What was created just before
/// the deletion may become known after it, since each kind is watched on its own.
const SETTLING_SECS: i64 = 2;

/// Every kind of object that lives in a namespace, pods first, then the namespaces.
static WATCHED: LazyLock<Vec<&'static Resource>> = LazyLock::new(|| {
    let mut kinds: Vec<_> = contents().collect();
    kinds.push(resource::NAMESPACES);
    kinds
});

/// The stored kinds that live in a namespace, pods first.
fn contents() -> impl Iterator<Item = &'static Resource> {
    let all = resource::ALL.iter().copied();
    let kinds = all.filter(|kind| kind.is_namespaced() && kind.is_stored() && kind.stored() == *kind);
    [resource::PODS]
        .into_iter()
        .chain(kinds.filter(|kind| *kind != resource::PODS))
}

/// Empties namespaces that are being deleted.
#[derive(Default)]
pub struct NamespaceController;

impl Controller for NamespaceController {
    fn name(&self) -> &'static str {
        "namespace"
    }

    fn event_source(&self) -> &'static str {
        "namespace-controller"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &WATCHED
    }

    fn touched(&mut self, change: &WorldChange, world: &World) -> Vec<Key> {
        let meta = change.latest().meta();
        let name = match change.resource() == resource::NAMESPACES {
            true => &meta.name,
            false => &meta.namespace,
        };
        let is_deleting = world
            .get(resource::NAMESPACES, "", name)
            .is_some_and(|namespace| namespace.meta().deleting.is_some());
        if is_deleting {
            vec![Key::new("", name)]
        } else {
            Vec::new()
        }
    }

    fn reconcile(&mut self, key: &Key, world: &World, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        let Some(namespace) = world.get(resource::NAMESPACES, "", &key.name) else {
            return plan;
        };
        let Some(deleted_at) = namespace.meta().deleting else {
            return plan;
        };
        let value = namespace.to_value();
        if !finalizers(&value).any(|finalizer| finalizer == FINALIZER) {
            return plan;
        }
        delete_contents(&mut plan, world, &key.name);
        if !plan.actions.is_empty() {
            return plan;
        }
        let left: Vec<_> = contents()
            .flat_map(|kind| world.in_namespace(kind, &key.name))
            .collect();
        if let Some(conditions) = conditions::changed(&value, &left, now) {
            let patch = json!({"status": {"conditions": conditions}});
            plan.act(status(namespace, patch), "what is left of the namespace has changed");
        }
        if left.is_empty() {
            let settled = SignedDuration::from_secs(SETTLING_SECS);
            let settled = deleted_at.checked_add(settled).unwrap_or(deleted_at);
            if now < settled {
                plan.wake_at(settled);
            } else if plan.actions.is_empty() {
                plan.act(finalize(namespace, value), "the namespace is empty");
            }
        }
        plan
    }
}

/// Deletes what nobody has asked to go yet: pods, and once there are none, everything else.
fn delete_contents(plan: &mut Plan, world: &World, namespace: &str) {
    let has_pods = world.in_namespace(resource::PODS, namespace).next().is_some();
    let waiting = contents()
        .take_while(|kind| !has_pods || *kind == resource::PODS)
        .flat_map(|kind| world.in_namespace(kind, namespace))
        .filter(|object| object.meta().deleting.is_none());
    for object in waiting.take(DELETIONS_PER_PLAN_MAX) {
        plan.act(deletion(object), "its namespace is being deleted");
    }
}

/// Deletes an object; its dependents are in the namespace themselves.
fn deletion(object: &Arc<Object>) -> Write {
    let meta = object.meta();
    let options = DeleteOptions {
        propagation: Some(Propagation::Background),
        ..DeleteOptions::default()
    };
    Write::delete(object.resource(), &meta.namespace, &meta.name, options).if_uid(&meta.uid)
}

fn status(namespace: &Object, patch: Value) -> Write {
    let meta = namespace.meta();
    let kind = rota_api::PatchKind::Strategic;
    Write::patch(resource::NAMESPACES, "", &meta.name, kind, patch, Some("status")).if_uid(&meta.uid)
}

/// Takes the finalizer off; the revision in the object refuses it when the namespace has changed meanwhile.
fn finalize(namespace: &Object, mut value: Value) -> Write {
    let kept: Vec<Value> = finalizers(&value)
        .filter(|finalizer| *finalizer != FINALIZER)
        .map(Value::from)
        .collect();
    value["spec"]["finalizers"] = kept.into();
    Write::update(resource::NAMESPACES, value, Some("finalize")).if_uid(&namespace.meta().uid)
}

fn finalizers(namespace: &Value) -> impl Iterator<Item = &str> {
    let listed = namespace["spec"]["finalizers"].as_array();
    listed.into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests;
