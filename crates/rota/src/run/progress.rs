//! How far a run has come: a pure picture built from the objects that are seen.

use std::collections::BTreeMap;
use std::fmt;

use rota_api::Object;
use rota_api::k8s::api::apps::v1::DaemonSet;
use rota_api::k8s::api::batch::v1::Job;
use rota_api::k8s::api::core::v1::{ContainerState, ContainerStatus, Pod};

/// Counts of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
pub(crate) enum Counts {
    /// The pods of a Job.
    Job {
        /// Pods that succeeded.
        succeeded: i32,
        /// Pods that are at work.
        active: i32,
        /// Pods that failed.
        failed: i32,
        /// How many must succeed.
        wanted: i32,
    },
    /// The nodes of a DaemonSet.
    DaemonSet {
        /// Nodes whose pod is ready.
        ready: i32,
        /// Nodes whose pod is there and not ready yet.
        starting: i32,
        /// Nodes that have a pod and should have none.
        misscheduled: i32,
        /// Nodes that should have a pod.
        wanted: i32,
    },
}

impl Default for Counts {
    fn default() -> Self {
        Self::Job {
            succeeded: 0,
            active: 0,
            failed: 0,
            wanted: 0,
        }
    }
}

impl Counts {
    /// How many pods must succeed, or nodes should have a pod.
    pub(crate) fn wanted(self) -> i32 {
        match self {
            Self::Job { wanted, .. } | Self::DaemonSet { wanted, .. } => wanted,
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The Job is Complete.
    Complete,
    /// The Job is Failed.
    Failed {
        /// The condition's reason and message.
        why: String,
    },
    /// Somebody deleted it.
    Deleted,
}

/// The picture.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) counts: Counts,
    pub(crate) verdict: Option<Verdict>,
    /// Every node that should have a daemon pod has one that is ready.
    pub(crate) all_ready: bool,
    pods: BTreeMap<String, PodState>,
    failing_code: Option<i32>,
}

/// What one pod is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodState {
    /// As in the STATUS column of `kubectl get pods`, in short.
    pub(crate) state: String,
    /// True when it will not change any more.
    pub(crate) is_over: bool,
    /// Containers whose log can be read, with the run that is meant.
    pub(crate) logs: Vec<LogName>,
}

/// The log of one run of one container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogName {
    pub(crate) pod: String,
    pub(crate) container: String,
    pub(crate) restart: i32,
}

impl Progress {
    /// The Job as it is now.
    pub(crate) fn see_job(&mut self, job: &Job) {
        let spec = job.spec.as_ref();
        let status = job.status.as_ref();
        let parallelism = spec.and_then(|s| s.parallelism).unwrap_or(1);
        self.counts = Counts::Job {
            succeeded: status.and_then(|s| s.succeeded).unwrap_or_default(),
            active: status.and_then(|s| s.active).unwrap_or_default(),
            failed: status.and_then(|s| s.failed).unwrap_or_default(),
            wanted: spec.and_then(|s| s.completions).unwrap_or(parallelism.min(1)),
        };
        for condition in status.and_then(|s| s.conditions.as_ref()).into_iter().flatten() {
            if condition.status != "True" {
                continue;
            }
            match condition.type_.as_str() {
                "Complete" => self.verdict = Some(Verdict::Complete),
                "Failed" => {
                    let reason = condition.reason.clone().unwrap_or_default();
                    let message = condition.message.clone().unwrap_or_default();
                    self.verdict = Some(Verdict::Failed {
                        why: format!("{reason}: {message}"),
                    });
                }
                _ => {}
            }
        }
    }

    /// The DaemonSet as it is now.
    pub(crate) fn see_daemon_set(&mut self, set: &DaemonSet) {
        let Some(status) = &set.status else { return };
        self.counts = Counts::DaemonSet {
            ready: status.number_ready,
            starting: (status.current_number_scheduled - status.number_ready).max(0),
            misscheduled: status.number_misscheduled,
            wanted: status.desired_number_scheduled,
        };
        let is_current = status.observed_generation.unwrap_or_default() >= set.metadata.generation.unwrap_or_default();
        self.all_ready = is_current && status.number_ready >= status.desired_number_scheduled;
    }

    /// A pod as it is now. Returns what it is doing, where that is news.
    pub(crate) fn see_pod(&mut self, object: &Object) -> Option<PodState> {
        let name = object.meta().name.clone();
        let Ok(pod) = object.view::<Pod>() else { return None };
        let state = pod_state(&name, &pod);
        if let Some(code) = failing_code(&pod) {
            self.failing_code = Some(code);
        }
        if self.pods.get(&name) == Some(&state) {
            return None;
        }
        self.pods.insert(name, state.clone());
        Some(state)
    }

    /// A pod is gone.
    pub(crate) fn forget_pod(&mut self, name: &str) {
        self.pods.remove(name);
    }

    /// The pods that are not over, by name.
    pub(crate) fn live_pods(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pods
            .iter()
            .filter(|(_, pod)| !pod.is_over)
            .map(|(name, pod)| (name.as_str(), pod.state.as_str()))
    }

    /// The exit status of `rota run` for its verdict: 0 for Complete, else that of a container that failed, else 1.
    pub(crate) fn exit_code(&self) -> u8 {
        match self.verdict {
            Some(Verdict::Complete) => 0,
            _ => self
                .failing_code
                .and_then(|code| u8::try_from(code).ok())
                .filter(|code| *code != 0)
                .unwrap_or(1),
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (done, goal, others) = match *self {
            Self::Job {
                succeeded,
                active,
                failed,
                ..
            } => (succeeded, "succeeded", [(active, "active"), (failed, "failed")]),
            Self::DaemonSet {
                ready,
                starting,
                misscheduled,
                ..
            } => (ready, "ready", [(starting, "starting"), (misscheduled, "misscheduled")]),
        };
        write!(f, "{done}/{} {goal}", self.wanted())?;
        for (count, what) in others.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        Ok(())
    }
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status
        .and_then(|s| s.init_container_statuses.as_ref())
        .into_iter()
        .flatten();
    init.chain(status.and_then(|s| s.container_statuses.as_ref()).into_iter().flatten())
}

fn pod_state(name: &str, pod: &Pod) -> PodState {
    let status = pod.status.as_ref();
    let phase = status
        .and_then(|s| s.phase.clone())
        .unwrap_or_else(|| "Pending".to_owned());
    let is_over = phase == "Succeeded" || phase == "Failed";
    let mut state = status.and_then(|s| s.reason.clone()).unwrap_or(phase);
    let mut logs = Vec::new();
    for container in statuses(pod) {
        match &container.state {
            Some(ContainerState {
                waiting: Some(waiting), ..
            }) => {
                if let Some(reason) = &waiting.reason {
                    state = explained(reason, waiting.message.as_deref());
                }
            }
            Some(ContainerState { running: Some(_), .. }) => {}
            Some(ContainerState {
                terminated: Some(ended),
                ..
            }) if ended.exit_code != 0 => {
                let reason = ended.reason.clone().unwrap_or_else(|| "Error".to_owned());
                state = explained(
                    &format!("{reason} (exit {})", ended.exit_code),
                    ended.message.as_deref(),
                );
            }
            _ => {}
        }
        let is_waiting = container.state.as_ref().is_none_or(|s| s.waiting.is_some());
        let restart = if is_waiting {
            container.restart_count - 1
        } else {
            container.restart_count
        };
        if !is_waiting || container.last_state.as_ref().is_some_and(|s| s.terminated.is_some()) {
            logs.push(LogName {
                pod: name.to_owned(),
                container: container.name.clone(),
                restart: restart.max(0),
            });
        }
    }
    PodState { state, is_over, logs }
}

/// What happened, and why where that is known, in one line.
fn explained(what: &str, why: Option<&str>) -> String {
    let why = why.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    if why.is_empty() {
        what.to_owned()
    } else {
        format!("{what}: {why}")
    }
}

/// The exit code of a container that ran and failed.
fn failing_code(pod: &Pod) -> Option<i32> {
    statuses(pod)
        .filter_map(|container| {
            let now = container.state.as_ref().and_then(|s| s.terminated.as_ref());
            now.or(container.last_state.as_ref().and_then(|s| s.terminated.as_ref()))
        })
        .filter(|ended| ended.started_at.is_some())
        .map(|ended| ended.exit_code)
        .find(|code| *code != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_api::resource;
    use serde_json::json;

    fn job(status: &serde_json::Value) -> Job {
        serde_json::from_value(json!({"spec": {"completions": 3, "template": {}}, "status": status})).unwrap()
    }

    fn failed_pod(code: i32) -> Object {
        Object::from_value(
            resource::PODS,
            json!({"metadata": {"name": "p"}, "status": {"phase": "Failed", "containerStatuses": [
                {"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                 "state": {"terminated": {"exitCode": code, "reason": "Error", "startedAt": "2026-01-01T00:00:00Z"}}}]}}),
        )
    }

    #[test]
    fn a_container_that_never_ran_has_no_exit_code() {
        let mut progress = Progress::default();
        progress.see_pod(&Object::from_value(
            resource::PODS,
            json!({"metadata": {"name": "p"}, "status": {"phase": "Failed", "containerStatuses": [
                {"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                 "state": {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}}}]}}),
        ));
        progress.verdict = Some(Verdict::Failed { why: String::new() });
        assert_eq!(progress.exit_code(), 1);
    }

    #[test]
    fn why_a_container_waits_is_told() {
        let waiting = json!({"reason": "ErrImagePull", "message": "no such host:\n  registry"});
        let pod = Object::from_value(
            resource::PODS,
            json!({"metadata": {"name": "p"}, "status": {"phase": "Pending", "containerStatuses": [
                {"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"waiting": waiting}}]}}),
        );
        let state = Progress::default().see_pod(&pod).unwrap();
        assert_eq!(state.state, "ErrImagePull: no such host: registry");
    }

    #[test]
    fn a_complete_job_ends_the_run_with_0() {
        let mut progress = Progress::default();
        progress.see_pod(&failed_pod(7));
        progress.see_job(&job(
            &json!({"succeeded": 3, "conditions": [{"type": "Complete", "status": "True"}]}),
        ));
        assert_eq!(progress.verdict, Some(Verdict::Complete));
        assert_eq!(progress.exit_code(), 0);
        assert_eq!(progress.counts.to_string(), "3/3 succeeded");
    }

    #[test]
    fn a_failed_job_ends_the_run_with_the_exit_code_of_a_container_that_failed() {
        let mut progress = Progress::default();
        progress.see_pod(&failed_pod(7));
        progress.see_job(&job(&json!({"failed": 1, "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "m"}]}),
        ));
        assert_eq!(progress.exit_code(), 7);
        assert_eq!(
            progress.verdict,
            Some(Verdict::Failed {
                why: "BackoffLimitExceeded: m".to_owned()
            })
        );
    }

    #[test]
    fn without_an_exit_code_a_failure_ends_the_run_with_1() {
        let mut progress = Progress::default();
        progress.see_job(&job(&json!({"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "m"}]}),
        ));
        assert_eq!(progress.exit_code(), 1);
    }

    #[test]
    fn the_nodes_of_a_daemon_set_are_counted_as_ready() {
        let mut progress = Progress::default();
        let set = json!({"metadata": {"generation": 1}, "status": {
            "observedGeneration": 1, "currentNumberScheduled": 3, "desiredNumberScheduled": 3, "numberMisscheduled": 0, "numberReady": 2}});
        progress.see_daemon_set(&serde_json::from_value(set).unwrap());
        assert_eq!(progress.counts.to_string(), "2/3 ready, 1 starting");
        assert!(!progress.all_ready);
    }

    #[test]
    fn the_same_pod_seen_twice_is_news_once() {
        let mut progress = Progress::default();
        let state = progress.see_pod(&failed_pod(7)).unwrap();
        assert_eq!(state.state, "Error (exit 7)");
        assert!(state.is_over);
        assert_eq!(progress.see_pod(&failed_pod(7)), None);
        assert_eq!(progress.live_pods().count(), 0);
    }
}
