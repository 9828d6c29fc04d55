//! The selector of a Job, read from its spec.

use rota_api::k8s::api::batch::v1::Job;
use rota_api::selector::LabelSelector;
use rota_api::{Meta, Object};

use super::labels::{CONTROLLER_UID, LEGACY_CONTROLLER_UID};

/// The selector of a Job.
pub(super) struct JobSelector {
    selector: LabelSelector,
    /// It demands the Job's own uid, so that only pods labelled with that can match.
    pub(super) names_uid: bool,
}

impl JobSelector {
    /// `None` for a Job without a selector that can be read, which the API refuses.
    pub(super) fn of(object: &Object) -> Option<Self> {
        let job = object.view::<Job>().ok()?;
        let typed = job.spec.as_ref()?.selector.as_ref()?;
        let uid = &object.meta().uid;
        let names_uid = [CONTROLLER_UID, LEGACY_CONTROLLER_UID]
            .iter()
            .any(|label| typed.match_labels.as_ref().and_then(|l| l.get(*label)) == Some(uid));
        let selector = LabelSelector::from_typed(Some(typed)).ok()?;
        Some(Self { selector, names_uid })
    }

    /// True when the pod's labels satisfy it.
    pub(super) fn matches(&self, pod: &Meta) -> bool {
        self.selector.matches(&pod.labels)
    }
}
