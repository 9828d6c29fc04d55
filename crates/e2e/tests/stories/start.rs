//! `rota up` refuses what cannot work, and says what to do.

use rota_e2e::{Cluster, rota};

/// Starts `rota up` with `args`, which must be refused; gives what it says.
fn refusal(args: &[&str]) -> String {
    let output = rota(&[&["up"], args].concat()).output().expect("rota");
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    assert!(output.stdout.is_empty(), "{args:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_directory_or_a_port_in_use_is_refused() {
    let cluster = Cluster::start(&["--sim-nodes", "1"], &[]);
    let text = refusal(&[
        "--data-dir",
        &cluster.data_dir(),
        "--listen",
        "127.0.0.1:0",
        "--no-nodes",
    ]);
    assert!(
        text.starts_with("error: ") && text.contains(&cluster.data_dir()),
        "{text}"
    );
    let server = cluster.run(&["config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"]);
    let address = server.trim_start_matches("https://");
    let text = refusal(&["--ephemeral", "--listen", address, "--no-nodes"]);
    assert!(text.contains("--listen"), "{text}");
    // It still runs.
    assert_eq!(cluster.run(&["get", "--raw", "/readyz"]), "ok");
}
