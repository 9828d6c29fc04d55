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

use rota_api::{DeleteOptions, Write, resource};

use super::claim::Claimed;
use super::history::History;
use super::limits::{BURST_MAX, FIRST_BATCH};
use super::orders::{Creation, Deletion, News, Orders};
use super::pods::PodMaker;
use super::seen::SeenDaemonSet;
use super::status::Report;
use crate::{NoteKind, Plan};

/// Assembles the plan.
pub(super) fn plan(
    set: &SeenDaemonSet<'_>,
    pods: &Claimed<'_>,
    history: &History<'_>,
    orders: &Orders<'_, '_>,
    report: Report,
) -> Plan {
    let mut plan = Plan {
        wake: orders.wake,
        ..Plan::default()
    };
    if let Some(at) = report.wake {
        plan.wake_at(at);
    }
    pods.carry_out(set, &mut plan);
    history.carry_out(set, &mut plan);
    if let Some(status) = report.write {
        plan.then(status, "the status says something else");
    }
    delete(&mut plan, set, orders);
    create(&mut plan, set, &history.hash, orders);
    history.clean_up(&mut plan);
    plan
}

fn delete(plan: &mut Plan, set: &SeenDaemonSet<'_>, orders: &Orders<'_, '_>) {
    for (position, deletion) in orders.delete.values().take(BURST_MAX).enumerate() {
        let Deletion { pod, why, news } = deletion;
        let meta = pod.object.meta();
        let write =
            Write::delete(resource::PODS, &meta.namespace, &meta.name, DeleteOptions::default()).if_uid(&meta.uid);
        let deleted = if position == 0 {
            plan.then(write, *why)
        } else {
            plan.act(write, *why)
        };
        if let Some(news) = news {
            tell(plan, set, deletion, *news);
        }
        let message = format!("Deleted pod: {}", meta.name);
        plan.note_after(deleted, NoteKind::Normal, set.object, "SuccessfulDelete", message);
    }
}

fn tell(plan: &mut Plan, set: &SeenDaemonSet<'_>, deletion: &Deletion<'_, '_>, news: News) {
    let meta = deletion.pod.object.meta();
    let node = super::seen::target_node(deletion.pod.object).unwrap_or_default();
    let place = format!("{}/{} on node {node}", meta.namespace, meta.name);
    match news {
        News::Failed => {
            let message = format!("Found failed daemon pod {place}, will try to kill it");
            plan.note(NoteKind::Warning, set.object, "FailedDaemonPod", message);
        }
        News::Succeeded => {
            let message = format!("Found succeeded daemon pod {place}, will try to delete it");
            plan.note(NoteKind::Normal, set.object, "SucceededDaemonPod", message);
        }
    }
}

fn create(plan: &mut Plan, set: &SeenDaemonSet<'_>, hash: &str, orders: &Orders<'_, '_>) {
    if orders.create.is_empty() {
        return;
    }
    let maker = PodMaker::of(set, hash);
    let wanted: Vec<_> = orders.create.iter().take(BURST_MAX).collect();
    let (mut rest, mut batch) = (wanted.as_slice(), FIRST_BATCH);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(batch.min(rest.len()));
        for (position, (node, Creation { failures, why })) in now.iter().enumerate() {
            let write = maker.create(node, *failures);
            let created = if position == 0 {
                plan.then(write, *why)
            } else {
                plan.act(write, *why)
            };
            let message = format!("Created pod: {{created:{created}}}");
            plan.note_after(created, NoteKind::Normal, set.object, "SuccessfulCreate", message);
        }
        (rest, batch) = (later, batch * 2);
    }
}
