//! What kind of cluster is started.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use rota_api::resource::Served;

use super::pod_range::NODES_MAX;
use crate::cli::UpArgs;

/// Where a cluster keeps its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// In this directory, for good.
    Directory(PathBuf),
    /// In memory and a temporary directory.
    Ephemeral,
}

/// A cluster to start.
#[derive(Clone, Debug)]
pub(crate) struct UpConfig {
    pub(crate) home: Home,
    pub(crate) listen: SocketAddr,
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Nodes with real containers.
    pub(crate) nodes: u32,
    /// A further, tainted control-plane node; real where `nodes` are, else simulated.
    pub(crate) control_plane: bool,
    pub(crate) sim_nodes: u32,
    pub(crate) sim_run: Duration,
    pub(crate) sim_start: Duration,
    pub(crate) controllers: String,
    pub(crate) import: Vec<PathBuf>,
    pub(crate) node_grace_secs: u32,
    /// Keys of an existing cluster that are lost are made anew.
    pub(crate) new_keys: bool,
    /// CronJobs are computed as upstream does, lost runs included.
    pub(crate) strict_cron: bool,
    pub(crate) served: Served,
}

impl UpConfig {
    /// What the command line asks for.
    ///
    /// Errors: parts of it contradict each other.
    pub(crate) fn from_args(args: &UpArgs) -> Result<Self> {
        let default_nodes = u32::from(args.sim_nodes == 0);
        let nodes = if args.no_nodes {
            0
        } else {
            args.nodes.unwrap_or(default_nodes)
        };
        if nodes > NODES_MAX {
            bail!("--nodes {nodes} is more than the {NODES_MAX} that fit into the address range of one machine");
        }
        Ok(Self {
            home: if args.ephemeral {
                Home::Ephemeral
            } else {
                Home::Directory(args.data_dir.clone())
            },
            listen: args.listen,
            kubeconfig: args.kubeconfig.clone(),
            nodes,
            control_plane: args.control_plane_taint,
            sim_nodes: args.sim_nodes,
            sim_run: Duration::from_millis(args.sim_run_ms),
            sim_start: Duration::from_millis(args.sim_start_ms),
            controllers: args.controllers.clone(),
            import: args.import.clone(),
            node_grace_secs: args.node_grace_secs,
            new_keys: args.new_keys,
            strict_cron: args.strict_cron,
            served: Served {
                batch_v1beta1: !args.no_batch_v1beta1,
            },
        })
    }

    /// A cluster for one run: one node, a free port, nothing left behind.
    pub(crate) fn ephemeral() -> Self {
        Self {
            home: Home::Ephemeral,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            kubeconfig: None,
            nodes: 1,
            control_plane: false,
            sim_nodes: 0,
            sim_run: Duration::ZERO,
            sim_start: Duration::ZERO,
            controllers: "*".to_owned(),
            import: Vec::new(),
            node_grace_secs: 50,
            new_keys: false,
            strict_cron: false,
            served: Served::default(),
        }
    }

    /// True when containers of this machine are to be run by somebody who cannot.
    pub(crate) fn lacks_root(&self) -> bool {
        self.nodes > 0 && !rustix::process::geteuid().is_root()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;

    fn config(args: &[&str]) -> UpConfig {
        let cli = Cli::parse_from(["rota", "up"].iter().chain(args));
        let Command::Up(args) = cli.command else {
            panic!("`rota up` was parsed")
        };
        UpConfig::from_args(&args).unwrap()
    }

    #[test]
    fn there_is_one_real_node_unless_something_else_is_asked_for() {
        assert_eq!(config(&[]).nodes, 1);
        assert_eq!(config(&["--sim-nodes", "5"]).nodes, 0);
        assert_eq!(config(&["--sim-nodes", "5", "--nodes", "2"]).nodes, 2);
        assert_eq!(config(&["--no-nodes"]).nodes, 0);
    }
}
