//! What answers say beside what was asked for.

mod support;

use serde_json::{Value, json};
use support::{CONFIG_MAPS, World, ask};

#[tokio::test]
async fn whoever_is_refused_hears_too_that_endpoints_are_deprecated() {
    const WARNING: &str = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";
    let world = World::new().await;
    let endpoints = "/api/v1/namespaces/default/endpoints";
    let apply = format!("PATCH {endpoints}/e?fieldManager=m HTTP/1.1\r\nContent-Type: application/apply-patch+yaml");
    let create = format!("POST {endpoints} HTTP/1.1\r\nContent-Type: application/json");
    for (head, body, code) in [
        (format!("GET {endpoints}/nothere HTTP/1.1"), json!(null), 404),
        (apply, json!({"kind": "Service", "apiVersion": "v1"}), 400),
        (create, json!({"metadata": {"name": "e"}}), 201),
        (format!("GET {endpoints}/e HTTP/1.1"), json!(null), 200),
    ] {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let answer = ask(world.connect().await, &head, body.as_bytes()).await;
        assert_eq!(answer.code, code, "{head}: {answer:?}");
        assert_eq!(answer.head.matches(WARNING).count(), 1, "{head}: {}", answer.head);
    }
}

#[tokio::test]
async fn rows_of_a_table_are_of_its_version() {
    let world = World::new().await;
    let create = format!("POST {CONFIG_MAPS} HTTP/1.1\r\nContent-Type: application/json");
    ask(world.connect().await, &create, br#"{"metadata":{"name":"m"}}"#).await;
    for version in ["v1", "v1beta1"] {
        let head =
            format!("GET {CONFIG_MAPS}/m HTTP/1.1\r\nAccept: application/json;as=Table;g=meta.k8s.io;v={version}");
        let answer = ask(world.connect().await, &head, b"").await;
        let table: Value = serde_json::from_str(&answer.body).expect("a table");
        let api_version = format!("meta.k8s.io/{version}");
        assert_eq!(table["apiVersion"], api_version);
        assert_eq!(table["rows"][0]["object"]["apiVersion"], api_version);
        assert_eq!(table["rows"][0]["object"]["metadata"]["name"], "m");
    }
}

#[tokio::test]
async fn what_was_found_in_a_body_is_told_also_where_it_is_refused() {
    let world = World::new().await;
    let create = format!("POST {CONFIG_MAPS} HTTP/1.1\r\nContent-Type: application/json");
    for code in [201, 409] {
        let body = br#"{"metadata":{"name":"m"},"dat":{}}"#;
        let answer = ask(world.connect().await, &create, body).await;
        assert_eq!(answer.code, code);
        assert!(answer.head.contains(r#"unknown field \"dat\""#), "{}", answer.head);
    }
}
