//! The plan: every decision as a write, in the order in which a crash between any two is harmless.
//!
//! | stage | write | a crash behind it leaves |
//! | --- | --- | --- |
//! | 0, 1 | make sure that the Job is still there, then adopt and release pods | pods of ours that are not counted yet: seen next time |
//! | 2 | status: ended pods recorded, end announced, conditions | recorded pods with finalizer: their removal is repeated |
//! | 3 | finalizers of recorded pods, and of pods to be stopped uncounted | records without finalizer: moved into the counters; a pod to be stopped: chosen again |
//! | 4 | stop pods that are too many, or of a Job that ends | the rest is stopped next time |
//! | 5 | create missing pods, in growing batches | fewer pods than wanted: created next time |
//! | 6 | status: how many pods there are now | a stale number: written next time |
//!
//! A pod that is stopped loses its finalizer first: stopped with it, it would count as a failure if a crash followed.
//! Creations come behind everything that must not wait for them, since a quota may refuse them for hours.

use std::collections::BTreeSet;
use std::ops::Range;

use rota_api::{DeleteOptions, Write, resource};

use super::claim::{Claimed, job_owner};
use super::judge::{Decision, Judgement, Outcome};
use super::limits::FIRST_BATCH;
use super::metrics;
use super::pods::{self, PodMaker};
use super::report::{Population, Report, write_population};
use super::seen::{SeenJob, SeenPod};
use super::size::{NewPod, Sizing};
use super::track::Tracking;
use crate::{IfRefused, NoteKind, Plan, ownership};

/// Assembles the plan.
pub(super) fn plan(
    job: &SeenJob<'_>,
    claimed: &Claimed<'_>,
    judgement: &Judgement,
    decision: Option<&Decision>,
    sizing: Option<Sizing>,
    tracking: &Tracking,
    mut report: Report<'_, '_>,
) -> Plan {
    let mut plan = Plan::default();
    let pods = &claimed.pods;
    let seen = Population::of(pods);
    let has_sizing = sizing.is_some();
    metrics::of_sync(&mut plan, job, sizing.as_ref());
    let sizing = sizing.unwrap_or_default();
    take_and_let_go(&mut plan, job, claimed);

    report.population(seen);
    let mut is_suspension_news = false;
    let mut is_finished = false;
    match decision {
        Some(decision) if may_finish(decision, pods, seen, tracking) => {
            report.finish(decision);
            is_finished = true;
        }
        Some(decision) => report.announce(decision),
        None if has_sizing => is_suspension_news = report.suspension(),
        None => {}
    }
    let (succeeded, gains) = (report.succeeded(), report.gains());
    let has_failed = report.failed() > 0 || !tracking.uncounted.failed.is_empty();
    if let Some(write) = report.write() {
        let status = plan.then(write, "report what was counted and decided");
        let finished = decision.filter(|_| is_finished);
        note_status(&mut plan, status, job, is_suspension_news, finished, succeeded);
        metrics::of_status(&mut plan, status, job, gains, tracking, finished);
    }

    let ending = judgement.decision.as_ref().filter(|_| !is_finished);
    let (stopped, why) = to_stop(job, pods, ending, &sizing, tracking);
    let counted = tracking
        .release
        .iter()
        .map(|at| (&pods[*at], "nothing of it is left to count"));
    let needless = sizing.stop.iter().map(|at| &pods[*at]).filter(|pod| pod.is_tracked);
    let uncounted = needless.map(|pod| (pod, "it is not to be counted"));
    let removals = counted.chain(uncounted).map(|(pod, why)| (let_go(pod), why));
    staged(&mut plan, removals);
    stop(&mut plan, job, &stopped, why);
    let created = create(&mut plan, job, &sizing.create);
    metrics::of_creations(&mut plan, created.clone(), job, seen, has_failed);

    let after = seen.after(stopped.into_iter(), sizing.create.len());
    if let Some(write) = write_population(job, seen, after) {
        plan.then(write, "report how many pods there are now");
        plan.if_refused(IfRefused::CountLess {
            pointer: "/status/active",
            creations: created,
        });
    }
    if decision.is_none() {
        for at in judgement.deadline.into_iter().chain(sizing.due) {
            plan.wake_at(at);
        }
    }
    plan
}

/// The pods to stop, and why: all of a Job that ends, else those that are too many. With success, a pod that keeps its
/// finalizer this time (there are too many to let go at once) is stopped next time, since it must not count as failed.
fn to_stop<'a, 'w>(
    job: &SeenJob<'_>,
    pods: &'a [SeenPod<'w>],
    ending: Option<&Decision>,
    sizing: &Sizing,
    tracking: &Tracking,
) -> (Vec<&'a SeenPod<'w>>, &'static str) {
    let Some(ending) = ending else {
        let needless = sizing.stop.iter().map(|at| &pods[*at]).collect();
        let why = if job.is_suspended {
            "the Job is suspended"
        } else {
            "the Job needs fewer pods"
        };
        return (needless, why);
    };
    let released: BTreeSet<usize> = tracking.release.iter().copied().collect();
    let is_stopped = |at: &usize| {
        let pod = &pods[*at];
        pod.is_active() && (ending.outcome == Outcome::Failure || !pod.is_tracked || released.contains(at))
    };
    let stopped = (0..pods.len()).filter(is_stopped).map(|at| &pods[at]);
    (stopped.collect(), "the Job ends")
}

/// True when the end was announced by an earlier write and nothing of the Job is left: no pod that runs, none to be
/// counted or let go. Controllers that wait for the announcement must see it before the end.
fn may_finish(decision: &Decision, pods: &[SeenPod<'_>], seen: Population, tracking: &Tracking) -> bool {
    decision.is_stored
        && seen.active == 0
        && seen.terminating == 0
        && tracking.uncounted.count() == 0
        && pods.iter().all(|pod| !pod.is_tracked)
}

/// Takes the finalizer off. A pod that may still end in a way that counts must be as it was seen.
fn let_go(pod: &SeenPod<'_>) -> Write {
    let write = pods::finalizer_removal(pod.object);
    if pod.has_ended() {
        write
    } else {
        write.if_revision(pod.object.revision())
    }
}

fn take_and_let_go(plan: &mut Plan, job: &SeenJob<'_>, claimed: &Claimed<'_>) {
    // A Job that is being deleted would take what it adopts along, pods that a user wants to keep: nothing is adopted
    // unless the Job is still what was seen of it.
    if !claimed.adopt.is_empty() {
        plan.act(
            ownership::unchanged(job.object),
            "it may only adopt while it is not being deleted",
        );
    }
    for (position, pod) in claimed.adopt.iter().enumerate() {
        let (write, why) = (pods::adoption(job, pod), "the selector matches and nobody controls it");
        if position == 0 {
            plan.then(write, why);
        } else {
            plan.act(write, why);
        }
    }
    for pod in &claimed.release {
        if let Some(owner) = job_owner(pod.meta()) {
            plan.act(pods::release(owner, pod), "the selector matches no longer");
        }
    }
}

fn note_status(
    plan: &mut Plan,
    status: usize,
    job: &SeenJob<'_>,
    is_suspension_news: bool,
    finished: Option<&Decision>,
    succeeded: u32,
) {
    if is_suspension_news {
        let (reason, message) = if job.is_suspended {
            ("Suspended", "Job suspended")
        } else {
            ("Resumed", "Job resumed")
        };
        plan.note_after(status, NoteKind::Normal, job.object, reason, message);
    }
    match finished {
        Some(Decision {
            outcome: Outcome::Success,
            ..
        }) => {
            if job.completions.is_some_and(|completions| succeeded > completions) {
                let message = "Too many succeeded pods running after completion count reached";
                plan.note_after(status, NoteKind::Warning, job.object, "TooManySucceededPods", message);
            }
            plan.note_after(status, NoteKind::Normal, job.object, "Completed", "Job completed");
        }
        Some(Decision {
            outcome: Outcome::Failure,
            reason,
            message,
            ..
        }) => {
            plan.note_after(status, NoteKind::Warning, job.object, reason.clone(), message.clone());
        }
        None => {}
    }
}

fn stop(plan: &mut Plan, job: &SeenJob<'_>, pods: &[&SeenPod<'_>], why: &'static str) {
    let deletions = pods.iter().map(|pod| {
        let meta = pod.object.meta();
        let options = DeleteOptions::default();
        (
            Write::delete(resource::PODS, &meta.namespace, &meta.name, options).if_uid(&meta.uid),
            why,
        )
    });
    let first = staged(plan, deletions);
    for (position, pod) in pods.iter().enumerate() {
        let message = format!("Deleted pod: {}", pod.object.meta().name);
        plan.note_after(
            first + position,
            NoteKind::Normal,
            job.object,
            "SuccessfulDelete",
            message,
        );
    }
}

/// Adds the creations; returns where they stand.
fn create(plan: &mut Plan, job: &SeenJob<'_>, new: &[NewPod]) -> Range<usize> {
    let start = plan.actions.len();
    if new.is_empty() {
        return start..start;
    }
    let maker = PodMaker::of(job);
    let (mut rest, mut batch) = (new, FIRST_BATCH as usize);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(batch.min(rest.len()));
        let first = staged(plan, now.iter().map(|pod| (maker.create(pod), "a pod is missing")));
        for created in first..first + now.len() {
            let message = format!("Created pod: {{created:{created}}}");
            plan.note_after(created, NoteKind::Normal, job.object, "SuccessfulCreate", message);
        }
        (rest, batch) = (later, batch * 2);
    }
    start..plan.actions.len()
}

/// Adds writes that may run at the same time, behind all before; returns the index of the first.
fn staged(plan: &mut Plan, writes: impl Iterator<Item = (Write, &'static str)>) -> usize {
    let first = plan.actions.len();
    for (position, (write, why)) in writes.enumerate() {
        if position == 0 {
            plan.then(write, why);
        } else {
            plan.act(write, why);
        }
    }
    first
}
