//! `rota bench`: load on a cluster, measured at the client.
//!
//! Times are the client's, from before a request is sent until what it led to arrives in a watch. While it measures, a
//! benchmark checks the laws that its subject must keep (never more active pods than the parallelism, each index once, …); a
//! run that breaks one is void, which is an error and no figure. Without a kubeconfig a private cluster is started for each
//! measurement: this program as `rota up` in a process of its own, with a durable store and simulated nodes.

mod api;
mod args;
mod cronjobs;
mod daemonset;
mod exits;
mod figures;
mod job;
mod seen;
mod site;
mod start;

use std::ops::ControlFlow;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::interrupt::interrupted;
use crate::output;
pub(crate) use args::BenchArgs;
use args::What;
use figures::Figures;
use site::{PrivateConfig, Site};

/// Runs the command.
pub(crate) async fn command(args: BenchArgs) -> Result<ExitCode> {
    if args.kubeconfig.len() > 2 {
        bail!("--kubeconfig can be given once, or twice to compare two clusters");
    }
    if matches!(args.what, What::Start(_) | What::Exits(_)) && !args.kubeconfig.is_empty() {
        bail!("`rota bench start` and `exits` measure a cluster that they start themselves: leave --kubeconfig out");
    }
    let mut interrupted = std::pin::pin!(interrupted()?);
    for part in parts(&args) {
        let measured = match measure(&args, &part, interrupted.as_mut()).await? {
            ControlFlow::Continue(measured) => measured,
            ControlFlow::Break(code) => {
                output::say_error("interrupted; what was made to measure with has been removed");
                return Ok(ExitCode::from(code));
            }
        };
        if args.json {
            output::say(&figures::json(&part.title, &measured).to_string());
        } else {
            output::say(&figures::table(&part.title, &measured));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One measurement of what was asked for.
struct Part {
    title: String,
    /// How many completions, for a Job.
    size: u32,
}

fn parts(args: &BenchArgs) -> Vec<Part> {
    let one = |title: String| vec![Part { title, size: 0 }];
    match &args.what {
        What::Job(job) => job
            .completions
            .iter()
            .map(|completions| {
                let mode = if job.indexed { ", Indexed" } else { "" };
                let failing = if job.fail_once { ", each fails once" } else { "" };
                Part {
                    title: format!(
                        "Job: {completions} completions, parallelism {}{mode}{failing}",
                        job.parallelism
                    ),
                    size: *completions,
                }
            })
            .collect(),
        What::Jobs(jobs) => one(match jobs.every_ms {
            0 => format!("{} Jobs of one pod at once", jobs.count),
            pause => format!("{} Jobs of one pod, one every {pause} ms", jobs.count),
        }),
        What::Cronjobs(cronjobs) => one(format!("{} CronJobs due at one instant", cronjobs.count)),
        What::Daemonset(set) => one(format!(
            "DaemonSet, maxUnavailable {}, maxSurge {}",
            set.max_unavailable, set.max_surge
        )),
        What::Api(api) => one(format!(
            "API: {} clients, ConfigMaps of {} bytes",
            api.clients, api.bytes
        )),
        What::Watch(watch) => one(format!("{} watches, {} events a second", watch.watchers, watch.rate)),
        What::Exits(exits) => one(format!(
            "{} real processes that end, one every {} ms",
            exits.count, exits.every_ms
        )),
        What::Start(start) => one(match start.real {
            true => "start, one real node".to_owned(),
            false => format!("start, {} simulated nodes", args.sim_nodes),
        }),
    }
}

/// The figures of each cluster, under its name.
type Measured = Vec<(String, Figures)>;

/// The medians of each cluster; or the exit status when somebody interrupts it. Either way what was made is removed.
async fn measure(
    args: &BenchArgs,
    part: &Part,
    mut interrupted: Pin<&mut impl Future<Output = u8>>,
) -> Result<ControlFlow<u8, Measured>> {
    let count = args.kubeconfig.len().max(1);
    let mut runs: Vec<(String, Vec<Figures>)> = vec![(String::new(), Vec::new()); count];
    for round in 0..args.repeat {
        // There and back again, so that a machine that slows down does so for both.
        let order: Vec<usize> = match round % 2 {
            0 => (0..count).collect(),
            _ => (0..count).rev().collect(),
        };
        for cluster in order {
            let began = Instant::now();
            let mut site = match args.kubeconfig.get(cluster) {
                Some(kubeconfig) => Site::foreign(kubeconfig.clone()),
                None => Site::private(&private(args))?,
            };
            let name = site.name.clone();
            let figures = tokio::select! {
                figures = once(&mut site, args, part, began) => figures.map(ControlFlow::Continue),
                code = &mut interrupted => Ok(ControlFlow::Break(code)),
            };
            let closed = site.close().await;
            match figures? {
                ControlFlow::Continue(figures) => runs[cluster].1.push(figures),
                ControlFlow::Break(code) => {
                    closed?;
                    return Ok(ControlFlow::Break(code));
                }
            }
            runs[cluster].0 = name;
            closed?;
        }
    }
    if let [(one, _), (other, _)] = &mut runs[..]
        && one == other
    {
        *one = format!("{one} 1");
        *other = format!("{other} 2");
    }
    let medians = runs.into_iter().map(|(name, runs)| (name, Figures::median(&runs)));
    Ok(ControlFlow::Continue(medians.collect()))
}

fn private(args: &BenchArgs) -> PrivateConfig {
    PrivateConfig {
        sim_nodes: args.sim_nodes,
        sim_run: Duration::from_millis(args.sim_run_ms),
        real: match &args.what {
            What::Start(start) => start.real,
            What::Exits(_) => true,
            _ => false,
        },
    }
}

async fn once(site: &mut Site, args: &BenchArgs, part: &Part, began: Instant) -> Result<Figures> {
    site.start().await?;
    match &args.what {
        What::Job(job) => job::one(site, job, part.size).await,
        What::Jobs(jobs) => job::many(site, jobs).await,
        What::Cronjobs(cronjobs) => cronjobs::measure(site, cronjobs).await,
        What::Daemonset(set) => daemonset::measure(site, set).await,
        What::Api(api) => api::requests(site, api).await,
        What::Watch(watch) => api::watches(site, watch).await,
        What::Exits(exits) => exits::measure(site, exits).await,
        What::Start(start) => start::measure(site, start, began).await,
    }
}
