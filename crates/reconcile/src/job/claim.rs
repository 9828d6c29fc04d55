//! Which pods are the Job's: its own, orphans that match its selector (adopted), less those that match no longer
//! (released).
//!
//! Decides ownership only. Reads the pods that can still matter, from an index: a pod that has ended and was counted is
//! never looked at again, so that the cost of a Job of 50,000 completions does not grow with those behind it.
//! Source: `pkg/controller/controller_ref_manager.go`, specification §4.5.

use std::sync::Arc;

use rota_api::{Meta, Object, OwnerReference, resource};

use super::labels::{CONTROLLER_UID, LEGACY_CONTROLLER_UID};
use super::seen::{SeenJob, SeenPod, is_tracked};
use super::selector::JobSelector;
use crate::{Index, World};

/// Pods by the uid of the Job that controls them, as long as they can matter to it: unfinished, not counted, or with
/// labels that do not name that Job.
pub(super) const UNSETTLED: Index = Index {
    name: "job-unsettled",
    resource: resource::PODS,
    keys: |pod| {
        let meta = pod.meta();
        let Some(owner) = job_owner(meta) else {
            return Vec::new();
        };
        let has_ended = meta.phase == "Succeeded" || meta.phase == "Failed";
        let names_owner = meta.labels.get(CONTROLLER_UID).is_some_and(|uid| *uid == owner.uid);
        if has_ended && names_owner && !is_tracked(pod) {
            return Vec::new();
        }
        vec![owner.uid.clone()]
    },
};

/// Failed pods by the uid of the Job that controls them.
pub(super) const FAILED: Index = Index {
    name: "job-failed",
    resource: resource::PODS,
    keys: |pod| {
        let owner = job_owner(pod.meta()).filter(|_| pod.meta().phase == "Failed");
        owner.map(|owner| vec![owner.uid.clone()]).unwrap_or_default()
    },
};

/// Pods that nobody controls, by the Job uid that their labels name, and by namespace.
pub(super) const ORPHANS: Index = Index {
    name: "job-orphans",
    resource: resource::PODS,
    keys: |pod| {
        let meta = pod.meta();
        if meta.controller().is_some() {
            return Vec::new();
        }
        let uids = [CONTROLLER_UID, LEGACY_CONTROLLER_UID].into_iter();
        let mut entries: Vec<String> = uids.filter_map(|label| meta.labels.get(label).cloned()).collect();
        entries.dedup();
        entries.push(in_namespace(&meta.namespace));
        entries
    },
};

/// Jobs whose selector does not name their uid, by namespace: they may want any orphan.
pub(super) const HAND_SELECTED: Index = Index {
    name: "job-hand-selected",
    resource: resource::JOBS,
    keys: |job| {
        let by_uid = JobSelector::of(job).is_some_and(|selector| selector.names_uid);
        if by_uid {
            Vec::new()
        } else {
            vec![in_namespace(&job.meta().namespace)]
        }
    },
};

/// An entry that no uid can equal.
pub(super) fn in_namespace(namespace: &str) -> String {
    format!("namespace/{namespace}")
}

/// The Job that controls an object.
pub(super) fn job_owner(meta: &Meta) -> Option<&OwnerReference> {
    meta.controller()
        .filter(|owner| owner.kind == "Job" && owner.api_version == "batch/v1")
}

/// The pods of a Job.
pub(super) struct Claimed<'w> {
    /// Its pods, those about to be adopted included.
    pub(super) pods: Vec<SeenPod<'w>>,
    /// Orphans to adopt.
    pub(super) adopt: Vec<&'w Arc<Object>>,
    /// Pods to let go.
    pub(super) release: Vec<&'w Arc<Object>>,
}

/// Sorts out whose the pods are.
pub(super) fn claim<'w>(job: &SeenJob<'_>, world: &'w World) -> Claimed<'w> {
    let meta = job.object.meta();
    let mut claimed = Claimed {
        pods: Vec::new(),
        adopt: Vec::new(),
        release: Vec::new(),
    };
    let Some(selector) = JobSelector::of(job.object) else {
        return claimed;
    };
    for pod in world.find(resource::PODS, UNSETTLED.name, &meta.uid) {
        if selector.matches(pod.meta()) {
            claimed.pods.push(SeenPod::of(pod, job, false));
        } else if !job.is_deleting {
            claimed.release.push(pod);
        }
    }
    if !job.is_deleting {
        claimed.adopt = orphans(meta, &selector, world).collect();
        claimed
            .pods
            .extend(claimed.adopt.iter().map(|pod| SeenPod::of(pod, job, true)));
    }
    claimed
}

fn orphans<'w>(job: &Meta, selector: &JobSelector, world: &'w World) -> impl Iterator<Item = &'w Arc<Object>> {
    let entry = if selector.names_uid {
        job.uid.clone()
    } else {
        in_namespace(&job.namespace)
    };
    let candidates: Vec<_> = world.find(resource::PODS, ORPHANS.name, &entry).collect();
    candidates.into_iter().filter(move |pod| {
        let meta = pod.meta();
        meta.namespace == job.namespace && meta.deleting.is_none() && selector.matches(meta)
    })
}

/// True when that Job would take that pod.
pub(super) fn selects(job: &Object, pod: &Meta) -> bool {
    JobSelector::of(job).is_some_and(|selector| selector.matches(pod))
}
