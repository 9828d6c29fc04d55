//! What the tests share: `kubectl` and a server for it.

#![allow(dead_code, reason = "no test uses all of it")]

use std::path::PathBuf;

use rota_conformance::cluster::Cluster;
use tokio::process::Command;

/// `kubectl` and a server for it.
pub(crate) struct Kubectl {
    /// The server.
    pub(crate) cluster: Cluster,
    config: PathBuf,
}

impl Kubectl {
    /// With a server without nodes.
    pub(crate) async fn start() -> Self {
        Self::with(Cluster::start().await)
    }

    /// With that server.
    pub(crate) fn with(cluster: Cluster) -> Self {
        Self {
            config: cluster.kubeconfig(),
            cluster,
        }
    }

    /// Writes a scratch file; returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.config.with_file_name(name);
        std::fs::write(&path, text).expect("a scratch file can be written");
        path.display().to_string()
    }

    /// A command, ready to be run.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let program = std::env::var("KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
        let mut command = Command::new(program);
        command
            .args(arguments.split_whitespace())
            .env("KUBECONFIG", &self.config)
            .env("KUBECACHEDIR", self.config.with_file_name("cache"))
            .env("HOME", self.config.with_file_name("home"))
            .kill_on_drop(true);
        command
    }

    /// Runs a command; returns whether it succeeded, and what it wrote.
    pub(crate) async fn try_run(&self, arguments: &str) -> (bool, String) {
        let output =
            self.command(arguments).output().await.unwrap_or_else(|error| {
                panic!("kubectl cannot be run ({error}): install it, or set KUBECTL to its path")
            });
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Runs a command that must succeed.
    pub(crate) async fn run(&self, arguments: &str) -> String {
        let (succeeded, text) = self.try_run(arguments).await;
        assert!(succeeded, "kubectl {arguments}\n{text}");
        text
    }
}
