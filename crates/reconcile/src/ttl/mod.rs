//! The controller behind `spec.ttlSecondsAfterFinished`: deletes finished Jobs when their time has come.
//!
//! Decides when, not how: the deletion is a foreground one, so that the Job stays visible until its pods are gone. Who
//! manages the Job does not matter. A change of the Job after it was read, such as a raised ttl, refuses the deletion.
//! Source: `pkg/controller/ttlafterfinished`, specification of the Job kind §12.

use jiff::SignedDuration;
use rota_api::k8s::api::batch::v1::Job;
use rota_api::{DeleteOptions, Object, Propagation, Resource, Timestamp, Write, resource};

use crate::metric::{Family, FamilyKind, Measurement, When};
use crate::{Controller, Key, Plan, World, WorldChange};

static WATCHED: [&Resource; 1] = [resource::JOBS];

/// How long after their time finished Jobs were deleted.
pub static DELETION_SECONDS: Family = Family {
    name: "ttl_after_finished_controller_job_deletion_duration_seconds",
    help: "The time it took to delete a finished Job after its ttl had passed.",
    kind: FamilyKind::Histogram {
        first: 0.1,
        factor: 2.0,
        buckets: 14,
    },
    labels: &[],
};

/// Deletes finished Jobs after their ttl.
#[derive(Default)]
pub struct TtlController;

impl Controller for TtlController {
    fn name(&self) -> &'static str {
        "ttl-after-finished"
    }

    fn queue_name(&self) -> &'static str {
        "ttl_jobs_to_delete"
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
                let deletion = plan.act(guarded, "its ttlSecondsAfterFinished has passed");
                let late = now.duration_since(at).as_secs_f64();
                let none: [&str; 0] = [];
                plan.measure(Measurement::exactly(late, &DELETION_SECONDS, none).when(When::Done(deletion)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::sync::Arc;

    /// A Job that finished at noon, and what is decided so many seconds later.
    #[track_caller]
    fn check(condition: &str, ttl: impl Into<Value>, finalizing: bool, secs_later: i64, expected: &str) {
        let noon: Timestamp = "2026-01-01T12:00:00Z".parse().expect("a time");
        let mut job = json!({
            "metadata": {"namespace": "d", "name": "j", "uid": "u", "resourceVersion": "3"},
            "spec": {"ttlSecondsAfterFinished": ttl.into(), "template": {}, "managedBy": "example.com/other"},
            "status": {"conditions": [{"type": condition, "status": "True", "lastTransitionTime": noon.to_string()}]},
        });
        if finalizing {
            job["metadata"]["deletionTimestamp"] = noon.to_string().into();
        }
        let mut world = World::watching(&WATCHED, &[]);
        world.apply(Arc::new(Object::from_value(resource::JOBS, job)));
        let now = noon + SignedDuration::from_secs(secs_later);
        let plan = TtlController.reconcile(&Key::new("d", "j"), &world, now);
        assert_eq!(plan.explain().trim_end(), expected);
        for action in &plan.actions {
            let expected = rota_api::Precondition {
                uid: Some("u".into()),
                revision: Some(rota_api::Revision(3)),
                ..rota_api::Precondition::default()
            };
            assert_eq!(
                action.write.precondition, expected,
                "a Job that has changed since is not deleted"
            );
        }
    }

    const DELETED: &str = "0 delete Job d/j (its ttlSecondsAfterFinished has passed)";

    #[test]
    fn a_finished_job_is_deleted_when_its_time_has_come() {
        check("Complete", 0, false, 0, DELETED);
        check("Failed", 10, false, 10, DELETED);
        check("Complete", 10, false, 9, "wake 2026-01-01T12:00:10Z");
    }

    #[test]
    fn a_job_that_has_changed_since_it_was_looked_at_is_not_deleted() {
        let finished = json!([{"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T12:00:00Z"}]);
        let deletion = plan_of(&finished).actions.remove(0).write;
        assert_eq!(
            deletion.precondition.uid.as_deref(),
            Some("u"),
            "another Job of that name stays"
        );
        assert_eq!(
            deletion.precondition.revision,
            Some(rota_api::Revision(3)),
            "its ttl may be longer now"
        );
    }

    #[test]
    fn a_job_that_does_not_say_when_it_finished_is_kept() {
        assert!(plan_of(&json!([{"type": "Complete", "status": "True"}])).is_empty());
    }

    /// What is decided an hour after noon about a Job with these conditions whose ttl is 0.
    fn plan_of(conditions: &Value) -> Plan {
        let job = json!({
            "metadata": {"namespace": "d", "name": "j", "uid": "u", "resourceVersion": "3"},
            "spec": {"ttlSecondsAfterFinished": 0, "template": {}},
            "status": {"conditions": conditions},
        });
        let mut world = World::watching(&WATCHED, &[]);
        world.apply(Arc::new(Object::from_value(resource::JOBS, job)));
        let now = "2026-01-01T13:00:00Z".parse().expect("a time");
        TtlController.reconcile(&Key::new("d", "j"), &world, now)
    }

    #[test]
    fn unfinished_jobs_jobs_without_ttl_and_jobs_being_deleted_are_kept() {
        check("Suspended", 0, false, 99, "");
        check("Complete", Value::Null, false, 99, "");
        check("Complete", 0, true, 99, "");
    }

    #[test]
    fn a_finish_time_to_come_just_waits() {
        check("Complete", 5, false, -60, "wake 2026-01-01T12:00:05Z");
    }
}
