//! hostPort: a port of the node leads to the pod on it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rota_e2e::{Cluster, Image, manifest};

/// Asks a web server for its page.
fn get(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn port_18080_of_a_node_answers_from_the_daemon_pod_on_it() {
    let cluster = Cluster::start(&["--nodes", "2"], &[Image::App]);
    cluster.apply(&manifest("001-daemonset-daemonset-1.yaml"));
    cluster.run(&["label", "nodes", "--all", "os=centos"]);
    cluster.run(&["rollout", "status", "daemonset", "daemonset-1", "--timeout=90s"]);
    let addresses = r#"jsonpath={range .items[*]}{.status.addresses[?(@.type=="InternalIP")].address}{"\n"}{end}"#;
    let nodes = cluster.run(&["get", "nodes", "-o", addresses]);
    assert_eq!(nodes.lines().count(), 2, "{nodes}");
    for node in nodes.lines() {
        // A container that has started may still be about to listen.
        let answer = cluster.until("the pods to run", &["get", "pods"], |_| {
            get(&format!("{node}:18080")).is_ok()
        });
        assert!(answer.contains("Running"), "{answer}");
        let page = get(&format!("{node}:18080")).expect("an answer");
        assert!(page.ends_with("hello from kubetm/app\n"), "{page}");
    }
    // All pages are the same: whose they were shows when one pod is gone.
    let port_of = |index: usize| format!("{}:18080", nodes.lines().nth(index).unwrap_or_default());
    cluster.run(&["label", "nodes", "node-2", "os-"]);
    cluster.until("nobody to answer for node-2", &["get", "pods"], |_| {
        get(&port_of(1)).is_err()
    });
    get(&port_of(0)).expect("node-1 answers");
}
