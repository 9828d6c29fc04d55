//! Controllers, scheduler and simulated nodes on the registry in process: the whole engine without HTTP.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use rota_agent::simulated::{SimulatedConfig, SimulatedNodes};
use rota_api::validate::Checks;
use rota_api::{ApiError, Object, Resource, Revision, Timestamp, Write, resource};
use rota_cluster::{
    Cluster, Listing, LocalCluster, Metrics, Prepared, Recorder, Refusal, Selection, Watch, Written, drive, schedule,
};
use rota_reconcile::cronjob::CronJobController;
use rota_reconcile::job::JobController;
use rota_reconcile::node_lifecycle::NodeLifecycleController;
use rota_registry::{Caller, Env, Registry, Settings, bootstrap};
use rota_store::MemoryStore;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

struct TestEnv(AtomicU64);

impl Env for TestEnv {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn random(&self) -> u64 {
        let bits = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        (bits ^ (bits >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }
}

async fn registry() -> Arc<Registry> {
    let checks = Checks {
        schedule: rota_cron::check_schedule,
        time_zone: rota_cron::check_time_zone,
    };
    let registry = Registry::open(
        Arc::new(MemoryStore::new()),
        Arc::new(TestEnv(AtomicU64::new(7))),
        Settings::new(checks),
    )
    .unwrap();
    bootstrap::ensure(&registry, None).await.unwrap();
    registry
}

async fn engine(nodes: u32, stop: &CancellationToken) -> Arc<dyn Cluster> {
    let registry = registry().await;
    let cluster =
        |name: &str| -> Arc<dyn Cluster> { Arc::new(LocalCluster::new(Arc::clone(&registry), Caller::system(name))) };
    let recorder = Recorder::start(cluster("system:events"), stop.clone());
    tokio::spawn(drive(
        cluster("system:controller"),
        vec![
            Box::new(JobController::default()),
            Box::new(NodeLifecycleController::default()),
        ],
        recorder.clone(),
        Metrics::default(),
        stop.clone(),
    ));
    tokio::spawn(schedule(cluster("system:kube-scheduler"), recorder, || 7, stop.clone()));
    let config = SimulatedConfig {
        count: nodes,
        ..SimulatedConfig::default()
    };
    let mut simulated = SimulatedNodes::start(&config, &cluster("system:nodes"));
    simulated.registered().await;
    let held = stop.clone();
    tokio::spawn(async move {
        held.cancelled().await;
        drop(simulated);
    });
    cluster("admin")
}

fn job(name: &str, completions: u32, parallelism: u32) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "default"},
        "spec": {"completions": completions, "parallelism": parallelism, "template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
    })
}

/// Waits until the Job's condition Complete is True.
async fn complete(cluster: &dyn Cluster, name: &str) {
    let listing = cluster.list(resource::JOBS, &Selection::all()).await.unwrap();
    let is_complete = |object: &rota_api::Object| {
        object.meta().name == name
            && object.to_value()["status"]["conditions"]
                .as_array()
                .is_some_and(|all| all.iter().any(|c| c["type"] == "Complete" && c["status"] == "True"))
    };
    if listing.items.iter().any(|object| is_complete(object)) {
        return;
    }
    let mut watch = cluster
        .watch(resource::JOBS, &Selection::all(), listing.revision)
        .await
        .unwrap();
    let wait = async {
        while let Some(event) = watch.next().await {
            if is_complete(&event.unwrap().object) {
                return;
            }
        }
        panic!("the watch ended before the Job was complete");
    };
    tokio::time::timeout(Duration::from_secs(60), wait)
        .await
        .expect("the Job completes");
}

/// The most pods that were neither over nor being deleted at once, told from a watch of all pods until `ends` of them are over.
async fn most_active(cluster: Arc<dyn Cluster>, ends: usize) -> usize {
    let listing = cluster.list(resource::PODS, &Selection::all()).await.unwrap();
    let mut watch = cluster
        .watch(resource::PODS, &Selection::all(), listing.revision)
        .await
        .unwrap();
    let (mut active, mut over, mut most) = (BTreeSet::new(), BTreeSet::new(), 0);
    while over.len() < ends {
        let object = watch.next().await.expect("the watch goes on").unwrap().object;
        let meta = object.meta();
        if matches!(meta.phase.as_str(), "Succeeded" | "Failed") || meta.deleting.is_some() {
            active.remove(&meta.uid);
            over.insert(meta.uid.clone());
        } else {
            active.insert(meta.uid.clone());
        }
        most = most.max(active.len());
    }
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_runs_to_completion_on_simulated_nodes_without_a_pod_too_many() {
    let stop = CancellationToken::new();
    let cluster = engine(10, &stop).await;
    let watched = tokio::spawn(most_active(Arc::clone(&cluster), 600));
    cluster
        .write(Write::create(resource::JOBS, job("pi", 600, 200)))
        .await
        .unwrap();
    complete(&*cluster, "pi").await;
    let job = cluster.get(resource::JOBS, "default", "pi").await.unwrap().to_value();
    assert_eq!(job["status"]["succeeded"], 600);
    assert_eq!(
        cluster
            .list(resource::PODS, &Selection::all())
            .await
            .unwrap()
            .items
            .len(),
        600
    );
    assert_eq!(watched.await.unwrap(), 200);
    stop.cancel();
}

/// A cluster that tells what is prepared on it, and what of that is committed.
struct Watched {
    inner: LocalCluster,
    prepared: tokio::sync::mpsc::UnboundedSender<String>,
    committed: AtomicU64,
}

#[async_trait]
impl Cluster for Watched {
    async fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> Result<Arc<Object>, ApiError> {
        self.inner.get(resource, namespace, name).await
    }

    async fn list(&self, resource: &'static Resource, selection: &Selection) -> Result<Listing, ApiError> {
        self.inner.list(resource, selection).await
    }

    async fn watch(
        &self,
        resource: &'static Resource,
        selection: &Selection,
        from: Revision,
    ) -> Result<Watch, ApiError> {
        self.inner.watch(resource, selection, from).await
    }

    async fn write(&self, write: Write) -> Result<Written, ApiError> {
        self.inner.write(write).await
    }

    fn is_transactional(&self) -> bool {
        true
    }

    async fn transact(&self, writes: &[&Write]) -> Result<Vec<Written>, Refusal> {
        self.inner.transact(writes).await
    }

    fn prepare(&self, writes: &[&Write], at: Timestamp) -> Option<Prepared> {
        let prepared = self.inner.prepare(writes, at)?;
        let status = writes.last().expect("a plan writes something");
        self.prepared.send(status.name.clone()).unwrap();
        Some(prepared)
    }

    async fn commit(&self, prepared: Prepared) -> Option<Vec<Written>> {
        let written = self.inner.commit(prepared).await?;
        self.committed.fetch_add(1, Ordering::Relaxed);
        Some(written)
    }
}

/// A CronJob of which one Job starts four seconds after it was made, and no other in the same minute.
fn soon(name: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name, "namespace": "default"},
        "spec": {"schedule": "@every 4s", "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}},
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_are_prepared_before_their_time_and_never_start_early_or_against_what_happened_meanwhile() {
    let stop = CancellationToken::new();
    let registry = registry().await;
    let local = |name: &str| LocalCluster::new(Arc::clone(&registry), Caller::system(name));
    let (sender, mut prepared) = tokio::sync::mpsc::unbounded_channel();
    let cluster = Arc::new(Watched {
        inner: local("system:controller"),
        prepared: sender,
        committed: AtomicU64::new(0),
    });
    let recorder = Recorder::start(Arc::new(local("system:events")), stop.clone());
    tokio::spawn(drive(
        Arc::clone(&cluster) as _,
        vec![Box::new(CronJobController::default())],
        recorder,
        Metrics::default(),
        stop.clone(),
    ));
    let admin = local("admin");
    let mut jobs = admin
        .watch(resource::JOBS, &Selection::all(), registry.revision())
        .await
        .unwrap();
    let names: BTreeSet<String> = (0..20).map(|number| format!("c{number:02}")).collect();
    for name in &names {
        admin
            .write(Write::create(resource::CRON_JOBS, soon(name)))
            .await
            .unwrap();
    }
    let mut waiting = names.clone();
    while !waiting.is_empty() {
        waiting.remove(&prepared.recv().await.expect("the driver goes on"));
    }
    let suspend = json!({"spec": {"suspend": true}});
    let suspend = Write::merge(resource::CRON_JOBS, "default", "c07", suspend);
    admin.write(suspend).await.unwrap();

    let mut started = BTreeSet::new();
    while started.len() < names.len() - 1 {
        let job = jobs.next().await.expect("the watch goes on").unwrap().object;
        let cron_job = &job.meta().owners[0].name;
        let made = admin.get(resource::CRON_JOBS, "default", cron_job).await.unwrap();
        let (due, now) = (
            made.meta().created.unwrap().as_second() + 4,
            Timestamp::now().as_second(),
        );
        assert!(due <= now, "{cron_job} starts at {due}, not at {now}");
        assert_ne!(cron_job, "c07", "it was suspended");
        started.insert(cron_job.clone());
    }
    assert!(cluster.committed.load(Ordering::Relaxed) > 0, "some were on time");
    stop.cancel();
}
