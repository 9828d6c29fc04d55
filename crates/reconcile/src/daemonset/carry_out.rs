//! The plan: everything that is to be written, in an order in which a crash between any two writes is harmless.
//!
//! | stage | writes | what a crash behind it leaves |
//! | --- | --- | --- |
//! | 1 | adopt and release; put the history in order | a history that reads the same next time |
//! | 2 | the new revision | a revision that no pod carries yet: found next time |
//! | 3 | status, as seen | nothing to repair |
//! | 4 | delete pods, and the first creation | fewer pods than wanted: created next time |
//! | 5 … | creations in growing batches | the same |
//! | last | revisions that are too many | too many revisions: deleted next time |
//!
//! Creations come late, since a quota may refuse them for hours; batches grow, so that such a refusal costs few requests.

use std::sync::Arc;

use rota_api::{DeleteOptions, Object, Timestamp, Write, resource};

use super::failures::NodeFailures;
use super::history::History;
use super::limits::{BURST_MAX, FIRST_BATCH};
use super::orders::{Deletion, Orders};
use super::placed::{Name, Placed};
use super::pods::PodMaker;
use super::seen::{Ending, SeenDaemonSet};
use super::status;
use crate::{NoteKind, Plan, World, ownership};

/// Everything a plan is made of.
pub(super) struct Decided<'d, 'p> {
    pub(super) history: &'d History,
    pub(super) placed: &'p Placed,
    pub(super) orders: &'d Orders<'p>,
    pub(super) failures: &'d NodeFailures,
}

/// Assembles the plan.
pub(super) fn plan(set: &SeenDaemonSet<'_>, decided: &Decided<'_, '_>, world: &World, now: Timestamp) -> Plan {
    let Decided {
        history,
        placed,
        orders,
        failures,
    } = decided;
    let mut plan = Plan::default();
    let namespace = &set.object.meta().namespace;
    let pod = |name: &String| -> Option<&Arc<Object>> { world.get(resource::PODS, namespace, name) };
    let (adopted, released) = (placed.adopted(), placed.released());
    ownership::carry_out(
        set.object,
        adopted.iter().filter_map(pod),
        released.iter().filter_map(pod),
        &mut plan,
    );
    let relabelled: Vec<_> = placed.carriers(history.replaced()).filter_map(pod).collect();
    history.carry_out(set, &relabelled, &mut plan);
    if let Some(status) = status::report(set, placed.counts) {
        plan.then(status, "the status says something else");
    }
    delete(&mut plan, set, orders);
    create(&mut plan, set, &history.hash, orders, |node| failures.count(node, now));
    history.clean_up(set, |hash| placed.carries(hash), &mut plan);
    plan
}

fn delete(plan: &mut Plan, set: &SeenDaemonSet<'_>, orders: &Orders<'_>) {
    for (position, deletion) in orders.delete.values().take(BURST_MAX).enumerate() {
        let Deletion { pod, node, why, ended } = deletion;
        let why = format!("{node}: {why}");
        let meta = pod.object.meta();
        let write =
            Write::delete(resource::PODS, &meta.namespace, &meta.name, DeleteOptions::default()).if_uid(&meta.uid);
        let deleted = if position == 0 {
            plan.then(write, why)
        } else {
            plan.act(write, why)
        };
        if let Some(ending) = ended {
            tell(plan, set, deletion, *ending);
        }
        let message = format!("Deleted pod: {}", meta.name);
        plan.note_after(deleted, NoteKind::Normal, set.object, "SuccessfulDelete", message);
    }
}

fn tell(plan: &mut Plan, set: &SeenDaemonSet<'_>, deletion: &Deletion<'_>, ending: Ending) {
    let meta = deletion.pod.object.meta();
    let place = format!("{}/{} on node {}", meta.namespace, meta.name, deletion.node);
    match ending {
        Ending::Failed => {
            let message = format!("Found failed daemon pod {place}, will try to kill it");
            plan.note(NoteKind::Warning, set.object, "FailedDaemonPod", message);
        }
        Ending::Succeeded => {
            let message = format!("Found succeeded daemon pod {place}, will try to delete it");
            plan.note(NoteKind::Normal, set.object, "SucceededDaemonPod", message);
        }
    }
}

/// Creates the pods. `failures` tells how many failed in a row on a node before.
fn create(plan: &mut Plan, set: &SeenDaemonSet<'_>, hash: &str, orders: &Orders<'_>, failures: impl Fn(&Name) -> u32) {
    if orders.create.is_empty() {
        return;
    }
    let maker = PodMaker::of(set, hash);
    let wanted: Vec<_> = orders.create.iter().take(BURST_MAX).collect();
    let (mut rest, mut batch) = (wanted.as_slice(), FIRST_BATCH);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(batch.min(rest.len()));
        for (position, (node, why)) in now.iter().enumerate() {
            let write = maker.create(node, failures(node));
            let why = format!("{node}: {why}");
            let created = if position == 0 {
                plan.then(write, why)
            } else {
                plan.act(write, why)
            };
            let message = format!("Created pod: {{created:{created}}}");
            plan.note_after(created, NoteKind::Normal, set.object, "SuccessfulCreate", message);
        }
        (rest, batch) = (later, batch * 2);
    }
}
