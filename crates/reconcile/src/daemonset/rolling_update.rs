//! Rolling update without a surge: old pods are deleted within the budget, managing re-creates them.
//!
//! Old pods that are not available go first and beyond the budget: they serve nobody. So a rollout that is stuck never
//! touches a healthy old pod, whatever is tried next. Nodes come in order of name.
//! Source: specification §11.1.

use rota_api::Timestamp;

use super::orders::Orders;
use super::placed::Placed;
use super::seen::SeenDaemonSet;

/// Orders the deletions. At most `unavailable_max` nodes are without an available pod because of them.
pub(super) fn roll<'p, 'w>(
    set: &SeenDaemonSet<'_>,
    placed: &'p Placed<'w>,
    unavailable_max: usize,
    now: Timestamp,
    orders: &mut Orders<'p, 'w>,
) {
    let doomed = orders.doomed();
    let mut unavailable = 0;
    let mut candidates = Vec::new();
    for node in placed
        .nodes
        .values()
        .filter(|node| node.should_run() || !node.pods.is_empty())
    {
        let pods = node.generations();
        let (Some(pod), false) = (
            match (pods.old, pods.new) {
                (Some(pod), None) | (None, Some(pod)) => Some(pod),
                (None, None) | (Some(_), Some(_)) => None,
            },
            pods.excess,
        ) else {
            unavailable += 1;
            continue;
        };
        let is_available = pod.is_available(set.min_ready(), now) && !doomed.contains(pod.object.meta().name.as_str());
        if !is_available {
            unavailable += 1;
        }
        match (pod.is_updated, is_available) {
            (true, _) => {}
            (false, false) => orders.delete(pod, "it is of an old template and not available", None),
            (false, true) => candidates.push(pod),
        }
    }
    let room = unavailable_max.saturating_sub(unavailable);
    for pod in candidates.into_iter().take(room) {
        orders.delete(pod, "it is of an old template", None);
    }
}
