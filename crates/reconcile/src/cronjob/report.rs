//! The status as it shall be, and the patch that makes it so.
//!
//! An entry of the active list has no `resourceVersion`, which upstream's has: the Job is created by the same commit, whose
//! revision is known only when it is done. Nobody reads it; the Job is known by its uid.
//!
//! The write is refused if anybody else has written the CronJob since it was read: the books would be wrong.
//! Source: specification §1.3, §3.3.

use rota_api::k8s::api::batch::v1::CronJobStatus;
use rota_api::k8s::api::core::v1::ObjectReference;
use rota_api::k8s::apimachinery::pkg::apis::meta::v1::Time;
use rota_api::{Absent, Object, Timestamp, Write, resource};
use serde_json::{Map, Value, json};

use super::seen::SeenCronJob;
use super::wishes::SKIPPED_UNTIL;
use crate::Plan;

/// The status of a CronJob, being changed.
pub(super) struct Report<'c> {
    object: &'c Object,
    old: CronJobStatus,
    active: Vec<ObjectReference>,
    last_schedule: Option<Timestamp>,
    last_success: Option<Timestamp>,
    /// Instants up to this one were dropped for good in this plan.
    skipped_until: Option<Timestamp>,
    /// The action that creates the Job of the last entry, whose uid is empty until it is known.
    created_by: Option<usize>,
    /// Notes that are true only once the status says so.
    notes: Vec<usize>,
    /// The status is right only if these do not exist.
    absent: Vec<Absent>,
}

impl<'c> Report<'c> {
    /// Starts from the status as it is.
    pub(super) fn of(cron_job: &SeenCronJob<'c>) -> Self {
        let old = cron_job.status().cloned().unwrap_or_default();
        let at = |time: &Option<Time>| time.as_ref().map(|t| t.0);
        Self {
            object: cron_job.object,
            active: old.active.clone().unwrap_or_default(),
            last_schedule: at(&old.last_schedule_time),
            last_success: at(&old.last_successful_time),
            skipped_until: None,
            created_by: None,
            notes: Vec::new(),
            absent: Vec::new(),
            old,
        }
    }

    /// The Jobs that run.
    pub(super) fn active(&self) -> &[ObjectReference] {
        &self.active
    }

    /// The instant of the last run.
    pub(super) fn last_schedule(&self) -> Option<Timestamp> {
        self.last_schedule
    }

    /// True when the Job of that uid runs.
    pub(super) fn lists(&self, uid: &str) -> bool {
        self.active.iter().any(|entry| entry.uid.as_deref() == Some(uid))
    }

    /// True when a Job of that name runs.
    pub(super) fn lists_name(&self, namespace: &str, name: &str) -> bool {
        let mut active = self.active.iter();
        active.any(|entry| entry.name.as_deref() == Some(name) && entry.namespace.as_deref() == Some(namespace))
    }

    /// The Job of that uid runs no more.
    pub(super) fn drop(&mut self, uid: &str) {
        self.active
            .retain(|entry| entry.uid.as_deref().unwrap_or_default() != uid);
    }

    /// The last note of the plan is true only once the status says so: a plan that is refused tells nothing twice.
    pub(super) fn confirms_last_note(&mut self, plan: &Plan) {
        self.notes.extend(plan.notes.len().checked_sub(1));
    }

    /// What is reported is right only if this Job does not exist.
    pub(super) fn holds_if_absent(&mut self, name: &str, uid: &str) {
        self.absent.push(Absent {
            resource: resource::JOBS,
            namespace: self.object.meta().namespace.clone(),
            name: name.to_owned(),
            uid: uid.to_owned(),
        });
    }

    /// A Job was complete at that time.
    pub(super) fn succeeded(&mut self, at: Timestamp) {
        self.last_success = self.last_success.max(Some(at));
    }

    /// The Job of that instant has come and gone.
    pub(super) fn ran(&mut self, at: Timestamp) {
        self.last_schedule = self.last_schedule.max(Some(at));
    }

    /// Instants up to this one will not be run, whatever happens.
    pub(super) fn skip_until(&mut self, at: Timestamp) {
        self.skipped_until = Some(at);
    }

    /// The Job that is there already runs for that instant.
    pub(super) fn adopted(&mut self, job: &Object, at: Timestamp) {
        let meta = job.meta();
        self.enter(&meta.namespace, &meta.name, meta.uid.clone(), at);
    }

    /// The Job that this action creates runs for that instant.
    pub(super) fn created(&mut self, action: usize, write: &Write, at: Timestamp) {
        self.enter(&write.namespace, &write.name, String::new(), at);
        self.created_by = Some(action);
    }

    fn enter(&mut self, namespace: &str, name: &str, uid: String, at: Timestamp) {
        self.active.push(ObjectReference {
            api_version: Some("batch/v1".to_owned()),
            kind: Some("Job".to_owned()),
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            uid: Some(uid),
            ..ObjectReference::default()
        });
        self.last_schedule = self.last_schedule.max(Some(at));
    }

    /// Adds the write that makes the status so, unless it is so already.
    pub(super) fn write(self, plan: &mut Plan) {
        let mut patch = Map::new();
        if self.active != self.old.active.unwrap_or_default() {
            patch.insert("active".into(), to_json(&self.active));
        }
        for (field, old, new) in [
            ("lastScheduleTime", self.old.last_schedule_time, self.last_schedule),
            ("lastSuccessfulTime", self.old.last_successful_time, self.last_success),
        ] {
            if old.map(|t| t.0) != new {
                patch.insert(field.into(), new.map_or(Value::Null, |at| to_json(&Time(at))));
            }
        }
        let mut body = Map::new();
        if !patch.is_empty() {
            body.insert("status".into(), patch.into());
        }
        if let Some(at) = self.skipped_until {
            body.insert(
                "metadata".into(),
                json!({"annotations": {SKIPPED_UNTIL: at.to_string()}}),
            );
        }
        if body.is_empty() {
            return;
        }
        let meta = self.object.meta();
        let mut write = Write::merge_status(resource::CRON_JOBS, &meta.namespace, &meta.name, body.into())
            .if_uid(&meta.uid)
            .if_revision(self.object.revision());
        if let Some(action) = self.created_by {
            let pointer = format!("/status/active/{}/uid", self.active.len() - 1);
            write = write.link(pointer, action, "/metadata/uid");
        }
        write = self.absent.into_iter().fold(write, Write::if_absent);
        let written = plan.then(write, "the status says something else");
        for note in self.notes {
            plan.notes[note].after = Some(written);
        }
    }
}

/// An empty list is left out of a status.
fn to_json<T: serde::Serialize>(value: &T) -> Value {
    let value = serde_json::to_value(value).expect("a status holds nothing that JSON cannot express");
    if value.as_array().is_some_and(Vec::is_empty) {
        Value::Null
    } else {
        value
    }
}
