//! kube-rs: create, watch, patch, read logs of, run commands in, and delete all three kinds.
//!
//! A watcher of each kind stays open for the whole run; at the end, each must have told of every change once and in order.

use std::fmt::Debug;
use std::time::Duration;

use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{
    Api, AttachParams, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams, PropagationPolicy,
    WatchEvent, WatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Resource, ResourceExt as _};
use rota_e2e::{Cluster, Image, PATIENCE};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinHandle;

/// The object whose deletion ends a watcher.
const LAST: &str = "the-last";

/// Between two looks at something that takes time.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// How often each object is patched.
const STEPS: usize = 8;

async fn client(cluster: &Cluster) -> Client {
    let config = Kubeconfig::read_from(cluster.kubeconfig()).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("a configuration")).expect("a client")
}

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(PATIENCE, future).await;
    ended.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}

/// Each kind has a namespace of its own: what a watcher sees there, and which pods, is up to one flow alone.
async fn make_namespace(client: &Client, name: &str) {
    let namespace = object(json!({"metadata": {"name": name}}));
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .expect("a namespace");
}

/// What a watcher told: whether the object is there, its name, its version, its step.
type Told = (bool, String, u64, Option<usize>);

/// Watches from now until [`LAST`] is gone.
async fn inform<K>(api: Api<K>) -> JoinHandle<Vec<Told>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let listed = api.list(&ListParams::default()).await.expect("a list");
    let version = listed.metadata.resource_version.expect("a version");
    tokio::spawn(async move {
        let mut told = Vec::new();
        let events = api.watch(&WatchParams::default(), &version).await.expect("a watch");
        let mut events = events.boxed();
        while let Some(event) = events.next().await {
            let (there, object) = match event.expect("the watch stays open") {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => (true, object),
                WatchEvent::Deleted(object) => (false, object),
                WatchEvent::Bookmark(_) => continue,
                WatchEvent::Error(status) => panic!("{status:?}"),
            };
            let version = object.resource_version().and_then(|version| version.parse().ok());
            let step = object.labels().get("step").and_then(|step| step.parse().ok());
            let ends = !there && object.name_any() == LAST;
            told.push((there, object.name_any(), version.expect("a version"), step));
            if ends {
                break;
            }
        }
        told
    })
}

/// Waits until an object, or its absence, is as wanted; gives the object.
async fn until<K>(api: &Api<K>, name: &str, what: &str, is_so: impl Fn(Option<&K>) -> bool) -> Option<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    in_time(what, async {
        loop {
            let found = api.get_opt(name).await.expect("an answer");
            if is_so(found.as_ref()) {
                return found;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    })
    .await
}

/// Every change once and in order: versions rise, a deletion ends each life, and no patch is missing.
async fn check(informer: JoinHandle<Vec<Told>>, patched: &str) {
    let told = in_time("the watcher", informer).await.expect("it ends");
    let rises = told.windows(2).all(|pair| pair[0].2 < pair[1].2);
    assert!(rises, "{told:?}");
    for (at, (there, name, ..)) in told.iter().enumerate() {
        let is_last = told[at + 1..].iter().all(|(_, other, ..)| other != name);
        assert_eq!(*there, !is_last, "{name} ends with its deletion: {told:?}");
    }
    let mut steps: Vec<usize> = told
        .iter()
        .filter(|(_, name, ..)| name == patched)
        .filter_map(|(.., step)| *step)
        .collect();
    steps.dedup();
    assert_eq!(steps, (0..STEPS).collect::<Vec<usize>>(), "{told:?}");
}

async fn patch_in_steps<K>(api: &Api<K>, name: &str)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    for step in 0..STEPS {
        let patch = json!({"metadata": {"labels": {"step": step.to_string()}}});
        let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        assert_eq!(patched.expect("a patch").labels()["step"], step.to_string());
    }
}

async fn delete<K>(api: &Api<K>, name: &str, policy: PropagationPolicy)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let parameters = DeleteParams {
        propagation_policy: Some(policy),
        ..DeleteParams::default()
    };
    api.delete(name, &parameters).await.expect("a deletion");
    until(api, name, "the deletion", |found| found.is_none()).await;
}

fn template(script: &str, restart_policy: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "agent"}},
        "spec": {
            "restartPolicy": restart_policy,
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "image": "busybox", "command": ["sh", "-c", script]}],
        },
    })
}

fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object")
}

async fn pods_of(pods: &Api<Pod>, labels: &str) -> Vec<Pod> {
    let list = pods.list(&ListParams::default().labels(labels)).await;
    list.expect("a list").items
}

async fn completed(jobs: &Api<Job>, name: &str) -> Job {
    let is_complete = |job: Option<&Job>| {
        let status = job.and_then(|job| job.status.as_ref());
        let mut conditions = status
            .and_then(|status| status.conditions.as_ref())
            .into_iter()
            .flatten();
        conditions.any(|condition| condition.type_ == "Complete" && condition.status == "True")
    };
    until(jobs, name, "the job to complete", is_complete)
        .await
        .expect("a job")
}

async fn job_flow(client: &Client) {
    make_namespace(client, "jobs").await;
    let jobs: Api<Job> = Api::namespaced(client.clone(), "jobs");
    let pods: Api<Pod> = Api::namespaced(client.clone(), "jobs");
    let informer = inform(jobs.clone()).await;
    let hello = |name: &str, suspend: bool| -> Job {
        object(json!({
            "metadata": {"name": name},
            "spec": {"suspend": suspend, "completions": 2, "parallelism": 2,
                     "template": template("echo hello; sleep 1", "Never")},
        }))
    };
    jobs.create(&PostParams::default(), &hello("hello", false))
        .await
        .expect("a job");
    let again = jobs.create(&PostParams::default(), &hello("hello", false)).await;
    assert!(matches!(again, Err(kube::Error::Api(status)) if status.is_already_exists()));
    patch_in_steps(&jobs, "hello").await;
    let done = completed(&jobs, "hello").await;
    assert_eq!(done.status.and_then(|status| status.succeeded), Some(2));
    let made = pods_of(&pods, "job-name=hello").await;
    assert_eq!(made.len(), 2);
    for pod in &made {
        let log = pods.logs(&pod.name_any(), &LogParams::default()).await;
        assert_eq!(log.expect("a log"), "hello\n");
    }
    delete(&jobs, "hello", PropagationPolicy::Foreground).await;
    assert!(pods_of(&pods, "job-name=hello").await.is_empty());
    jobs.create(&PostParams::default(), &hello(LAST, true))
        .await
        .expect("a job");
    delete(&jobs, LAST, PropagationPolicy::Background).await;
    check(informer, "hello").await;
}

async fn cron_job_flow(client: &Client) {
    make_namespace(client, "cron-jobs").await;
    let cron_jobs: Api<CronJob> = Api::namespaced(client.clone(), "cron-jobs");
    let jobs: Api<Job> = Api::namespaced(client.clone(), "cron-jobs");
    let pods: Api<Pod> = Api::namespaced(client.clone(), "cron-jobs");
    let informer = inform(cron_jobs.clone()).await;
    let nightly = |name: &str| -> CronJob {
        object(json!({
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name},
            "spec": {"schedule": "0 3 * * *", "timeZone": "Europe/Berlin",
                     "jobTemplate": {"spec": {"template": template("echo a run", "Never")}}},
        }))
    };
    let created = cron_jobs
        .create(&PostParams::default(), &nightly("nightly"))
        .await
        .expect("a cron job");
    patch_in_steps(&cron_jobs, "nightly").await;
    let suspend = Patch::Strategic(json!({"spec": {"suspend": true}}));
    let suspended = cron_jobs
        .patch("nightly", &PatchParams::default(), &suspend)
        .await
        .expect("a patch");
    assert_eq!(suspended.spec.suspend, Some(true));
    let wrong = Patch::Merge(json!({"spec": {"schedule": "never"}}));
    let refused = cron_jobs.patch("nightly", &PatchParams::default(), &wrong).await;
    assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 422));
    let run = object(json!({
        "metadata": {"name": "by-hand", "ownerReferences": [created.controller_owner_ref(&())]},
        "spec": created.spec.job_template.spec,
    }));
    jobs.create(&PostParams::default(), &run).await.expect("a job");
    completed(&jobs, "by-hand").await;
    let pod = pods_of(&pods, "job-name=by-hand").await.remove(0).name_any();
    let follow = LogParams {
        follow: true,
        ..LogParams::default()
    };
    let lines = pods.log_stream(&pod, &follow).await.expect("a log").lines();
    let lines: Vec<String> = lines.try_collect().await.expect("lines");
    assert_eq!(lines, ["a run"]);
    delete(&cron_jobs, "nightly", PropagationPolicy::Background).await;
    until(&jobs, "by-hand", "the run to go", |found| found.is_none()).await;
    cron_jobs
        .create(&PostParams::default(), &nightly(LAST))
        .await
        .expect("a cron job");
    delete(&cron_jobs, LAST, PropagationPolicy::Background).await;
    check(informer, "nightly").await;
}

async fn rolled_out(daemon_sets: &Api<DaemonSet>) {
    let is_ready = |found: Option<&DaemonSet>| {
        found.is_some_and(|found| {
            found.status.as_ref().is_some_and(|status| {
                status.observed_generation == found.metadata.generation
                    && status.number_available == Some(1)
                    && status.updated_number_scheduled == Some(1)
            })
        })
    };
    until(daemon_sets, "agent", "the daemon set to be ready", is_ready).await;
}

async fn daemon_set_flow(client: &Client) {
    make_namespace(client, "daemon-sets").await;
    let daemon_sets: Api<DaemonSet> = Api::namespaced(client.clone(), "daemon-sets");
    let pods: Api<Pod> = Api::namespaced(client.clone(), "daemon-sets");
    let informer = inform(daemon_sets.clone()).await;
    let mut agent = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}},
                 "template": template("trap 'exit 0' TERM; echo started; while :; do sleep 1; done", "Always")},
    });
    let apply = PatchParams::apply("story").force();
    let applied = daemon_sets.patch("agent", &apply, &Patch::Apply(&agent)).await;
    applied.expect("an apply creates");
    rolled_out(&daemon_sets).await;
    patch_in_steps(&daemon_sets, "agent").await;
    let pod = pods_of(&pods, "app=agent").await.remove(0).name_any();
    let log = pods.logs(&pod, &LogParams::default()).await;
    assert_eq!(log.expect("a log"), "started\n");
    let mut session = pods
        .exec(
            &pod,
            ["sh", "-c", "read line; echo $line; exit 3"],
            &AttachParams::default().stdin(true).stderr(false),
        )
        .await
        .expect("a session");
    let mut stdin = session.stdin().expect("it was asked for");
    tokio::io::AsyncWriteExt::write_all(&mut stdin, b"typed\n")
        .await
        .expect("it is read");
    let mut said = String::new();
    let mut stdout = session.stdout().expect("it was asked for");
    in_time("the command", stdout.read_to_string(&mut said))
        .await
        .expect("text");
    assert_eq!(said, "typed\n");
    let status = session.take_status().expect("it is told").await.expect("a status");
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));

    agent["spec"]["template"]["metadata"]["annotations"] = json!({"round": "2"});
    daemon_sets
        .patch("agent", &apply, &Patch::Apply(&agent))
        .await
        .expect("an apply");
    rolled_out(&daemon_sets).await;
    assert_ne!(pods_of(&pods, "app=agent").await.remove(0).name_any(), pod);
    delete(&daemon_sets, "agent", PropagationPolicy::Foreground).await;
    agent["metadata"]["name"] = LAST.into();
    agent["spec"]["template"]["spec"]["nodeSelector"] = json!({"no": "node"});
    daemon_sets
        .create(&PostParams::default(), &object(agent))
        .await
        .expect("a daemon set");
    delete(&daemon_sets, LAST, PropagationPolicy::Background).await;
    check(informer, "agent").await;
}

#[tokio::test]
async fn kube_rs_runs_all_three_kinds_and_misses_no_change() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    let client = client(&cluster).await;
    tokio::join!(job_flow(&client), cron_job_flow(&client), daemon_set_flow(&client));
}
