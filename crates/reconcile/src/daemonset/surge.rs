//! Rolling update with a surge: new pods are created beside old ones within the budget, an old one goes when its successor
//! is available.
//!
//! A node whose old pod is not available gets its new pod beyond the budget. On nodes that no longer qualify, old pods go
//! as far as the others keep up availability. Nodes on which no pod is about to end come first, then in order of name. A pod bound to a node that does not exist takes
//! no part; upstream stops the whole rollout for it.
//! Source: specification §11.2.

use rota_api::Timestamp;

use super::orders::Orders;
use super::placed::Placed;
use super::seen::{SeenDaemonSet, SeenPod};

/// Orders creations and deletions. At most `surge_max` nodes have a pod more because of them.
pub(super) fn roll<'p, 'w>(
    set: &SeenDaemonSet<'_>,
    placed: &'p Placed<'w>,
    surge_max: usize,
    now: Timestamp,
    orders: &mut Orders<'p, 'w>,
) {
    let mut surge = 0;
    let mut available = 0;
    let mut candidates = Vec::new();
    let mut sunset = Vec::new();
    for (name, node) in placed.nodes.iter().filter(|(_, node)| node.exists()) {
        let pods = node.generations();
        if pods.excess {
            surge += 1;
            continue;
        }
        let is_available = |pod: &SeenPod<'_>| pod.is_available(set.min_ready(), now);
        if pods.old.or(pods.new).is_some_and(is_available) {
            available += 1;
        }
        match (pods.old, pods.new) {
            (None, _) => {}
            (Some(old), None) => match (is_available(old), node.should_run()) {
                (false, false) => orders.delete(old, "it is of an old template and not available", None),
                (false, true) => orders.create(name, 0, "its old pod is not available"),
                (true, false) => sunset.push(old),
                (true, true) => candidates.push((node.is_crowded(), name)),
            },
            (Some(old), Some(new)) if is_available(new) => orders.delete(old, "its successor is available", None),
            (Some(_), Some(_)) => surge += 1,
        }
    }
    candidates.sort_unstable();
    for (_, name) in candidates.into_iter().take(surge_max.saturating_sub(surge)) {
        orders.create(name, 0, "its pod is of an old template");
    }
    let spare = usize::saturating_sub(available, placed.desired());
    for pod in sunset.into_iter().take(spare) {
        orders.delete(pod, "its node is not eligible and the others are available", None);
    }
}
