//! What users may do, asked over HTTP.

mod support;

use rota_api::resource;
use serde_json::json;
use support::{World, ask};

/// What `alice` is told when she asks for that path.
async fn told(world: &World, path: &str) -> String {
    let alice = world.identity("alice", "users");
    let stream = world.connect_to(world.address, "localhost", &alice).await;
    let answer = ask(stream, &format!("GET {path} HTTP/1.1"), b"").await;
    answer.status()["message"].as_str().unwrap_or_default().to_owned()
}

/// Lets `alice` do these things with a resource of the namespace `default`.
async fn allow(world: &World, name: &str, verbs: &[&str], what: &str) {
    let metadata = json!({"namespace": "default", "name": name});
    let rules = json!([{"verbs": verbs, "apiGroups": [""], "resources": [what]}]);
    world
        .create(resource::ROLES, json!({"metadata": metadata, "rules": rules}))
        .await;
    let group = "rbac.authorization.k8s.io";
    let binding = json!({"metadata": metadata, "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "alice"}]});
    world.create(resource::ROLE_BINDINGS, binding).await;
}

#[tokio::test]
async fn a_command_over_a_websocket_takes_the_right_to_create_too() {
    let world = World::new().await;
    let pod = json!({"metadata": {"namespace": "default", "name": "p"},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    world.create(resource::PODS, pod).await;
    let path = "/api/v1/namespaces/default/pods/p/exec?command=true&stdout=true";
    let refused = |verb: &str| {
        format!(
            "pods \"p\" is forbidden: User \"alice\" cannot {verb} resource \"pods/exec\" in API group \"\" in the namespace \
             \"default\""
        )
    };
    assert_eq!(told(&world, path).await, refused("get"));
    allow(&world, "look", &["get"], "pods/exec").await;
    assert_eq!(told(&world, path).await, refused("create"));
    allow(&world, "run", &["create"], "pods/exec").await;
    assert!(told(&world, path).await.starts_with("Upgrade request required"));
}

#[tokio::test]
async fn a_node_asks_for_what_its_pods_name() {
    let world = World::new().await;
    for name in ["named", "other"] {
        let secret = json!({"metadata": {"namespace": "default", "name": name}});
        world.create(resource::SECRETS, secret).await;
    }
    let pod = json!({"metadata": {"namespace": "default", "name": "p"}, "spec": {"nodeName": "n1",
        "containers": [{"name": "c", "image": "i", "envFrom": [{"secretRef": {"name": "named"}}]}]}});
    world.create(resource::PODS, pod).await;
    let node = |name: &str| world.identity(&format!("system:node:{name}"), "system:nodes");
    let ask_as = async |name: &str, path: &str| {
        let stream = world.connect_to(world.address, "localhost", &node(name)).await;
        ask(stream, &format!("GET {path} HTTP/1.1"), b"").await.code
    };
    let secrets = "/api/v1/namespaces/default/secrets";
    assert_eq!(ask_as("n1", &format!("{secrets}/named")).await, 200);
    assert_eq!(
        ask_as("n1", &format!("{secrets}?fieldSelector=metadata.name%3Dnamed")).await,
        200
    );
    for (name, path) in [
        ("n1", format!("{secrets}/other")),
        ("n2", format!("{secrets}/named")),
        ("n1", secrets.to_owned()),
        ("n1", "/api/v1/pods".to_owned()),
        ("n1", "/api/v1/nodes/n2".to_owned()),
        ("n2", "/api/v1/namespaces/default/pods/p".to_owned()),
    ] {
        assert_eq!(ask_as(name, &path).await, 403, "{name} {path}");
    }
    assert_eq!(ask_as("n1", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1").await, 200);
    assert_eq!(ask_as("n1", "/api/v1/services").await, 200);
    assert_eq!(
        ask_as("n1", "/api/v1/nodes/n1").await,
        404,
        "it may ask before it has registered"
    );
}

#[tokio::test]
async fn a_node_reaches_what_the_claims_and_the_account_of_its_pods_lead_to() {
    let world = World::new().await;
    let named = |name: &str| json!({"namespace": "default", "name": name});
    for name in ["stage", "other"] {
        world.create(resource::SECRETS, json!({"metadata": named(name)})).await;
    }
    let claim = json!({"metadata": named("data"), "spec": {"accessModes": ["ReadWriteOnce"], "volumeName": "v",
        "resources": {"requests": {"storage": "1Gi"}}}});
    world.create(resource::PERSISTENT_VOLUME_CLAIMS, claim).await;
    let volume = json!({"metadata": {"name": "v"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"}, "claimRef": named("data"), "csi": {"driver": "d", "volumeHandle": "h",
        "nodeStageSecretRef": named("stage"), "controllerPublishSecretRef": named("other")}}});
    world.create(resource::PERSISTENT_VOLUMES, volume).await;
    for name in ["mine", "theirs"] {
        let claim = json!({"metadata": named(name), "spec": {}});
        world.create(resource::RESOURCE_CLAIMS, claim).await;
        world
            .create(resource::SERVICE_ACCOUNTS, json!({"metadata": named(name)}))
            .await;
    }
    let pod = json!({"metadata": named("p"), "spec": {"nodeName": "n1", "serviceAccountName": "mine",
        "containers": [{"name": "c", "image": "i"}],
        "resourceClaims": [{"name": "r", "resourceClaimName": "mine"}],
        "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]}});
    world.create(resource::PODS, pod).await;
    let node = world.identity("system:node:n1", "system:nodes");
    for (code, path) in [
        (200, "/api/v1/namespaces/default/secrets/stage"),
        (403, "/api/v1/namespaces/default/secrets/other"),
        (200, "/api/v1/persistentvolumes/v"),
        (200, "/api/v1/namespaces/default/serviceaccounts/mine"),
        (403, "/api/v1/namespaces/default/serviceaccounts/theirs"),
        (403, "/api/v1/namespaces/default/serviceaccounts"),
        (200, "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims/mine"),
        (403, "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims/theirs"),
    ] {
        let stream = world.connect_to(world.address, "localhost", &node).await;
        let answer = ask(stream, &format!("GET {path} HTTP/1.1"), b"").await;
        assert_eq!(answer.code, code, "{path}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_node_gets_tokens_for_audiences_that_a_driver_or_a_role_gives_it() {
    let world = World::new().await;
    let driver = json!({"metadata": {"name": "d"}, "spec": {"tokenRequests": [{"audience": "storage"}]}});
    world.create(resource::CSI_DRIVERS, driver).await;
    let pod = json!({"metadata": {"namespace": "default", "name": "p"}, "spec": {"nodeName": "n1",
        "containers": [{"name": "c", "image": "i"}], "volumes": [{"name": "v", "csi": {"driver": "d"}}]}});
    world.create(resource::PODS, pod).await;
    let pod = world.registry.get(resource::PODS, "default", "p").unwrap();
    let uid = pod.meta().uid.clone();
    let node = world.identity("system:node:n1", "system:nodes");
    let asked = async |audience: &str| {
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {
            "audiences": [audience],
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid}}});
        let stream = world.connect_to(world.address, "localhost", &node).await;
        let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
        let head = format!("POST {path} HTTP/1.1\r\nContent-Type: application/json");
        ask(stream, &head, request.to_string().as_bytes()).await
    };
    assert_eq!(asked("storage").await.code, 201);
    let refused = asked("registry").await;
    assert_eq!(
        refused.status()["message"],
        "serviceaccounts \"default\" is forbidden: audience \"registry\" not found in pod spec volume, system:node:n1 is \
         not authorized to request tokens for this audience"
    );
    let rules =
        json!([{"apiGroups": [""], "resources": ["registry"], "verbs": ["request-serviceaccounts-token-audience"]}]);
    let role = json!({"metadata": {"name": "pullers"}, "rules": rules});
    world.create(resource::CLUSTER_ROLES, role).await;
    let group = "rbac.authorization.k8s.io";
    let binding = json!({"metadata": {"name": "pullers"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "pullers"},
        "subjects": [{"apiGroup": group, "kind": "Group", "name": "system:nodes"}]});
    world.create(resource::CLUSTER_ROLE_BINDINGS, binding).await;
    assert_eq!(asked("registry").await.code, 201);
}
