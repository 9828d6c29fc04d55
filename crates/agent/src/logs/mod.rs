//! Logs of containers: which one is meant, and its lines as they are asked for.
//!
//! The runtime writes them in the CRI format, one file per run; here they are only read. Following a log is woken by the
//! kernel when the file grows and by the pod's task when the run ends.
//!
//! Source: `spec/node-and-pod.md` §22.2; kubernetes `pkg/kubelet/kuberuntime/logs/logs.go`, `pkg/kubelet/kubelet_pods.go`.

mod format;
mod reader;

use rota_api::k8s::api::core::v1::{ContainerState, ContainerStatus, PodStatus};
use rota_api::{ApiError, Timestamp};
use tokio::sync::watch;

use crate::worker::PodView;

pub(crate) use format::show;
pub use reader::LogStream;
pub(crate) use reader::read;

/// Which part of a log is wanted, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on with what is written from now on, until the run ends.
    pub follow: bool,
    /// The run before the present one.
    pub previous: bool,
    /// Put the time in front of each line.
    pub timestamps: bool,
    /// Only lines from then on.
    pub since: Option<Timestamp>,
    /// Only so many lines from the end.
    pub tail_lines: Option<u64>,
    /// At most so much. Unit: bytes.
    pub limit_bytes: Option<u64>,
    /// Only one of the two streams.
    pub output: Output,
}

/// Which output of a container is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Both, as they were written.
    #[default]
    All,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What the pod's status says of a container.
pub(crate) fn status_of<'a>(status: &'a PodStatus, container: &str) -> Option<&'a ContainerStatus> {
    let lists = [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ];
    lists
        .into_iter()
        .flat_map(|list| list.iter().flatten())
        .find(|status| status.name == container)
}

/// The number of the run whose log is meant.
///
/// Errors: there is no such run yet or any more, in the words clients know.
pub(crate) fn attempt(status: &PodStatus, container: &str, pod: &str, previous: bool) -> Result<u32, ApiError> {
    let refuse = |why: String| Err(ApiError::bad_request(why));
    let Some(status) = status_of(status, container) else {
        return refuse(format!("container {container:?} in pod {pod:?} is not available"));
    };
    let count = u32::try_from(status.restart_count).unwrap_or(0);
    let has_ended = |state: &Option<ContainerState>| state.as_ref().is_some_and(|s| s.terminated.is_some());
    let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
    if previous {
        // While a container waits to be started again, its latest run is the previous one.
        return match (waiting, has_ended(&status.last_state)) {
            (Some(_), true) => Ok(count),
            (None, true) => Ok(count.saturating_sub(1)),
            (_, false) => refuse(format!(
                "previous terminated container {container:?} in pod {pod:?} not found"
            )),
        };
    }
    let Some(waiting) = waiting else { return Ok(count) };
    if has_ended(&status.last_state) {
        return Ok(count);
    }
    let reason = match waiting.reason.as_deref().unwrap_or_default() {
        "ErrImagePull" => "image can't be pulled",
        "ImagePullBackOff" => "trying and failing to pull image",
        "" => {
            return refuse(format!(
                "container {container:?} in pod {pod:?} is waiting to start - no logs yet"
            ));
        }
        reason => reason,
    };
    refuse(format!(
        "container {container:?} in pod {pod:?} is waiting to start: {reason}"
    ))
}

/// Whether one run of a container still goes on.
pub(crate) struct Running {
    view: watch::Receiver<PodView>,
    container: String,
    attempt: u32,
}

/// Watches one run of a container.
pub(crate) fn running(view: watch::Receiver<PodView>, container: String, attempt: u32) -> Running {
    Running {
        view,
        container,
        attempt,
    }
}

impl Running {
    /// Waits until the run has ended or the pod is gone.
    pub(crate) async fn ended(&mut self) {
        let (container, attempt) = (self.container.clone(), self.attempt);
        let has_ended = |view: &PodView| {
            let status = status_of(&view.status, &container);
            !status.is_some_and(|status| {
                let is_running = status.state.as_ref().is_some_and(|state| state.running.is_some());
                is_running && u32::try_from(status.restart_count).ok() == Some(attempt)
            })
        };
        // Refused when the pod's task is over: then nothing runs either.
        let _ = self.view.wait_for(has_ended).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(state: Value, last: Value, previous: bool, expected: Result<u32, &str>) {
        let mut container = json!({"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 3});
        container["state"] = state;
        container["lastState"] = last;
        let status = json!({"containerStatuses": [container]});
        let parsed: PodStatus = serde_json::from_value(status.clone()).unwrap();
        let attempt = attempt(&parsed, "c", "p", previous);
        let told = attempt.as_ref().map(|n| *n).map_err(ApiError::message);
        assert_eq!(told, expected, "{status}");
    }

    #[test]
    fn the_run_that_is_meant_is_found_or_its_absence_explained() {
        let ended = || json!({"terminated": {"exitCode": 1}});
        let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
        check(json!({"running": {}}), json!({}), false, Ok(3));
        check(json!({"running": {}}), ended(), true, Ok(2));
        check(waiting("CrashLoopBackOff"), ended(), false, Ok(3));
        check(waiting("CrashLoopBackOff"), ended(), true, Ok(3));
        check(ended(), json!({}), false, Ok(3));
        check(
            ended(),
            json!({}),
            true,
            Err("previous terminated container \"c\" in pod \"p\" not found"),
        );
        let creating = "container \"c\" in pod \"p\" is waiting to start: ContainerCreating";
        check(waiting("ContainerCreating"), json!({}), false, Err(creating));
        let pulling = "container \"c\" in pod \"p\" is waiting to start: trying and failing to pull image";
        check(waiting("ImagePullBackOff"), json!({}), false, Err(pulling));
    }
}
