//! What no client can make the server do: take too much, nest too deep, wait for ever. Each is answered, and the next request
//! is served.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{CONFIG_MAPS, World, ask};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn post(world: &World, content_type: &str, body: &[u8]) -> support::Answer {
    let head = format!("POST {CONFIG_MAPS} HTTP/1.1\r\nContent-Type: {content_type}");
    ask(world.connect().await, &head, body).await
}

async fn is_well(world: &World) -> bool {
    let head = format!("GET {CONFIG_MAPS} HTTP/1.1");
    ask(world.connect().await, &head, b"").await.code == 200
}

#[tokio::test]
async fn a_body_of_more_than_three_mebibytes_is_refused() {
    let world = World::new().await;
    let answer = post(&world, "application/json", &vec![b' '; 3 * 1024 * 1024 + 1]).await;
    assert_eq!(answer.code, 413, "{answer:?}");
    assert_eq!(answer.status()["message"], "Request entity too large: limit is 3145728");
    assert_eq!(answer.status()["reason"], "RequestEntityTooLarge");
    assert!(is_well(&world).await);
}

#[tokio::test]
async fn bodies_that_nest_without_end_are_refused() {
    let world = World::new().await;
    for (content_type, body) in [
        ("application/json", "[".repeat(1_000_000)),
        ("application/json", r#"{"a":"#.repeat(300_000)),
        ("application/yaml", "[".repeat(100_000)),
        ("application/yaml", "a: &a [x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, \
            *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]\nf: &f [*e, *e, \
            *e, *e, *e, *e, *e, *e, *e]\ng: &g [*f, *f, *f, *f, *f, *f, *f, *f, *f]\nh: [*g, *g, *g, *g, *g, *g, *g, *g, *g]\n"
            .to_owned()),
    ] {
        let answer = post(&world, content_type, body.as_bytes()).await;
        assert_eq!(answer.status()["status"], "Failure", "{content_type}: {answer:?}");
        assert!(answer.code == 400 || answer.code == 413, "{content_type}: {answer:?}");
    }
    assert!(is_well(&world).await);
}

#[tokio::test]
async fn a_head_that_is_too_large_or_has_too_many_headers_is_refused() {
    let world = World::new().await;
    let many: String = (0..300).map(|n| format!("\r\nX-{n}: y")).collect();
    let large = format!("\r\nX: {}", "y".repeat(2 * 1024 * 1024));
    for headers in [many, large] {
        let head = format!("GET {CONFIG_MAPS} HTTP/1.1{headers}");
        let answer = ask(world.connect().await, &head, b"").await;
        assert_eq!(answer.code, 431, "{:?}", answer.head);
    }
    assert!(is_well(&world).await);
}

#[tokio::test]
async fn requests_beyond_the_limit_are_told_to_come_back_and_watches_do_not_count() {
    let world = World::with(|config| config.in_flight_max = 1).await;
    // A request whose body does not come holds the only place.
    let mut slow = world.connect().await;
    let head = format!(
        "POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    slow.flush().await.unwrap();
    let refused = loop {
        let answer = ask(world.connect().await, &format!("GET {CONFIG_MAPS} HTTP/1.1"), b"").await;
        if answer.code != 200 {
            break answer;
        }
    };
    assert_eq!(refused.code, 429);
    assert!(
        refused.head.to_lowercase().contains("retry-after: 1"),
        "{}",
        refused.head
    );
    assert_eq!(refused.status()["reason"], "TooManyRequests");
    let watch = format!("GET {CONFIG_MAPS}?watch=true&timeoutSeconds=1 HTTP/1.1");
    assert_eq!(ask(world.connect().await, &watch, b"").await.code, 200);
    drop(slow);
    while !is_well(&world).await {}
}

#[tokio::test]
async fn a_token_that_is_none_is_refused_and_told_nothing() {
    let world = World::new().await;
    let long = "a".repeat(100_000);
    for token in ["x", "a.b.c", &long] {
        let head = format!("GET {CONFIG_MAPS} HTTP/1.1\r\nAuthorization: Bearer {token}");
        let stream = world.connect_without_identity().await;
        let answer = ask(stream, &head, b"").await;
        assert_eq!(
            (answer.code, answer.status()["message"].clone()),
            (401, "Unauthorized".into())
        );
    }
}

#[tokio::test]
async fn a_client_that_never_asks_is_not_kept() {
    let world = World::with(|config| config.head_timeout = Duration::from_millis(50)).await;
    let mut silent = world.connect_without_identity().await;
    let mut undecided = world.connect_without_identity().await;
    undecided.write_all(b"PRI * HT").await.unwrap();
    for stream in [&mut silent, &mut undecided] {
        let mut read = Vec::new();
        // How the connection ends, by a farewell or without, does not matter: it ends.
        let _ = stream.read_to_end(&mut read).await;
    }
    assert!(is_well(&world).await);
}

#[tokio::test]
async fn a_large_object_is_stored_with_its_many_owners() {
    let world = World::new().await;
    let owners: Vec<Value> = (0..20_000)
        .map(|n| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": format!("u{n}")}))
        .collect();
    let object = json!({"metadata": {"name": "m", "ownerReferences": owners}});
    let answer = post(&world, "application/json", object.to_string().as_bytes()).await;
    assert_eq!(answer.code, 201, "{}", answer.head);
    let stored = &answer.status()["metadata"]["ownerReferences"];
    assert_eq!(stored.as_array().map(Vec::len), Some(20_000));
}

#[tokio::test]
async fn replies_that_are_not_taken_hold_bounded_memory() {
    let world = World::with(|config| config.outgoing_max = 16 << 20).await;
    for name in 0..12 {
        let object = json!({"metadata": {"name": format!("m{name}")}, "data": {"a": "x".repeat(1_000_000)}});
        let answer = post(&world, "application/json", object.to_string().as_bytes()).await;
        assert_eq!(answer.code, 201, "{}", answer.head);
    }
    let list = format!("GET {CONFIG_MAPS} HTTP/1.1");
    // More than the sockets take, and never read.
    let mut reader = world.connect().await;
    reader
        .write_all(format!("{list}\r\nHost: x\r\n\r\n").as_bytes())
        .await
        .unwrap();
    reader.flush().await.unwrap();
    let refused = loop {
        let answer = ask(world.connect().await, &list, b"").await;
        if answer.code != 200 {
            break answer;
        }
    };
    assert_eq!(refused.code, 429, "{}", refused.head);
    drop(reader);
    while ask(world.connect().await, &list, b"").await.code != 200 {}
}
