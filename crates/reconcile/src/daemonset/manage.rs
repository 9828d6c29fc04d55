//! What should exist on each node: missing pods, ended pods, pods that are too many or in the wrong place.
//!
//! Differs from upstream where that has a defect: with a surge, a node whose failed pod waits for its turn is occupied
//! (upstream creates pod after pod there); and "of the current template" means the same here as in a rollout.
//! Source: specification §9, §23.2.

use rota_api::Timestamp;

use super::failures::{NodeFailures, Verdict};
use super::orders::{News, Orders};
use super::placed::{Placed, PlacedNode};
use super::seen::{SeenDaemonSet, SeenPod};

/// Orders what every node needs.
pub(super) fn manage<'p, 'w>(
    set: &SeenDaemonSet<'_>,
    placed: &'p Placed<'w>,
    failures: &mut NodeFailures,
    now: Timestamp,
    orders: &mut Orders<'p, 'w>,
) {
    for (name, node) in &placed.nodes {
        if !node.exists() {
            // No node will ever take these; bound ones are left to the pod garbage collector.
            for pod in node.remaining().filter(|pod| !pod.is_bound()) {
                orders.delete(pod, "its node does not exist", None);
            }
        } else if node.pods.is_empty() {
            if node.should_run() {
                orders.create(name, failures.count(name, now), "the node has no pod");
            }
        } else if node.should_continue() {
            manage_node(set, name, node, failures, now, orders);
        } else {
            for pod in node.remaining() {
                orders.delete(pod, "the node is not eligible", None);
            }
        }
    }
}

/// Orders what a node needs on which pods may stay.
fn manage_node<'p, 'w>(
    set: &SeenDaemonSet<'_>,
    name: &str,
    node: &'p PlacedNode<'w>,
    failures: &mut NodeFailures,
    now: Timestamp,
    orders: &mut Orders<'p, 'w>,
) {
    let mut running = Vec::new();
    for pod in node.remaining() {
        match pod.object.meta().phase.as_str() {
            "Failed" => match failures.judge(name, pod, now) {
                Verdict::Delete => orders.delete(pod, "it failed", Some(News::Failed)),
                Verdict::Wait(until) => orders.wake_at(until),
            },
            "Succeeded" => orders.delete(pod, "it succeeded", Some(News::Succeeded)),
            _ => running.push(pod),
        }
    }
    if !set.surges() {
        for pod in running.iter().skip(1) {
            orders.delete(pod, "the node has an older pod", None);
        }
    } else if !running.is_empty() {
        thin_out(set, &running, now, orders);
    } else if node.should_run() && node.remaining().next().is_none() {
        orders.create(name, failures.count(name, now), "the node has no running pod");
    }
}

/// Keeps of a node's running pods the oldest old and the oldest new one, and of those the old one only as long as it is
/// ready and the new one is not available.
fn thin_out<'p, 'w>(set: &SeenDaemonSet<'_>, running: &[&'p SeenPod<'w>], now: Timestamp, orders: &mut Orders<'p, 'w>) {
    let oldest = |updated| running.iter().find(|pod| pod.is_updated == updated).copied();
    let (old, new) = (oldest(false), oldest(true));
    for pod in running {
        let is_kept = [old, new].into_iter().flatten().any(|kept| std::ptr::eq(kept, *pod));
        if !is_kept {
            orders.delete(pod, "the node has an older pod of its kind", None);
        }
    }
    if let (Some(old), Some(new)) = (old, new) {
        if !old.is_ready() {
            orders.delete(old, "it is not ready and its successor exists", None);
        } else if new.is_available(set.min_ready(), now) {
            orders.delete(old, "its successor is available", None);
        }
    }
}
