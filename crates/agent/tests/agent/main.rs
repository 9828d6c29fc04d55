//! The agent of a node over a registry in memory and a runtime without containers: from a bound pod to its last word.

mod scripted;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use rota_agent::node::{Capacity, Machine, NodeFacts};
use rota_agent::simulated::{SimulatedConfig, SimulatedNodes};
use rota_agent::tokens::{Token, TokenWish, Tokens};
use rota_agent::{Agent, AgentConfig, AgentHandle, Ports, Quiet};
use rota_api::validate::Checks;
use rota_api::{ApiError, DeleteOptions, PatchKind, Resource, Timestamp, Write, resource};
use rota_cluster::local::LocalCluster;
use rota_cluster::{Cluster, EventKind, Selection};
use rota_podlife::BackoffLimits;
use rota_registry::{Caller, Env, Registry, Settings, bootstrap};
use rota_store::MemoryStore;
use scripted::Scripted;
use serde_json::{Value, json};

/// Longest time anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(20);

struct RealEnv(AtomicU64);

impl Env for RealEnv {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
    fn random(&self) -> u64 {
        self.0
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// What the nth request for a token is answered with, counted from 1.
type Answer = dyn Fn(usize) -> BoxFuture<'static, Result<Duration, ApiError>> + Send + Sync;

/// Issues tokens that hold as long as a test says, if it lets them be issued at all.
struct Issuer {
    count: AtomicUsize,
    answer: Box<Answer>,
}

impl Issuer {
    fn new(
        answer: impl Fn(usize) -> BoxFuture<'static, Result<Duration, ApiError>> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            count: AtomicUsize::new(0),
            answer: Box::new(answer),
        })
    }
}

#[async_trait]
impl Tokens for Issuer {
    async fn issue(&self, wish: &TokenWish) -> Result<Token, ApiError> {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let lifetime = (self.answer)(number).await?;
        Ok(Token {
            text: format!("token {number} of {}", wish.service_account),
            expires: Timestamp::now() + lifetime,
        })
    }
}

struct World {
    cluster: Arc<dyn Cluster>,
    runtime: Scripted,
    tokens: Arc<Issuer>,
    data: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let checks = Checks {
            schedule: |_| Ok(()),
            time_zone: |_| Ok(()),
        };
        let env = Arc::new(RealEnv(AtomicU64::new(1)));
        let registry = Registry::open(Arc::new(MemoryStore::new()), env, Settings::new(checks)).unwrap();
        bootstrap::ensure(&registry, None).await.unwrap();
        let world = Self {
            cluster: Arc::new(LocalCluster::new(registry, Caller::system("system:node:n"))),
            runtime: Scripted::new(),
            tokens: Issuer::new(|_| async { Ok(Duration::from_secs(3600)) }.boxed()),
            data: tempfile::tempdir().unwrap(),
        };
        let account = json!({"metadata": {"name": "default", "namespace": "default"}});
        // The namespace may have brought it along.
        let _ = world
            .cluster
            .write(Write::create(resource::SERVICE_ACCOUNTS, account))
            .await;
        world
    }

    async fn agent(&self) -> AgentHandle {
        let node = NodeFacts {
            name: "n".to_owned(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            addresses: vec![[10, 0, 0, 1].into()],
            pod_cidr: String::new(),
            capacity: Capacity {
                cpu_millis: 4000,
                memory_bytes: 1 << 33,
                storage_bytes: 1 << 40,
                pods: 10,
                extended: BTreeMap::new(),
            },
            machine: Machine::default(),
            port: 0,
        };
        let config = AgentConfig {
            node,
            data_dir: self.data.path().to_owned(),
            api_server: None,
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            backoff: BackoffLimits::default(),
        };
        let ports = Ports {
            cluster: Arc::clone(&self.cluster),
            runtime: Arc::new(self.runtime.clone()),
            recorder: Arc::new(Quiet),
            tokens: Arc::clone(&self.tokens) as _,
        };
        let mut agent = Agent::start(config, ports).await.unwrap();
        agent.ready().await;
        agent
    }

    async fn create(&self, resource: &'static Resource, object: Value) -> Value {
        self.cluster
            .write(Write::create(resource, object))
            .await
            .unwrap()
            .object()
            .to_value()
    }

    async fn pod(&self, spec: Value) -> Value {
        self.named_pod("p", spec).await
    }

    async fn named_pod(&self, name: &str, spec: Value) -> Value {
        let mut spec = spec;
        spec["nodeName"] = "n".into();
        if spec["containers"].is_null() {
            spec["containers"] = json!([{"name": "c", "image": "i:1"}]);
        }
        self.create(
            resource::PODS,
            json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec}),
        )
        .await
    }

    /// Waits until the pod is as wanted, or gone when `wanted` accepts null.
    async fn wait(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_for(resource::PODS, name, wanted).await
    }

    async fn wait_for(&self, kind: &'static Resource, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let namespace = if kind == resource::NODES { "" } else { "default" };
        let search = async {
            let selection = Selection {
                namespace: Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
                fields: format!("metadata.name={name}"),
                ..Selection::default()
            };
            let listing = self.cluster.list(kind, &selection).await.unwrap();
            let now = listing.items.first().map_or(Value::Null, |pod| pod.to_value());
            if wanted(&now) {
                return now;
            }
            let mut watch = self.cluster.watch(kind, &selection, listing.revision).await.unwrap();
            while let Some(event) = watch.next().await {
                let event = event.unwrap();
                let now = if event.kind == EventKind::Deleted {
                    Value::Null
                } else {
                    event.object.to_value()
                };
                if wanted(&now) {
                    return now;
                }
            }
            panic!("the watch ended")
        };
        match tokio::time::timeout(PATIENCE, search).await {
            Ok(found) => found,
            Err(_) => {
                let object = self
                    .cluster
                    .get(kind, namespace, name)
                    .await
                    .map(|object| object.to_value());
                panic!("never came about; the object is {object:#?}")
            }
        }
    }

    /// Where what lives and ends with a pod is kept.
    fn state_of(&self, pod: &Value) -> PathBuf {
        let uid = pod["metadata"]["uid"].as_str().unwrap();
        self.data.path().join("state").join(uid)
    }

    async fn wait_phase(&self, phase: &str) -> Value {
        self.wait("p", |pod| pod["status"]["phase"] == phase).await
    }
}

/// Waits until something on the disk is as wanted.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let search = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, search).await.is_ok(),
        "never came about: {what}"
    );
}

fn condition<'a>(pod: &'a Value, kind: &str) -> &'a Value {
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    conditions.iter().find(|c| c["type"] == kind).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn a_node_is_registered_and_kept_alive() {
    let world = World::new().await;
    let agent = world.agent().await;
    let node = world
        .cluster
        .get(resource::NODES, "", agent.node())
        .await
        .unwrap()
        .to_value();
    assert_eq!(condition(&node, "Ready")["status"], "True");
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], "n");
    let lease = world
        .cluster
        .get(resource::LEASES, "kube-node-lease", "n")
        .await
        .unwrap()
        .to_value();
    assert_eq!(lease["spec"]["holderIdentity"], "n");
    assert_eq!(lease["metadata"]["ownerReferences"][0]["uid"], node["metadata"]["uid"]);
}

#[tokio::test]
async fn whoever_takes_a_node_and_its_pods_for_dead_is_contradicted_at_once() {
    let world = World::new().await;
    let _agent = world.agent().await;
    world.pod(json!({})).await;
    world.wait_phase("Running").await;
    let told = |status: &str| json!({"status": {"conditions": [{"type": "Ready", "status": status, "reason": "NodeStatusUnknown"}]}});
    let patch = |resource, namespace, name, status| {
        let kind = PatchKind::Strategic;
        Write::patch(resource, namespace, name, kind, told(status), Some("status"))
    };
    // As the node controller does: first the pods, then the node.
    world
        .cluster
        .write(patch(resource::PODS, "default", "p", "False"))
        .await
        .unwrap();
    world
        .cluster
        .write(patch(resource::NODES, "", "n", "Unknown"))
        .await
        .unwrap();
    world.wait("p", |pod| condition(pod, "Ready")["status"] == "True").await;
    let is_ready = |node: &Value| condition(node, "Ready")["status"] == "True";
    let node = world.wait_for(resource::NODES, "n", is_ready).await;
    assert_eq!(condition(&node, "Ready")["reason"], "KubeletReady");
}

#[tokio::test]
async fn a_pod_runs_and_succeeds_with_its_container() {
    let world = World::new().await;
    let _agent = world.agent().await;
    world.pod(json!({"restartPolicy": "Never"})).await;
    let pod = world.wait_phase("Running").await;
    assert_eq!(condition(&pod, "Ready")["status"], "True");
    for condition in pod["status"]["conditions"].as_array().unwrap() {
        assert_eq!(condition.get("lastProbeTime"), Some(&Value::Null), "{condition}");
    }
    assert_eq!(pod["status"]["podIP"], "10.42.0.5");
    assert_eq!(
        pod["status"]["containerStatuses"][0]["containerID"]
            .as_str()
            .unwrap()
            .split("://")
            .next(),
        Some("scripted")
    );
    let spec = world.runtime.started("c", 0).await;
    assert_eq!(spec.args, ["entry"]);
    world.runtime.end("c", 0);
    let pod = world.wait_phase("Succeeded").await;
    assert_eq!(
        pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"],
        0
    );
    assert_eq!(condition(&pod, "Ready")["reason"], "PodCompleted");
}

#[tokio::test]
async fn a_failing_container_is_restarted_at_once_and_its_message_told() {
    let world = World::new().await;
    let _agent = world.agent().await;
    world.pod(json!({"restartPolicy": "OnFailure"})).await;
    let spec = world.runtime.started("c", 0).await;
    let words = spec
        .mounts
        .iter()
        .find(|m| m.target.ends_with("termination-log"))
        .unwrap();
    std::fs::write(&words.source, "out of luck").unwrap();
    world.runtime.end("c", 7);
    world.runtime.started("c", 1).await;
    let pod = world
        .wait("p", |pod| pod["status"]["containerStatuses"][0]["restartCount"] == 1)
        .await;
    let last = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!(
        (&last["exitCode"], &last["message"]),
        (&json!(7), &json!("out of luck"))
    );
}

#[tokio::test]
async fn a_pod_goes_although_nobody_tells_of_the_end_of_its_container() {
    let world = World::new().await;
    let _agent = world.agent().await;
    world.pod(json!({})).await;
    world.wait_phase("Running").await;
    world.runtime.mute();
    let delete = || Write::delete(resource::PODS, "default", "p", DeleteOptions::default());
    world.cluster.write(delete()).await.unwrap();
    world.wait("p", Value::is_null).await;
    // Nor is it held by one that the runtime has lost.
    world.pod(json!({})).await;
    world.wait_phase("Running").await;
    world.runtime.lose_all();
    world.cluster.write(delete()).await.unwrap();
    world.wait("p", Value::is_null).await;
}

#[tokio::test]
async fn an_ephemeral_container_is_started_in_a_pod_that_runs() {
    let world = World::new().await;
    let _agent = world.agent().await;
    world.pod(json!({})).await;
    world.wait_phase("Running").await;
    let added = json!({"spec": {"ephemeralContainers": [
        {"name": "e", "image": "x:1", "command": ["look"], "stdin": true, "targetContainerName": "c",
         "terminationMessagePolicy": "File"}]}});
    let kind = rota_api::PatchKind::Strategic;
    let add = Write::patch(resource::PODS, "default", "p", kind, added, Some("ephemeralcontainers"));
    world.cluster.write(add).await.unwrap();
    let spec = world.runtime.started("e", 0).await;
    assert_eq!((spec.target.as_str(), spec.stdin), ("c", true));
    assert_eq!(spec.args, ["look"]);
    assert_eq!(world.runtime.started("c", 0).await.target, "");
    let of = |pod: &Value| pod["status"]["ephemeralContainerStatuses"][0].clone();
    let pod = world.wait("p", |pod| of(pod)["state"]["running"].is_object()).await;
    assert_eq!(
        (&of(&pod)["ready"], &of(&pod)["started"]),
        (&json!(false), &Value::Null)
    );
    world.runtime.end("e", 4);
    let pod = world
        .wait("p", |pod| of(pod)["state"]["terminated"]["exitCode"] == 4)
        .await;
    assert_eq!(pod["status"]["phase"], "Running");
}

#[tokio::test]
async fn a_deleted_pod_is_stopped_within_its_grace_and_goes() {
    let world = World::new().await;
    let _agent = world.agent().await;
    world.pod(json!({"terminationGracePeriodSeconds": 9})).await;
    world.wait_phase("Running").await;
    let delete = Write::delete(resource::PODS, "default", "p", DeleteOptions::default());
    world.cluster.write(delete).await.unwrap();
    world.wait("p", Value::is_null).await;
    assert_eq!(world.runtime.stops(), [9]);
    assert_eq!(world.runtime.sandbox_count(), 0);
}

#[tokio::test]
async fn a_new_agent_takes_over_what_runs_without_touching_it() {
    let world = World::new().await;
    let first = world.agent().await;
    world.pod(json!({"restartPolicy": "Never"})).await;
    let before = world.wait("p", |pod| pod["status"]["phase"] == "Running").await;
    drop(first);
    let _second = world.agent().await;
    world.named_pod("marker", json!({})).await;
    world.wait("marker", |pod| pod["status"]["phase"] == "Running").await;
    assert_eq!(world.runtime.start_count(), 2, "one of them is the marker's");
    let after = world.wait_phase("Running").await;
    assert_eq!(
        after["status"]["containerStatuses"],
        before["status"]["containerStatuses"]
    );
}

#[tokio::test]
async fn what_ended_while_no_agent_ran_is_told_by_the_next_one() {
    let world = World::new().await;
    let first = world.agent().await;
    world.pod(json!({"restartPolicy": "Never"})).await;
    world.wait_phase("Running").await;
    drop(first);
    world.runtime.end("c", 3);
    let _second = world.agent().await;
    let pod = world.wait_phase("Failed").await;
    assert_eq!(
        pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"],
        3
    );
}

#[tokio::test]
async fn volumes_and_variables_come_from_config_maps_and_follow_their_changes() {
    let world = World::new().await;
    let _agent = world.agent().await;
    let config = json!({"metadata": {"name": "config", "namespace": "default"}, "data": {"key": "one"}});
    world.create(resource::CONFIG_MAPS, config).await;
    let spec = json!({
        "volumes": [{"name": "v", "configMap": {"name": "config"}}, {"name": "e", "emptyDir": {}}],
        "containers": [{
            "name": "c", "image": "i:1",
            "command": ["sh", "$(KEY)"],
            "env": [{"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "config", "key": "key"}}},
                    {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "e", "mountPath": "/e", "subPath": "a/b"}],
        }],
    });
    world.pod(spec).await;
    let spec = world.runtime.started("c", 0).await;
    assert_eq!(spec.args, ["sh", "one"]);
    assert!(spec.env.contains(&("NODE".to_owned(), "n".to_owned())));
    let source = |target: &str| {
        spec.mounts
            .iter()
            .find(|m| m.target.ends_with(target))
            .unwrap()
            .source
            .clone()
    };
    assert!(source("e").ends_with("e/a/b") && source("e").is_dir());
    let file = source("v").join("key");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "one");
    let account = spec.mounts.iter().find(|m| m.target.ends_with("serviceaccount"));
    if let Some(account) = account {
        assert_eq!(
            std::fs::read_to_string(account.source.join("token")).unwrap(),
            "token 1 of default"
        );
    }
    let patch = Write::merge(
        resource::CONFIG_MAPS,
        "default",
        "config",
        json!({"data": {"key": "two"}}),
    );
    world.cluster.write(patch).await.unwrap();
    eventually("the file follows the config map", || {
        std::fs::read_to_string(&file).unwrap() == "two"
    })
    .await;
}

#[tokio::test]
async fn a_mount_below_another_comes_after_it_and_configuration_is_only_read() {
    let world = World::new().await;
    let _agent = world.agent().await;
    let config = json!({"metadata": {"name": "config", "namespace": "default"}, "data": {"key": "one"}});
    world.create(resource::CONFIG_MAPS, config).await;
    let mounts = [("e", "/outer/inner"), ("cm", "/outer"), ("dw", "/dw"), ("e", "/e")];
    let mounts = mounts.map(|(name, path)| json!({"name": name, "mountPath": path}));
    let labels = json!({"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}});
    let spec = json!({
        "automountServiceAccountToken": false,
        "volumes": [
            {"name": "cm", "configMap": {"name": "config"}}, {"name": "e", "emptyDir": {}},
            {"name": "dw", "downwardAPI": {"items": [labels]}},
        ],
        "containers": [{"name": "c", "image": "i:1", "volumeMounts": mounts}],
    });
    world.pod(spec).await;
    let spec = world.runtime.started("c", 0).await;
    let all: Vec<_> = spec
        .mounts
        .iter()
        .filter(|mount| !mount.target.starts_with("/etc") && !mount.target.starts_with("/dev"))
        .map(|mount| (mount.target.to_str().unwrap(), mount.read_only))
        .collect();
    let expected = [("/outer", true), ("/dw", true), ("/e", false), ("/outer/inner", false)];
    assert_eq!(all, expected);
    let outer = spec
        .mounts
        .iter()
        .find(|mount| mount.target.ends_with("outer"))
        .unwrap();
    assert!(outer.source.join("inner").is_dir(), "there is a place for it");
}

#[tokio::test]
async fn a_volume_that_tells_of_the_pod_follows_its_labels() {
    let world = World::new().await;
    let _agent = world.agent().await;
    let labels = json!({"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]});
    let spec = json!({
        "automountServiceAccountToken": false,
        "volumes": [{"name": "d", "downwardAPI": labels}, {"name": "p", "projected": {"sources": [{"downwardAPI": labels}]}}],
    });
    let pod = world.pod(spec).await;
    world.runtime.started("c", 0).await;
    let patch = json!({"metadata": {"labels": {"foo": "bar"}}});
    world
        .cluster
        .write(Write::merge(resource::PODS, "default", "p", patch))
        .await
        .unwrap();
    for volume in ["d", "p"] {
        let file = world.state_of(&pod).join("volumes").join(volume).join("labels");
        let is_told = || std::fs::read_to_string(&file).unwrap() == "foo=\"bar\"";
        eventually("the file follows the pod", is_told).await;
    }
}

/// A pod's volume with a token and nothing else.
fn token_volume() -> Value {
    json!({"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}})
}

/// What is sent when it is dropped.
struct Dropped(tokio::sync::watch::Sender<bool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

#[tokio::test]
async fn a_refresh_under_way_when_a_pod_ends_brings_no_volume_back() {
    let mut world = World::new().await;
    let (asked, mut is_asked) = tokio::sync::watch::channel(false);
    let (dropped, mut is_dropped) = tokio::sync::watch::channel(false);
    world.tokens = Issuer::new(move |number| {
        let (asked, dropped) = (asked.clone(), dropped.clone());
        async move {
            if number > 1 {
                let _guard = Dropped(dropped);
                asked.send_replace(true);
                std::future::pending::<()>().await;
            }
            // Over as soon as it is issued: the next one is asked for at once.
            Ok(Duration::ZERO)
        }
        .boxed()
    });
    let _agent = world.agent().await;
    let spec = json!({
        "restartPolicy": "Never", "automountServiceAccountToken": false,
        "volumes": [{"name": "e", "emptyDir": {}}, token_volume()],
    });
    let pod = world.pod(spec).await;
    world.runtime.started("c", 0).await;
    is_asked.wait_for(|asked| *asked).await.unwrap();
    world.runtime.end("c", 0);
    world.wait_phase("Succeeded").await;
    let state = world.state_of(&pod);
    eventually("the volumes are taken down", || !state.exists()).await;
    let given_up = tokio::time::timeout(PATIENCE, is_dropped.wait_for(|dropped| *dropped)).await;
    assert!(given_up.is_ok(), "nobody waits for the token of a pod that is over");
    world.wait("p", |pod| pod["status"]["phase"] == "Succeeded").await;
    assert!(!state.exists());
}

#[tokio::test]
async fn a_pod_that_has_ended_follows_nothing() {
    let world = World::new().await;
    let _agent = world.agent().await;
    let config = json!({"metadata": {"name": "config", "namespace": "default"}, "data": {"key": "one"}});
    world.create(resource::CONFIG_MAPS, config).await;
    let mounting = |name: &str| {
        json!({
            "restartPolicy": "Never", "automountServiceAccountToken": false,
            "volumes": [{"name": "v", "configMap": {"name": "config"}}],
            "containers": [{"name": name, "image": "i:1"}],
        })
    };
    let over = world.named_pod("over", mounting("over")).await;
    world.runtime.started("over", 0).await;
    world.runtime.end("over", 0);
    world.wait("over", |pod| pod["status"]["phase"] == "Succeeded").await;
    let state = world.state_of(&over);
    eventually("the volumes are taken down", || !state.exists()).await;
    // Another pod shows that the change has arrived: one watch tells all pods of the node.
    let running = world.named_pod("running", mounting("running")).await;
    world.runtime.started("running", 0).await;
    let change = json!({"data": {"key": "two"}});
    let patch = Write::merge(resource::CONFIG_MAPS, "default", "config", change);
    world.cluster.write(patch).await.unwrap();
    let file = world.state_of(&running).join("volumes/v/key");
    eventually("the file follows the config map", || {
        std::fs::read_to_string(&file).unwrap() == "two"
    })
    .await;
    let delete = Write::delete(resource::PODS, "default", "over", DeleteOptions::default());
    world.cluster.write(delete).await.unwrap();
    world.wait("over", Value::is_null).await;
    assert!(!state.exists());
}

#[tokio::test]
async fn a_token_that_could_not_be_renewed_is_asked_for_again() {
    let mut world = World::new().await;
    world.tokens = Issuer::new(|number| {
        async move {
            match number {
                1 => Ok(Duration::ZERO),
                2 => Err(ApiError::internal("the server is away")),
                _ => Ok(Duration::from_secs(3600)),
            }
        }
        .boxed()
    });
    let _agent = world.agent().await;
    let spec = json!({"automountServiceAccountToken": false, "volumes": [token_volume()]});
    let pod = world.pod(spec).await;
    world.runtime.started("c", 0).await;
    let file = world.state_of(&pod).join("volumes/t/token");
    let renewed = || std::fs::read_to_string(&file).unwrap() == "token 3 of default";
    eventually("the token is renewed", renewed).await;
}

#[tokio::test]
async fn a_pod_that_does_not_fit_is_refused() {
    let world = World::new().await;
    let _agent = world.agent().await;
    let container = json!({"name": "c", "image": "i:1", "resources": {"requests": {"cpu": "64"}}});
    world.pod(json!({"containers": [container]})).await;
    let pod = world.wait_phase("Failed").await;
    assert_eq!(pod["status"]["reason"], "OutOfcpu");
    assert_eq!(pod["status"]["containerStatuses"], Value::Null);
}

#[tokio::test]
async fn simulated_nodes_run_a_pod_to_its_end() {
    let world = World::new().await;
    let config = SimulatedConfig {
        count: 3,
        ..SimulatedConfig::default()
    };
    let mut nodes = SimulatedNodes::start(&config, &world.cluster);
    tokio::time::timeout(PATIENCE, nodes.registered()).await.unwrap();
    let spec = json!({"nodeName": "sim-1", "restartPolicy": "Never", "containers": [{"name": "c", "image": "i:1"}]});
    let pod = json!({"metadata": {"name": "p", "namespace": "default", "annotations": {"rota.dev/sim-exit-code": "5"}}, "spec": spec});
    world.create(resource::PODS, pod).await;
    let pod = world.wait_phase("Failed").await;
    assert_eq!(
        pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"],
        5
    );
    let delete = Write::delete(resource::PODS, "default", "p", DeleteOptions::default());
    world.cluster.write(delete).await.unwrap();
    world.wait("p", Value::is_null).await;
}
