//! `rota up` refuses what cannot work, and says what to do.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use rota_e2e::{Cluster, Kubectl, program, rota};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

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

/// Starts `rota up` without nodes in `dir`, where `limit` is told to the shell before; returns once it is ready.
fn start(dir: &TempDir, limit: &str) -> Child {
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let mut child = Command::new("sh")
        .args(["-c", &format!("trap '' XFSZ; {limit} exec \"$0\" \"$@\"")])
        .arg(program())
        .args(["up", "--no-nodes", "--listen", "127.0.0.1:0"])
        .args(["--data-dir", &path("data"), "--kubeconfig", &path("kubeconfig")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut said = String::new();
    let stdout = child.stdout.as_mut().expect("a pipe");
    BufReader::new(stdout).read_line(&mut said).expect("what rota says");
    assert!(said.contains("is ready"), "{said}");
    child
}

#[test]
fn a_full_disk_ends_the_server_and_takes_nothing_that_was_acknowledged() {
    let dir = TempDir::with_prefix("rota-story-").expect("a temporary directory");
    // No file may grow beyond 8 MiB: to the server that is a disk without room.
    let mut server = start(&dir, "ulimit -f 16384;");
    let kubectl = Kubectl::new(&dir.path().join("kubeconfig"), dir.path());
    let large = kubectl.file("large", &"x".repeat(512 << 10));
    let mut acknowledged = Vec::new();
    let refusal = loop {
        let name = format!("c{}", acknowledged.len());
        let create = ["create", "configmap", &name, &format!("--from-file={large}")];
        let output = kubectl.command(&create).output().expect("kubectl");
        if !output.status.success() {
            break String::from_utf8_lossy(&output.stderr).into_owned();
        }
        acknowledged.push(name);
        assert!(acknowledged.len() < 64, "the limit is not one");
    };
    assert!(refusal.contains("the store cannot write any more"), "{refusal}");
    let mut said = String::new();
    let mut stderr = server.stderr.take().expect("a pipe");
    stderr.read_to_string(&mut said).expect("what rota says");
    assert_eq!(server.wait().expect("its end").code(), Some(1), "{said}");
    assert!(said.contains("error: nothing can be stored in "), "{said}");

    let mut server = start(&dir, "");
    for name in &acknowledged {
        kubectl.run(&["get", "configmap", name]);
    }
    let _ = kill_process(Pid::from_child(&server), Signal::TERM);
    assert!(server.wait().expect("its end").success());
}
