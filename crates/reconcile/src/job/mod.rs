//! The Job controller: runs pods to completion, and counts each of them exactly once.
//!
//! What one Job needs now is found in five steps, each a chapter of its own:
//!
//! | step | question | chapter |
//! | --- | --- | --- |
//! | adopt | which pods are the Job's? | [`claim`] |
//! | count | which of them have ended, and what are the totals? | [`count`], [`backoff`] |
//! | judge | has the Job come to an end? | [`judge`], [`pod_failure_policy`], [`success_policy`], [`per_index`] |
//! | size | which pods are missing, which are too many? | [`size`], [`victims`] |
//! | report | what is written, in which order? | [`track`], [`report`], [`pods`], [`carry_out`] |
//!
//! A crash between any two writes of a plan is harmless: see [`count`] for the protocol and [`carry_out`] for the order.
//! Pods that no Job looks after any more lose their finalizer by [`orphans`].
//!
//! Not known here: who carries a plan out, how long ago a Job was last looked at, whether a write succeeded. What one
//! plan leaves to do, such as the condition Complete behind SuccessCriteriaMet, the next look finds by itself.
//! Source: `pkg/controller/job` of Kubernetes v1.36; specification of the Job kind §4.

mod backoff;
mod carry_out;
mod claim;
mod count;
mod indexes;
mod judge;
pub mod labels;
mod limits;
mod manager;
pub mod metrics;
mod orphans;
mod per_index;
mod pod_failure_policy;
mod pods;
mod report;
mod seen;
mod selector;
mod size;
mod success_policy;
#[cfg(test)]
mod tests;
mod touched;
mod track;
mod victims;

use std::collections::BTreeMap;

use jiff::SignedDuration;
use rota_api::{Resource, Timestamp, resource};

pub use orphans::OrphanPods;
pub(crate) use seen::finished;

use crate::metric::Measurement;
use crate::{Controller, Index, Key, NoteKind, Plan, Settle, World, WorldChange};
use backoff::Record;
use claim::claim;
use count::{Tally, count};
use judge::{Decision, judge};
use manager::Manager;
use report::Report;
use seen::{SeenJob, SeenPod};
use size::{Sizing, size};
use track::track;

static WATCHED: [&Resource; 2] = [resource::JOBS, resource::PODS];

/// The Job controller.
#[derive(Default)]
pub struct JobController {
    /// Whose Jobs it looks after.
    manager: Manager,
    memories: BTreeMap<Key, Memory>,
}

/// What is remembered of a Job. A shortcut: made anew when it is missing.
struct Memory {
    /// The uid of the Job.
    uid: String,
    /// Failures since the last success; without memory those of the finished pods that still exist.
    failures: Record,
    /// When it began, to the second as its status tells it and as it was; without memory the second counts.
    began: Option<(Timestamp, Timestamp)>,
}

impl Controller for JobController {
    fn name(&self) -> &'static str {
        "job"
    }

    fn event_source(&self) -> &'static str {
        "job-controller"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &WATCHED
    }

    fn indexes(&self) -> Vec<Index> {
        vec![claim::UNSETTLED, claim::FAILED, claim::ORPHANS, claim::HAND_SELECTED]
    }

    fn touched(&mut self, change: &WorldChange, world: &World) -> Vec<Key> {
        touched::touched(change, world)
    }

    fn settle(&self, change: &WorldChange, world: &World) -> Settle {
        touched::settle(change, world)
    }

    fn pause_after_refusal(&self) -> SignedDuration {
        limits::PAUSE_AFTER_REFUSAL
    }

    fn measured(&self, change: &WorldChange) -> Vec<Measurement> {
        metrics::of_change(change, &self.manager)
    }

    fn reconcile(&mut self, key: &Key, world: &World, now: Timestamp) -> Plan {
        let object = world.get(resource::JOBS, &key.namespace, &key.name);
        let Some(job) = object.and_then(SeenJob::of).filter(|job| !job.is_finished()) else {
            self.memories.remove(key);
            return Plan::default();
        };
        if !self.manager.looks_after(&job) {
            return Plan::default();
        }
        if !job.has_known_completion_mode() {
            let mut plan = Plan::default();
            let message = "Skipped Job sync because completion mode is unknown";
            plan.note(NoteKind::Warning, job.object, "UnknownCompletionMode", message);
            return plan;
        }
        self.plan(key, &job, world, now)
    }
}

impl JobController {
    /// Looks after the Jobs whose `spec.managedBy` is `name`, and no others; `None`: after those that name nobody, or
    /// upstream's controller.
    pub fn of_manager(name: Option<&str>) -> Self {
        Self {
            manager: Manager::of(name),
            ..Self::default()
        }
    }

    /// What an unfinished Job of ours needs now.
    fn plan(&mut self, key: &Key, job: &SeenJob<'_>, world: &World, now: Timestamp) -> Plan {
        let mut report = Report::of(job, now);
        report.started();

        let claimed = claim(job, world);
        let pods = &claimed.pods;

        let tally = count(job, pods);
        let memory = self.memory(key, job, pods, &tally, world);
        let start = memory.start(job, report.start_time(), now);

        let judgement = judge(job, pods, &tally, start, world, now);

        let sizing = match judgement.decision {
            None if !job.is_deleting => Some(size(job, pods, &tally, &judgement, &memory.failures, now)),
            _ => None,
        };
        let completed = judgement.decision.is_none() && completions_are_reached(job, pods, &tally, sizing.as_ref());
        let decision = judgement
            .decision
            .clone()
            .or_else(|| completed.then(Decision::completions_reached));

        let stopping = sizing.as_ref().map_or(&[][..], |sizing| &sizing.stop);
        let tracking = track(job, pods, &tally, &judgement, decision.as_ref(), stopping);
        report.counted(&tally, &judgement, &tracking.uncounted);
        carry_out::plan(job, &claimed, &judgement, decision.as_ref(), sizing, &tracking, report)
    }

    /// What is remembered of a Job, with all that has ended since: also what somebody else has entered in the status already,
    /// as upstream's controller does while ours only looks on.
    fn memory(
        &mut self,
        key: &Key,
        job: &SeenJob<'_>,
        pods: &[SeenPod<'_>],
        tally: &Tally,
        world: &World,
    ) -> &mut Memory {
        let uid = &job.object.meta().uid;
        if self.memories.get(key).is_none_or(|memory| memory.uid != *uid) {
            let all = world
                .owned_by(resource::PODS, uid)
                .map(|pod| SeenPod::of(pod, job, false));
            let memory = Memory {
                uid: uid.clone(),
                failures: Record::of_history(all),
                began: None,
            };
            self.memories.insert(key.clone(), memory);
        }
        let memory = self.memories.get_mut(key).expect("inserted above");
        let at = |positions: &[usize]| positions.iter().map(|p| &pods[*p]).collect::<Vec<_>>();
        let (succeeded, failed) = (at(&tally.tracked_succeeded), at(&tally.tracked_failed));
        memory.failures.enter(succeeded.into_iter(), failed.into_iter());
        memory
    }
}

impl Memory {
    /// When the Job began whose status tells `told`, now that it may just begin: a deadline counts from there, not from the
    /// second in which it fell.
    fn start(&mut self, job: &SeenJob<'_>, told: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let told = told?;
        if job.status().is_none_or(|status| status.start_time.is_none()) {
            self.began = Some((told, now));
        }
        let exact = self.began.filter(|(second, _)| *second == told);
        Some(exact.map_or(told, |(_, exact)| exact))
    }
}

/// True when nothing more has to run: all completions are there, or a work queue was found empty, and no pod is left.
fn completions_are_reached(job: &SeenJob<'_>, pods: &[SeenPod<'_>], tally: &Tally, sizing: Option<&Sizing>) -> bool {
    let active = pods.iter().filter(|pod| pod.is_active()).count();
    let (stopped, created) = sizing.map_or((0, 0), |sizing| (sizing.stop.len(), sizing.create.len()));
    let is_reached = match job.completions {
        None => tally.succeeded > 0,
        Some(completions) => tally.succeeded >= completions,
    };
    is_reached && active + created == stopped
}
