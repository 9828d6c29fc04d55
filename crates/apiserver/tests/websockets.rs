//! Watches over WebSockets, as browsers open them.

mod support;

use rota_api::resource;
use serde_json::{Value, json};
use support::{Answer, CONFIG_MAPS, World};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn each_event_of_a_watch_is_a_message() {
    let world = World::new().await;
    let object = |name: &str| json!({"metadata": {"name": name, "namespace": "default"}});
    for name in ["a", "b"] {
        world.create(resource::CONFIG_MAPS, object(name)).await;
    }
    let mut stream = world.connect().await;
    let head = format!(
        "GET {CONFIG_MAPS}?watch=1&fieldSelector=metadata.name!=kube-root-ca.crt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nOrigin: http://x\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n\r\n") {
        reply.push(stream.read_u8().await.unwrap());
    }
    let reply = String::from_utf8(reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 101"), "{reply}");
    assert!(reply.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{reply}");
    for name in ["a", "b"] {
        // A whole text whose length takes two further bytes.
        assert_eq!(stream.read_u16().await.unwrap(), 0x817e);
        let mut text = vec![0; stream.read_u16().await.unwrap().into()];
        stream.read_exact(&mut text).await.unwrap();
        let event: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(
            (&event["type"], &event["object"]["metadata"]["name"]),
            (&json!("ADDED"), &json!(name))
        );
    }
}

#[tokio::test]
async fn a_watch_says_on_whose_behalf_it_is_opened_and_speaks_one_protocol() {
    let world = World::new().await;
    for (header, code) in [("", 403), ("Origin: http://x\r\nSec-WebSocket-Protocol: a, b\r\n", 400)] {
        let mut stream = world.connect().await;
        let head = format!(
            "GET {CONFIG_MAPS}?watch=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n{header}\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(Answer::read(stream).await.code, code, "{header:?}");
    }
}
