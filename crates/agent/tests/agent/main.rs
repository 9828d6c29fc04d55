//! The agent of a node over a registry in memory and a runtime without containers: from a bound pod to its last word.

mod scripted;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use rota_agent::node::{Capacity, Machine, NodeFacts};
use rota_agent::simulated::{SimulatedConfig, SimulatedNodes};
use rota_agent::tokens::{Token, TokenWish, Tokens};
use rota_agent::{Agent, AgentConfig, AgentHandle, Ports, Quiet};
use rota_api::validate::Checks;
use rota_api::{ApiError, DeleteOptions, Resource, Timestamp, Write, resource};
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

struct OneToken;

#[async_trait]
impl Tokens for OneToken {
    async fn issue(&self, wish: &TokenWish) -> Result<Token, ApiError> {
        Ok(Token {
            text: format!("token of {}", wish.service_account),
            expires: Timestamp::now() + Duration::from_secs(3600),
        })
    }
}

struct World {
    cluster: Arc<dyn Cluster>,
    runtime: Scripted,
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
            tokens: Arc::new(OneToken),
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
        let search = async {
            let selection = Selection {
                namespace: Some("default".to_owned()),
                fields: format!("metadata.name={name}"),
                ..Selection::default()
            };
            let listing = self.cluster.list(resource::PODS, &selection).await.unwrap();
            let now = listing.items.first().map_or(Value::Null, |pod| pod.to_value());
            if wanted(&now) {
                return now;
            }
            let mut watch = self
                .cluster
                .watch(resource::PODS, &selection, listing.revision)
                .await
                .unwrap();
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
                let pod = self
                    .cluster
                    .get(resource::PODS, "default", name)
                    .await
                    .map(|pod| pod.to_value());
                panic!("never came about; the pod is {pod:#?}")
            }
        }
    }

    async fn wait_phase(&self, phase: &str) -> Value {
        self.wait("p", |pod| pod["status"]["phase"] == phase).await
    }
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
async fn a_pod_runs_and_succeeds_with_its_container() {
    let world = World::new().await;
    let _agent = world.agent().await;
    world.pod(json!({"restartPolicy": "Never"})).await;
    let pod = world.wait_phase("Running").await;
    assert_eq!(condition(&pod, "Ready")["status"], "True");
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
            "token of default"
        );
    }
    let patch = Write::merge(
        resource::CONFIG_MAPS,
        "default",
        "config",
        json!({"data": {"key": "two"}}),
    );
    world.cluster.write(patch).await.unwrap();
    let follow = async {
        while std::fs::read_to_string(&file).unwrap() != "two" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, follow)
        .await
        .expect("the file follows the config map");
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
