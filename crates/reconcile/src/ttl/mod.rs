//! The controller behind `spec.ttlSecondsAfterFinished`: deletes finished Jobs when their time has come.
//!
//! Decides when, not how: the deletion is a foreground one, so that the Job stays visible until its pods are gone. Who
//! manages the Job does not matter. A change of the Job after it was read, such as a raised ttl, refuses the deletion.
//! Source: `pkg/controller/ttlafterfinished`, specification of the Job kind §12.

use jiff::SignedDuration;
use rota_api::k8s::api::batch::v1::Job;
use rota_api::{DeleteOptions, Object, Propagation, Resource, Timestamp, Write, resource};

use crate::{Controller, Key, Plan, World, WorldChange};

static WATCHED: [&Resource; 1] = [resource::JOBS];

/// Deletes finished Jobs after their ttl.
#[derive(Default)]
pub struct TtlController;

impl Controller for TtlController {
    fn name(&self) -> &'static str {
        "ttl-after-finished"
    }

    fn event_source(&self) -> &'static str {
        "ttl-after-finished-controller"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &WATCHED
    }

    fn touched(&mut self, change: &WorldChange, _world: &World) -> Vec<Key> {
        let eligible = change.new.iter().filter(|job| expiry(job).is_some());
        eligible.map(|job| Key::of(job)).collect()
    }

    fn reconcile(&mut self, key: &Key, world: &World, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        let Some(job) = world.get(resource::JOBS, &key.namespace, &key.name) else {
            return plan;
        };
        match expiry(job) {
            Some(at) if at <= now => {
                let options = DeleteOptions {
                    propagation: Some(Propagation::Foreground),
                    ..DeleteOptions::default()
                };
                let delete = Write::delete(resource::JOBS, &key.namespace, &key.name, options);
                let guarded = delete.if_uid(&job.meta().uid).if_revision(job.revision());
                plan.act(guarded, "its ttlSecondsAfterFinished has passed");
            }
            Some(at) => plan.wake_at(at),
            None => {}
        }
        plan
    }
}

/// When the Job is to go; `None` unless it is finished, has a ttl and is not being deleted. A Job whose condition does
/// not say when it finished is kept.
fn expiry(job: &Object) -> Option<Timestamp> {
    if job.meta().deleting.is_some() {
        return None;
    }
    let view = job.view::<Job>().ok()?;
    let ttl = view.spec.as_ref()?.ttl_seconds_after_finished?;
    let finished = crate::job::finished(&view)?.last_transition_time.as_ref()?;
    finished.0.checked_add(SignedDuration::from_secs(ttl.into())).ok()
}
