//! One big Job, and many small ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use rota_api::k8s::api::batch::v1::Job;
use rota_api::{Object, Write, resource};
use rota_cluster::{Cluster, RemoteCluster, Selection};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::args::{JobArgs, JobsArgs};
use super::figures::Figures;
use super::seen::{PodEvent, PodWatch, until};
use super::site::Site;

/// How long a Job may take.
const JOB_MAX: Duration = Duration::from_secs(1800);
/// How long the watch of pods may lag behind that of Jobs.
const LAG_MAX: Duration = Duration::from_secs(30);

/// Runs one Job of `completions` pods.
///
/// Errors: the cluster refuses something, or the Job broke a law: the run is void then.
pub(super) async fn one(site: &Site, args: &JobArgs, completions: u32) -> Result<Figures> {
    let cluster = site.connect().await?;
    let namespace = site.namespace(&cluster).await?;
    let laws = Laws {
        parallelism: args.parallelism as usize,
        completions: completions as usize,
        is_indexed: args.indexed,
        ..Laws::default()
    };
    let pods = tokio::spawn(watch(PodWatch::open(&cluster, &namespace).await?, laws));
    let before = site.usage();
    let began = Instant::now();
    let job = cluster
        .write(Write::create(
            resource::JOBS,
            job_of("job", &namespace, args, completions),
        ))
        .await
        .context("creating the Job")?;
    let from = job.object().revision();
    let ended = finished(&cluster, &namespace, "job").await?;
    let took = ended - began;
    let after = site.usage();
    let laws = tokio::time::timeout(LAG_MAX, pods)
        .await
        .context("not all pods of the Job were seen to succeed")???;
    laws.check()?;
    let to = cluster.list(resource::JOBS, &in_namespace(&namespace)).await?.revision;

    let count = f64::from(completions);
    let mut figures = Figures::default();
    figures.add("finished pods", count / took.as_secs_f64(), "/s");
    figures.add("create to Complete", took.as_secs_f64(), "s");
    #[expect(clippy::cast_precision_loss, reason = "revisions of a run are few enough")]
    figures.add("revisions per pod", (to.0 - from.0) as f64 / count, "");
    if let (Some(before), Some(after)) = (before, after) {
        let cpu = after.cpu.saturating_sub(before.cpu);
        figures.add("server CPU per pod", cpu.as_secs_f64() * 1e6 / count, "us");
        #[expect(clippy::cast_precision_loss, reason = "memory of a machine has few enough bytes")]
        figures.add(
            "server memory per pod",
            after.resident.saturating_sub(before.resident) as f64 / 1024.0 / count,
            "KiB",
        );
    }
    Ok(figures)
}

fn job_of(name: &str, namespace: &str, args: &JobArgs, completions: u32) -> Value {
    let mut job = one_pod_job(name, namespace);
    let spec = &mut job["spec"];
    spec["completions"] = completions.into();
    spec["parallelism"] = args.parallelism.into();
    if args.indexed {
        spec["completionMode"] = "Indexed".into();
    }
    if args.fail_once {
        // The container is started again in its pod: the back-off between pods is not what is measured.
        spec["template"]["metadata"]["annotations"]["rota.dev/sim-exit-code"] = "1,0".into();
        spec["template"]["spec"]["restartPolicy"] = "OnFailure".into();
        // All starts over count together: the usual limit of six would end the Job.
        spec["backoffLimit"] = i32::MAX.into();
    }
    job
}

fn one_pod_job(name: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": namespace},
        "spec": {"template": {
            "metadata": {"annotations": {}},
            "spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "main", "image": "rota.dev/host", "command": ["true"]}],
            },
        }},
    })
}

fn in_namespace(namespace: &str) -> Selection {
    Selection {
        namespace: Some(namespace.to_owned()),
        ..Selection::default()
    }
}

async fn finished(cluster: &RemoteCluster, namespace: &str, name: &str) -> Result<Instant> {
    let selection = Selection {
        fields: format!("metadata.name={name}"),
        ..in_namespace(namespace)
    };
    let mut end = None;
    let at = until(cluster, resource::JOBS, &selection, JOB_MAX, |seen| {
        end = seen.get(name).and_then(end_of);
        end.is_some()
    })
    .await
    .context("waiting for the end of the Job")?;
    match end {
        Some(End::Failed(why)) => bail!("the Job failed: {why}"),
        Some(End::Complete) | None => Ok(at),
    }
}

/// How a Job ended.
#[derive(Debug)]
enum End {
    Complete,
    /// With this reason and message.
    Failed(String),
}

/// The end of a Job that has come to one.
fn end_of(job: &Arc<Object>) -> Option<End> {
    let job = job.view::<Job>().ok()?;
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .filter(|c| c.status == "True")
        .find_map(|c| match c.type_.as_str() {
            "Complete" => Some(End::Complete),
            "Failed" => {
                let words = [&c.reason, &c.message].map(|word| word.as_deref().unwrap_or_default());
                Some(End::Failed(words.join(": ")))
            }
            _ => None,
        })
}

/// What must hold of the pods of a Job at every moment.
#[derive(Debug, Default)]
struct Laws {
    parallelism: usize,
    completions: usize,
    is_indexed: bool,
    active: BTreeSet<String>,
    succeeded: BTreeMap<String, Option<String>>,
    broken: Option<String>,
}

impl Laws {
    fn see(&mut self, event: PodEvent) {
        let is_deleted = event.is_deleted();
        let pod = event.object;
        let uid = &pod.metadata.uid;
        if is_deleted || !pod.is_active() {
            self.active.remove(uid);
        } else if self.active.insert(uid.clone()) && self.active.len() > self.parallelism {
            self.broken.get_or_insert_with(|| {
                format!(
                    "{} pods were active at once, {} may be",
                    self.active.len(),
                    self.parallelism
                )
            });
        }
        if pod.has_succeeded() {
            self.succeeded.insert(uid.clone(), pod.index().map(ToOwned::to_owned));
        }
    }

    fn is_done(&self) -> bool {
        self.succeeded.len() >= self.completions
    }

    /// Errors: what was broken.
    fn check(&self) -> Result<()> {
        if let Some(broken) = &self.broken {
            bail!("the run is void: {broken}");
        }
        if self.succeeded.len() > self.completions {
            bail!(
                "the run is void: {} pods succeeded for {} completions",
                self.succeeded.len(),
                self.completions
            );
        }
        let indexes: BTreeSet<&String> = self.succeeded.values().flatten().collect();
        if self.is_indexed && indexes.len() != self.completions {
            bail!(
                "the run is void: {} indexes of {} succeeded",
                indexes.len(),
                self.completions
            );
        }
        Ok(())
    }
}

async fn watch(mut pods: PodWatch, mut laws: Laws) -> Result<Laws> {
    while !laws.is_done() {
        laws.see(pods.next().await?);
    }
    Ok(laws)
}

/// Runs many Jobs of one pod.
///
/// Errors: as for [`one`].
pub(super) async fn many(site: &Site, args: &JobsArgs) -> Result<Figures> {
    let cluster = site.connect().await?;
    let namespace = site.namespace(&cluster).await?;
    let listing = cluster.list(resource::JOBS, &in_namespace(&namespace)).await?;
    let mut watch = cluster
        .watch(resource::JOBS, &in_namespace(&namespace), listing.revision)
        .await?;
    let count = args.count as usize;
    let ends = tokio::spawn(async move {
        let mut ends = BTreeMap::new();
        while ends.len() < count {
            let event = watch.next().await.context("the server ended the watch of Jobs")??;
            match end_of(&event.object) {
                Some(End::Complete) => drop(
                    ends.entry(event.object.meta().name.clone())
                        .or_insert_with(Instant::now),
                ),
                Some(End::Failed(why)) => bail!("Job {} failed: {why}", event.object.meta().name),
                None => {}
            }
        }
        Ok(ends)
    });
    let began = Instant::now();
    let mut creations = JoinSet::new();
    for number in 0..args.count {
        let (cluster, namespace) = (cluster.clone(), namespace.clone());
        let due = began + Duration::from_millis(args.every_ms) * number;
        creations.spawn(async move {
            tokio::time::sleep_until(due.into()).await;
            let name = format!("job-{number}");
            let sent = Instant::now();
            let write = Write::create(resource::JOBS, one_pod_job(&name, &namespace));
            cluster.write(write).await.context("creating a Job")?;
            anyhow::Ok((name, sent))
        });
    }
    let mut sent = BTreeMap::new();
    while let Some(created) = creations.join_next().await {
        let (name, at) = created??;
        sent.insert(name, at);
    }
    let ends = tokio::time::timeout(JOB_MAX, ends)
        .await
        .context("waiting for the ends of the Jobs")???;
    let times: Vec<Duration> = ends
        .iter()
        .filter_map(|(name, end)| Some(*end - *sent.get(name)?))
        .collect();
    let all = ends.values().max().map_or(Duration::ZERO, |last| *last - began);
    let mut figures = Figures::default();
    figures.add_spread(
        [
            "create to Complete, p50",
            "create to Complete, p99",
            "create to Complete, max",
        ],
        times,
    );
    figures.add("first create to last Complete", all.as_secs_f64(), "s");
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, uid: &str, phase: &str, index: &str) -> PodEvent {
        serde_json::from_value(json!({
            "type": kind,
            "object": {
                "metadata": {"uid": uid, "annotations": {"batch.kubernetes.io/job-completion-index": index}},
                "status": {"phase": phase},
            },
        }))
        .unwrap()
    }

    fn laws() -> Laws {
        Laws {
            parallelism: 1,
            completions: 2,
            is_indexed: true,
            ..Laws::default()
        }
    }

    #[test]
    fn a_run_with_more_active_pods_than_allowed_is_void() {
        let mut laws = laws();
        laws.see(event("ADDED", "a", "Pending", "0"));
        laws.see(event("ADDED", "b", "Pending", "1"));
        assert!(laws.check().is_err());
    }

    #[test]
    fn a_run_in_which_an_index_succeeded_twice_is_void() {
        let mut laws = laws();
        laws.see(event("ADDED", "a", "Succeeded", "0"));
        laws.see(event("ADDED", "b", "Succeeded", "0"));
        assert!(laws.check().is_err());
    }

    #[test]
    fn a_job_whose_containers_each_fail_once_is_not_ended_by_the_sum_of_their_failures() {
        let args = JobArgs {
            completions: vec![2000],
            parallelism: 500,
            indexed: false,
            fail_once: true,
        };
        let job = job_of("job", "d", &args, 2000);
        assert_eq!(job["spec"]["backoffLimit"], i32::MAX);
    }

    #[test]
    fn a_run_that_kept_the_laws_counts() {
        let mut laws = laws();
        laws.see(event("ADDED", "a", "Pending", "0"));
        laws.see(event("MODIFIED", "a", "Succeeded", "0"));
        laws.see(event("ADDED", "b", "Pending", "1"));
        laws.see(event("MODIFIED", "b", "Succeeded", "1"));
        assert!(laws.is_done());
        laws.check().unwrap();
    }
}
