//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::bench::BenchArgs;

/// DaemonSets, Jobs and CronJobs, exactly as Kubernetes runs them, from one binary.
#[derive(Debug, Parser)]
#[command(
    name = "rota",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// Log more; twice for everything.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one Job (or one run of a CronJob, or a DaemonSet) now, watch it, and exit with its result
    Run(RunArgs),
    /// Start a whole cluster in this process; stock kubectl drives it
    Up(UpArgs),
    /// Stop and remove everything that a data directory still runs
    Down(DownArgs),
    /// Add this machine to a running cluster as one more node
    Join(JoinArgs),
    /// Run the controllers of Jobs, CronJobs and DaemonSets for any Kubernetes cluster, in place of its own
    Controllers(ControllersArgs),
    /// Import, list and remove container images
    Image(ImageArgs),
    /// Read cron schedules
    Cron(CronArgs),
    /// Put load on a cluster and measure it, a private one of simulated nodes unless another is named
    Bench(BenchArgs),
}

/// Where a cluster keeps its state when nothing else is said.
pub(crate) const DEFAULT_DATA_DIR: &str = "/var/lib/rota";

/// Where `rota up` keeps its state when nobody says otherwise on its command line.
pub(crate) fn usual_data_dir() -> PathBuf {
    std::env::var_os("ROTA_DATA_DIR").map_or_else(|| PathBuf::from(DEFAULT_DATA_DIR), PathBuf::from)
}

#[derive(Clone, Debug, Args)]
pub(crate) struct UpArgs {
    /// Where the cluster keeps its state: objects, keys, images, containers
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA_DIR, env = "ROTA_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
    /// The address of the API server
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6443")]
    pub(crate) listen: SocketAddr,
    /// Where to write the administrator's kubeconfig (mode 0600) [default: DIR/kubeconfig]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// How many nodes to run on this machine, each with its own name, addresses and directories [default: 1, or 0 with --sim-nodes]
    #[arg(long, value_name = "N")]
    pub(crate) nodes: Option<u32>,
    /// How many nodes to simulate: their pods run nothing, but look as if they did
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub(crate) sim_nodes: u32,
    /// How long a simulated pod runs before it succeeds, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) sim_run_ms: u64,
    /// How long a simulated pod takes to start, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) sim_start_ms: u64,
    /// Run no nodes: other agents bring them
    #[arg(long, conflicts_with_all = ["nodes", "sim_nodes", "control_plane_taint"])]
    pub(crate) no_nodes: bool,
    /// Which controllers to run, separated by commas; `*` is all, `-NAME` leaves one out
    #[arg(long, value_name = "LIST", default_value = "*", allow_hyphen_values = true)]
    pub(crate) controllers: String,
    /// Serve `batch/v1beta1` no more, as Kubernetes since v1.25
    #[arg(long)]
    pub(crate) no_batch_v1beta1: bool,
    /// Keep everything in memory and a temporary directory; nothing is left on exit
    #[arg(long)]
    pub(crate) ephemeral: bool,
    /// Add a control-plane node that is tainted, so that ordinary pods keep off it
    #[arg(long)]
    pub(crate) control_plane_taint: bool,
    /// Image archives to import before the first pod starts
    #[arg(long, value_name = "FILE")]
    pub(crate) import: Vec<PathBuf>,
    /// How long a node may be silent before it counts as dead, in seconds; nodes report every 10
    #[arg(long, value_name = "SECS", default_value_t = 50, value_parser = clap::value_parser!(u32).range(15..))]
    pub(crate) node_grace_secs: u32,
    /// Make new keys where those of an existing cluster are lost; whoever trusts the old ones is cut off
    #[arg(long)]
    pub(crate) new_keys: bool,
    /// Compute what is due of CronJobs as upstream does, its lost runs included: for comparing the two
    #[arg(long)]
    pub(crate) strict_cron: bool,
    /// Print what is ready as one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DownArgs {
    /// The data directory to clean up
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA_DIR, env = "ROTA_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
    /// Also delete the directory itself: objects, keys and images
    #[arg(long)]
    pub(crate) purge: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// The manifest to run; `-` reads standard input
    #[arg(
        short,
        long,
        value_name = "FILE",
        required_unless_present = "image",
        conflicts_with = "image"
    )]
    pub(crate) file: Option<PathBuf>,
    /// The image to run, without a manifest
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
    /// How many pods must succeed
    #[arg(long, value_name = "N", requires = "image")]
    pub(crate) completions: Option<u32>,
    /// How many pods run at once
    #[arg(long, value_name = "N", requires = "image")]
    pub(crate) parallelism: Option<u32>,
    /// How many failures are forgiven
    #[arg(long, value_name = "N", requires = "image")]
    pub(crate) backoff_limit: Option<u32>,
    /// The name of the Job [default: made from the image]
    #[arg(long, value_name = "NAME", requires = "image")]
    pub(crate) name: Option<String>,
    /// Environment of the containers, NAME=VALUE
    #[arg(short, long, value_name = "NAME=VALUE", requires = "image")]
    pub(crate) env: Vec<String>,
    /// Give up after this long, such as 90s, 5m, 1h30m; the exit status is then 124
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    pub(crate) timeout: Option<std::time::Duration>,
    /// The cluster to use [default: $KUBECONFIG, else a running `rota up`, else one of its own, gone afterwards]
    #[arg(long, value_name = "FILE", conflicts_with = "ephemeral")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Always use a cluster of its own, gone afterwards
    #[arg(long)]
    pub(crate) ephemeral: bool,
    /// Image archives to import into a cluster of its own
    #[arg(long, value_name = "FILE")]
    pub(crate) import: Vec<PathBuf>,
    /// The namespace, where the manifest names none
    #[arg(short, long, default_value = "default")]
    pub(crate) namespace: String,
    /// Leave the objects in the cluster when the run is over
    #[arg(long)]
    pub(crate) keep: bool,
    /// Print one line of JSON for each change of state instead of progress
    #[arg(long)]
    pub(crate) json: bool,
    /// The command of the container
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct JoinArgs {
    /// The API server of the cluster, https://HOST:PORT
    #[arg(value_name = "URL")]
    pub(crate) server: Option<String>,
    /// What `rota up` printed, or wrote to DIR/join-token; not needed again by a node that has joined before
    #[arg(
        long,
        value_name = "TOKEN",
        env = "ROTA_JOIN_TOKEN",
        hide_env_values = true,
        requires = "server"
    )]
    pub(crate) token: Option<String>,
    /// Instead of URL and token: the access to any cluster, with rights to act as a node
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The node's name [default: this machine's]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Where the node keeps its images and containers
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA_DIR, env = "ROTA_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
    /// The addresses of the node's pods
    #[arg(long, value_name = "CIDR", default_value = "10.244.200.0/24")]
    pub(crate) pod_cidr: String,
    /// Labels of the node, NAME=VALUE
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) label: Vec<String>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ControllersArgs {
    /// How to reach the cluster [default: $KUBECONFIG, else the service account of the pod in which this runs]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Which controllers to run, separated by commas; `*` is all, `-NAME` leaves one out
    #[arg(
        long,
        value_name = "LIST",
        default_value = "job,cronjob,daemonset,ttl",
        allow_hyphen_values = true
    )]
    pub(crate) controllers: String,
    /// Look after the objects of this namespace only [default: all]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// Look after the Jobs whose spec.managedBy is this name, and no others
    #[arg(long, value_name = "NAME")]
    pub(crate) managed_by: Option<String>,
    /// Compute what is due of CronJobs as upstream does, its lost runs included: for comparing the two
    #[arg(long)]
    pub(crate) strict_cron: bool,
    /// Write nothing: print what would be decided, and where the controllers that run differ
    #[arg(long)]
    pub(crate) shadow: bool,
    /// With --shadow: how long the controllers that run may take to do what was decided
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_span)]
    pub(crate) shadow_patience: std::time::Duration,
    /// Work only while holding a Lease, so that several instances can stand by
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub(crate) leader_elect: bool,
    /// The namespace of the Lease
    #[arg(long, value_name = "NAME", default_value = "kube-system")]
    pub(crate) leader_elect_resource_namespace: String,
    /// The name of the Lease
    #[arg(long, value_name = "NAME", default_value = "rota-controllers")]
    pub(crate) leader_elect_resource_name: String,
    /// For how long others must see the Lease unchanged before they take it
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = parse_span)]
    pub(crate) leader_elect_lease_duration: std::time::Duration,
    /// For how long a leader may fail to renew before it stops working
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_span)]
    pub(crate) leader_elect_renew_deadline: std::time::Duration,
    /// How often the Lease is renewed or looked at
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_span)]
    pub(crate) leader_elect_retry_period: std::time::Duration,
    /// How many requests a second the server is asked at most, Events left out; 0 is no limit of ours below the server's
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    pub(crate) kube_api_qps: f64,
    /// How many of them at once after a rest [default: half as many again as --kube-api-qps]
    #[arg(long, value_name = "N")]
    pub(crate) kube_api_burst: Option<u32>,
    /// How long an answer of the server may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_span)]
    pub(crate) request_timeout: std::time::Duration,
    /// Where /healthz, /readyz and /metrics answer, over plain HTTP
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:10290")]
    pub(crate) listen: SocketAddr,
    /// Print one line of JSON when ready, and with --shadow for each decision
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ImageArgs {
    /// The data directory whose images are meant
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA_DIR, env = "ROTA_DATA_DIR", global = true)]
    pub(crate) data_dir: PathBuf,
    #[command(subcommand)]
    pub(crate) command: ImageCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Import an OCI or docker archive
    Import {
        /// The archive, as `docker save` or `skopeo copy … oci-archive:` write it; - is standard input
        file: PathBuf,
    },
    /// List the images
    Ls {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove an image
    Rm {
        /// Its name or digest
        name: String,
    },
    /// Fetch an image from its registry
    Pull {
        /// Its name
        name: String,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CronArgs {
    #[command(subcommand)]
    pub(crate) command: CronCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum CronCommand {
    /// Print the next instants of a schedule
    Next(CronNextArgs),
    /// Read a schedule in plain words, list its next runs, and warn of what is surprising about it
    Explain(CronExplainArgs),
    /// Tell which runs a manifest would cause or drop, before it is applied
    Preview(CronPreviewArgs),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CronExplainArgs {
    /// The schedule, such as '*/5 * * * *' or '@daily'
    pub(crate) expr: String,
    /// The time zone, such as Asia/Seoul
    #[arg(long, value_name = "ZONE")]
    pub(crate) tz: Option<String>,
    /// The language: en or ko
    #[arg(long, value_name = "LANG", default_value = "en")]
    pub(crate) lang: rota_cron::Language,
    /// The instant to start from [default: now]
    #[arg(long, value_name = "RFC3339")]
    pub(crate) from: Option<String>,
    /// How many runs to list
    #[arg(short, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) n: u32,
    /// What becomes of times that a change of the clock skips or repeats: upstream, vixie, skip-repeat or run-skipped
    #[arg(long, value_name = "POLICY", default_value = "upstream")]
    pub(crate) dst_policy: rota_cron::ClockPolicy,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CronPreviewArgs {
    /// The manifest; - is standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The cluster whose CronJob is compared [default: $KUBECONFIG, else a running `rota up`, else none]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The namespace, where the manifest names none
    #[arg(short, long, default_value = "default")]
    pub(crate) namespace: String,
    /// How many days to look ahead
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=3660))]
    pub(crate) days: u32,
    /// The language: en or ko
    #[arg(long, value_name = "LANG", default_value = "en")]
    pub(crate) lang: rota_cron::Language,
    /// Print one line of JSON for each CronJob
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CronNextArgs {
    /// The schedule, such as '*/5 * * * *' or '@daily'
    #[arg(required_unless_present = "jsonl", conflicts_with = "jsonl")]
    pub(crate) expr: Option<String>,
    /// The time zone, such as Asia/Seoul
    #[arg(long, value_name = "ZONE")]
    pub(crate) tz: Option<String>,
    /// The instant to start from [default: now]
    #[arg(long, value_name = "RFC3339")]
    pub(crate) from: Option<String>,
    /// How many instants
    #[arg(short, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) n: u32,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Follow upstream's engine bit for bit, its defects included
    #[arg(long)]
    pub(crate) exact: bool,
    /// Read questions from standard input, one a line: {"id","schedule","tz","start","n"}, of which "tz" and "n" (8) may be
    /// left out. Each is answered by a line: {"id","next_unix","end"}, "end" being "n" for as many as asked for and "zero"
    /// for no more; or by {"id"} with "parse_error" (a wrong schedule), "load_error" (no such zone) or "error"
    #[arg(long)]
    pub(crate) jsonl: bool,
}

/// Reads `90s`, `5m`, `1h30m`, or a bare number of seconds.
fn parse_span(text: &str) -> Result<std::time::Duration, String> {
    if let Ok(secs) = text.parse() {
        return Ok(std::time::Duration::from_secs(secs));
    }
    let span: jiff::SignedDuration = text.parse().map_err(|_| "write it as 90s, 5m or 1h30m".to_owned())?;
    std::time::Duration::try_from(span).map_err(|_| "a time-out cannot be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn spans_are_read_as_people_write_them() {
        assert_eq!(parse_span("90").unwrap().as_secs(), 90);
        assert_eq!(parse_span("90s").unwrap().as_secs(), 90);
        assert_eq!(parse_span("1h30m").unwrap().as_secs(), 5400);
        assert!(parse_span("soon").is_err());
    }
}
