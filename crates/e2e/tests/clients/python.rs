//! The Python client, as a script that asserts for itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use rota_e2e::{Cluster, Image};

/// The Python that has the client: `$PYTHON_CLIENT`, or the one that `.ci/run` makes.
fn python() -> PathBuf {
    let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/python/bin/python3");
    let path = std::env::var_os("PYTHON_CLIENT").map_or_else(|| installed.into(), PathBuf::from);
    assert!(
        path.exists(),
        "{} is missing: install the client as .ci/run does, or set PYTHON_CLIENT",
        path.display()
    );
    path
}

#[test]
fn the_python_client_runs_all_three_kinds_and_misses_no_change() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/flows.py");
    let output = Command::new(python())
        .arg(script)
        .env("KUBECONFIG", cluster.kubeconfig())
        .output()
        .expect("python");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(text.ends_with("all flows done\n"), "{text}");
}
