//! `rota run`: one Job now, its progress and output, and its result as the exit status.

mod display;
mod logs;
pub(crate) mod manifest;
mod progress;
mod target;

use std::io::Read as _;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rota_api::{ApiError, DeleteOptions, Object, Propagation, Resource, Write, resource};
use rota_cluster::reflect::{Update, reflect};
use rota_cluster::{Cluster, EventKind, Selection, WatchEvent};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cli::RunArgs;
use crate::interrupt::Early;
use display::{Display, End, Reason, Subject};
use logs::{Line, Logs};
use manifest::{Manifest, Workload};
use progress::{Progress, Verdict};
use target::Target;

/// The exit status when the time was up, as of `timeout(1)`.
const EXIT_TIMEOUT: u8 = 124;
/// How many updates and log lines may wait to be shown.
const WAITING_MAX: usize = 1024;
/// How long deleting the run's objects may take.
const CLEAN_UP_MAX: Duration = Duration::from_secs(40);

/// Runs the command.
pub(crate) async fn command(args: RunArgs) -> Result<ExitCode> {
    let manifest = load(&args)?;
    let mut early = std::pin::pin!(Early::next()?);
    let target = match Target::find(&args, early.as_mut()).await? {
        ControlFlow::Continue(target) => target,
        ControlFlow::Break(early) => return Ok(ExitCode::from(early.exit_code())),
    };
    let code = run(&args, &manifest, &target, early).await;
    target.close().await.context("stopping the cluster of this run")?;
    code.map(ExitCode::from)
}

fn load(args: &RunArgs) -> Result<Manifest> {
    let salt = getrandom::u32().context("reading randomness")? & 0xf_ffff;
    if let Some(image) = &args.image {
        return manifest::from_options(args, image, salt);
    }
    let file = args.file.as_deref().context("neither --file nor --image was given")?;
    let text = if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("reading the manifest from standard input")?;
        text
    } else {
        std::fs::read_to_string(file).with_context(|| format!("reading the manifest {}", file.display()))?
    };
    manifest::read(&text, &args.namespace, salt)
}

/// What was created for a run, in that order.
type Made = Vec<Arc<Object>>;

async fn run(
    args: &RunArgs,
    manifest: &Manifest,
    target: &Target,
    early: Pin<&mut impl Future<Output = Early>>,
) -> Result<u8> {
    let mut made = Made::new();
    let code = match create(manifest, target, &mut made).await {
        Ok(workload) => watch(args, target, &workload, early).await,
        Err(error) => Err(error),
    };
    if !args.keep && !target.is_own() {
        clean_up(target, &made).await;
    }
    code
}

async fn create(manifest: &Manifest, target: &Target, made: &mut Made) -> Result<Arc<Object>> {
    for (resource, object) in &manifest.supporting {
        match create_one(target, resource, object).await {
            Ok(object) => made.push(object),
            // Someone else's object is used as it is, and left alone afterwards.
            Err(error) if error.reason() == rota_api::Reason::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("creating {}", name_of(resource, object))),
        }
    }
    let (resource, object) = match &manifest.workload {
        Workload::Job(job) => (resource::JOBS, job),
        Workload::DaemonSet(set) => (resource::DAEMON_SETS, set),
    };
    let workload = create_one(target, resource, object)
        .await
        .with_context(|| format!("creating {}", name_of(resource, object)))?;
    made.push(Arc::clone(&workload));
    Ok(workload)
}

async fn create_one(target: &Target, resource: &'static Resource, object: &Value) -> Result<Arc<Object>, ApiError> {
    Ok(Arc::clone(
        target
            .cluster
            .write(Write::create(resource, object.clone()))
            .await?
            .object(),
    ))
}

fn name_of(resource: &Resource, object: &Value) -> String {
    format!(
        "{} {:?}",
        resource.kind,
        object["metadata"]["name"].as_str().unwrap_or_default()
    )
}

async fn clean_up(target: &Target, made: &Made) {
    let work = async {
        for object in made.iter().rev() {
            let meta = object.meta();
            let options = DeleteOptions {
                propagation: Some(Propagation::Background),
                ..DeleteOptions::default()
            };
            let delete = Write::delete(object.resource(), &meta.namespace, &meta.name, options).if_uid(&meta.uid);
            if let Err(error) = target.cluster.write(delete).await
                && !error.is_not_found()
            {
                tracing::warn!(kind = object.resource().kind, name = meta.name, %error, "could not be removed");
            }
        }
    };
    if tokio::time::timeout(CLEAN_UP_MAX, work).await.is_err() {
        tracing::warn!("removing what the run made took too long; some of it may be left");
    }
}

/// Follows the run to its end, or until something ends it early; returns the exit status.
async fn watch(
    args: &RunArgs,
    target: &Target,
    workload: &Arc<Object>,
    mut early: Pin<&mut impl Future<Output = Early>>,
) -> Result<u8> {
    let meta = workload.meta();
    let subject = Subject {
        kind: workload.resource().kind,
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
    };
    let mut view = View {
        display: Display::new(args.json, &subject.to_string()),
        subject,
        progress: Progress::default(),
        uid: meta.uid.clone(),
        is_daemon_set: workload.resource() == resource::DAEMON_SETS,
        many_containers: containers(workload) > 1,
        announced: false,
    };
    let stop = CancellationToken::new();
    let _stop_watching = stop.clone().drop_guard();
    let cluster: Arc<dyn Cluster> = Arc::new(target.cluster.clone());
    let (updates_sender, mut updates) = mpsc::channel(WAITING_MAX);
    let itself = Selection {
        namespace: Some(meta.namespace.clone()),
        fields: format!("metadata.name={}", meta.name),
        ..Selection::default()
    };
    let pods = Selection {
        namespace: Some(meta.namespace.clone()),
        labels: labels_of_pods(workload),
        ..Selection::default()
    };
    for (kind, selection) in [(workload.resource(), itself), (resource::PODS, pods)] {
        tokio::spawn(reflect(
            Arc::clone(&cluster),
            kind,
            selection,
            updates_sender.clone(),
            stop.clone(),
        ));
    }
    let (lines_sender, mut lines) = mpsc::channel(WAITING_MAX);
    let mut logs = Logs::new(target.cluster.clone(), &meta.namespace, lines_sender);
    let mut deadline = std::pin::pin!(async {
        match args.timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    });
    let code = loop {
        if let Some(code) = view.verdict() {
            break code;
        }
        tokio::select! {
            Some(line) = lines.recv() => view.log(&line),
            Some(update) = updates.recv() => view.enter(update, &mut logs),
            early = &mut early => {
                let code = if view.is_daemon_set && view.announced { 0 } else { early.exit_code() };
                view.end(Some(Reason::Early(early)), code);
                return Ok(code);
            }
            () = &mut deadline => {
                view.end(Some(Reason::TimedOut), EXIT_TIMEOUT);
                return Ok(EXIT_TIMEOUT);
            }
        }
    };
    // What the last containers wrote is still on its way.
    let drain = tokio::spawn(logs.finish());
    while let Some(line) = lines.recv().await {
        view.log(&line);
    }
    drain.await.context("reading the rest of the output")?;
    view.end(None, code);
    Ok(code)
}

/// A label selector that leaves out most pods of others; empty where the workload's own selector is not made of labels alone.
fn labels_of_pods(workload: &Object) -> String {
    let selector = &workload.to_value()["spec"]["selector"];
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let pairs = labels.filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?)));
    pairs.collect::<Vec<_>>().join(",")
}

fn containers(workload: &Object) -> usize {
    let spec = &workload.to_value()["spec"]["template"]["spec"];
    ["containers", "initContainers"]
        .iter()
        .map(|field| spec[*field].as_array().map_or(0, Vec::len))
        .sum()
}

/// What is known and shown of a run.
struct View {
    display: Display,
    subject: Subject,
    progress: Progress,
    uid: String,
    is_daemon_set: bool,
    many_containers: bool,
    /// A DaemonSet's readiness has been told.
    announced: bool,
}

impl View {
    fn enter(&mut self, update: Update, logs: &mut Logs) {
        match update {
            Update::Reset(_, objects, _) => {
                for object in objects {
                    self.see(&object, logs);
                }
            }
            Update::Event(WatchEvent {
                kind: EventKind::Deleted,
                object,
            }) => {
                if object.meta().uid == self.uid {
                    self.progress.verdict.get_or_insert(Verdict::Deleted);
                } else {
                    self.progress.forget_pod(&object.meta().name);
                }
            }
            Update::Event(WatchEvent { object, .. }) => self.see(&object, logs),
        }
        self.display.update(&self.progress);
        if self.is_daemon_set && self.progress.all_ready && !self.announced {
            self.announced = true;
            self.display.note(&match self.progress.counts.wanted() {
                0 => "no node is eligible: none has the labels, or tolerable taints, that the template asks for; waiting for one \
                      until interrupted"
                    .to_owned(),
                nodes => format!("ready on all {nodes} eligible nodes; showing logs until interrupted"),
            });
        }
    }

    fn see(&mut self, object: &Object, logs: &mut Logs) {
        if object.meta().uid == self.uid {
            // An object of the right uid that does not fit its type cannot come from an API server.
            if self.is_daemon_set {
                if let Ok(set) = object.view() {
                    self.progress.see_daemon_set(&set);
                }
            } else if let Ok(job) = object.view() {
                self.progress.see_job(&job);
            }
        } else if object.meta().owners.iter().any(|owner| owner.uid == self.uid)
            && let Some(state) = self.progress.see_pod(object)
        {
            logs.follow(&state.logs, self.many_containers);
            self.display.pod(&object.meta().name, &state);
        }
    }

    fn log(&mut self, line: &Line) {
        self.display.log(&line.prefix, &line.text);
    }

    fn verdict(&self) -> Option<u8> {
        self.progress.verdict.as_ref().map(|_| self.progress.exit_code())
    }

    /// The run is over for `reason`; without one, as its verdict says.
    fn end(&mut self, reason: Option<Reason<'_>>, exit_code: u8) {
        let verdict = self.progress.verdict.as_ref().unwrap_or(&Verdict::Deleted);
        self.display.end(&End {
            subject: &self.subject,
            reason: reason.unwrap_or(Reason::Verdict(verdict)),
            counts: self.progress.counts,
            exit_code,
        });
    }
}
