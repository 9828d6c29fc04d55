//! What should exist on each node: missing pods, ended pods, pods that are too many or in the wrong place.
//!
//! Differs from upstream where that has a defect: with a surge, a node whose failed pod waits for its turn is occupied
//! (upstream creates pod after pod there); "of the current template" means the same here as in a rollout; and pods that
//! end well again and again are braked as failed ones are.
//! Source: specification §9, §23.2.

use rota_api::Timestamp;

use super::failures::{NodeFailures, Verdict};
use super::orders::Orders;
use super::placed::{Name, Placed, PlacedNode};
use super::seen::{Ending, SeenDaemonSet, SeenPod};

/// Orders what every node needs.
pub(super) fn manage<'p>(
    set: &SeenDaemonSet<'_>,
    placed: &'p Placed,
    failures: &mut NodeFailures,
    now: Timestamp,
    orders: &mut Orders<'p>,
) {
    for (name, node) in placed.wanting() {
        if !node.exists() {
            // No node will ever take these; bound ones are left to the pod garbage collector.
            for pod in node.remaining().filter(|pod| !pod.is_bound()) {
                orders.delete(name, pod, "its node does not exist");
            }
        } else if node.pods.is_empty() {
            if node.should_run() {
                orders.create(name, "the node has no pod");
            }
        } else if node.should_continue() {
            manage_node(set, name, node, failures, now, orders);
        } else {
            for pod in node.remaining() {
                orders.delete(name, pod, "the node is not eligible");
            }
        }
    }
}

/// Orders what a node needs on which pods may stay.
fn manage_node<'p>(
    set: &SeenDaemonSet<'_>,
    name: &Name,
    node: &'p PlacedNode,
    failures: &mut NodeFailures,
    now: Timestamp,
    orders: &mut Orders<'p>,
) {
    let mut running = Vec::new();
    let mut waiting = None;
    let mut deleted = false;
    for pod in node.remaining() {
        let Some(ending) = pod.ended() else {
            running.push(pod);
            continue;
        };
        match failures.judge(name, pod, ending, now) {
            Verdict::Delete => {
                deleted = true;
                orders.delete_ended(name, pod, why(ending), Some(ending));
            }
            Verdict::Wait(until) => waiting = waiting.into_iter().chain([until]).min(),
        }
    }
    if let Some(until) = waiting
        && !deleted
        && running.len() <= 1
    {
        orders.rest(name, until);
    }
    if !set.surges() {
        for pod in running.iter().skip(1) {
            orders.delete(name, pod, "the node has an older pod");
        }
    } else if !running.is_empty() {
        thin_out(set, name, &running, now, orders);
    } else if node.should_run() && node.remaining().next().is_none() {
        orders.create(name, "the node has no running pod");
    }
}

fn why(ending: Ending) -> &'static str {
    match ending {
        Ending::Failed => "it failed",
        Ending::Succeeded => "it succeeded",
    }
}

/// Keeps of a node's running pods the oldest old and the oldest new one, and of those the old one only as long as it is
/// ready and the new one is not available.
fn thin_out<'p>(
    set: &SeenDaemonSet<'_>,
    name: &Name,
    running: &[&'p SeenPod],
    now: Timestamp,
    orders: &mut Orders<'p>,
) {
    let oldest = |updated| running.iter().find(|pod| pod.is_updated == updated).copied();
    let (old, new) = (oldest(false), oldest(true));
    for pod in running {
        let is_kept = [old, new].into_iter().flatten().any(|kept| std::ptr::eq(kept, *pod));
        if !is_kept {
            orders.delete(name, pod, "the node has an older pod of its kind");
        }
    }
    if let (Some(old), Some(new)) = (old, new) {
        if !old.is_ready() {
            orders.delete(name, old, "it is not ready and its successor exists");
        } else if new.is_available(set.min_ready(), now) {
            orders.delete(name, old, "its successor is available");
        }
    }
}
