//! Addresses, the way between pods, and ports of the node.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rota_agent::runtime::{PortMapping, Runtime, SandboxSpec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{Node, PATIENCE, sandbox_spec, tests};

tests![
    pods_reach_each_other_and_the_node_reaches_them,
    a_port_of_the_node_leads_into_the_pod,
    a_port_of_one_node_does_not_lead_into_a_pod_of_another_on_the_same_machine,
    a_pod_whose_port_cannot_be_had_does_not_run,
    a_pod_on_the_nodes_network_has_no_address_of_its_own,
    a_port_inside_the_pod_is_reached_through_its_loopback,
];

/// A server of one file over HTTP.
const SERVER: &str = "mkdir /w; echo served > /w/x; exec httpd -f -p 8080 -h /w";

async fn get(address: SocketAddr) -> String {
    let request = async {
        loop {
            // The server needs a moment to listen; nothing tells when it does.
            let Ok(stream) = TcpStream::connect(address).await else {
                tokio::task::yield_now().await;
                continue;
            };
            return get_over(stream).await;
        }
    };
    tokio::time::timeout(PATIENCE, request)
        .await
        .expect("an answer in time")
}

async fn get_over(mut stream: TcpStream) -> String {
    stream.write_all(b"GET /x HTTP/1.0\r\n\r\n").await.expect("request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answer");
    answer
}

async fn pods_reach_each_other_and_the_node_reaches_them() {
    let node = Node::new().await;
    let server = node.sandbox("server").await;
    server.shell("web", SERVER).await;
    let ip = server.ip.expect("address");
    assert!(get(SocketAddr::from((ip, 8080))).await.contains("served"));
    let client = node.sandbox("client").await;
    assert_eq!(
        client.output_of("wget", &format!("wget -qO- http://{ip}:8080/x")).await,
        "served"
    );
    assert_eq!(
        client
            .output_of("own", "ip -4 addr show eth0 | grep -o 'inet [0-9.]*'")
            .await,
        format!("inet {}", client.ip.expect("address"))
    );
    assert!(client.output_of("lo", "ip addr show lo").await.contains("127.0.0.1"));
}

async fn a_port_of_the_node_leads_into_the_pod() {
    let node = Node::new().await;
    let mapping = PortMapping {
        protocol: "TCP".to_owned(),
        host_ip: None,
        host_port: 42_137,
        container_port: 8080,
    };
    let server = node
        .sandbox_with(SandboxSpec {
            port_mappings: vec![mapping],
            ..sandbox_spec("server")
        })
        .await;
    server.shell("web", SERVER).await;
    let ip = server.ip.expect("address");
    assert!(get(SocketAddr::from((ip, 8080))).await.contains("served"));
    let IpAddr::V4(pod) = ip else { panic!("IPv4") };
    let [a, b, c, _] = pod.octets();
    let bridge = Ipv4Addr::new(a, b, c, 1);
    for address in [Ipv4Addr::LOCALHOST, bridge] {
        assert!(
            get(SocketAddr::from((address, 42_137))).await.contains("served"),
            "{address}"
        );
    }
    let url = format!("wget -qO- http://{bridge}:42137/x");
    let client = node.sandbox("client").await;
    assert_eq!(client.output_of("other", &url).await, "served");
    assert_eq!(server.output_of("itself", &url).await, "served");
    node.runtime.stop_sandbox(&server.id).await.expect("stop");
    assert!(
        TcpStream::connect((Ipv4Addr::LOCALHOST, 42_137)).await.is_err(),
        "the port is given back"
    );
}

async fn a_port_of_one_node_does_not_lead_into_a_pod_of_another_on_the_same_machine() {
    let nodes = [Node::new().await, Node::new().await];
    let mut bridges = Vec::new();
    let mut servers = Vec::new();
    for (node, content) in nodes.iter().zip(["one", "two"]) {
        let mapping = PortMapping {
            protocol: "TCP".to_owned(),
            host_ip: None,
            host_port: 42_139,
            container_port: 8080,
        };
        let spec = SandboxSpec {
            port_mappings: vec![mapping],
            ..sandbox_spec("server")
        };
        let server = node.sandbox_with(spec).await;
        server.shell("web", &SERVER.replace("served", content)).await;
        let Some(IpAddr::V4(pod)) = server.ip else {
            panic!("IPv4")
        };
        get(SocketAddr::from((pod, 8080))).await;
        let [a, b, c, _] = pod.octets();
        bridges.push(SocketAddr::from((Ipv4Addr::new(a, b, c, 1), 42_139)));
        servers.push(server);
    }
    for (bridge, content) in bridges.iter().zip(["one", "two"]) {
        assert!(get(*bridge).await.contains(content), "{bridge}");
    }
    nodes[1].runtime.stop_sandbox(&servers[1].id).await.expect("stop");
    assert!(
        TcpStream::connect(bridges[1]).await.is_err(),
        "nobody else answers for it"
    );
    assert!(get(bridges[0]).await.contains("one"));
}

async fn a_pod_whose_port_cannot_be_had_does_not_run() {
    let node = Node::new().await;
    let with_port = |uid: &str, protocol: &str| SandboxSpec {
        port_mappings: vec![PortMapping {
            protocol: protocol.to_owned(),
            host_ip: None,
            host_port: 42_138,
            container_port: 8080,
        }],
        ..sandbox_spec(uid)
    };
    for _ in 0..2 {
        let refused = node.runtime.run_sandbox(&with_port("pod-1", "AX25")).await;
        let refused = refused.expect_err("no port, no pod").to_string();
        assert!(refused.contains("AX25"), "{refused}");
        assert!(node.runtime.inventory().await.expect("inventory").is_empty());
    }
    let server = node.sandbox_with(with_port("pod-2", "TCP")).await;
    assert!(server.ip.is_some(), "nobody else suffers");
}

async fn a_pod_on_the_nodes_network_has_no_address_of_its_own() {
    let node = Node::new().await;
    let pod = node
        .sandbox_with(SandboxSpec {
            host_network: true,
            ..sandbox_spec("pod-1")
        })
        .await;
    assert_eq!(pod.ip, None);
    let namespace = std::fs::read_link("/proc/self/ns/net").expect("namespace");
    assert_eq!(
        pod.output_of("main", "readlink /proc/self/ns/net").await,
        namespace.to_string_lossy()
    );
}

async fn a_port_inside_the_pod_is_reached_through_its_loopback() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    pod.shell(
        "web",
        "mkdir /w; echo served > /w/x; exec httpd -f -p 127.0.0.1:8080 -h /w",
    )
    .await;
    let request = async {
        loop {
            match node.runtime.connect(&pod.id, 8080).await {
                Ok(stream) => return get_over(stream).await,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let answer = tokio::time::timeout(PATIENCE, request)
        .await
        .expect("an answer in time");
    assert!(answer.contains("served"), "{answer}");
}
