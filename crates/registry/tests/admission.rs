//! What the cluster adds to objects, and what it refuses besides their own rules.

mod support;

use rota_api::{DeleteOptions, Write, resource};
use serde_json::{Value, json};
use support::{World, edited, pod};

#[tokio::test]
async fn a_pod_runs_as_an_account_that_must_exist() {
    let world = World::new().await;
    let value = world.create(resource::PODS, pod("p", "")).await.object.to_value();
    assert_eq!(value["spec"]["serviceAccountName"], "default");
    let volume = value["spec"]["volumes"][0]["name"].as_str().unwrap().to_owned();
    assert!(volume.starts_with("kube-api-access-"));
    assert_eq!(value["spec"]["containers"][0]["volumeMounts"][0]["name"], volume);
    let mut stranger = pod("q", "");
    stranger["spec"]["serviceAccountName"] = "nobody".into();
    let error = world.write(Write::create(resource::PODS, stranger)).await.unwrap_err();
    assert_eq!(
        error.message(),
        "pods \"q\" is forbidden: error looking up service account default/nobody: serviceaccount \"nobody\" not found"
    );
}

#[tokio::test]
async fn a_priority_class_stands_for_a_number() {
    let world = World::new().await;
    let mut critical = pod("p", "");
    critical["spec"]["priorityClassName"] = "system-node-critical".into();
    let value = world.create(resource::PODS, critical).await.object.to_value();
    assert_eq!(value["spec"]["priority"], 2_000_001_000);
    let mut unknown = pod("q", "");
    unknown["spec"]["priorityClassName"] = "none".into();
    let error = world.write(Write::create(resource::PODS, unknown)).await.unwrap_err();
    assert_eq!(
        error.message(),
        "pods \"q\" is forbidden: no PriorityClass with name none was found"
    );
}

#[tokio::test]
async fn limits_of_a_namespace_are_added_and_enforced() {
    let world = World::new().await;
    let limits = json!({"metadata": {"namespace": "default", "name": "l"}, "spec": {"limits": [
        {"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "250m"}, "max": {"cpu": "2"}}]}});
    world.create(resource::LIMIT_RANGES, limits).await;
    let value = world.create(resource::PODS, pod("p", "")).await.object.to_value();
    assert_eq!(
        value["spec"]["containers"][0]["resources"],
        json!({"requests": {"cpu": "250m"}, "limits": {"cpu": "500m"}})
    );
    let mut greedy = pod("q", "");
    greedy["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "3"}});
    let error = world.write(Write::create(resource::PODS, greedy)).await.unwrap_err();
    assert_eq!(
        error.message(),
        "pods \"q\" is forbidden: maximum cpu usage per Container is 2, but limit is 3"
    );
}

#[tokio::test]
async fn a_runtime_class_brings_its_overhead_and_its_nodes() {
    let world = World::new().await;
    let class = json!({"metadata": {"name": "vm"}, "handler": "vm", "overhead": {"podFixed": {"cpu": "250m"}},
        "scheduling": {"nodeSelector": {"vm": "yes"}}});
    world.create(resource::RUNTIME_CLASSES, class).await;
    let mut in_vm = pod("p", "");
    in_vm["spec"]["runtimeClassName"] = "vm".into();
    let value = world.create(resource::PODS, in_vm).await.object.to_value();
    assert_eq!(value["spec"]["overhead"], json!({"cpu": "250m"}));
    assert_eq!(value["spec"]["nodeSelector"], json!({"vm": "yes"}));
    let mut unknown = pod("q", "");
    unknown["spec"]["runtimeClassName"] = "none".into();
    let error = world.write(Write::create(resource::PODS, unknown)).await.unwrap_err();
    assert_eq!(
        error.message(),
        "pods \"q\" is forbidden: pod rejected: RuntimeClass \"none\" not found"
    );
}

#[tokio::test]
async fn services_get_distinct_addresses_which_they_keep() {
    let world = World::new().await;
    let service = |name: &str| {
        json!({"metadata": {"namespace": "default", "name": name},
            "spec": {"type": "NodePort", "selector": {"a": "b"}, "ports": [{"port": 80, "protocol": "TCP"}]}})
    };
    let first = world.create(resource::SERVICES, service("a")).await.object;
    let second = world.create(resource::SERVICES, service("b")).await.object.to_value();
    let value = first.to_value();
    let address = |value: &Value| value["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert!(address(&value).starts_with("10.96."));
    assert_ne!(address(&value), address(&second));
    assert_ne!(
        value["spec"]["ports"][0]["nodePort"],
        second["spec"]["ports"][0]["nodePort"]
    );
    let without_address = edited(&first, |service| {
        let spec = service["spec"].as_object_mut().unwrap();
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
        spec.insert("selector".to_owned(), json!({"a": "c"}));
    });
    let kept = world.write(without_address).await.unwrap().object.to_value();
    assert_eq!(address(&kept), address(&value));
}

#[tokio::test]
async fn a_new_node_is_tainted_until_it_is_ready() {
    let world = World::new().await;
    let node = world
        .create(resource::NODES, json!({"metadata": {"name": "n"}}))
        .await
        .object
        .to_value();
    assert_eq!(
        node["spec"]["taints"],
        json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}])
    );
}

#[tokio::test]
async fn an_eviction_takes_from_the_budget_and_is_refused_when_it_is_used_up() {
    let world = World::new().await;
    let budget = json!({"metadata": {"namespace": "default", "name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}});
    world.create(resource::POD_DISRUPTION_BUDGETS, budget).await;
    let observed = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2,
        "desiredHealthy": 1, "expectedPods": 2}});
    let status = Write::merge_status(resource::POD_DISRUPTION_BUDGETS, "default", "b", observed);
    world.write(status).await.unwrap();
    for name in ["p", "q"] {
        let mut running = pod(name, "n");
        running["metadata"]["labels"] = json!({"app": "x"});
        world.create(resource::PODS, running).await;
        let status = Write::merge_status(resource::PODS, "default", name, json!({"status": {"phase": "Running"}}));
        world.write(status).await.unwrap();
    }
    let evict = |name: &str| {
        Write::post(
            resource::PODS,
            "default",
            name,
            "eviction",
            json!({"metadata": {"name": name}}),
        )
    };
    let evicted = world.write(evict("p")).await.unwrap().object.to_value();
    assert_eq!(evicted["metadata"]["deletionGracePeriodSeconds"], 30);
    let error = world.write(evict("q")).await.unwrap_err();
    assert_eq!(error.code(), 429);
    assert_eq!(
        error.message(),
        "Cannot evict pod as it would violate the pod's disruption budget."
    );
}

#[tokio::test]
async fn the_first_namespaces_cannot_be_deleted() {
    let world = World::new().await;
    let error = world
        .delete(resource::NAMESPACES, "default", DeleteOptions::default())
        .await
        .unwrap_err();
    assert_eq!(
        error.message(),
        "namespaces \"default\" is forbidden: this namespace may not be deleted"
    );
}
