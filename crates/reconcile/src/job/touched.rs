//! Which Jobs a change touches.
//!
//! Source: the event handlers of `pkg/controller/job/job_controller.go`, specification §4.3.

use rota_api::{Meta, Object, resource};

use super::claim::{HAND_SELECTED, in_namespace, selects};
use super::labels::{CONTROLLER_UID, LEGACY_CONTROLLER_UID};
use super::limits::{ENDS_GATHER, POD_CHANGES_SETTLE};
use super::seen::{SeenJob, is_tracked};
use crate::{Key, Settle, World, WorldChange, ownership};

/// The Jobs to look at after `change`.
pub(super) fn touched(change: &WorldChange, world: &World) -> Vec<Key> {
    if change.resource() == resource::JOBS {
        return vec![change.key()];
    }
    let old = change.old.as_ref().map(|pod| pod.meta());
    let new = change.new.as_ref().map(|pod| pod.meta());
    let mut keys: Vec<Key> = old.into_iter().chain(new).filter_map(|pod| owner(pod, world)).collect();
    if let Some(new) = new.filter(|new| new.controller().is_none()) {
        let is_news = old.is_none_or(|old| old.labels != new.labels || old.controller().is_some());
        if is_news {
            keys.extend(takers(new, world));
        }
    }
    keys.sort();
    keys.dedup();
    keys
}

/// How soon the Jobs that `change` touches are looked at: for a change of the Job at once. Pods that end in one moment are
/// looked at together where it matters which of them is seen first: when one has failed, and where some successes are
/// enough.
pub(super) fn settle(change: &WorldChange, world: &World) -> Settle {
    if change.resource() == resource::JOBS {
        return Settle::Now;
    }
    let is_news = |is_so: fn(&Object) -> bool| {
        let is_now = change.new.as_ref().is_some_and(|pod| is_so(pod));
        is_now && !change.old.as_ref().is_some_and(|pod| is_so(pod))
    };
    let has_failed = |pod: &Object| is_tracked(pod) && (pod.meta().phase == "Failed" || pod.meta().deleting.is_some());
    let has_succeeded = |pod: &Object| is_tracked(pod) && pod.meta().phase == "Succeeded";
    if is_news(has_failed) || (is_news(has_succeeded) && some_successes_are_enough(change, world)) {
        Settle::Not(ENDS_GATHER)
    } else {
        Settle::Within(POD_CHANGES_SETTLE)
    }
}

fn some_successes_are_enough(change: &WorldChange, world: &World) -> bool {
    let owner = owner(change.latest().meta(), world);
    let job = owner.and_then(|key| world.get(resource::JOBS, &key.namespace, &key.name));
    job.and_then(SeenJob::of)
        .is_some_and(|job| job.spec().success_policy.is_some())
}

/// The Job that controls the pod, if it is still the one that the pod means.
fn owner(pod: &Meta, world: &World) -> Option<Key> {
    ownership::controller(pod, resource::JOBS, world)
}

/// The Jobs that would adopt the pod.
fn takers(pod: &Meta, world: &World) -> Vec<Key> {
    let by_uid = [CONTROLLER_UID, LEGACY_CONTROLLER_UID]
        .iter()
        .filter_map(|label| world.get_uid(resource::JOBS, pod.labels.get(*label)?))
        .filter(|job| job.meta().namespace == pod.namespace);
    let namespace = in_namespace(&pod.namespace);
    let by_hand = world.find(resource::JOBS, HAND_SELECTED.name, &namespace);
    by_uid
        .chain(by_hand)
        .filter(|job| selects(job, pod))
        .map(|job| Key::of(job))
        .collect()
}
