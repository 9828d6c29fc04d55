//! Many CronJobs that are due at one instant.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use rota_api::{Object, Timestamp, Write, resource};
use rota_cluster::{Cluster, EventKind, Selection};
use serde_json::json;

use super::args::CronjobsArgs;
use super::figures::Figures;
use super::site::Site;

/// How many creations are under way at once.
const CREATIONS_MAX: usize = 64;
/// CronJobs are created in the first part of a minute only, so that none is due before all are there.
const LAST_SECOND_TO_CREATE: i64 = 25;
/// How long after the instant the last Job may appear.
const LATE_MAX: Duration = Duration::from_secs(600);
/// How long the cluster is looked at while it waits for the instant.
const IDLE: Duration = Duration::from_secs(5);

/// Measures how long after a full minute each of the Jobs that are due then is seen.
///
/// Errors: the cluster refuses something, or a CronJob started more or less than one Job: the run is void then.
pub(super) async fn measure(site: &Site, args: &CronjobsArgs) -> Result<Figures> {
    let cluster = site.connect().await?;
    let namespace = site.namespace(&cluster).await?;
    let selection = Selection {
        namespace: Some(namespace.clone()),
        ..Selection::default()
    };
    let second = Timestamp::now().as_second().rem_euclid(60);
    if second > LAST_SECOND_TO_CREATE {
        sleep_until(next_minute(Timestamp::now())).await;
    }
    let instant = next_minute(Timestamp::now());
    let empty = site.usage();
    stream::iter(0..args.count)
        .map(|number| {
            let write = Write::create(resource::CRON_JOBS, cron_job(&format!("cron-{number}"), &namespace));
            let cluster = &cluster;
            async move { cluster.write(write).await.map(drop) }
        })
        .buffer_unordered(CREATIONS_MAX)
        .try_collect::<Vec<()>>()
        .await
        .context("creating CronJobs")?;
    if Timestamp::now() >= instant {
        bail!(
            "creating {} CronJobs took longer than a minute: nothing can be said about one instant",
            args.count
        );
    }
    let full = site.usage();
    tokio::time::sleep(IDLE).await;
    let rested = site.usage();

    let listing = cluster.list(resource::JOBS, &selection).await?;
    let mut watch = cluster.watch(resource::JOBS, &selection, listing.revision).await?;
    let mut late: BTreeMap<String, Duration> = BTreeMap::new();
    let wait = Duration::try_from(instant.duration_since(Timestamp::now())).unwrap_or_default() + LATE_MAX;
    let see_all = async {
        while late.len() < args.count as usize {
            let event = watch.next().await.context("the server ended the watch of Jobs")??;
            if event.kind != EventKind::Added {
                continue;
            }
            let Some(owner) = event.object.meta().controller() else {
                continue;
            };
            let delay = Timestamp::now().duration_since(instant);
            let Ok(delay) = Duration::try_from(delay) else {
                bail!(
                    "the run is void: Job {} was there before its time",
                    event.object.meta().name
                );
            };
            if late.insert(owner.uid.clone(), delay).is_some() {
                if is_of_later(&event.object, instant) {
                    bail!("the next minute came before every CronJob had started its Job");
                }
                bail!("the run is void: CronJob {} started two Jobs", owner.name);
            }
        }
        Ok(())
    };
    tokio::time::timeout(wait, see_all)
        .await
        .context("not every CronJob started its Job")??;

    let mut figures = Figures::default();
    figures.add_spread(
        [
            "Job seen after the instant, p50",
            "Job seen after the instant, p99",
            "Job seen after the instant, max",
        ],
        late.into_values().collect(),
    );
    if let (Some(empty), Some(full), Some(rested)) = (empty, full, rested) {
        let cpu = rested.cpu.saturating_sub(full.cpu).as_secs_f64() / IDLE.as_secs_f64();
        figures.add("idle CPU before the instant", cpu * 100.0, "%");
        #[expect(clippy::cast_precision_loss, reason = "memory of a machine has few enough bytes")]
        let bytes = full.resident.saturating_sub(empty.resident) as f64;
        figures.add(
            "server memory per CronJob",
            bytes / 1024.0 / f64::from(args.count),
            "KiB",
        );
    }
    Ok(figures)
}

/// True when the Job belongs to an instant behind this one.
fn is_of_later(job: &Object, instant: Timestamp) -> bool {
    let scheduled = &job.to_value()["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"];
    let at: Option<Timestamp> = scheduled.as_str().and_then(|time| time.parse().ok());
    at.is_some_and(|at| at > instant)
}

fn cron_job(name: &str, namespace: &str) -> serde_json::Value {
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name, "namespace": namespace},
        "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "main", "image": "rota.dev/host", "command": ["true"]}],
        }}}}},
    })
}

fn next_minute(now: Timestamp) -> Timestamp {
    let second = (now.as_second().div_euclid(60) + 1) * 60;
    Timestamp::from_second(second).unwrap_or(now)
}

async fn sleep_until(at: Timestamp) {
    let wait = at.duration_since(Timestamp::now());
    tokio::time::sleep(Duration::try_from(wait).unwrap_or_default()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_minute_is_never_now() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(next_minute(at("2026-01-01T10:00:00Z")), at("2026-01-01T10:01:00Z"));
        assert_eq!(next_minute(at("2026-01-01T10:00:59.9Z")), at("2026-01-01T10:01:00Z"));
    }
}
