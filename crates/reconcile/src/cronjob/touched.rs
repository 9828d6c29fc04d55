//! Which CronJobs a change touches.
//!
//! Source: the event handlers of `pkg/controller/cronjob/cronjob_controllerv2.go`, specification §3.2.

use rota_api::k8s::api::batch::v1::CronJob;
use rota_api::{Object, resource};

use crate::{Key, World, WorldChange, ownership};

/// The CronJobs to look at after `change`.
pub(super) fn touched(change: &WorldChange, world: &World) -> Vec<Key> {
    if change.resource() == resource::CRON_JOBS {
        return vec![change.key()];
    }
    let both = change.old.iter().chain(&change.new);
    let mut keys: Vec<Key> = both
        .filter_map(|job| ownership::controller(job.meta(), resource::CRON_JOBS, world))
        .collect();
    keys.dedup();
    keys
}

/// True when a CronJob's schedule or time zone was changed.
pub(super) fn is_rescheduled(change: &WorldChange) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else {
        return false;
    };
    change.resource() == resource::CRON_JOBS
        && old.meta().uid == new.meta().uid
        && old.meta().generation != new.meta().generation
        && timetable(old) != timetable(new)
}

fn timetable(object: &Object) -> Option<(String, Option<String>)> {
    let spec = &object.view::<CronJob>().ok()?.spec;
    Some((spec.schedule.clone(), spec.time_zone.clone()))
}
