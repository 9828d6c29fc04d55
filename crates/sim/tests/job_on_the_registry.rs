//! Plans of the Job controller as transactions on the registry itself: every one is accepted as it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rota_api::validate::Checks;
use rota_api::{Object, PatchKind, Timestamp, Write, resource};
use rota_reconcile::job::{JobController, OrphanPods};
use rota_reconcile::{Controller, Key, World};
use rota_registry::{Caller, Env, ListOptions, Registry, Settings, bootstrap};
use rota_store::MemoryStore;
use serde_json::{Value, json};

/// Looks after which the controller must have come to rest.
const LOOKS_MAX: usize = 20;

struct Noon(AtomicU64);

impl Env for Noon {
    fn now(&self) -> Timestamp {
        noon()
    }

    fn random(&self) -> u64 {
        self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed)
    }
}

fn noon() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().expect("a time")
}

struct Server {
    registry: Arc<Registry>,
    caller: Caller,
    controller: JobController,
    world: World,
}

impl Server {
    async fn with_job(spec: Value) -> Self {
        let checks = Checks {
            schedule: |_| Ok(()),
            time_zone: |_| Ok(()),
        };
        let env = Arc::new(Noon(AtomicU64::new(7)));
        let store = Arc::new(MemoryStore::new());
        let registry = Registry::open(store, env, Settings::new(checks)).expect("an empty store opens");
        bootstrap::ensure(&registry, None).await.expect("the first namespaces");
        let account = json!({"metadata": {"namespace": "default", "name": "default"}});
        let controller = JobController::default();
        let world = World::watching(controller.watches(), &controller.indexes());
        let server = Self {
            registry,
            caller: Caller::system("job-controller"),
            controller,
            world,
        };
        // The bootstrap may have made it already.
        let _ = server
            .registry
            .write(&server.caller, Write::create(resource::SERVICE_ACCOUNTS, account))
            .await;
        let mut job = json!({"metadata": {"namespace": "default", "name": "j"}, "spec": spec});
        job["spec"]["template"] = json!({"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": "app:1"}]}});
        server.write(Write::create(resource::JOBS, job)).await;
        server
    }

    async fn write(&self, write: Write) {
        let told = write.to_string();
        if let Err(error) = self.registry.write(&self.caller, write).await {
            panic!("{told}: {}", error.message());
        }
    }

    async fn patch_job(&self, spec: Value) {
        let patch = Map::of("spec", spec);
        self.write(Write::merge(resource::JOBS, "default", "j", patch)).await;
    }

    /// Lets the controller look until it wants nothing more; each of its plans is one commit.
    async fn settle(&mut self) {
        for _ in 0..LOOKS_MAX {
            for kind in [resource::JOBS, resource::PODS] {
                let listing = self.registry.list(kind, &ListOptions::default()).await.expect("a list");
                self.world.reset(kind, listing.items);
            }
            let plan = self
                .controller
                .reconcile(&Key::new("default", "j"), &self.world, noon());
            if plan.actions.is_empty() {
                return;
            }
            let writes: Vec<&Write> = plan.actions.iter().map(|action| &action.write).collect();
            if let Err(refused) = self.registry.transact(&self.caller, &writes).await {
                panic!("write {} of\n{plan}{}", refused.at, refused.error.message());
            }
        }
        panic!("the controller does not come to rest");
    }

    async fn pods(&self) -> Vec<Arc<Object>> {
        self.registry
            .list(resource::PODS, &ListOptions::default())
            .await
            .expect("a list")
            .items
    }

    /// Ends so many pods that have not ended.
    async fn end(&mut self, count: usize, phase: &str) {
        let alive = |pod: &Arc<Object>| pod.meta().phase == "Pending" && pod.meta().deleting.is_none();
        for pod in self.pods().await.into_iter().filter(alive).take(count) {
            let state = json!({"terminated": {"exitCode": 0, "finishedAt": "2026-01-01T11:00:00Z"}});
            let container = json!({"name": "c", "image": "app:1", "imageID": "", "ready": false, "restartCount": 0,
                "state": state});
            let status = Map::of("status", json!({"phase": phase, "containerStatuses": [container]}));
            let (kind, name) = (PatchKind::Merge, &pod.meta().name);
            self.write(Write::patch(
                resource::PODS,
                "default",
                name,
                kind,
                status,
                Some("status"),
            ))
            .await;
        }
        self.settle().await;
    }

    /// The status in a few words.
    fn told(&self) -> String {
        let status = self
            .registry
            .get(resource::JOBS, "default", "j")
            .expect("the Job")
            .to_value()["status"]
            .take();
        let conditions = status["conditions"].as_array().into_iter().flatten();
        let conditions: Vec<_> = conditions
            .filter(|c| c["status"] == "True")
            .map(|c| c["type"].clone())
            .collect();
        let number = |field: &str| status[field].as_i64().unwrap_or_default();
        format!(
            "{} active, {} succeeded, {} failed, {} {}",
            number("active"),
            number("succeeded"),
            number("failed"),
            status["uncountedTerminatedPods"],
            Value::Array(conditions)
        )
    }
}

/// An object of one field.
struct Map;

impl Map {
    fn of(field: &str, value: Value) -> Value {
        serde_json::Map::from_iter([(field.to_owned(), value)]).into()
    }
}

#[tokio::test]
async fn a_job_runs_to_completion() {
    let mut server = Server::with_job(json!({"completions": 3, "parallelism": 2})).await;
    server.settle().await;
    assert_eq!(server.told(), "2 active, 0 succeeded, 0 failed, {} []");
    server.end(1, "Succeeded").await;
    assert_eq!(server.told(), "2 active, 1 succeeded, 0 failed, {} []");
    server.end(2, "Succeeded").await;
    assert_eq!(
        server.told(),
        r#"0 active, 3 succeeded, 0 failed, {} ["SuccessCriteriaMet","Complete"]"#
    );
    assert!(server.pods().await.iter().all(|pod| pod.meta().finalizers.is_empty()));
}

#[tokio::test]
async fn a_job_fails_and_takes_its_pods_along() {
    let mut server = Server::with_job(json!({"completions": 3, "parallelism": 3, "backoffLimit": 0})).await;
    server.settle().await;
    server.end(1, "Failed").await;
    assert_eq!(
        server.told(),
        r#"0 active, 0 succeeded, 3 failed, {} ["FailureTarget","Failed"]"#
    );
    assert_eq!(server.pods().await.len(), 1, "pods that were never bound go at once");
}

#[tokio::test]
async fn an_indexed_job_retries_its_indexes() {
    let spec = json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 1});
    let mut server = Server::with_job(spec).await;
    server.settle().await;
    server.end(1, "Failed").await;
    assert_eq!(server.told(), "2 active, 0 succeeded, 1 failed, {} []");
    server.end(2, "Succeeded").await;
    assert_eq!(
        server.told(),
        r#"0 active, 2 succeeded, 1 failed, {} ["SuccessCriteriaMet","Complete"]"#
    );
}

#[tokio::test]
async fn a_job_is_suspended_scaled_and_resumed() {
    let mut server = Server::with_job(json!({"completions": 9, "parallelism": 4})).await;
    server.settle().await;
    server.patch_job(json!({"parallelism": 2})).await;
    server.settle().await;
    assert_eq!(server.told(), "2 active, 0 succeeded, 0 failed, {} []");
    server.patch_job(json!({"suspend": true})).await;
    server.settle().await;
    assert_eq!(server.told(), r#"0 active, 0 succeeded, 0 failed, {} ["Suspended"]"#);
    server.patch_job(json!({"suspend": false})).await;
    server.settle().await;
    assert_eq!(server.told(), "2 active, 0 succeeded, 0 failed, {} []");
}

#[tokio::test]
async fn an_orphan_is_adopted_and_a_stranger_released() {
    let mut server = Server::with_job(json!({"completions": 5, "parallelism": 1})).await;
    server.settle().await;
    let pod = server.pods().await.remove(0);
    let stripped = json!({"metadata": {"ownerReferences": null, "finalizers": null}});
    server
        .write(Write::merge(resource::PODS, "default", &pod.meta().name, stripped))
        .await;
    server.settle().await;
    let adopted = server.pods().await.remove(0);
    assert_eq!(adopted.meta().owners.len(), 1);
    assert_eq!(adopted.meta().finalizers.len(), 1);
    let relabelled = json!({"metadata": {"labels": null}});
    server
        .write(Write::merge(resource::PODS, "default", &pod.meta().name, relabelled))
        .await;
    server.settle().await;
    let pods = server.pods().await;
    assert_eq!(pods.len(), 2);
    let released = pods
        .iter()
        .find(|other| other.meta().uid == pod.meta().uid)
        .expect("it still runs");
    assert!(released.meta().owners.is_empty() && released.meta().finalizers.is_empty());
}

#[tokio::test]
async fn a_pod_whose_job_is_gone_is_let_go() {
    let mut server = Server::with_job(json!({"completions": 1})).await;
    server.settle().await;
    let delete = Write::delete(
        resource::JOBS,
        "default",
        "j",
        rota_api::DeleteOptions {
            propagation: Some(rota_api::Propagation::Background),
            ..Default::default()
        },
    );
    server.write(delete).await;
    server.settle().await;
    let pod = server.pods().await.remove(0);
    server.world.reset(resource::JOBS, Vec::new());
    let plan = OrphanPods::default().reconcile(&Key::of(&pod), &server.world, noon());
    server.write(plan.actions[0].write.clone()).await;
    let pod = server.pods().await.remove(0);
    assert!(pod.meta().finalizers.is_empty());
    assert_eq!(
        pod.to_value()["metadata"].get("finalizers"),
        None,
        "an empty list is left out"
    );
}
