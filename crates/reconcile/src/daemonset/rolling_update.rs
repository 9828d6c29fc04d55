//! Rolling update without a surge: old pods are deleted within the budget, managing re-creates them.
//!
//! Old pods that are not available go first and beyond the budget: they serve nobody. So a rollout that is stuck never
//! touches a healthy old pod, whatever is tried next. Nodes come in order of name.
//!
//! Differs from upstream where that has a defect: a node that has fallen silent does not use up the budget, which for
//! upstream stops the rollout everywhere until somebody removes the node.
//! Source: specification §11.1, §23.2.

use super::orders::Orders;
use super::placed::{Name, Placed};
use super::standing::Role;

/// Orders the deletions. At most `unavailable_max` nodes are without an available pod because of them.
pub(super) fn roll<'p>(placed: &'p Placed, unavailable_max: usize, orders: &mut Orders<'p>) {
    let mut unavailable = 0;
    let mut broken: Vec<&'p Name> = Vec::new();
    let mut healthy: Vec<&std::collections::BTreeSet<Name>> = Vec::new();
    for (rank, names) in placed.ranks() {
        let counted = if rank.is_lost { 0 } else { names.len() };
        match rank.role {
            Role::None => {}
            Role::Empty | Role::Excess | Role::Both { .. } | Role::New { available: false } => unavailable += counted,
            Role::Old { available: false } => {
                unavailable += counted;
                broken.extend(names);
            }
            // A pod that is about to be deleted serves nobody any more.
            Role::New { available: true } | Role::Old { available: true } => {
                unavailable += orders.losing.iter().filter(|name| names.contains(*name)).count();
                if matches!(rank.role, Role::Old { .. }) {
                    healthy.push(names);
                }
            }
        }
    }
    let room = unavailable_max.saturating_sub(unavailable);
    let mut chosen: Vec<&Name> = Vec::new();
    for names in healthy {
        chosen.extend(names.iter().filter(|name| !orders.losing.contains(*name)).take(room));
    }
    chosen.sort_unstable();
    chosen.truncate(room);
    for name in broken {
        delete_old(placed, name, "it is of an old template and not available", orders);
    }
    for name in chosen {
        delete_old(placed, name, "it is of an old template", orders);
    }
}

/// Orders the deletion of a node's old pod.
pub(super) fn delete_old<'p>(placed: &'p Placed, name: &Name, why: &'static str, orders: &mut Orders<'p>) {
    if let Some(old) = placed.node(name).and_then(|node| node.generations().old) {
        orders.delete(name, old, why);
    }
}
