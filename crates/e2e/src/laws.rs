//! A witness of everything that happens to Jobs, their pods and daemons' pods, and the laws that must hold of it.
//!
//! Watches the server itself, whoever the controllers are and however they reach it. Knows the laws of the API, not our
//! code: never more pods than wanted, each counted once, one daemon per node, one Job per instant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use rota_api::{Object, Resource, resource};
use rota_cluster::{Cluster, EventKind, RemoteCluster, Selection};
use serde_json::Value;

/// The witness. It stops watching when dropped.
pub struct Witness {
    seen: Arc<Mutex<Seen>>,
    cluster: RemoteCluster,
    runtime: tokio::runtime::Runtime,
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    pods: BTreeMap<String, Value>,
    jobs: BTreeMap<String, Value>,
    /// Pods that ended, by the uid of their Job: uid of the pod, phase.
    ended: BTreeMap<String, BTreeMap<String, String>>,
    /// How often a pod was made for a completion index that had succeeded.
    broken: Vec<String>,
    /// The most pods of each Job that were active at one time, by its name.
    most: BTreeMap<String, usize>,
}

impl Witness {
    /// Watches the server of `kubeconfig`. Returns when everything that is there has been seen.
    pub fn of(kubeconfig: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let cluster = runtime.block_on(async {
            let read = kube::config::Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
            let options = kube::config::KubeConfigOptions::default();
            let config = kube::Config::from_custom_kubeconfig(read, &options)
                .await
                .expect("a kubeconfig");
            RemoteCluster::connect(config).expect("a client")
        });
        for kind in [resource::JOBS, resource::PODS] {
            let (seen, cluster) = (Arc::clone(&seen), cluster.clone());
            let listing = runtime.block_on(cluster.list(kind, &Selection::all())).expect("a list");
            for object in &listing.items {
                lock(&seen).saw(kind, EventKind::Added, object);
            }
            runtime.spawn(async move {
                let mut watch = cluster
                    .watch(kind, &Selection::all(), listing.revision)
                    .await
                    .expect("a watch");
                while let Some(event) = watch.next().await {
                    match event {
                        Ok(event) => lock(&seen).saw(kind, event.kind, &event.object),
                        Err(error) => lock(&seen).broken.push(format!("the witness lost its watch: {error}")),
                    }
                }
            });
        }
        Self { seen, cluster, runtime }
    }

    /// The objects of a kind, straight from the server.
    pub fn list(&self, kind: &'static Resource) -> Vec<Value> {
        let listing = self
            .runtime
            .block_on(self.cluster.list(kind, &Selection::all()))
            .expect("a list");
        listing.items.iter().map(|object| object.to_value()).collect()
    }

    /// Checks all laws, now that all Jobs have ended; gives the most pods that each Job had at one time.
    ///
    /// Panics when one was broken.
    pub fn check(&self) -> BTreeMap<String, usize> {
        let jobs = self.list(resource::JOBS);
        let pods = self.list(resource::PODS);
        let seen = lock(&self.seen);
        let mut broken = seen.broken.clone();
        for job in &jobs {
            broken.extend(seen.miscounted(job));
        }
        for pod in &pods {
            let finalizers = pod["metadata"]["finalizers"].as_array().map_or(0, Vec::len);
            let has_ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
            if has_ended && finalizers > 0 {
                broken.push(format!(
                    "pod {} has ended and keeps its finalizer",
                    pod["metadata"]["name"]
                ));
            }
        }
        broken.extend(twice(&jobs));
        assert!(
            broken.is_empty(),
            "{} laws broken:\n{}",
            broken.len(),
            broken.join("\n")
        );
        seen.most.clone()
    }
}

/// Two Jobs of one CronJob for one instant.
fn twice(jobs: &[Value]) -> Vec<String> {
    let mut instants = BTreeSet::new();
    let mut broken = Vec::new();
    for job in jobs {
        let metadata = &job["metadata"];
        let instant = &metadata["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"];
        let owner = &metadata["ownerReferences"][0]["uid"];
        if instant.is_string() && !instants.insert((owner.to_string(), instant.to_string())) {
            broken.push(format!("Job {} is the second of {instant}", metadata["name"]));
        }
    }
    broken
}

impl Seen {
    fn saw(&mut self, kind: &'static Resource, event: EventKind, object: &Object) {
        let uid = object.meta().uid.clone();
        let value = object.to_value();
        if kind == resource::JOBS {
            self.jobs.insert(uid, value);
            return;
        }
        let before = if event == EventKind::Deleted {
            self.pods.remove(&uid)
        } else {
            self.pods.insert(uid.clone(), value.clone())
        };
        let phase = value["status"]["phase"].as_str().unwrap_or_default().to_owned();
        let Some(owner) = owner(&value) else { return };
        if matches!(phase.as_str(), "Succeeded" | "Failed") {
            self.ended.entry(owner.1.clone()).or_default().insert(uid, phase);
        }
        if before.is_none() && event != EventKind::Deleted {
            self.made(&owner, &value);
        }
    }

    /// A pod came to be: is it one too many?
    fn made(&mut self, (kind, uid, name): &(String, String, String), pod: &Value) {
        let siblings: Vec<&Value> = self
            .pods
            .values()
            .filter(|pod| owner(pod).is_some_and(|owner| owner.1 == *uid) && is_active(pod))
            .collect();
        let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default();
        if kind == "DaemonSet" {
            let here = siblings.iter().filter(|sibling| node(sibling) == node(pod)).count();
            if here > 1 {
                let place = node(pod);
                self.broken.push(format!(
                    "pod {pod_name} is the second of DaemonSet {name} on node {place}"
                ));
            }
            return;
        }
        if kind != "Job" {
            return;
        }
        let most = self.most.entry(name.clone()).or_default();
        *most = (*most).max(siblings.len());
        let index = index(pod);
        if index.is_some() && siblings.iter().filter(|sibling| self::index(sibling) == index).count() > 1 {
            self.broken
                .push(format!("pod {pod_name} is the second of Job {name} for one index"));
        }
        // A Job that this witness has not seen yet cannot be judged by its parallelism.
        let parallelism = self
            .jobs
            .get(uid)
            .and_then(|job| job["spec"]["parallelism"].as_u64())
            .unwrap_or(u64::MAX);
        if siblings.len() as u64 > parallelism {
            self.broken.push(format!(
                "pod {pod_name} makes {} active pods of Job {name}, whose parallelism is {parallelism}",
                siblings.len()
            ));
        }
    }

    /// Where a finished Job's counters differ from what was seen of its pods.
    fn miscounted(&self, job: &Value) -> Option<String> {
        let name = &job["metadata"]["name"];
        let ended = self.ended.get(job["metadata"]["uid"].as_str()?);
        let count = |phase: &str| {
            let ended = ended.into_iter().flatten();
            ended.filter(|(_, seen)| *seen == phase).count() as u64
        };
        let status = &job["status"];
        let told = |field: &str| status[field].as_u64().unwrap_or_default();
        if job["spec"]["completionMode"] == "Indexed" {
            let completions = job["spec"]["completions"].as_u64().unwrap_or_default();
            return (told("succeeded") > completions)
                .then(|| format!("Job {name} succeeded {} of {completions} times", told("succeeded")));
        }
        (told("succeeded") != count("Succeeded") || told("failed") != count("Failed")).then(|| {
            format!(
                "Job {name} says {} succeeded and {} failed; seen were {} and {}",
                told("succeeded"),
                told("failed"),
                count("Succeeded"),
                count("Failed")
            )
        })
    }
}

/// Kind, uid and name of the owner that manages a pod.
fn owner(pod: &Value) -> Option<(String, String, String)> {
    let owners = pod["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    let text = |field: &str| owner[field].as_str().unwrap_or_default().to_owned();
    Some((text("kind"), text("uid"), text("name")))
}

fn is_active(pod: &Value) -> bool {
    !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
        && pod["metadata"]["deletionTimestamp"].is_null()
}

fn index(pod: &Value) -> Option<&str> {
    pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"].as_str()
}

/// The node a daemon's pod is meant for.
fn node(pod: &Value) -> String {
    let required = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    required["nodeSelectorTerms"][0]["matchFields"][0]["values"][0].to_string()
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
