//! Getting a container's image onto the node before each of its starts.
//!
//! Source: `spec/node-and-pod.md` §13; kubernetes `pkg/kubelet/images/image_manager.go`.

use std::time::Duration;

use rota_api::Timestamp;
use rota_api::k8s::api::core::v1::Container;

use crate::action::Action;
use crate::backoff::{Backoff, BackoffLimits};
use crate::life::Out;
use crate::restart::Role;
use crate::track::Track;

/// How long a failed pull is shown as such before the wait for the next one is.
const PULL_ERROR_SHOWN: Duration = Duration::from_secs(1);

/// The reason for a container that waits until its image is tried again.
const PULL_BACK_OFF: &str = "ImagePullBackOff";

/// The reason for a name that no image can have.
const INVALID_NAME: &str = "InvalidImageName";

/// How long until an image that must be on the node and is not is looked for again.
const MISSING_RETRY: Duration = Duration::from_secs(10);

/// Where the search for an image stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    stage: Stage,
    /// What went wrong last, until the image is there: it is shown while the next attempt is under way.
    failure: Option<Failure>,
    backoff: Backoff,
}

#[derive(Clone, Debug, Default)]
enum Stage {
    #[default]
    Unknown,
    Finding,
    Pulling,
    Ready,
    Failed,
}

#[derive(Clone, Debug)]
struct Failure {
    reason: String,
    message: String,
    at: Timestamp,
    retry: Timestamp,
    /// People were told that it is waited.
    told: bool,
}

impl Failure {
    /// True where waiting longer each time spares a registry.
    fn is_of_pull(&self) -> bool {
        matches!(self.reason.as_str(), "ErrImagePull" | "RegistryUnavailable")
    }
}

impl Image {
    /// The image was looked for.
    pub(crate) fn found(&mut self, role: Role, container: &Container, present: bool, now: Timestamp, out: &mut Out) {
        let image = container.image.as_deref().unwrap_or_default();
        let note = |warning, reason, message| Track::note(role, &container.name, warning, reason, message);
        if present {
            let message =
                format!("Container image {image:?} already present on machine and can be accessed by the pod");
            out.notes.push(note(false, "Pulled", message));
            self.ready();
        } else if container.image_pull_policy.as_deref() == Some("Never") {
            let message = format!("Container image {image:?} is not present with pull policy of Never");
            out.notes.push(note(true, "ErrImageNeverPull", message.clone()));
            out.notes
                .push(note(true, "Failed", "Error: ErrImageNeverPull".to_owned()));
            self.fail("ErrImageNeverPull".to_owned(), message, now, now + MISSING_RETRY);
        } else {
            self.pull(role, container, out);
        }
    }

    /// The image was fetched.
    pub(crate) fn pulled(&mut self, role: Role, container: &Container, took: Duration, size_bytes: u64, out: &mut Out) {
        let image = container.image.as_deref().unwrap_or_default();
        let took = format!("{:.3}s", took.as_secs_f64());
        let message = format!(
            "Successfully pulled image {image:?} in {took} ({took} including waiting). Image size: {size_bytes} bytes."
        );
        out.notes
            .push(Track::note(role, &container.name, false, "Pulled", message));
        self.ready();
    }

    fn ready(&mut self) {
        self.stage = Stage::Ready;
        self.failure = None;
    }

    fn fail(&mut self, reason: String, message: String, at: Timestamp, retry: Timestamp) {
        self.stage = Stage::Failed;
        self.failure = Some(Failure {
            reason,
            message,
            at,
            retry,
            told: false,
        });
    }

    /// The image could not be fetched.
    pub(crate) fn failed(
        &mut self,
        role: Role,
        container: &Container,
        (reason, message): (String, String),
        limits: BackoffLimits,
        now: Timestamp,
        out: &mut Out,
    ) {
        let image = container.image.as_deref().unwrap_or_default();
        let note = |reason, message| Track::note(role, &container.name, true, reason, message);
        if reason == INVALID_NAME {
            // No registry is spared by waiting longer each time.
            let message = format!("Failed to apply default image tag {image:?}: {message}");
            out.notes.push(note("InspectFailed", message.clone()));
            out.notes.push(note("Failed", format!("Error: {reason}")));
            self.fail(reason, message, now, now + MISSING_RETRY);
            return;
        }
        out.notes
            .push(note("Failed", format!("Failed to pull image {image:?}: {message}")));
        out.notes.push(note("Failed", format!("Error: {reason}")));
        self.backoff.count(limits, now, now);
        let retry = self.backoff.until(limits, now).map_or(now, |(until, _)| until);
        self.fail(reason, message, now, retry);
    }

    /// True while it is looked for or fetched.
    pub(crate) fn is_awaited(&self) -> bool {
        matches!(self.stage, Stage::Finding | Stage::Pulling)
    }

    /// Does the next thing that is needed. Returns true when the image is there.
    pub(crate) fn ensure(&mut self, role: Role, container: &Container, now: Timestamp, out: &mut Out) -> bool {
        match (&self.stage, &mut self.failure) {
            (Stage::Ready, _) => return true,
            (Stage::Finding | Stage::Pulling, _) => return false,
            (Stage::Failed, Some(failure)) if now < failure.retry => {
                out.wake_at(failure.retry);
                if now < failure.at + PULL_ERROR_SHOWN {
                    out.wake_at(failure.at + PULL_ERROR_SHOWN);
                } else if failure.is_of_pull() && !std::mem::replace(&mut failure.told, true) {
                    let image = container.image.as_deref().unwrap_or_default();
                    let note = |warning, reason, message| Track::note(role, &container.name, warning, reason, message);
                    out.notes
                        .push(note(false, "BackOff", format!("Back-off pulling image {image:?}")));
                    out.notes.push(note(true, "Failed", format!("Error: {PULL_BACK_OFF}")));
                }
                return false;
            }
            (Stage::Unknown | Stage::Failed, _) => {}
        }
        if container.image_pull_policy.as_deref() == Some("Always") {
            self.pull(role, container, out);
        } else {
            self.stage = Stage::Finding;
            out.actions.push(Action::FindImage {
                container: container.name.clone(),
                image: container.image.clone().unwrap_or_default(),
            });
        }
        false
    }

    fn pull(&mut self, role: Role, container: &Container, out: &mut Out) {
        let image = container.image.clone().unwrap_or_default();
        let message = format!("Pulling image {image:?}");
        out.notes
            .push(Track::note(role, &container.name, false, "Pulling", message));
        self.stage = Stage::Pulling;
        out.actions.push(Action::PullImage {
            container: container.name.clone(),
            image,
        });
    }

    /// The image turned out to be gone after all, or is to be looked for afresh for another run.
    pub(crate) fn forget(&mut self) {
        self.stage = Stage::Unknown;
        self.failure = None;
    }

    /// Why the container waits, as (reason, message), if it waits for its image in vain.
    pub(crate) fn waiting(&self, container: &Container, now: Timestamp) -> Option<(String, String)> {
        let failure = self.failure.as_ref()?;
        if failure.is_of_pull() && now >= failure.at + PULL_ERROR_SHOWN {
            let image = container.image.as_deref().unwrap_or_default();
            let message = format!(
                "Back-off pulling image {image:?}: {}: {}",
                failure.reason, failure.message
            );
            return Some((PULL_BACK_OFF.to_owned(), message));
        }
        Some((failure.reason.clone(), failure.message.clone()))
    }
}
