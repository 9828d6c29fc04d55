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
