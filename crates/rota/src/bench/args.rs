//! The command line of `rota bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Clone, Debug, Args)]
pub(crate) struct BenchArgs {
    /// A cluster to measure; given twice: both in turn, with ratios [default: a private cluster of simulated nodes]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) kubeconfig: Vec<PathBuf>,
    /// How many simulated nodes a private cluster has
    #[arg(long, value_name = "N", default_value_t = 100, global = true)]
    pub(crate) sim_nodes: u32,
    /// How long the pods of a private cluster run, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0, global = true)]
    pub(crate) sim_run_ms: u64,
    /// How often each measurement is made; the table shows the median
    #[arg(long, value_name = "N", default_value_t = 1, global = true, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) repeat: u32,
    /// Print one line of JSON instead of a table
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) what: What,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum What {
    /// One big Job: finished pods per second
    Job(JobArgs),
    /// Many Jobs of one pod: from create to Complete
    Jobs(JobsArgs),
    /// Many CronJobs due at one instant: how late each Job is
    Cronjobs(CronjobsArgs),
    /// A DaemonSet on every node: until all are ready, then a rolling update
    Daemonset(DaemonsetArgs),
    /// The API alone: create, get, patch and list of ConfigMaps
    Api(ApiArgs),
    /// Many watches of one kind: how late each event arrives
    Watch(WatchArgs),
    /// Real processes that end: how late their pods are seen to succeed (needs root)
    Exits(ExitsArgs),
    /// A private cluster's cold start, and what it costs while idle
    Start(StartArgs),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct JobArgs {
    /// How many pods must succeed; several numbers, separated by commas, make a growth curve
    #[arg(long, value_name = "N", default_value = "2000", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) completions: Vec<u32>,
    /// How many pods run at once
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) parallelism: u32,
    /// An Indexed Job
    #[arg(long)]
    pub(crate) indexed: bool,
    /// Each container fails once before it succeeds (simulated nodes only)
    #[arg(long)]
    pub(crate) fail_once: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct JobsArgs {
    /// How many Jobs
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) count: u32,
    /// The pause between two creations, in milliseconds; 0 creates all at once
    #[arg(long, value_name = "MS", default_value_t = 20)]
    pub(crate) every_ms: u64,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CronjobsArgs {
    /// How many CronJobs
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) count: u32,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DaemonsetArgs {
    /// How many nodes may be without a pod during the update: a number or a percentage
    #[arg(long, value_name = "N", default_value = "10%")]
    pub(crate) max_unavailable: String,
    /// How many nodes may have a second pod during the update; needs --max-unavailable 0
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) max_surge: String,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ApiArgs {
    /// How many clients, each with a connection of its own
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) clients: u32,
    /// How long each kind of request is made, in seconds
    #[arg(long, value_name = "SECS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub(crate) secs: u32,
    /// The size of a ConfigMap's data, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..=500_000))]
    pub(crate) bytes: u32,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct WatchArgs {
    /// How many watches
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) watchers: u32,
    /// How many events a second
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,
    /// For how long, in seconds
    #[arg(long, value_name = "SECS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub(crate) secs: u32,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ExitsArgs {
    /// How many pods
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) count: u32,
    /// The pause between two creations, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 200)]
    pub(crate) every_ms: u64,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct StartArgs {
    /// How long the idle cluster is looked at, in seconds
    #[arg(long, value_name = "SECS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) idle_secs: u32,
    /// Start a real node (needs root) instead of simulated ones
    #[arg(long)]
    pub(crate) real: bool,
}
