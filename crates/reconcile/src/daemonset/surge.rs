//! Rolling update with a surge: new pods are created beside old ones within the budget, an old one goes when its successor
//! is available.
//!
//! A node whose old pod is not available gets its new pod beyond the budget. On nodes that no longer qualify, old pods go
//! as far as the others keep up availability. Nodes on which no pod is about to end come first, then in order of name. A
//! pod bound to a node that does not exist takes no part; upstream stops the whole rollout for it.
//! Source: specification §11.2.

use super::orders::Orders;
use super::placed::{Name, Placed};
use super::rolling_update::delete_old;
use super::standing::{Rank, Role};

/// Orders creations and deletions. At most `surge_max` nodes have a pod more because of them.
pub(super) fn roll<'p>(placed: &'p Placed, surge_max: usize, orders: &mut Orders<'p>) {
    let mut surge = 0;
    let mut available = 0;
    let mut candidates = Vec::new();
    let mut sunset = Vec::new();
    for (rank, names) in placed.ranks().filter(|(rank, _)| rank.exists) {
        if is_served(rank) {
            available += names.len();
        }
        match rank.role {
            Role::None | Role::Empty | Role::New { .. } => {}
            Role::Excess => surge += names.len(),
            Role::Both {
                new_available: false, ..
            } => surge += names.len(),
            Role::Both {
                new_available: true, ..
            } => {
                for name in names {
                    delete_old(placed, name, "its successor is available", orders);
                }
            }
            Role::Old { available: false } if rank.should_run => {
                for name in names {
                    orders.create(name, "its old pod is not available");
                }
            }
            Role::Old { available: false } => {
                for name in names {
                    delete_old(placed, name, "it is of an old template and not available", orders);
                }
            }
            Role::Old { available: true } if rank.should_run => candidates.push((rank.is_crowded, names)),
            Role::Old { available: true } => sunset.push(names),
        }
    }
    let room = surge_max.saturating_sub(surge);
    let mut chosen: Vec<(bool, &Name)> = Vec::new();
    for (is_crowded, names) in candidates {
        chosen.extend(names.iter().take(room).map(|name| (is_crowded, name)));
    }
    chosen.sort_unstable();
    for (_, name) in chosen.into_iter().take(room) {
        orders.create(name, "its pod is of an old template");
    }
    let spare = available.saturating_sub(placed.desired());
    let mut fading: Vec<&Name> = sunset.iter().flat_map(|names| names.iter().take(spare)).collect();
    fading.sort_unstable();
    for name in fading.into_iter().take(spare) {
        delete_old(
            placed,
            name,
            "its node is not eligible and the others are available",
            orders,
        );
    }
}

/// Whether a node has a pod that counts as available: its old one where it has one, else its new one.
fn is_served(rank: Rank) -> bool {
    matches!(
        rank.role,
        Role::New { available: true }
            | Role::Old { available: true }
            | Role::Both {
                old_available: true,
                ..
            }
    )
}
