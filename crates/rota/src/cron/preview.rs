//! `rota cron preview`: which runs a manifest would cause or drop, before it is applied.
//!
//! The manifest's CronJobs are compared with those of a cluster, where one can be reached; else all their runs are new.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use jiff::{SignedDuration, Timestamp};
use rota_api::{Object, resource};
use rota_cluster::{Cluster as _, RemoteCluster};
use rota_cron::{Language, Schedule, Zone, check_time_zone, explain, hint, warnings};
use rota_reconcile::cronjob::{Preview, preview};
use serde_json::{Value, json};

use super::local;
use crate::cli::{CronPreviewArgs, usual_data_dir};
use crate::run::manifest;
use crate::{kubeconfig, output};

/// So many runs are listed; the others are counted.
const LISTED_MAX: usize = 20;

/// Runs the command.
pub(super) async fn command(args: &CronPreviewArgs) -> Result<ExitCode> {
    let objects = cron_jobs(&read(args)?, &args.namespace)?;
    let cluster = connect(args).await?;
    let now = Timestamp::now();
    let until = now + SignedDuration::from_hours(24 * i64::from(args.days));
    for value in objects {
        let schedule = schedule_of(&value, args.lang)?;
        let new = Arc::new(Object::from_value(resource::CRON_JOBS, value));
        let old = match &cluster {
            Some(cluster) => stored(cluster, &new).await?,
            None => None,
        };
        let found = preview(old.as_ref(), &new, now, until);
        let shown = Shown {
            new: &new,
            old: old.as_deref(),
            schedule: &schedule,
            found: &found,
            is_compared: cluster.is_some(),
        };
        if args.json {
            output::say(&shown.to_json().to_string());
        } else {
            shown.print(args.lang, now);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read(args: &CronPreviewArgs) -> Result<String> {
    if args.file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("reading the manifest from standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(&args.file).with_context(|| format!("reading {}", args.file.display()))
}

/// The CronJobs of a manifest; what else it holds does not matter.
fn cron_jobs(text: &str, namespace: &str) -> Result<Vec<Value>> {
    let mut found = manifest::documents(text)?;
    found.retain(|document| document["kind"] == "CronJob");
    if found.is_empty() {
        bail!("the manifest holds no CronJob");
    }
    for object in &mut found {
        if object["metadata"]["name"].as_str().is_none_or(str::is_empty) {
            bail!("a CronJob of the manifest has no name");
        }
        manifest::place(object, namespace)?;
    }
    Ok(found)
}

/// The schedule of a CronJob in its zone.
///
/// Errors: what the API would refuse.
fn schedule_of(cron_job: &Value, lang: Language) -> Result<Schedule> {
    let name = &cron_job["metadata"]["name"];
    let text = cron_job["spec"]["schedule"].as_str().unwrap_or_default();
    let schedule = Schedule::parse(text).map_err(|error| {
        let hint = hint(text, lang).map(|hint| format!(" ({hint})"));
        anyhow!("CronJob {name}: schedule {text:?}: {error}{}", hint.unwrap_or_default())
    })?;
    match cron_job["spec"]["timeZone"].as_str() {
        Some(zone) => {
            check_time_zone(zone).map_err(|error| anyhow!("CronJob {name}: time zone {zone:?}: {error}"))?;
            Ok(schedule.in_zone(Zone::load(zone)?))
        }
        None => Ok(schedule),
    }
}

/// The cluster that was named; else the one of `KUBECONFIG`; else a running `rota up`; else none.
async fn connect(args: &CronPreviewArgs) -> Result<Option<RemoteCluster>> {
    let named = args
        .kubeconfig
        .clone()
        .or_else(|| std::env::var_os("KUBECONFIG").map(PathBuf::from));
    if let Some(file) = named {
        return kubeconfig::connect(&file).await.map(Some);
    }
    let default = usual_data_dir().join("kubeconfig");
    if default.exists() {
        return Ok(kubeconfig::connect(&default).await.ok());
    }
    Ok(None)
}

async fn stored(cluster: &RemoteCluster, new: &Object) -> Result<Option<Arc<Object>>> {
    let meta = new.meta();
    match cluster.get(resource::CRON_JOBS, &meta.namespace, &meta.name).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error).with_context(|| format!("asking the cluster for CronJob {}", meta.name)),
    }
}

/// A comparison, as it is shown.
struct Shown<'a> {
    new: &'a Object,
    old: Option<&'a Object>,
    schedule: &'a Schedule,
    found: &'a Preview,
    is_compared: bool,
}

impl Shown<'_> {
    fn local(&self, at: Timestamp) -> String {
        local(at, self.schedule.zone().as_time_zone())
    }

    fn to_json(&self) -> Value {
        let all = |instants: &[Timestamp]| -> Vec<String> { instants.iter().map(|at| self.local(*at)).collect() };
        let meta = self.new.meta();
        json!({
            "namespace": meta.namespace, "name": meta.name, "exists": self.old.is_some(), "compared": self.is_compared,
            "caused": all(&self.found.caused), "dropped": all(&self.found.dropped), "kept": self.found.kept,
            "madeUp": self.found.made_up.map(|at| self.local(at)), "until": self.local(self.found.until),
        })
    }

    fn print(&self, lang: Language, now: Timestamp) {
        let meta = self.new.meta();
        let what = match (self.old, self.is_compared) {
            (Some(_), _) => "compared with the cluster's",
            (None, true) => "not in the cluster yet",
            (None, false) => "no cluster to compare with",
        };
        output::say(&format!("CronJob {}/{}: {what}", meta.namespace, meta.name));
        output::say(&format!("  {}", explain(self.schedule, lang)));
        for warning in warnings(self.schedule, now) {
            output::say(&format!("  ! {}", warning.say(lang)));
        }
        let caused = self.found.caused.iter().map(|at| (*at, '+'));
        let dropped = self.found.dropped.iter().map(|at| (*at, '-'));
        let mut lines: Vec<(Timestamp, char)> = caused.chain(dropped).collect();
        lines.sort_unstable();
        for (at, sign) in lines.iter().take(LISTED_MAX) {
            output::say(&format!("  {sign} {}", self.local(*at)));
        }
        if lines.len() > LISTED_MAX {
            output::say(&format!("  … and {} more", lines.len() - LISTED_MAX));
        }
        output::say(&format!(
            "  {} runs more, {} fewer, {} as before, until {}",
            self.found.caused.len(),
            self.found.dropped.len(),
            self.found.kept,
            self.local(self.found.until)
        ));
        if let Some(at) = self.found.made_up {
            output::say(&format!(
                "  ! The run of {} counts as missed: it starts as soon as anything happens to the CronJob.",
                self.local(at)
            ));
        }
    }
}
