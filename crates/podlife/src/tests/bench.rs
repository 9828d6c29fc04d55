//! A node on which everything works at once unless a test says otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use rota_api::Timestamp;
use rota_api::k8s::api::core::v1::{ContainerState, ContainerStatus, Pod};
use serde_json::{Value, json};

use crate::{Action, BackoffLimits, Exit, Input, Life, NodeFacts, ProbeVerdict, Run, Sandbox, StartFailure};

/// A pod, its life, and the transcript of it.
#[derive(Clone)]
pub(super) struct Bench {
    pub(super) life: Life,
    pod: Value,
    now: i64,
    wake: Option<Timestamp>,
    running: BTreeMap<String, Run>,
    /// Actions by their first word that are never answered.
    pub(super) hangs: BTreeSet<&'static str>,
    /// What each start of a container leads to.
    pub(super) start_failures: BTreeMap<String, StartFailure>,
    pub(super) missing_images: bool,
    lines: Vec<String>,
    told: String,
}

pub(super) fn pod(spec: Value) -> Value {
    let mut spec = spec;
    if spec["containers"].is_null() {
        spec["containers"] = json!([{"name": "c", "image": "i"}]);
    }
    json!({"metadata": {"name": "p", "namespace": "d", "uid": "u"}, "spec": spec, "status": {"phase": "Pending"}})
}

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

impl Bench {
    pub(super) fn new(spec: Value) -> Self {
        Self::of(pod(spec))
    }

    pub(super) fn of(pod: Value) -> Self {
        let node = NodeFacts {
            addresses: vec![IpAddr::from([10, 0, 0, 1])],
        };
        let parsed: Pod = serde_json::from_value(pod.clone()).unwrap();
        Self {
            life: Life::new(Arc::new(parsed), node, BackoffLimits::default()),
            pod,
            now: 0,
            wake: None,
            running: BTreeMap::new(),
            hangs: BTreeSet::new(),
            start_failures: BTreeMap::new(),
            missing_images: false,
            lines: Vec::new(),
            told: String::new(),
        }
    }

    /// Steps until nothing is asked for any more.
    pub(super) fn settle(&mut self) -> &mut Self {
        let mut was_quiet = false;
        for _ in 0..100 {
            let step = self.life.step(at(self.now));
            self.wake = step.wake;
            for note in &step.notes {
                self.lines
                    .push(format!("{:>3}   {}: {}", self.now, note.reason, note.message));
            }
            let told = tell(
                step.status.phase.as_deref(),
                &[
                    &step.status.init_container_statuses,
                    &step.status.container_statuses,
                    &step.status.ephemeral_container_statuses,
                ],
            );
            if told != self.told {
                self.lines.push(format!("{:>3} = {told}", self.now));
                self.told = told;
            }
            if matches!(step.status.phase.as_deref(), Some("Succeeded" | "Failed")) {
                self.life.see(Input::TerminalStatusAccepted, at(self.now));
            }
            // What was accepted after a quiet step may still lead to something: only the second one in a row is rest.
            if step.actions.is_empty() && std::mem::replace(&mut was_quiet, true) {
                return self;
            }
            was_quiet &= step.actions.is_empty();
            for action in step.actions {
                self.act(&action);
            }
        }
        panic!("the pod never comes to rest:\n{}", self.lines.join("\n"));
    }

    fn act(&mut self, action: &Action) {
        let (word, input) = self.answer(action);
        if !word.is_empty() {
            self.lines.push(format!("{:>3} > {word}", self.now));
        }
        let first = word.split(' ').next().unwrap_or_default();
        if let Some(input) = input.filter(|_| !self.hangs.contains(first)) {
            if let Input::Exited(run) = &input {
                self.running.remove(&run.container);
            }
            self.life.see(input, at(self.now));
        }
    }

    fn answer(&mut self, action: &Action) -> (String, Option<Input>) {
        match action {
            Action::PrepareVolumes => (String::new(), Some(Input::VolumesReady)),
            Action::RunSandbox { attempt } => {
                let sandbox = Sandbox {
                    id: format!("s{attempt}"),
                    attempt: *attempt,
                    ips: vec![IpAddr::from([10, 42, 0, 5])],
                };
                (format!("sandbox {attempt}"), Some(Input::Sandbox(sandbox)))
            }
            Action::StopSandbox { .. } => ("stop-sandbox".to_owned(), Some(Input::SandboxStopped)),
            Action::RemoveSandbox { .. } => ("remove-sandbox".to_owned(), None),
            Action::FindImage { container, .. } => {
                let input = Input::ImageFound {
                    container: container.clone(),
                    present: !self.missing_images,
                };
                (String::new(), Some(input))
            }
            Action::PullImage { container, .. } => {
                let input = Input::PullFailed {
                    container: container.clone(),
                    reason: "ErrImagePull".to_owned(),
                    message: "no such host".to_owned(),
                };
                (format!("pull {container}"), Some(input))
            }
            Action::StartContainer {
                container,
                attempt,
                sandbox,
            } => {
                let word = format!("start {container} {attempt}");
                if let Some(failure) = self.start_failures.get(container).cloned() {
                    let (container, attempt) = (container.clone(), *attempt);
                    return (
                        word,
                        Some(Input::StartFailed {
                            container,
                            attempt,
                            failure,
                        }),
                    );
                }
                let run = self.run(container, *attempt, sandbox);
                self.running.insert(container.clone(), run.clone());
                (word, Some(Input::Started(run)))
            }
            Action::StopContainer {
                container,
                grace,
                pre_stop,
                ..
            } => {
                let hook = if *pre_stop { "" } else { ", again" };
                let word = format!("stop {container} within {}s{hook}", grace.as_secs());
                (
                    word,
                    self.running
                        .get(container)
                        .map(|run| Input::Exited(ended(run, 143, self.now))),
                )
            }
            Action::PreStop { container, id, grace } => {
                let word = format!("pre-stop {container} within {}s", grace.as_secs());
                let (container, id) = (container.clone(), id.clone());
                (word, Some(Input::PreStopped { container, id }))
            }
            Action::RemoveContainer { container, attempt, .. } => (format!("remove {container} {attempt}"), None),
            Action::PostStart { container, id } => {
                let input = Input::PostStart {
                    container: container.clone(),
                    id: id.clone(),
                    error: None,
                };
                (format!("post-start {container}"), Some(input))
            }
            Action::Probe { container, id, kind } => {
                let word = format!("probe {container} {}", kind.as_str());
                let input = Input::Probed {
                    container: container.clone(),
                    id: id.clone(),
                    kind: *kind,
                    verdict: ProbeVerdict::Success,
                };
                (word, Some(input))
            }
            Action::CleanUp => (String::new(), Some(Input::CleanedUp)),
            Action::ConfirmDeletion => ("confirm".to_owned(), None),
        }
    }

    fn run(&self, container: &str, attempt: u32, sandbox: &str) -> Run {
        Run {
            container: container.to_owned(),
            id: format!("rota://{container}{attempt}"),
            sandbox: sandbox.to_owned(),
            attempt,
            image: self.image_of(container),
            image_id: "sha256:1".to_owned(),
            started: at(self.now),
            exit: None,
        }
    }

    fn image_of(&self, name: &str) -> String {
        let lists = ["initContainers", "containers"].map(|list| self.pod["spec"][list].as_array());
        let mut containers = lists.into_iter().flatten().flatten();
        let found = containers.find(|container| container["name"] == name);
        found
            .and_then(|container| container["image"].as_str())
            .unwrap_or("i")
            .to_owned()
    }

    /// The pod's first container is given another image.
    pub(super) fn set_image(&mut self, image: &str) -> &mut Self {
        self.pod["spec"]["containers"][0]["image"] = image.into();
        let pod: Pod = serde_json::from_value(self.pod.clone()).unwrap();
        self.see(Input::Pod(Arc::new(pod)))
    }

    /// A container ends.
    pub(super) fn exit(&mut self, container: &str, code: i32) -> &mut Self {
        let run = self
            .running
            .remove(container)
            .expect("the test ends a container that runs");
        self.life.see(Input::Exited(ended(&run, code, self.now)), at(self.now));
        self.settle()
    }

    /// The end of a run is told that may be known already.
    pub(super) fn tell_end(&mut self, container: &str, attempt: u32, code: i32) -> &mut Self {
        let run = self.run(container, attempt, "s0");
        self.see(Input::Exited(ended(&run, code, self.now)))
    }

    /// Something is observed.
    pub(super) fn see(&mut self, input: Input) -> &mut Self {
        self.life.see(input, at(self.now));
        self.settle()
    }

    /// A sandbox and a running container are found, as after a restart of the agent.
    pub(super) fn find(&mut self, container: &str, attempt: u32) -> &mut Self {
        let sandbox = Sandbox {
            id: "s0".to_owned(),
            attempt: 0,
            ips: Vec::new(),
        };
        self.life.see(Input::Sandbox(sandbox), at(self.now));
        let run = self.run(container, attempt, "s0");
        self.running.insert(container.to_owned(), run.clone());
        self.life.see(Input::Started(run), at(self.now));
        self
    }

    /// The pod is deleted with this grace.
    pub(super) fn delete(&mut self, grace: i64) -> &mut Self {
        self.pod["metadata"]["deletionTimestamp"] = at(self.now + grace).to_string().into();
        self.pod["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        let pod: Pod = serde_json::from_value(self.pod.clone()).unwrap();
        self.see(Input::Pod(Arc::new(pod)))
    }

    /// An ephemeral container is added to the pod.
    pub(super) fn add(&mut self, container: &Value) -> &mut Self {
        self.pod["spec"]["ephemeralContainers"] = json!([container]);
        let pod: Pod = serde_json::from_value(self.pod.clone()).unwrap();
        self.see(Input::Pod(Arc::new(pod)))
    }

    /// Time passes until `second`; the pod wakes when it wants to.
    pub(super) fn until(&mut self, second: i64) -> &mut Self {
        while let Some(wake) = self.wake.filter(|wake| *wake <= at(second)) {
            assert!(wake > at(self.now), "the pod wakes without time passing");
            self.now = wake.as_second();
            self.settle();
        }
        self.now = second;
        self
    }

    /// Compares the transcript since the last call.
    pub(super) fn check(&mut self, expected: &str) -> &mut Self {
        let expected: Vec<&str> = expected
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let lines: Vec<String> = self.lines.drain(..).map(|line| line.trim().to_owned()).collect();
        assert_eq!(lines.join("\n"), expected.join("\n"));
        self
    }

    /// The status as last told.
    pub(super) fn told(&self) -> &str {
        &self.told
    }

    /// Forgets the transcript so far.
    pub(super) fn skip(&mut self) -> &mut Self {
        self.lines.clear();
        self
    }
}

fn ended(run: &Run, code: i32, now: i64) -> Run {
    let exit = Exit {
        code,
        reason: if code == 0 { "Completed" } else { "Error" }.to_owned(),
        message: String::new(),
        finished: at(now),
    };
    Run {
        exit: Some(exit),
        ..run.clone()
    }
}

/// A status in one line: the phase, and each container as `name state xrestarts`, `+` when ready.
fn tell(phase: Option<&str>, lists: &[&Option<Vec<ContainerStatus>>]) -> String {
    let mut words = vec![phase.unwrap_or("?").to_owned()];
    for status in lists.iter().flat_map(|list| list.iter().flatten()) {
        let ready = if status.ready { "+" } else { "" };
        let state = status.state.as_ref().map_or_else(String::new, state);
        words.push(format!("{}{ready} {state} x{}", status.name, status.restart_count));
    }
    words.join(", ")
}

fn state(state: &ContainerState) -> String {
    if let Some(waiting) = &state.waiting {
        return waiting.reason.clone().unwrap_or_default();
    }
    match &state.terminated {
        Some(terminated) => format!(
            "exit {} {}",
            terminated.exit_code,
            terminated.reason.as_deref().unwrap_or_default()
        ),
        None => "running".to_owned(),
    }
}
