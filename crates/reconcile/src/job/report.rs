//! Reporting: the status as it shall be, and the smallest patch that makes it so.
//!
//! Everything on which exactly-once counting rests goes into one write that is refused if anybody else has written the
//! Job since it was read. How many pods there are after the plan's own creations and deletions is told by a second write
//! at the end of the plan: if one of those is refused, the first write stands and tells the truth.
//! Source: specification §2, §3, §4.15.

use jiff::Timestamp;
use rota_api::k8s::api::batch::v1::{JobCondition, JobStatus, UncountedTerminatedPods};
use rota_api::k8s::apimachinery::pkg::apis::meta::v1::Time;
use rota_api::{Write, resource};
use serde_json::{Map, Value, json};

use super::count::{Tally, Uncounted};
use super::judge::{Decision, Judgement};
use super::metrics::Gains;
use super::per_index;
use super::seen::{SeenJob, SeenPod, condition};
use super::size::count;

/// Numbers of pods that come and go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Population {
    pub(super) active: u32,
    pub(super) ready: u32,
    pub(super) terminating: u32,
}

impl Population {
    /// As seen.
    pub(super) fn of(pods: &[SeenPod<'_>]) -> Self {
        Self {
            active: count(pods, SeenPod::is_active),
            ready: count(pods, |pod| pod.is_active() && pod.is_ready()),
            terminating: count(pods, SeenPod::is_terminating),
        }
    }

    /// As it will be when these pods are told to stop and so many are created.
    pub(super) fn after<'a, 'w: 'a>(mut self, stopped: impl Iterator<Item = &'a SeenPod<'w>>, created: usize) -> Self {
        for pod in stopped {
            self.active -= 1;
            self.terminating += 1;
            self.ready -= u32::from(pod.is_ready());
        }
        self.active += u32::try_from(created).unwrap_or_default();
        self
    }
}

/// The status of a Job, being changed.
pub(super) struct Report<'j, 'w> {
    job: &'j SeenJob<'w>,
    status: JobStatus,
    gains: Gains,
    now: Time,
}

impl<'j, 'w> Report<'j, 'w> {
    /// Starts from the status as it is.
    pub(super) fn of(job: &'j SeenJob<'w>, now: Timestamp) -> Self {
        let mut status = job.status().cloned().unwrap_or_default();
        status.active = status.active.filter(|n| *n != 0);
        status.succeeded = status.succeeded.filter(|n| *n != 0);
        status.failed = status.failed.filter(|n| *n != 0);
        Self {
            job,
            status,
            gains: Gains::default(),
            now: Time(whole_second(now)),
        }
    }

    /// Enters how many pods there are.
    pub(super) fn population(&mut self, population: Population) {
        self.status.active = counter(population.active);
        self.status.ready = Some(to_int(population.ready));
        self.status.terminating = Some(to_int(population.terminating));
    }

    /// Enters what is counted.
    pub(super) fn counted(&mut self, tally: &Tally, judgement: &Judgement, uncounted: &Uncounted) {
        self.gains = gains(self.job, tally, judgement);
        let status = &mut self.status;
        status.failed = counter(tally.settled_failed);
        let list = |uids: &[String]| (!uids.is_empty()).then(|| uids.to_vec());
        status.uncounted_terminated_pods = Some(UncountedTerminatedPods {
            succeeded: list(&uncounted.succeeded),
            failed: list(&uncounted.failed),
        });
        if self.job.is_indexed {
            let text = tally.succeeded_indexes.to_string();
            status.completed_indexes = Some(text).filter(|text| !text.is_empty());
            status.succeeded = counter(tally.succeeded_indexes.count());
        } else {
            status.succeeded = counter(tally.settled_succeeded);
        }
        status.failed_indexes = judgement.failed_indexes.as_ref().map(ToString::to_string);
    }

    /// Enters when the Job began, unless it has.
    pub(super) fn started(&mut self) {
        if self.status.start_time.is_none() && !self.job.is_suspended {
            self.status.start_time = Some(self.now.clone());
        }
    }

    /// When the Job began, as far as it has.
    pub(super) fn start_time(&self) -> Option<Timestamp> {
        self.status.start_time.as_ref().map(|t| t.0)
    }

    /// The successes told.
    pub(super) fn succeeded(&self) -> u32 {
        self.status.succeeded.unwrap_or_default().unsigned_abs()
    }

    /// The failures told.
    pub(super) fn failed(&self) -> u32 {
        self.status.failed.unwrap_or_default().unsigned_abs()
    }

    /// What the counters gain.
    pub(super) fn gains(&self) -> Gains {
        self.gains
    }

    /// Enters whether the Job is suspended; true when that is news. The clock of a suspended Job stands, and starts anew.
    pub(super) fn suspension(&mut self) -> bool {
        let is_news = if self.job.is_suspended {
            self.set(condition::SUSPENDED, "True", "JobSuspended", "Job suspended")
        } else {
            self.set(condition::SUSPENDED, "False", "JobResumed", "Job resumed")
        };
        if is_news {
            self.status.start_time = (!self.job.is_suspended).then(|| self.now.clone());
        }
        is_news
    }

    /// Announces how the Job ends. A hand-made False entry of that type stays where it is.
    pub(super) fn announce(&mut self, decision: &Decision) {
        if !decision.is_stored {
            let entry = self.entry(decision.outcome.interim(), "True", &decision.reason, &decision.message);
            self.status.conditions.get_or_insert_default().push(entry);
        }
    }

    /// Seals the end of the Job.
    pub(super) fn finish(&mut self, decision: &Decision) {
        let type_ = decision.outcome.terminal();
        // A Job that ends while it is suspended has no start, and the API wants one of every Job that has ended.
        self.status.start_time.get_or_insert_with(|| self.now.clone());
        if type_ == condition::COMPLETE {
            self.status.completion_time = Some(self.now.clone());
        }
        self.set(type_, "True", &decision.reason, &decision.message);
    }

    /// Sets a condition; true when that changed anything. One that is absent is not added to say that it is False.
    fn set(&mut self, type_: &str, status: &str, reason: &str, message: &str) -> bool {
        let entry = self.entry(type_, status, reason, message);
        let conditions = self.status.conditions.get_or_insert_default();
        match conditions.iter_mut().find(|c| c.type_ == type_) {
            Some(old) if old.status == status && old.reason == entry.reason && old.message == entry.message => false,
            Some(old) => {
                *old = entry;
                true
            }
            None if status == "False" => false,
            None => {
                conditions.push(entry);
                true
            }
        }
    }

    fn entry(&self, type_: &str, status: &str, reason: &str, message: &str) -> JobCondition {
        JobCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_probe_time: Some(self.now.clone()),
            last_transition_time: Some(self.now.clone()),
        }
    }

    /// The write that makes the status so; `None` when it is so already. Refused if the Job has changed since.
    pub(super) fn write(self) -> Option<Write> {
        let old = self.job.status().map_or_else(|| json!({}), to_json);
        let mut new = self.status;
        new.conditions = new.conditions.filter(|conditions| !conditions.is_empty());
        let patch = difference(&old, &to_json(&new))?;
        Some(status_patch(self.job, patch).if_revision(self.job.object.revision()))
    }
}

fn gains(job: &SeenJob<'_>, tally: &Tally, judgement: &Judgement) -> Gains {
    let told = |field: fn(&JobStatus) -> Option<i32>| {
        let count = job.status().and_then(field).unwrap_or_default();
        count.max(0).unsigned_abs()
    };
    let succeeded = if job.is_indexed {
        let (before, now) = (&tally.stored_indexes, &tally.succeeded_indexes);
        now.count() - before.count()
    } else {
        tally.settled_succeeded - told(|s| s.succeeded)
    };
    let failed_indexes = judgement.failed_indexes.as_ref().map_or(0, |failed| {
        failed.count().saturating_sub(per_index::stored(job).count())
    });
    Gains {
        succeeded,
        failed: tally.settled_failed - told(|s| s.failed),
        failed_indexes,
    }
}

/// The write that tells how many pods there are; `None` when that is told already by `told`.
pub(super) fn write_population(job: &SeenJob<'_>, told: Population, now: Population) -> Option<Write> {
    let mut patch = Map::new();
    if told.active != now.active {
        patch.insert("active".into(), counter(now.active).into());
    }
    if told.ready != now.ready {
        patch.insert("ready".into(), to_int(now.ready).into());
    }
    if told.terminating != now.terminating {
        patch.insert("terminating".into(), to_int(now.terminating).into());
    }
    (!patch.is_empty()).then(|| status_patch(job, patch.into()))
}

fn status_patch(job: &SeenJob<'_>, status: Value) -> Write {
    let meta = job.object.meta();
    let patch = Map::from_iter([("status".to_owned(), status)]).into();
    Write::merge_status(resource::JOBS, &meta.namespace, &meta.name, patch).if_uid(&meta.uid)
}

/// Times of the API have no fractions of a second.
fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn to_json(status: &JobStatus) -> Value {
    serde_json::to_value(status).expect("a status holds nothing that JSON cannot express")
}

/// A counter of which the API leaves out the zero.
fn counter(count: u32) -> Option<i32> {
    Some(to_int(count)).filter(|count| *count != 0)
}

fn to_int(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// The merge patch (RFC 7386) that turns `old` into `new`; `None` when they are equal.
fn difference(old: &Value, new: &Value) -> Option<Value> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let gone = old
                .keys()
                .filter(|key| !new.contains_key(*key))
                .map(|key| (key.clone(), Value::Null));
            let changed = new.iter().filter_map(|(key, value)| {
                let patch = old
                    .get(key)
                    .map_or_else(|| Some(value.clone()), |old| difference(old, value))?;
                Some((key.clone(), patch))
            });
            let patch: Map<String, Value> = gone.chain(changed).collect();
            (!patch.is_empty()).then(|| patch.into())
        }
        _ => (old != new).then(|| new.clone()),
    }
}
