//! The program under test.

use std::path::PathBuf;
use std::process::Command;

/// Where the program is: `$ROTA`, or beside the tests in cargo's target directory.
pub fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("ROTA") {
        return path.into();
    }
    let tests = std::env::current_exe().expect("the path of this test");
    let path = tests.ancestors().nth(2).expect("target/PROFILE/deps/TEST").join("rota");
    assert!(path.exists(), "{} is missing: cargo build --bin rota", path.display());
    path
}

/// The program with `args`, without anything of the caller's environment that would change what it does.
pub fn rota(args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command
        .args(args)
        .env_remove("KUBECONFIG")
        .env_remove("ROTA_DATA_DIR")
        .env_remove("ROTA_LOG");
    command
}
