//! A registry over memory with a clock that stands still and randomness that counts.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test file uses its part of the support"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use rota_api::validate::Checks;
use rota_api::{ApiError, DeleteOptions, Object, Resource, Timestamp, Write};
use rota_registry::{Caller, Env, Event, ListOptions, Registry, Settings, Watch, WatchOptions, Written, bootstrap};
use rota_store::{MemoryStore, Store};
use serde_json::{Value, json};

pub struct TestEnv {
    seconds: AtomicI64,
    random: AtomicU64,
}

impl Env for TestEnv {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.seconds.load(Ordering::Relaxed)).unwrap()
    }

    fn random(&self) -> u64 {
        // Odd multiplier: distinct inputs stay distinct.
        self.random
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

pub struct World {
    pub registry: Arc<Registry>,
    pub env: Arc<TestEnv>,
    pub store: Arc<dyn Store>,
    pub caller: Caller,
}

pub const NOW: &str = "2026-03-01T12:00:00Z";

pub fn settings() -> Settings {
    Settings::new(Checks {
        schedule: |_| Ok(()),
        time_zone: |_| Ok(()),
    })
}

impl World {
    /// A cluster with its first namespaces.
    pub async fn new() -> Self {
        Self::over(Arc::new(MemoryStore::new())).await
    }

    pub async fn over(store: Arc<dyn Store>) -> Self {
        let start: Timestamp = NOW.parse().unwrap();
        let env = Arc::new(TestEnv {
            seconds: AtomicI64::new(start.as_second()),
            random: AtomicU64::new(1),
        });
        let registry = Registry::open(Arc::clone(&store), Arc::clone(&env) as _, settings()).unwrap();
        bootstrap::ensure(&registry, None).await.unwrap();
        Self {
            registry,
            env,
            store,
            caller: Caller::system("tester"),
        }
    }

    pub fn advance_secs(&self, secs: i64) {
        self.env.seconds.fetch_add(secs, Ordering::Relaxed);
    }

    pub async fn write(&self, write: Write) -> Result<Written, ApiError> {
        self.registry.write(&self.caller, write).await
    }

    pub async fn create(&self, resource: &'static Resource, object: Value) -> Written {
        self.write(Write::create(resource, object)).await.unwrap()
    }

    pub async fn delete(
        &self,
        resource: &'static Resource,
        name: &str,
        options: DeleteOptions,
    ) -> Result<Written, ApiError> {
        let namespace = if resource.is_namespaced() { "default" } else { "" };
        self.write(Write::delete(resource, namespace, name, options)).await
    }

    pub fn get(&self, resource: &'static Resource, name: &str) -> Result<Arc<Object>, ApiError> {
        let namespace = if resource.is_namespaced() { "default" } else { "" };
        self.registry.get(resource, namespace, name)
    }

    pub async fn names(&self, resource: &'static Resource, options: &ListOptions) -> Vec<String> {
        let listing = self.registry.list(resource, options).await.unwrap();
        listing.items.iter().map(|o| o.meta().name.clone()).collect()
    }

    pub async fn watch(&self, resource: &'static Resource, options: WatchOptions) -> Watch {
        self.registry.watch(resource, &options).await.unwrap()
    }
}

/// Everything a watch has delivered by now: `+name`, `~name`, `-name`, `=` for a bookmark, `=end` for that of the beginning.
pub fn seen(watch: &mut Watch) -> Vec<String> {
    let mut seen = Vec::new();
    while let Some(event) = watch.try_next() {
        seen.push(match event {
            Event::Added(object) => format!("+{}", object.meta().name),
            Event::Modified(object) => format!("~{}", object.meta().name),
            Event::Deleted(object) => format!("-{}", object.meta().name),
            Event::Bookmark {
                initial_events_end: true,
                ..
            } => "=end".to_owned(),
            Event::Bookmark { .. } => "=".to_owned(),
        });
    }
    seen
}

pub fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "default", "name": name},
           "data": {"a": "1"}})
}

pub fn labelled(name: &str, label: &str) -> Value {
    let mut map = config_map(name);
    map["metadata"]["labels"] = json!({"v": label});
    map
}

pub fn held(name: &str, finalizers: &[&str]) -> Value {
    let mut map = config_map(name);
    map["metadata"]["finalizers"] = json!(finalizers);
    map
}

pub fn pod(name: &str, node: &str) -> Value {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "default", "name": name},
        "spec": {"containers": [{"name": "c", "image": "app:v1"}], "restartPolicy": "Always",
                 "terminationGracePeriodSeconds": 30}});
    if !node.is_empty() {
        pod["spec"]["nodeName"] = node.into();
    }
    pod
}

/// Replaces a stored object by what `edit` makes of it.
pub fn edited(object: &Object, edit: impl FnOnce(&mut Value)) -> Write {
    let mut value = object.to_value();
    edit(&mut value);
    Write::update(object.resource(), value, None)
}

pub fn merge(resource: &'static Resource, name: &str, patch: Value) -> Write {
    let namespace = if resource.is_namespaced() { "default" } else { "" };
    Write::merge(resource, namespace, name, patch)
}
